/* SPDX-License-Identifier: MIT */
/* A planned layer has the bits of its tier's parts called one by one, on the smoke cases. */
#include <stdlib.h>
#include <string.h>

#include "harness/case.h"
#include "harness/library.h"
#include "harness/memory.h"
#include "opt/cpu.h"
#include "opt/kernels.h"
#include "ref/moe_ffn.h"
#include "ref/moe_ids_tpe.h"
#include "ref/moe_router_topk_softmax.h"
#include "ref/moe_weighted_sum.h"
#include "ref/q4_K_gemm_moe_id.h"
#include "ref/silu_mul.h"
#include "tests/cunit_main.h"

enum { THREADS = 3 };

/* The kernel of an op that a layer's kernel is made of: of that name, or named after the tier. */
static const struct assay_kernel *part(const char *op, const struct assay_kernel *layer)
{
    const struct assay_kernels *own = assay_own_kernels();
    const struct assay_kernel *found = NULL;
    for (uint32_t i = 0; i < own->count; i++) {
        const struct assay_kernel *kernel = own->kernels[i];
        if (strcmp(kernel->op, op) != 0)
            continue;
        if (strcmp(kernel->name, layer->name) == 0)
            return kernel;
        if (strcmp(kernel->name, layer->tier) == 0)
            found = kernel;
    }
    CU_ASSERT_PTR_NOT_NULL_FATAL(found);
    return found;
}

/* Memory that is aligned as kernels are promised. */
static void *make(int64_t bytes)
{
    void *memory = aligned_alloc(ASSAY_BUFFER_ALIGN, (size_t)(bytes + 127) / 64 * 64);
    CU_ASSERT_PTR_NOT_NULL_FATAL(memory);
    memset(memory, 0x5a, (size_t)(bytes + 127) / 64 * 64);
    return memory;
}

static void call(const struct assay_kernel *kernel, const void *shape, void **args, int weights)
{
    void *prepared = kernel->prepare ? make(kernel->prepared_bytes(shape)) : NULL;
    void *scratch = make(kernel->scratch_bytes ? kernel->scratch_bytes(shape, THREADS) : 0);
    if (prepared)
        kernel->prepare(shape, args, prepared, THREADS);
    for (int i = 0; prepared && i < weights; i++)
        args[i + (weights == 3 ? MOE_FFN_GATE : 0)] = NULL;
    const char *refused = kernel->run(shape, args, prepared, scratch, THREADS);
    CU_ASSERT_PTR_NULL(refused);
    free(prepared);
    free(scratch);
}

static void multiply(const struct assay_kernel *layer, const struct moe_ffn_shape *s, bool down,
                     void *w, void *src, void *lists, void *tpe, void *dst)
{
    struct q4_K_gemm_moe_id_shape shape = {
        .experts = s->experts,
        .m = down ? s->hidden : s->ffn,
        .k = down ? s->ffn : s->hidden,
        .top_k = s->top_k,
        .ne11 = down ? s->top_k : 1,
        .tokens = s->tokens,
        .stride = s->tokens * s->top_k,
    };
    call(part("q4_K_gemm_moe_id", layer), &shape, (void *[]){w, src, lists, tpe, NULL, dst}, 1);
}

