/* SPDX-License-Identifier: MIT */
/* Whole layers of tests/golden/moe.gguf, from logits to y, by every kernel of moe_ffn, on weights in
 * the mapped file. Prints err / bound and NMSE of each. */
#include "harness/gguf.h"
#include "harness/judge.h"
#include "ref/fill.h"
#include "ref/moe_ffn.h"
#include "tests/golden.h"

enum { EXPERTS = 8, HIDDEN = 512, FFN = 256 };

/* Roundings of the file's own y, which starts each stage from rounded values: weight, gate or up, h,
 * down and y. */
enum { OWN_ROUNDINGS = 5 };

/* What is required of any error at all, whatever the oracle says of it: ggml's own int8 dots have
 * 1.8e-3 at most on these layers. */
static const double max_nmse[] = {[ASSAY_F32] = 1e-9, [ASSAY_I8] = 5e-3};

static const struct set {
    const char *name;    /* of the files of logits and x */
    const char *results; /* of those of y */
    int layer;
    int64_t tokens, top_k;
} sets[] = {
    {"moe_dec0", "moe_dec0_k4", 0, 3, 4},
    {"moe_dec1", "moe_dec1_k2", 1, 2, 2},
    {"moe_pre0", "moe_pre0_k2", 0, 40, 2}, /* one expert has 40 pairs, another none */
};

static struct gguf gguf;

static int open_model(void)
{
    struct error error;
    return gguf_open(&gguf, GOLDEN "moe.gguf", &error) ? 0 : 1;
}

static int close_model(void)
{
    gguf_close(&gguf);
    return 0;
}

static const void *tensor_of(int layer, const char *what)
{
    char name[64];
    snprintf(name, sizeof(name), "blk.%d.ffn_%s.weight", layer, what);
    const struct gguf_tensor *tensor = gguf_find(&gguf, name);
    CU_ASSERT_PTR_NOT_NULL_FATAL(tensor);
    return gguf.data + tensor->offset;
}

/* A set's inputs and results. */
struct data {
    const struct set *set;
    struct moe_ffn_shape shape;
    struct moe_ffn_args args;
    float *logits, *x, *wanted;
    struct assay_expected *expected;
    int64_t count;
};

static struct data load_data(const struct set *set, int64_t norm)
{
    struct data data = {
        .set = set,
        .shape = {EXPERTS, HIDDEN, FFN, set->top_k, set->tokens, norm},
        .count = set->tokens * HIDDEN,
    };
    size_t bytes = (size_t)data.count * sizeof(float);
    int64_t columns[HIDDEN];
    data.logits = load(set->name, "_logits", (size_t)set->tokens * EXPERTS * sizeof(float), NULL);
    data.x = load(set->name, "_x", bytes, NULL);
    data.wanted = load(set->results, norm ? "_y_norm" : "_y", bytes, NULL);
    data.expected = malloc((size_t)data.count * sizeof(*data.expected));
    CU_ASSERT_PTR_NOT_NULL_FATAL(data.expected);
    data.args = (struct moe_ffn_args){
        .logits = data.logits,
        .x = data.x,
        .gate = tensor_of(set->layer, "gate_exps"),
        .up = tensor_of(set->layer, "up_exps"),
        .down = tensor_of(set->layer, "down_exps"),
    };
    void *tensors[sizeof(data.args) / sizeof(void *)];
    memcpy(tensors, &data.args, sizeof(tensors));
    for (int i = 0; i < HIDDEN; i++)
        columns[i] = i;
    CU_ASSERT_TRUE_FATAL(moe_ffn_op.oracle(&data.shape, tensors, MOE_FFN_OUT, ASSAY_F32, columns,
                                           HIDDEN, data.expected));
    return data;
}

static void free_data(struct data *data)
{
    free(data->logits);
    free(data->x);
    free(data->wanted);
    free(data->expected);
}

static void judge(const struct data *data, const struct assay_kernel *kernel, const float *y)
{
    enum assay_numerics numerics = (enum assay_numerics)kernel->numerics;
    int64_t depth = kernel->depth(&data->shape);
    double worst = 0, err_sq = 0, wanted_sq = 0;
    for (int64_t i = 0; i < data->count; i++) {
        double wanted = (double)data->wanted[i], err = fabs((double)y[i] - wanted);
        double bound = judge_tolerance(&data->expected[i], numerics, depth) +
                       judge_tolerance(&data->expected[i], ASSAY_F32, OWN_ROUNDINGS);
        worst = err <= bound * worst ? worst : err / bound; /* NaN is worst */
        err_sq += err * err;
        wanted_sq += wanted * wanted;
    }
    double nmse = err_sq / wanted_sq;
    printf("\n    %s%s, %s: %.2g of the bound, NMSE %.2g", data->set->results,
           data->shape.norm ? ", norm" : "", kernel->name, worst, nmse);
    expect(worst <= 1, kernel, "beyond its bound");
    expect(nmse <= max_nmse[numerics], kernel, "too large a mean square error");
}

