/* SPDX-License-Identifier: MIT */
/* Cases whose weights are in a model file: what kernels get of it, and what a layer makes. */
#include <sys/mman.h>
#include <unistd.h>

#include "harness/shrink.h"
#include "harness/stored.h"
#include "harness/variants.h"
#include "opt/cpu.h"
#include "opt/kernels.h"
#include "ref/fill.h"
#include "ref/q4_K.h"
#include "ref/q4_K_gemm_moe_id.h"
#include "tests/model.h"
#include "tests/tiny_gguf.h"

/* ---- what a kernel gets ---- */

/* The file's bytes for experts that are used, NaN for the others, and no copy. */
static void test_mapped(void)
{
    struct cases cases =
        one_case("q4_K_gemm_moe_id top_k=1 tokens=2 routing=router:blk.0.ffn_gate_"
                 "inp.weight fill=model weights=" GOLDEN ":blk.0.ffn_gate_exps.weight");
    const struct assay_case *item = &cases.items[0];
    const struct q4_K_gemm_moe_id_shape *shape = (const void *)item->shape;
    struct expectation x;
    struct gguf gguf;
    struct error error;
    CU_ASSERT_TRUE_FATAL(gguf_open(&gguf, GOLDEN, &error));
    CU_ASSERT_TRUE_FATAL(
        expectation_make(&x, item, 1u << ASSAY_I8 | 1u << ASSAY_F16, &options, &error));
    const uint8_t *w = x.inputs[0].pointers[0];
    const int32_t *tpe = x.inputs[0].pointers[3];
    size_t expert_bytes = (size_t)(shape->m * shape->k / Q4_K_BLOCK * Q4_K_BLOCK_BYTES);
    size_t used = 0;
    CU_ASSERT_EQUAL(shape->w_offset, gguf_find(&gguf, "blk.0.ffn_gate_exps.weight")->offset);
    for (int64_t e = 0; e < shape->experts; e++) {
        size_t at = (size_t)shape->w_offset + (size_t)e * expert_bytes;
        bool same = memcmp(w + at, gguf.data + at, expert_bytes) == 0;
        CU_ASSERT_EQUAL(same, tpe[e] > 0);
        CU_ASSERT_TRUE(tpe[e] > 0 || (w[at] == 0x01 && w[at + 1] == 0x7e));
        CU_ASSERT_TRUE(is_mapped(w + at, "/tests/golden/moe.gguf"));
        used += tpe[e] > 0;
    }
    CU_ASSERT_TRUE(used == 1 || used == 2);
    for (int i = 1; i < 3; i++)
        CU_ASSERT_PTR_EQUAL(x.inputs[i].pointers[0], w);
    CU_ASSERT_TRUE(x.has_copies && x.has_small);
    expectation_free(&x);
    cases_free(&cases);
    gguf_close(&gguf);
}

/* ---- kernels that get it wrong ---- */

static const char *run_ref(const struct q4_K_gemm_moe_id_shape *shape, const void *args,
                           void *scratch)
{
    return q4_K_gemm_moe_id_ref.run(shape, args, NULL, scratch, 1);
}

/* A byte offset of 32 bits. */
static const char *run_narrow(const void *shape, const void *args, const void *prepared,
                              void *scratch, int threads)
{
    (void)prepared, (void)threads;
    struct q4_K_gemm_moe_id_shape narrow = *(const struct q4_K_gemm_moe_id_shape *)shape;
    narrow.w_offset = (int64_t)(uint32_t)narrow.w_offset;
    return run_ref(&narrow, args, scratch);
}

/* Takes part of every expert, used or not, times zero. */
static const char *run_all_experts(const void *shape, const void *args, const void *prepared,
                                   void *scratch, int threads)
{
    (void)prepared, (void)threads;
    const struct q4_K_gemm_moe_id_shape *s = shape;
    const struct q4_K_gemm_moe_id_args *a = args;
    const char *refusal = run_ref(s, args, scratch);
    for (int64_t e = 0; e < s->experts; e++) {
        float w[Q4_K_BLOCK];
        int64_t block = e * s->m * (s->k / Q4_K_BLOCK);
        q4_K_weights((const struct block_q4_K *)(a->w + s->w_offset) + block, w);
        a->dst[0] += 0 * w[0];
    }
    return refusal;
}

/* Reads the bytes right before the tensor, times zero. */
static const char *run_before(const void *shape, const void *args, const void *prepared,
                              void *scratch, int threads)
{
    (void)prepared, (void)threads;
    const struct q4_K_gemm_moe_id_shape *s = shape;
    const struct q4_K_gemm_moe_id_args *a = args;
    const char *refusal = run_ref(s, args, scratch);
    float before[2];
    memcpy(before, a->w + s->w_offset - sizeof(before), sizeof(before));
    a->dst[0] += 0 * before[0] * before[1];
    return refusal;
}

