/* SPDX-License-Identifier: MIT */
/* Cases of a whole layer, which take three tensors of a model file and route by its router. */
#include <math.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness/variants.h"
#include "opt/cpu.h"
#include "opt/kernels.h"
#include "ref/moe_ffn.h"
#include "ref/q4_K.h"
#include "tests/model.h"

#define WHOLE                                                                                     \
    " weights=" GOLDEN ":gate=blk.1.ffn_gate_exps.weight:up=blk.1.ffn_up_exps.weight:down=blk.1." \
    "ffn_down_exps.weight"
#define ROUTED " routing=router:blk.1.ffn_gate_inp.weight fill=model" WHOLE

static const char *const whole_tensors[] = {
    "blk.1.ffn_gate_exps.weight", "blk.1.ffn_up_exps.weight", "blk.1.ffn_down_exps.weight"};

/* Whether fewer than top_k experts have a larger logit. */
static bool is_selected(const float *logits, int64_t experts, int64_t top_k, int64_t expert)
{
    int64_t larger = 0;
    for (int64_t e = 0; e < experts; e++)
        larger += logits[e] > logits[expert];
    return larger < top_k;
}

/* Each tensor by its own pointer, right behind what must not be read; as above for experts. */
static void check_whole_weights(const struct gguf *gguf, const struct expectation *x)
{
    const struct moe_ffn_shape *s = (const void *)x->item->shape;
    const float *logits = x->inputs[0].pointers[MOE_FFN_LOGITS];
    size_t expert_bytes = (size_t)(s->ffn * s->hidden / Q4_K_BLOCK * Q4_K_BLOCK_BYTES), used = 0;
    for (size_t i = 0; i < 3; i++) {
        const struct gguf_tensor *tensor = gguf_find(gguf, whole_tensors[i]);
        const uint8_t *file = gguf->data + tensor->offset;
        const uint8_t *w = x->inputs[0].pointers[MOE_FFN_GATE + i];
        CU_ASSERT_EQUAL((uintptr_t)w % 4096, (uintptr_t)file % 4096);
        CU_ASSERT_EQUAL(w[-1], poison_byte(((size_t)tensor->offset - 1) % 4, POISON_A));
        CU_ASSERT_TRUE(is_mapped(w, "/tests/golden/moe.gguf"));
        CU_ASSERT_PTR_EQUAL(x->inputs[1].pointers[MOE_FFN_GATE + i], w);
        for (int64_t e = 0; e < s->experts; e++) {
            size_t at = (size_t)e * expert_bytes;
            bool selected = is_selected(logits, s->experts, s->top_k, e);
            CU_ASSERT_EQUAL(memcmp(w + at, file + at, expert_bytes) == 0, selected);
            CU_ASSERT_TRUE(selected || (w[at] == 0x01 && w[at + 1] == 0x7e));
            used += selected;
        }
    }
    CU_ASSERT_EQUAL(used, 3 * (size_t)s->top_k);
}

static void test_whole(void)
{
    struct cases cases = one_case("moe_ffn top_k=2 tokens=1" ROUTED);
    struct expectation x;
    struct gguf gguf;
    struct error error;
    CU_ASSERT_STRING_EQUAL(cases.items[0].key,
                           "moe_ffn experts=8 hidden=512 ffn=256 top_k=2 tokens=1" ROUTED
                           " seed=1");
    CU_ASSERT_TRUE_FATAL(gguf_open(&gguf, GOLDEN, &error));
    CU_ASSERT_TRUE_FATAL(expectation_make(&x, &cases.items[0], 0, &options, &error));
    check_whole_weights(&gguf, &x);
    expectation_free(&x);
    cases_free(&cases);
    gguf_close(&gguf);
}

/* Logits are the file's router times the case's own activations, in an order of its own here. */
static void test_whole_logits(void)
{
    struct cases cases = one_case("moe_ffn top_k=2 tokens=7" ROUTED);
    const struct assay_case *item = &cases.items[0];
    struct tensors inputs;
    struct gguf gguf;
    struct error error;
    CU_ASSERT_TRUE_FATAL(gguf_open(&gguf, GOLDEN, &error));
    CU_ASSERT_TRUE_FATAL(inputs_make(&inputs, item, AT_END, &error));
    CU_ASSERT_TRUE_FATAL(case_fill(item, inputs.pointers, 0, &error));
    const float *router =
        (const float *)(gguf.data + gguf_find(&gguf, "blk.1.ffn_gate_inp.weight")->offset);
    const float *logits = inputs.pointers[MOE_FFN_LOGITS], *x = inputs.pointers[MOE_FFN_X];
    for (int64_t i = 0; i < 7 * 8; i++) {
        double sum = 0, size = 0;
        for (int64_t j = 512; j-- > 0;) {
            double product = (double)router[i % 8 * 512 + j] * (double)x[i / 8 * 512 + j];
            sum += product;
            size += fabs(product);
        }
        CU_ASSERT_TRUE(size > 0);
        CU_ASSERT_TRUE(fabs((double)logits[i] - sum) <= 0x1p-24 * fabs(sum) + 0x1p-40 * size);
    }
    tensors_free(&inputs);
    cases_free(&cases);
    gguf_close(&gguf);
}