static void check_kernel(const struct data *data, const struct assay_kernel *kernel)
{
    float *y[2];
    for (int i = 0; i < 2; i++) {
        struct moe_ffn_args args = data->args;
        y[i] = args.out = buffer(data->count * (int64_t)sizeof(float));
        CU_ASSERT_TRUE(call(kernel, &data->shape, &args, i + 1));
    }
    expect(count_different(y[0], y[1], (size_t)data->count) == 0, kernel,
           "two threads give other bits");
    judge(data, kernel, y[0]);
    free(y[0]);
    free(y[1]);
}

/* The oracle, which rounds nothing between stages: that alone is an NMSE of 4e-15. */
static void test_oracle(void)
{
    for (size_t i = 0; i < COUNT(sets); i++) {
        for (int64_t norm = 0; norm <= 1; norm++) {
            struct data data = load_data(&sets[i], norm);
            double err_sq = 0, wanted_sq = 0;
            for (int64_t j = 0; j < data.count; j++) {
                double wanted = (double)data.wanted[j], err = data.expected[j].value - wanted;
                err_sq += err * err;
                wanted_sq += wanted * wanted;
            }
            CU_ASSERT_TRUE(err_sq <= 1e-13 * wanted_sq);
            free_data(&data);
        }
    }
}

static void test_class(enum assay_numerics numerics)
{
    for (size_t i = 0; i < COUNT(sets); i++) {
        for (int64_t norm = 0; norm <= 1; norm++) {
            struct data data = load_data(&sets[i], norm);
            const struct assay_kernel *kernel;
            size_t kernels = 0;
            for (; (kernel = runnable("moe_ffn", numerics, kernels)); kernels++)
                check_kernel(&data, kernel);
            CU_ASSERT_TRUE(kernels >= 1);
            free_data(&data);
        }
    }
    printf("\n");
}

static void test_f32(void)
{
    test_class(ASSAY_F32);
}

static void test_i8(void)
{
    test_class(ASSAY_I8);
}

/* No kernel is of a class that no test above calls. */
static void test_classes(void)
{
    const struct assay_kernels *own = assay_own_kernels();
    for (uint32_t i = 0; i < own->count; i++) {
        uint32_t numerics = own->kernels[i]->numerics;
        CU_ASSERT_TRUE(strcmp(own->kernels[i]->op, "moe_ffn") != 0 || numerics == ASSAY_F32 ||
                       numerics == ASSAY_I8);
    }
}

/* The logits that a case gets whose routing is the file's router. */
static void test_logits(void)
{
    for (size_t i = 0; i < COUNT(sets); i++) {
        const struct set *set = &sets[i];
        const struct assay_fill fill = {.router = tensor_of(set->layer, "gate_inp"),
                                        .hidden = HIDDEN};
        float *x = load(set->name, "_x", (size_t)set->tokens * HIDDEN * sizeof(*x), NULL);
        float *wanted =
            load(set->name, "_logits", (size_t)set->tokens * EXPERTS * sizeof(*wanted), NULL);
        for (int64_t token = 0; token < set->tokens; token++) {
            double logits[EXPERTS];
            router_logits(&fill, EXPERTS, &x[token * HIDDEN], logits);
            for (int64_t e = 0; e < EXPERTS; e++) {
                double value = (double)wanted[token * EXPERTS + e];
                CU_ASSERT_TRUE(fabs(logits[e] - value) <= 0x1p-24 * fabs(value) + 0x1p-40);
            }
        }
        free(x);
        free(wanted);
    }
}

static CU_TestInfo tests[] = {
    {"the oracle", test_oracle},      {"f32", test_f32},       {"i8", test_i8},
    {"no other class", test_classes}, {"logits", test_logits}, CU_TEST_INFO_NULL,
};

int main(void)
{
    CU_SuiteInfo suites[] = {
        {"golden layers, whole", open_model, close_model, NULL, NULL, tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites);
}