static enum verdict check_wrong(const struct expectation *x,
                                const char *(*run)(const void *, const void *, const void *, void *,
                                                   int),
                                char *reason, size_t size)
{
    struct assay_kernel wrong = q4_K_gemm_moe_id_ref;
    wrong.run = run;
    return check_one(x, &wrong, reason, size);
}

static void test_wrong(void)
{
    char reason[256];
    struct expectation x;
    struct error error;
    struct cases cases = one_case("q4_K_gemm_moe_id top_k=1 tokens=2 routing=uniform fill=model "
                                  "weights=" GOLDEN ":blk.1.ffn_gate_exps.weight");
    CU_ASSERT_TRUE_FATAL(
        expectation_make(&x, &cases.items[0], 1u << ASSAY_I8 | 1u << ASSAY_F16, &options, &error));
    CU_ASSERT_EQUAL(check_wrong(&x, run_narrow, reason, sizeof(reason)), PASS); /* not that far */
    CU_ASSERT_EQUAL(check_wrong(&x, run_all_experts, reason, sizeof(reason)), FAIL);
    CU_ASSERT_EQUAL(check_wrong(&x, run_before, reason, sizeof(reason)), FAIL);
    expectation_free(&x);
    cases_free(&cases);
}

/* ---- weights behind the first 4 GiB ---- */

