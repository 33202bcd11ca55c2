/* SPDX-License-Identifier: MIT */
/* The layers of tests/golden/moe.gguf: gate, up and down of tokens whose experts are given, by both
 * routed matmuls, and by the dense ones expert by expert. Prints err / bound of each kernel. */
#include "ref/moe_ids_tpe.h"
#include "ref/q4_K.h"
#include "ref/q4_K_gemm.h"
#include "ref/q4_K_gemm_moe_id.h"
#include "ref/q4_K_gemv.h"
#include "ref/q4_K_gemv_moe_id.h"
#include "tests/golden.h"

enum { EXPERTS = 8, TENSOR_BYTES = 589824, DATA_OFFSET = 2432 /* of the file's tensors */ };

static const struct product {
    const char *set, *source; /* files of ids and results; of activations */
    const char *what;
    int64_t offset; /* of the expert weights in the file's data */
    int64_t m, k, tokens, top_k;
} products[] = {
    {"moe_dec0_k4", "moe_dec0_x", "gate", 26688, 256, 512, 3, 4},
    {"moe_dec0_k4", "moe_dec0_x", "up", 616512, 256, 512, 3, 4},
    {"moe_dec0_k4", "moe_dec0_k4_h", "down", 1206336, 512, 256, 3, 4},
    {"moe_dec1_k2", "moe_dec1_x", "gate", 3002432, 256, 512, 2, 2},
    {"moe_dec1_k2", "moe_dec1_x", "up", 2412608, 256, 512, 2, 2},
    {"moe_dec1_k2", "moe_dec1_k2_h", "down", 1822784, 512, 256, 2, 2},
    {"moe_pre0_k2", "moe_pre0_x", "gate", 26688, 256, 512, 40, 2}, /* one expert has 40 pairs */
};

/* A product's inputs and results. */
struct data {
    const struct product *product;
    int64_t pairs, ne11;
    uint8_t *w;
    float *src, *wanted;
    int32_t *ids;
    struct bounds *bounds; /* [pairs][m] */
};

static struct data loaded[COUNT(products)];