/* Every kernel passes other fills and routings on a file's weights too. */
static void test_whole_fills(void)
{
    static const char *const keys[] = {
        "moe_ffn top_k=2 tokens=9 norm=0 routing=zipf:1.5 fill=model" WHOLE,
        "moe_ffn top_k=3 tokens=16 routing=router:blk.1.ffn_gate_inp.weight fill=edge" WHOLE,
    };
    const struct assay_kernels *own = assay_own_kernels();
    for (size_t k = 0; k < sizeof(keys) / sizeof(*keys); k++) {
        struct cases cases = one_case(keys[k]);
        struct expectation x;
        struct error error;
        char reason[256];
        size_t passed = 0;
        CU_ASSERT_TRUE_FATAL(expectation_make(&x, &cases.items[0], 0, &options, &error));
        for (uint32_t i = 0; i < own->count; i++) {
            const struct assay_kernel *kernel = own->kernels[i];
            if (strcmp(kernel->op, "moe_ffn") != 0 || cpu_tier_lacks(kernel->tier, cpu_detect()))
                continue;
            CU_ASSERT_EQUAL(check_one(&x, kernel, reason, sizeof(reason)), PASS);
            passed++;
        }
        CU_ASSERT_TRUE(passed >= 2);
        expectation_free(&x);
        cases_free(&cases);
    }
}

/* ---- kernels that get it wrong ---- */

static const char *run_whole(const void *shape, const struct moe_ffn_args *args, void *scratch)
{
    return moe_ffn_ref.run(shape, args, NULL, scratch, 1);
}

/* Takes the tensors in the file's order for those of the contract. */
static const char *run_file_order(const void *shape, const void *args, const void *prepared,
                                  void *scratch, int threads)
{
    (void)prepared, (void)threads;
    struct moe_ffn_args a = *(const struct moe_ffn_args *)args;
    const uint8_t *gate = a.gate;
    a.gate = a.up;
    a.up = gate;
    return run_whole(shape, &a, scratch);
}

/* Reads the bytes right before `down`, times zero. */
static const char *run_before_down(const void *shape, const void *args, const void *prepared,
                                   void *scratch, int threads)
{
    (void)prepared, (void)threads;
    const struct moe_ffn_args *a = args;
    const char *refusal = run_whole(shape, a, scratch);
    float before;
    memcpy(&before, a->down - sizeof(before), sizeof(before));
    a->out[0] += 0 * before;
    return refusal;
}

/* Reads what the file has a page after `up`, times zero. */
static const char *run_after_up(const void *shape, const void *args, const void *prepared,
                                void *scratch, int threads)
{
    (void)prepared, (void)threads;
    const struct moe_ffn_shape *s = shape;
    const struct moe_ffn_args *a = args;
    int64_t bytes = s->experts * s->ffn * s->hidden / Q4_K_BLOCK * Q4_K_BLOCK_BYTES;
    const volatile uint8_t *after = a->up + bytes + 4095;
    (void)*after;
    return run_whole(shape, a, scratch);
}

static void test_wrong_whole(void)
{
    static const struct {
        const char *(*run)(const void *, const void *, const void *, void *, int);
        enum verdict verdict;
        const char *reason;
    } wrong[] = {
        {run_file_order, FAIL, " elements of out are out of tolerance"},
        {run_before_down, CRASHED, "4 bytes before the start of down"},
        {run_after_up, CRASHED, " past the end of up"},
    };
    struct cases cases = one_case("moe_ffn top_k=2 tokens=3" ROUTED);
    struct expectation x;
    struct error error;
    char reason[256];
    CU_ASSERT_TRUE_FATAL(expectation_make(&x, &cases.items[0], 0, &options, &error));
    CU_ASSERT_EQUAL(check_one(&x, &moe_ffn_ref, reason, sizeof(reason)), PASS);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        struct assay_kernel kernel = moe_ffn_ref;
        kernel.run = wrong[i].run;
        CU_ASSERT_EQUAL(check_one(&x, &kernel, reason, sizeof(reason)), wrong[i].verdict);
        CU_ASSERT_PTR_NOT_NULL(strstr(reason, wrong[i].reason));
    }
    expectation_free(&x);
    cases_free(&cases);
}