/* A sparse file; its path. */
static const char *make_large(int *fd)
{
    static struct tiny_gguf tiny;
    static char path[32];
    const uint64_t far = UINT64_C(1) << 32;
    tiny_make(&tiny);
    tiny_set(&tiny, tiny.offset, 0, 8); /* the router takes the first place */
    tiny_set(&tiny, tiny.second_offset, far, 8);
    *fd = memfd_create("model", 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", *fd);
    CU_ASSERT_TRUE_FATAL(*fd >= 0);
    CU_ASSERT_EQUAL(pwrite(*fd, tiny.bytes, tiny.data + 24, 0), (ssize_t)tiny.data + 24);
    CU_ASSERT_EQUAL(pwrite(*fd, tiny.bytes + tiny.data, 288, (off_t)(far + tiny.data)), 288);
    return path;
}

static void test_large(void)
{
    int fd;
    char key[256], reason[256];
    struct expectation x;
    struct error error;
    const struct assay_kernels *own = assay_own_kernels();
    size_t passed = 0;
    snprintf(key, sizeof(key),
             "q4_K_gemm_moe_id top_k=1 tokens=5 routing=uniform fill=model weights=%s:%s",
             make_large(&fd), "blk.0.ffn_up_exps.weight");
    struct cases cases = one_case(key);
    CU_ASSERT_TRUE(case_bytes(&cases.items[0]) < 1 << 20);
    CU_ASSERT_TRUE_FATAL(
        expectation_make(&x, &cases.items[0], 1u << ASSAY_I8 | 1u << ASSAY_F16, &options, &error));
    for (uint32_t i = 0; i < own->count; i++) {
        const struct assay_kernel *kernel = own->kernels[i];
        if (strcmp(kernel->op, "q4_K_gemm_moe_id") != 0 ||
            cpu_tier_lacks(kernel->tier, cpu_detect()))
            continue;
        CU_ASSERT_EQUAL(check_one(&x, kernel, reason, sizeof(reason)), PASS);
        passed++;
    }
    CU_ASSERT_TRUE(passed >= 2);
    CU_ASSERT_TRUE(x.has_copies && x.has_small && !x.copies_weights); /* of all but the weights */
    CU_ASSERT_EQUAL(check_wrong(&x, run_narrow, reason, sizeof(reason)), CRASHED);
    CU_ASSERT_PTR_NOT_NULL(strstr(reason, "of the file that w is mapped from"));
    CU_ASSERT_EQUAL(check_wrong(&x, run_before, reason, sizeof(reason)), FAIL);
    expectation_free(&x);
    cases_free(&cases);
    close(fd);
}

/* ---- weights with much in common ---- */

/* Two experts [2048, 64] whose weights are nearly all positive. */
static const char *make_biased(int *fd)
{
    static struct tiny_gguf tiny;
    static uint8_t data[1024 * Q4_K_BLOCK_BYTES];
    static char path[32];
    uint64_t state = 1;
    for (size_t i = 0; i < sizeof(data); i++) {
        state = state * 6364136223846793005 + 1442695040888963407;
        data[i] = (uint8_t)(state >> 56);
        if (i % Q4_K_BLOCK_BYTES < 4) /* d and dmin of 2^-11 and a little more */
            data[i] = i % 2 ? 0x10 : data[i];
    }
    tiny_make(&tiny);
    tiny_set(&tiny, tiny.second_offset - 28, 2048, 8);
    tiny_set(&tiny, tiny.second_offset - 20, 64, 8);
    tiny_set(&tiny, tiny.offset, sizeof(data), 8);
    *fd = memfd_create("model", 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", *fd);
    CU_ASSERT_TRUE_FATAL(*fd >= 0);
    CU_ASSERT_EQUAL(pwrite(*fd, tiny.bytes, tiny.data, 0), (ssize_t)tiny.data);
    CU_ASSERT_EQUAL(pwrite(*fd, data, sizeof(data), (off_t)tiny.data), (ssize_t)sizeof(data));
    CU_ASSERT_EQUAL(ftruncate(*fd, (off_t)(tiny.data + sizeof(data) + 24)), 0);
    return path;
}

/* The rows' errors are then much the same, which is no reason to suspect a kernel. */
static void test_biased(void)
{
    int fd;
    const char *path = make_biased(&fd);
    for (int seed = 1; seed <= 8; seed++) {
        char key[256], reason[256];
        struct expectation x;
        struct error error;
        snprintf(key, sizeof(key),
                 "q4_K_gemm_moe_id top_k=1 tokens=1 routing=uniform fill=model seed=%d weights=%s:"
                 "blk.0.ffn_up_exps.weight",
                 seed, path);
        struct cases cases = one_case(key);
        CU_ASSERT_TRUE_FATAL(
            expectation_make(&x, &cases.items[0], 1u << ASSAY_I8, &options, &error));
        CU_ASSERT_EQUAL(check_one(&x, &q4_K_gemm_moe_id_ref_i8, reason, sizeof(reason)), PASS);
        expectation_free(&x);
        cases_free(&cases);
    }
    close(fd);
}

/* ---- what else uses cases ---- */

static bool fails_from_three(const struct assay_case *item, void *context, bool *fails,
                             struct error *error)
{
    static char asked[64][512];
    static size_t n_asked;
    (void)error;
    const struct q4_K_gemm_moe_id_shape *shape = (const void *)item->shape;
    CU_ASSERT_PTR_NOT_NULL(item->weights);
    CU_ASSERT_STRING_NOT_EQUAL(item->key, context); /* the failing case */
    for (size_t i = 0; i < n_asked; i++)
        CU_ASSERT_STRING_NOT_EQUAL(item->key, asked[i]);
    if (n_asked < 64)
        snprintf(asked[n_asked++], sizeof(asked[0]), "%s", item->key);
    *fails = shape->tokens >= 3;
    return true;
}

/* A smaller failing case has the same weights. */
static void test_shrink(void)
{
    struct error error = {""};
    struct cases smallest = {0};
    struct cases cases =
        one_case("q4_K_gemm_moe_id top_k=4 tokens=33 routing=router:blk.0.ffn_gate_"
                 "inp.weight fill=model weights=" GOLDEN ":blk.0.ffn_gate_exps.weight");
    CU_ASSERT_TRUE_FATAL(
        shrink_case(&cases.items[0], fails_from_three, cases.items[0].key, 10, &smallest, &error));
    CU_ASSERT_STRING_EQUAL(
        smallest.items[0].key,
        "q4_K_gemm_moe_id experts=8 m=256 k=512 top_k=1 tokens=3 routing=uniform "
        "fill=model weights=" GOLDEN ":blk.0.ffn_gate_exps.weight seed=1");
    cases_free(&cases);
    cases_free(&smallest);
}

/* A bench reads the file first, then as many copies of the tensor as its cold mode needs. */
static void test_variants(void)
{
    struct variants v;
    struct error error = {""};
    struct cases cases = one_case("q4_K_gemm_moe_id top_k=4 tokens=3 routing=uniform fill=model "
                                  "weights=" GOLDEN ":blk.1.ffn_gate_exps.weight");
    const struct case_tensor *tensor = &cases.items[0].weights->tensors[0];
    CU_ASSERT_TRUE_FATAL(variants_make(&v, &cases.items[0], 1 << 20, &error));
    CU_ASSERT_EQUAL(v.n_copies, 8); /* 4 MiB of 576 KiB each */
    const uint8_t *first = v.weights[0].pointers[0];
    CU_ASSERT_TRUE(is_mapped(first + tensor->offset, "/tests/golden/moe.gguf"));
    for (int i = 1; i < v.n_copies; i++) {
        const uint8_t *copy = v.weights[i].pointers[0];
        CU_ASSERT_PTR_NOT_EQUAL(copy, first);
        CU_ASSERT_EQUAL(
            memcmp(copy + tensor->offset, first + tensor->offset, (size_t)tensor->bytes), 0);
    }
    variants_free(&v);
    cases_free(&cases);
}

/* The first of equals first, what is not a number last. */
static void test_ties(void)
{
    const float router[] = {1, NAN, 2, 1, 2};
    const int32_t wanted[] = {2, 4, 0, 3, 1};
    const struct assay_fill fill = {.router = router, .hidden = 1};
    const float x = 1;
    double logits[5];
    int32_t selected[5];
    route_by_router(&fill, 5, 5, &x, logits, selected);
    CU_ASSERT_EQUAL(memcmp(selected, wanted, sizeof(wanted)), 0);
}

/* ---- layers ---- */

/* Of one token the gemv, of more the gemm. */
static void check_calls(const struct cases *cases)
{
    for (size_t i = 0; i < cases->count; i++) {
        const char *key = cases->items[i].key;
        bool gemv = strncmp(key, "q4_K_gemv_moe_id ", 17) == 0;
        bool gemm = strncmp(key, "q4_K_gemm_moe_id ", 17) == 0;
        CU_ASSERT_TRUE(gemv || gemm || strncmp(key, "moe_ffn ", 8) == 0);
        CU_ASSERT_FALSE(gemv && !strstr(key, " tokens=1 "));
        CU_ASSERT_FALSE(gemm && !strstr(key, " tokens=33 "));
    }
}

static void test_layers(void)
{
    struct gguf gguf;
    struct cases cases = {0};
    struct error error = {""};
    CU_ASSERT_TRUE_FATAL(gguf_open(&gguf, GOLDEN, &error));
    CU_ASSERT_TRUE_FATAL(make_layer(&gguf, 0, &cases, &error));
    CU_ASSERT_STRING_EQUAL(skips, "blk.0.ffn_norm.weight: no op takes f32\n"
                                  "blk.0.attn_output.weight: no op takes bf16\n");
    size_t gate = 0, up = 0, down = 0, whole = 0;
    for (size_t i = 0; i < cases.count; i++) {
        const struct assay_case *item = &cases.items[i];
        const char *tensor = item->weights->tensors[0].name;
        if (item->op->n_stored == 3) {
            whole++;
            continue;
        }
        CU_ASSERT_STRING_EQUAL(item->weights->router.name, "blk.0.ffn_gate_inp.weight");
        CU_ASSERT_PTR_NOT_NULL(strstr(item->key, " top_k=4 "));
        CU_ASSERT_EQUAL(strstr(item->key, " ne11=4 ") != NULL, strstr(tensor, "down") != NULL);
        gate += strcmp(tensor, "blk.0.ffn_gate_exps.weight") == 0;
        up += strcmp(tensor, "blk.0.ffn_up_exps.weight") == 0;
        down += strcmp(tensor, "blk.0.ffn_down_exps.weight") == 0;
    }
    CU_ASSERT_TRUE(gate >= 2 && up == gate && down == gate && cases.count == 3 * gate + whole);
    CU_ASSERT_EQUAL(whole, 2);
    check_calls(&cases);
    size_t before = cases.count;
    CU_ASSERT_TRUE(make_layer(&gguf, 1, &cases, &error));
    check_calls(&cases);
    CU_ASSERT_EQUAL(cases.count, 2 * before);
    CU_ASSERT_FALSE(make_layer(&gguf, 2, &cases, &error));
    CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "there is no layer 2: no tensor's name begins with "
                                              "\"blk.2.\""));
    CU_ASSERT_EQUAL(cases.count, 2 * before);
    cases_free(&cases);
    gguf_close(&gguf);
}