static void call_parts(const struct assay_kernel *layer, const struct moe_ffn_shape *s,
                       void *const *t, float *out)
{
    int64_t pairs = s->tokens * s->top_k;
    int32_t *ids = make(4 * pairs), *tpe = make(4 * s->experts);
    int32_t *lists = make(4 * pairs * s->experts);
    uint32_t grids[6];
    float *weights = make(4 * pairs), *gate = make(4 * pairs * s->ffn);
    float *up = make(4 * pairs * s->ffn), *h = make(4 * pairs * s->ffn);
    float *rows = make(4 * pairs * s->hidden);
    struct moe_router_topk_softmax_shape router = {s->experts, s->top_k, s->tokens, s->norm};
    struct moe_ids_tpe_shape list = {s->experts, s->top_k, s->tokens, s->ffn, s->hidden, pairs};
    struct silu_mul_shape silu = {.n = s->ffn, .rows = pairs};
    struct moe_weighted_sum_shape sum = {s->experts, s->top_k, s->tokens, s->hidden};
    call(part("moe_router_topk_softmax", layer), &router,
         (void *[]){t[MOE_FFN_LOGITS], ids, weights}, 0);
    call(part("moe_ids_tpe", layer), &list, (void *[]){ids, tpe, lists, grids}, 0);
    multiply(layer, s, false, t[MOE_FFN_GATE], t[MOE_FFN_X], lists, tpe, gate);
    multiply(layer, s, false, t[MOE_FFN_UP], t[MOE_FFN_X], lists, tpe, up);
    call(part("silu_mul", layer), &silu, (void *[]){gate, up, h}, 0);
    multiply(layer, s, true, t[MOE_FFN_DOWN], h, lists, tpe, rows);
    call(part("moe_weighted_sum", layer), &sum, (void *[]){ids, weights, rows, out}, 0);
    void *all[] = {ids, tpe, lists, weights, gate, up, h, rows};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        free(all[i]);
}

static int64_t differences(const float *a, const float *b, int64_t n)
{
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++)
        count += !(memcmp(&a[i], &b[i], sizeof(*a)) == 0 || (a[i] != a[i] && b[i] != b[i]));
    return count;
}

static void compare(const struct assay_case *item, void *const *inputs,
                    const struct assay_kernel *layer)
{
    const struct moe_ffn_shape *s = (const void *)item->shape;
    int64_t n = s->tokens * s->hidden;
    float *planned = make(4 * n), *parts = make(4 * n);
    void *args[ASSAY_MAX_TENSORS];
    memcpy(args, inputs, sizeof(args));
    args[MOE_FFN_OUT] = planned;
    call(layer, s, args, 3);
    call_parts(layer, s, inputs, parts);
    int64_t different = differences(planned, parts, n);
    if (different > 0)
        printf("\n  %s: %lld of %lld differ: %s\n", layer->name, (long long)different, (long long)n,
               item->key);
    CU_ASSERT_EQUAL(different, 0);
    free(planned);
    free(parts);
}

static bool is_planned(const struct assay_kernel *kernel)
{
    return strcmp(kernel->op, "moe_ffn") == 0 && kernel != &moe_ffn_ref &&
           !cpu_tier_lacks(kernel->tier, cpu_detect());
}

/* Returns how many kernels were compared. */
static size_t compare_all(const struct assay_case *item)
{
    const struct assay_kernels *own = assay_own_kernels();
    struct error error = {""};
    struct tensors inputs;
    size_t layers = 0;
    bool made = tensors_make(&inputs, item->op, item->shape, INPUTS, AT_END, PRIVATE, &error) &&
                case_fill(item, inputs.pointers, 0, &error);
    CU_ASSERT_TRUE_FATAL(made);
    for (uint32_t i = 0; i < own->count; i++) {
        if (!is_planned(own->kernels[i]))
            continue;
        compare(item, inputs.pointers, own->kernels[i]);
        layers++;
    }
    tensors_free(&inputs);
    return layers;
}

static void test_planned_layers(void)
{
    struct error error = {""};
    struct cases cases = {0};
    bool loaded = cases_load("cases/smoke/moe_ffn.json", &cases, &error);
    CU_ASSERT_TRUE_FATAL(loaded);
    size_t layers = 0;
    for (size_t c = 0; c < cases.count; c++)
        layers = compare_all(&cases.items[c]);
    printf("(%zu kernels, %zu cases) ", layers, cases.count);
    CU_ASSERT_TRUE(layers >= 1 && cases.count > 0);
    cases_free(&cases);
}

static CU_TestInfo layers[] = {
    {"the bits of their parts", test_planned_layers},
    CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
    {"planned layers", NULL, NULL, NULL, NULL, layers},
    CU_SUITE_INFO_NULL,
};

int main(void)
{
    return cunit_main(suites);
}