static uint8_t *load_weights(int64_t offset)
{
    uint8_t *w = buffer(TENSOR_BYTES);
    FILE *file = fopen(GOLDEN "moe.gguf", "rb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL_FATAL(fseek(file, DATA_OFFSET + (long)offset, SEEK_SET), 0);
    CU_ASSERT_EQUAL_FATAL(fread(w, 1, TENSOR_BYTES, file), TENSOR_BYTES);
    fclose(file);
    return w;
}

static const float *source_of(const struct data *data, int64_t pair)
{
    const struct product *p = data->product;
    int64_t token = pair / p->top_k, slot = pair % p->top_k;
    return &data->src[(token * data->ne11 + slot % data->ne11) * p->k];
}

static void find_bounds(struct data *data)
{
    const struct product *p = data->product;
    int64_t blocks = p->k / Q4_K_BLOCK;
    data->bounds = calloc((size_t)(data->pairs * p->m), sizeof(*data->bounds));
    CU_ASSERT_PTR_NOT_NULL_FATAL(data->bounds);
    for (int64_t i = 0; i < data->pairs * p->m; i++) {
        int64_t pair = i / p->m, row = data->ids[pair] * p->m + i % p->m;
        for (int64_t b = 0; b < blocks; b++)
            add_bounds(data->w + (row * blocks + b) * Q4_K_BLOCK_BYTES,
                       source_of(data, pair) + b * Q4_K_BLOCK, &data->bounds[i]);
    }
}

static const struct data *data_of(size_t number)
{
    const struct product *p = &products[number];
    struct data *data = &loaded[number];
    if (data->product)
        return data;
    *data = (struct data){.product = p, .pairs = p->tokens * p->top_k};
    char what[16];
    snprintf(what, sizeof(what), "_%s", p->what);
    data->ne11 = strcmp(p->what, "down") == 0 ? p->top_k : 1;
    size_t sources = (size_t)(p->tokens * data->ne11);
    data->w = load_weights(p->offset);
    data->src = load(p->source, "", sources * (size_t)p->k * sizeof(float), NULL);
    data->wanted = load(p->set, what, (size_t)(data->pairs * p->m) * sizeof(float), NULL);
    data->ids = load(p->set, "_ids", (size_t)data->pairs * sizeof(int32_t), NULL);
    find_bounds(data);
    return data;
}

static void free_all(void)
{
    for (size_t i = 0; i < COUNT(loaded); i++) {
        free(loaded[i].w);
        free(loaded[i].src);
        free(loaded[i].wanted);
        free(loaded[i].ids);
        free(loaded[i].bounds);
    }
}

/* Largest err / bound. */
static double utilisation(const struct data *data, const struct assay_kernel *kernel, int64_t depth,
                          const float *y)
{
    const struct product *p = data->product;
    double worst = 0;
    for (int64_t i = 0; i < data->pairs * p->m; i++) {
        double wanted = (double)data->wanted[i], err = fabs((double)y[i] - wanted);
        double bound =
            bound_of(&data->bounds[i], (enum assay_numerics)kernel->numerics, depth, p->k) +
            0x1p-24 * fabs(wanted); /* the file's values are rounded to f32 */
        worst = err <= bound * worst ? worst : err / bound; /* NaN is worst */
    }
    return worst;
}

/* Integer classes: the bits of the twin, whichever op they come from. */
static void check_twin(const struct data *data, const struct assay_kernel *kernel, const float *y)
{
    static const struct assay_kernel *const twins[ASSAY_NUMERICS_COUNT] = {
        [ASSAY_I8] = &q4_K_gemv_moe_id_ref_i8,
        [ASSAY_I16] = &q4_K_gemv_moe_id_ref_i16,
        [ASSAY_I24] = &q4_K_gemv_moe_id_ref_i24,
    };
    const struct product *p = data->product;
    if (!twins[kernel->numerics])
        return;
    struct q4_K_gemv_moe_id_shape shape = {EXPERTS, p->m, p->k, p->top_k, data->ne11, p->tokens, 0};
    float *twin = buffer(data->pairs * p->m * (int64_t)sizeof(float));
    struct q4_K_gemv_moe_id_args args = {data->w, data->src, data->ids, twin};
    call(twins[kernel->numerics], &shape, &args, 1);
    expect(count_different(y, twin, (size_t)(data->pairs * p->m)) == 0, kernel,
           "not the twin's bits");
    free(twin);
}

/* One call; y gets all pairs. */
static void call_gemm_moe_id(const struct data *data, const struct assay_kernel *kernel,
                             int64_t indirect, int threads, float *y, int64_t *depth)
{
    const struct product *p = data->product;
    struct q4_K_gemm_moe_id_shape shape = {EXPERTS,   p->m,        p->k, p->top_k, data->ne11,
                                           p->tokens, data->pairs, 0,    indirect};
    int32_t *tpe = buffer(EXPERTS * 4), *lists = buffer(EXPERTS * data->pairs * 4);
    uint32_t grid[3];
    moe_lists(data->ids, data->pairs, EXPERTS, data->pairs, tpe, lists);
    moe_grid(tpe, EXPERTS, p->m, grid);
    struct q4_K_gemm_moe_id_args args = {data->w, data->src, lists, tpe, indirect ? grid : NULL, y};
    call(kernel, &shape, &args, threads);
    *depth = kernel->depth(&shape);
    free(tpe);
    free(lists);
}

static void call_gemv_moe_id(const struct data *data, const struct assay_kernel *kernel,
                             int threads, float *y, int64_t *depth)
{
    const struct product *p = data->product;
    struct q4_K_gemv_moe_id_shape shape = {EXPERTS, p->m, p->k, p->top_k, data->ne11, p->tokens, 0};
    struct q4_K_gemv_moe_id_args args = {data->w, data->src, data->ids, y};
    call(kernel, &shape, &args, threads);
    *depth = kernel->depth(&shape);
}

/* Each pair by itself, as a token that meets its expert's matrix. */
static void call_dense(const struct data *data, const struct assay_kernel *kernel, bool gemv,
                       int threads, float *y, int64_t *depth)
{
    const struct product *p = data->product;
    int64_t expert_bytes = p->m * (p->k / Q4_K_BLOCK) * Q4_K_BLOCK_BYTES;
    for (int64_t pair = 0; pair < data->pairs; pair++) {
        const float *x = source_of(data, pair);
        int64_t offset = data->ids[pair] * expert_bytes;
        struct q4_K_gemv_shape gemv_shape = {p->m, p->k, offset};
        struct q4_K_gemv_args gemv_args = {data->w, x, y + pair * p->m};
        struct q4_K_gemm_shape gemm_shape = {p->m, p->k, 1, offset};
        struct q4_K_gemm_args gemm_args = {data->w, x, y + pair * p->m};
        const void *shape = gemv ? (void *)&gemv_shape : (void *)&gemm_shape;
        call(kernel, shape, gemv ? (void *)&gemv_args : (void *)&gemm_args, threads);
        *depth = kernel->depth(shape);
    }
}

enum way { GEMM_DIRECT, GEMM_INDIRECT, GEMV_MOE, DENSE_GEMM, DENSE_GEMV };

static void call_any(const struct data *data, const struct assay_kernel *kernel, enum way way,
                     int threads, float *y, int64_t *depth)
{
    if (way == GEMM_DIRECT || way == GEMM_INDIRECT)
        call_gemm_moe_id(data, kernel, way == GEMM_INDIRECT, threads, y, depth);
    else if (way == GEMV_MOE)
        call_gemv_moe_id(data, kernel, threads, y, depth);
    else
        call_dense(data, kernel, way == DENSE_GEMV, threads, y, depth);
}

static void check_product(const struct data *data, const struct assay_kernel *kernel, enum way way)
{
    int64_t count = data->pairs * data->product->m, depth = 0;
    float *one = buffer(count * (int64_t)sizeof(float));
    float *two = buffer(count * (int64_t)sizeof(float));
    call_any(data, kernel, way, 1, one, &depth);
    call_any(data, kernel, way, 2, two, &depth);
    double worst = utilisation(data, kernel, depth, one);
    printf(" %s %.2g", data->product->what, worst);
    expect(worst <= 1, kernel, "beyond its bound");
    expect(count_different(one, two, (size_t)count) == 0, kernel, "two threads give other bits");
    check_twin(data, kernel, one);
    free(one);
    free(two);
}

static void check_op(const char *op, enum way way)
{
    static const enum assay_numerics classes[] = {ASSAY_F32, ASSAY_F16, ASSAY_I8, ASSAY_I16,
                                                  ASSAY_I24};
    size_t kernels = 0;
    for (size_t c = 0; c < COUNT(classes); c++) {
        const struct assay_kernel *kernel;
        for (size_t n = 0; (kernel = runnable(op, classes[c], n)); n++, kernels++) {
            printf("\n  %s/%s:", op, kernel->name);
            for (size_t i = 0; i < COUNT(products); i++)
                check_product(data_of(i), kernel, way);
        }
    }
    printf("\n");
    CU_ASSERT_TRUE(kernels >= 4); /* the reference and the twins */
}

static void test_gemm_direct(void)
{
    check_op("q4_K_gemm_moe_id", GEMM_DIRECT);
}

static void test_gemm_indirect(void)
{
    check_op("q4_K_gemm_moe_id", GEMM_INDIRECT);
}

static void test_gemv_moe_id(void)
{
    check_op("q4_K_gemv_moe_id", GEMV_MOE);
}

static void test_gemm(void)
{
    check_op("q4_K_gemm", DENSE_GEMM);
}

static void test_gemv(void)
{
    check_op("q4_K_gemv", DENSE_GEMV);
}

static CU_TestInfo tests[] = {
    {"q4_K_gemm_moe_id, direct", test_gemm_direct},
    {"q4_K_gemm_moe_id, indirect", test_gemm_indirect},
    {"q4_K_gemv_moe_id", test_gemv_moe_id},
    {"q4_K_gemm", test_gemm},
    {"q4_K_gemv", test_gemv},
    CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
    {"golden layers", NULL, NULL, NULL, NULL, tests},
    CU_SUITE_INFO_NULL,
};

int main(void)
{
    int status = cunit_main(suites);
    free_all();
    return status;
}