#define ROUTER "blk.0.ffn_gate_inp.weight: no case is routed\n"

/* What a layer lacks is said, of the tensor that wants it; ops added later may say more. */
static void layer_of(const struct tiny_gguf *file, const char *message, const char *skipped)
{
    struct gguf gguf;
    struct cases cases = {0};
    struct error error = {""};
    int fd = memfd_create("model", 0);
    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    CU_ASSERT_EQUAL(pwrite(fd, file->bytes, file->size, 0), (ssize_t)file->size);
    CU_ASSERT_TRUE_FATAL(gguf_open(&gguf, path, &error));
    CU_ASSERT_EQUAL(make_layer(&gguf, 0, &cases, &error), message == NULL);
    if (message)
        CU_ASSERT_PTR_NOT_NULL(strstr(error.text, message));
    if (!strstr(skips, skipped))
        printf("\n  got      %s  expected %s", skips, skipped);
    CU_ASSERT_PTR_NOT_NULL(strstr(skips, skipped));
    CU_ASSERT_EQUAL(strstr(skips, ROUTER) != NULL, message != NULL);
    cases_free(&cases);
    gguf_close(&gguf);
    close(fd);
}

#define UP      "blk.0.ffn_up_exps.weight: "
#define NOTHING "no op can use any tensor of layer 0"