/* ---- what else uses cases ---- */

/* A bench reads the file first, then copies of all three tensors. */
static void test_whole_variants(void)
{
    struct variants v;
    struct error error = {""};
    struct cases cases = one_case("moe_ffn top_k=2 tokens=3" ROUTED);
    const struct case_tensor *tensors = cases.items[0].weights->tensors;
    CU_ASSERT_EQUAL(case_bytes(&cases.items[0]),
                    3 * tensors[0].bytes + 4 * 3 * (8 + 512 + 512)); /* logits, x, out */
    CU_ASSERT_EQUAL(case_stored_bytes(&cases.items[0]), 3 * tensors[0].bytes);
    CU_ASSERT_TRUE_FATAL(variants_make(&v, &cases.items[0], 1 << 20, &error));
    CU_ASSERT_EQUAL(v.n_copies, 3); /* 4 MiB of 1.7 MiB each */
    for (int i = 0; i < v.n_copies; i++) {
        for (size_t t = 0; t < 3; t++) {
            const uint8_t *first = v.weights[0].pointers[MOE_FFN_GATE + t];
            const uint8_t *copy = v.weights[i].pointers[MOE_FFN_GATE + t];
            CU_ASSERT_EQUAL(is_mapped(copy, "/tests/golden/moe.gguf"), i == 0);
            CU_ASSERT_EQUAL(memcmp(copy, first, (size_t)tensors[t].bytes), 0);
        }
    }
    variants_free(&v);
    cases_free(&cases);
}

/* Where layer 0 of the golden file, with some bytes other, gets whole-layer cases; else why not. */
static void whole_of(const char *name, size_t at, uint64_t value, size_t bytes, const char *skipped)
{
    struct gguf gguf;
    struct cases cases = {0};
    struct error error = {""};
    char path[32];
    CU_ASSERT_TRUE_FATAL(gguf_open(&gguf, GOLDEN, &error));
    const uint8_t *found = memmem(gguf.data, gguf.size, name, strlen(name));
    CU_ASSERT_PTR_NOT_NULL_FATAL(found);
    int fd = memfd_create("model", 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    CU_ASSERT_EQUAL(pwrite(fd, gguf.data, gguf.size, 0), (ssize_t)gguf.size);
    CU_ASSERT_EQUAL(pwrite(fd, &value, bytes, found - gguf.data + (off_t)at), (ssize_t)bytes);
    gguf_close(&gguf);
    CU_ASSERT_TRUE_FATAL(gguf_open(&gguf, path, &error));
    make_layer(&gguf, 0, &cases, &error);
    if (!strstr(skips, skipped))
        printf("\n  got      %s  expected %s", skips, skipped);
    CU_ASSERT_PTR_NOT_NULL(strstr(skips, skipped));
    for (size_t i = 0; i < cases.count; i++)
        CU_ASSERT_TRUE(cases.items[i].op->n_stored == 1);
    cases_free(&cases);
    gguf_close(&gguf);
    close(fd);
}

static void test_odd_wholes(void)
{
    static const char up[] = "blk.0.ffn_up_exps.weight", down[] = "blk.0.ffn_down_exps.weight";
    whole_of(up, strlen(up) - 1, 'T', 1,
             "blk.0.ffn_gate_exps.weight: moe_ffn needs blk.0.ffn_up_exps.weight, which the file "
             "does not have\n");
    whole_of(down, strlen(down) + 28, 2, 4, /* of as many bytes */
             "blk.0.ffn_down_exps.weight: moe_ffn takes q4_K, not q4_0\n");
    whole_of(down, strlen(down) + 12, 256, 8,
             "blk.0.ffn_down_exps.weight: moe_ffn takes no down with hidden=256 beside gate with "
             "512\n");
    whole_of("blk.0.ffn_gate_inp.weight", 25 + 4, 256, 8,
             "blk.0.ffn_gate_exps.weight: key: routing: the router \"blk.0.ffn_gate_inp.weight\" "
             "must be for 512 activations, not 256\n");
}

static CU_TestInfo tests[] = {
    {"weights", test_whole},
    {"logits", test_whole_logits},
    {"other cases", test_whole_fills},
    {"wrong kernels", test_wrong_whole},
    {"variants", test_whole_variants},
    {"odd layers", test_odd_wholes},
    CU_TEST_INFO_NULL,
};

int main(void)
{
    CU_SuiteInfo suites[] = {
        {"whole layers", NULL, NULL, NULL, NULL, tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites);
}