static void test_odd_layers(void)
{
    struct tiny_gguf tiny;
    tiny_make(&tiny);
    layer_of(&tiny, NULL, "");
    tiny.bytes[tiny.used_key] = 'x'; /* no ...expert_used_count */
    layer_of(&tiny, NOTHING,
             UP "q4_K_gemm_moe_id needs top_k, but the file has no expert_used_count\n");
    tiny_make(&tiny);
    tiny_set(&tiny, tiny.used, 3, 4); /* of two experts */
    char skipped[256];
    snprintf(skipped, sizeof(skipped),
             UP "key: shape: top_k must not exceed experts (experts=2 m=1 k=256 top_k=3 tokens=1 "
                "w_offset=%zu)\n",
             tiny.data);
    layer_of(&tiny, NOTHING, skipped);
    tiny_make(&tiny);
    tiny_set(&tiny, tiny.ne + 8, 1, 8);
    layer_of(&tiny, NOTHING,
             UP "key: routing: the router \"blk.0.ffn_gate_inp.weight\" must be for 2 experts\n");
    tiny_make_named(&tiny, "blk.0.ffn_other.weight");
    layer_of(&tiny, NOTHING,
             "blk.0.ffn_other.weight: q4_K_gemm_moe_id needs top_k, which no layer says of it\n");
}

/* A matrix that is not one of several experts'. */
static void test_dense(void)
{
    struct tiny_gguf tiny;
    struct gguf gguf;
    struct cases cases = {0};
    struct error error = {""};
    int fd = memfd_create("model", 0);
    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    tiny_make_named(&tiny, "blk.0.attn_q.weight");
    tiny_set(&tiny, tiny.second_offset - 20, 2, 8); /* [256, 2, 1] */
    tiny_set(&tiny, tiny.second_offset - 12, 1, 8);
    CU_ASSERT_EQUAL(pwrite(fd, tiny.bytes, tiny.size, 0), (ssize_t)tiny.size);
    CU_ASSERT_TRUE_FATAL(gguf_open(&gguf, path, &error));
    CU_ASSERT_TRUE(make_layer(&gguf, 0, &cases, &error));
    size_t gemv = 0, gemm = 0;
    for (size_t i = 0; i < cases.count; i++) {
        CU_ASSERT_FALSE(cases.items[i].op->routed);
        gemv += strncmp(cases.items[i].key, "q4_K_gemv n=2 k=256 fill=model weights=", 39) == 0;
        gemm += strncmp(cases.items[i].key, "q4_K_gemm m=2 k=256 tokens=33 ", 30) == 0;
    }
    CU_ASSERT_EQUAL(gemv, 1);
    CU_ASSERT_EQUAL(gemm, 1);
    CU_ASSERT_EQUAL(cases.count, 3); /* and the dequantizer */
    CU_ASSERT_STRING_EQUAL(skips, ROUTER);
    const struct gguf_tensor *tensor = gguf_find(&gguf, "blk.0.attn_q.weight");
    CU_ASSERT_FALSE(stored_usable_by(&q4_K_gemm_moe_id_op, tensor, &error));
    CU_ASSERT_STRING_EQUAL(error.text, "q4_K_gemm_moe_id takes the matrices of several experts");
    cases_free(&cases);
    gguf_close(&gguf);
    close(fd);
}

static CU_TestInfo tests[] = {
    {"mapped weights", test_mapped},
    {"wrong kernels", test_wrong},
    {"beyond 4 GiB", test_large},
    {"biased weights", test_biased},
    {"smaller cases", test_shrink},
    {"variants", test_variants},
    {"ties", test_ties},
    {"layers", test_layers},
    {"odd layers", test_odd_layers},
    {"dense", test_dense},
    CU_TEST_INFO_NULL,
};

int main(void)
{
    CU_SuiteInfo suites[] = {
        {"models", NULL, NULL, NULL, NULL, tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites);
}
