/* SPDX-License-Identifier: MIT */
/*
 * moe_ffn as one plan, a team of threads goes through its stages:
 *
 *   route     shares of the tokens: router, activations to digits
 *   list      one thread: the pairs of each expert
 *   hidden    gate and up, units of both products one after the other
 *   activate  shares of the pairs: silu and product, and in class i8 to digits
 *   down      units of the product
 *   combine   pieces of a token's columns
 *
 * Gate, up and silu of 256 rows at once, so that they stay in L2, was 4 to 6 % slower at 32 and more tokens: panels
 * of two matrices in turns are not one linear stream.
 *
 * Every stage calls what the op of that name calls, so the result has the bits of the parts called
 * one by one. Weights are packed once; scratch is sized once, for all that is handed on.
 */
#include "ref/moe_ffn.h"

#include <omp.h>

#include "opt/avx512vnni/digits.h"
#include "opt/avx512vnni/f32.h"
#include "opt/avx512vnni/kernels.h"
#include "opt/avx512vnni/moe_parts.h"
#include "opt/avx512vnni/silu_mul.h"
#include "ref/q4_K_dot.h"
#include "ref/q4_K_gemm_moe_id.h"

#define THREAD_BLOCKS 512 /* fewer super-blocks than this are not worth a thread */

typedef struct moe_ffn_shape shape_t;
typedef struct moe_ffn_args args_t;

struct layer {
    const shape_t *shape;
    const args_t *args;
    enum matmul_class class;
    const uint8_t *packed; /* gate, up, down; or NULL */
    int32_t *ids, *tpe, *pairs;
    float *weights, *gate, *up, *down;
    uint8_t *router_scratch, *lists[2], *work[2];
    struct matmul_job job_gate, job_up, job_down;
};

static struct moe_router_topk_softmax_shape router_of(const shape_t *s)
{
    return (struct moe_router_topk_softmax_shape){s->experts, s->top_k, s->tokens, s->norm};
}

static struct q4_K_gemm_moe_id_shape product_of(const shape_t *s, bool down)
{
    return (struct q4_K_gemm_moe_id_shape){
        .experts = s->experts,
        .m = down ? s->hidden : s->ffn,
        .k = down ? s->ffn : s->hidden,
        .top_k = s->top_k,
        .ne11 = down ? s->top_k : 1,
        .tokens = s->tokens,
        .stride = assay_mul(s->tokens, s->top_k),
    };
}

/* The next part of scratch; *used becomes -1 on overflow. */
static void *take(uint8_t *scratch, int64_t *used, int64_t count, int64_t element_bytes)
{
    int64_t start = *used;
    *used = assay_add(start, line_bytes(count, element_bytes));
    return scratch && *used >= 0 ? scratch + start : NULL;
}

/* Lays a layer out in scratch, which may be NULL; returns the bytes. */
static int64_t lay_out(struct layer *layer, const shape_t *s, enum matmul_class class,
                       uint8_t *scratch, int threads)
{
    int64_t used = 0, pairs = assay_mul(s->tokens, s->top_k);
    struct moe_router_topk_softmax_shape router = router_of(s);
    layer->ids = take(scratch, &used, pairs, sizeof(int32_t));
    layer->weights = take(scratch, &used, pairs, sizeof(float));
    layer->tpe = take(scratch, &used, s->experts, sizeof(int32_t));
    layer->pairs = take(scratch, &used, assay_mul(s->experts, pairs), sizeof(int32_t));
    layer->gate = take(scratch, &used, assay_mul(pairs, s->ffn), sizeof(float));
    layer->up = take(scratch, &used, assay_mul(pairs, s->ffn), sizeof(float));
    layer->down = take(scratch, &used, assay_mul(pairs, s->hidden), sizeof(float));
    layer->router_scratch = take(scratch, &used, avx512vnni_moe_route_bytes(&router), threads);
    for (int i = 0; i < 2; i++) {
        struct q4_K_gemm_moe_id_shape product = product_of(s, i == 1);
        struct matmul sizes = avx512vnni_moe_matmul_sizes(&product);
        layer->lists[i] = take(scratch, &used, avx512vnni_moe_matmul_lists_bytes(&product), 1);
        layer->work[i] =
            take(scratch, &used, avx512vnni_matmul_work_bytes(&sizes, class, threads), 1);
    }
    return used;
}

/* One of the three products; before there are lists, to prepare its sources. */
static struct matmul_job job_of(const struct layer *layer, bool down, const uint8_t *w,
                                int64_t matrix, const float *src, float *dst, int threads)
{
    const shape_t *s = layer->shape;
    struct q4_K_gemm_moe_id_shape product = product_of(s, down);
    struct q4_K_gemm_moe_id_args args = {w, src, layer->pairs, layer->tpe, NULL, dst};
    struct matmul matmul = avx512vnni_moe_matmul_sizes(&product);
    avx512vnni_moe_matmul_bind(&product, &args, layer->lists[down], &matmul);
    const uint8_t *packed = layer->packed;
    if (packed)
        packed += matrix * packed_bytes(s->experts, s->ffn, s->hidden);
    struct matmul_job job =
        avx512vnni_matmul_plan(&matmul, layer->class, packed, layer->work[down], threads);
    job.stream = avx512vnni_matmul_worth_streaming(&matmul);
    return job;
}

static void plan_products(struct layer *layer, int threads)
{
    const args_t *a = layer->args;
    layer->job_gate = job_of(layer, false, a->gate, 0, a->x, layer->gate, threads);
    layer->job_up = job_of(layer, false, a->up, 1, a->x, layer->up, threads);
    layer->job_down = job_of(layer, true, a->down, 2, layer->gate, layer->down, threads);
}

static void route(const struct layer *layer, int rank, int team)
{
    const shape_t *s = layer->shape;
    struct moe_router_topk_softmax_shape router = router_of(s);
    struct moe_router_topk_softmax_args args = {layer->args->logits, layer->ids, layer->weights};
    avx512vnni_moe_route(&router, &args, share_start(s->tokens, rank, team),
                         share_start(s->tokens, rank + 1, team),
                         layer->router_scratch + rank * avx512vnni_moe_route_bytes(&router));
    avx512vnni_matmul_sources(&layer->job_gate, rank, team);
}

static void list(struct layer *layer, int threads)
{
    const shape_t *s = layer->shape;
    struct moe_ids_tpe_shape shape = {.experts = s->experts,
                                      .top_k = s->top_k,
                                      .tokens = s->tokens,
                                      .stride = s->tokens * s->top_k};
    avx512vnni_moe_lists(&shape, layer->ids, layer->tpe, layer->pairs);
    plan_products(layer, threads);
}

/* h over gate, for a thread's share of the listed pairs. */
static void activate(const struct layer *layer, int rank, int team)
{
    const struct matmul *matmul = &layer->job_gate.matmul;
    int64_t ffn = layer->shape->ffn, blocks = ffn / Q4_K_BLOCK, listed = 0, before = 0;
    struct digits *digits = layer->job_down.prepared_sources;
    for (int64_t l = 0; l < matmul->n_lists; l++)
        listed += matmul->lists[l].n;
    int64_t first = share_start(listed, rank, team), last = share_start(listed, rank + 1, team);
    for (int64_t l = 0; l < matmul->n_lists; before += matmul->lists[l++].n) {
        const struct pair_list *list = &matmul->lists[l];
        int64_t end = min_i64(list->n, last - before);
        for (int64_t i = max_i64(0, first - before); i < end; i++) {
            float *gate = layer->gate + list->pairs[i] * ffn;
            silu_mul(gate, layer->up + list->pairs[i] * ffn, ffn, gate);
            for (int64_t b = 0; layer->class != MATMUL_F32 && b < blocks; b++)
                quantize_block(gate + b * Q4_K_BLOCK, 1, &digits[list->pairs[i] * blocks + b]);
        }
    }
}

static void combine(const struct layer *layer, int rank, int team)
{
    const shape_t *s = layer->shape;
    struct moe_weighted_sum_shape shape = {s->experts, s->top_k, s->tokens, s->hidden};
    struct moe_weighted_sum_args args = {layer->ids, layer->weights, layer->down, layer->args->out};
    avx512vnni_moe_sum(&shape, &args, rank, team);
}

/* A thread's part; all of the team call it. */
static void work(struct layer *layer, int rank, int team)
{
    route(layer, rank, team);
#pragma omp barrier
    if (rank == 0)
        list(layer, team);
#pragma omp barrier
    avx512vnni_matmul_products(&layer->job_gate, rank);
    avx512vnni_matmul_products(&layer->job_up, rank);
#pragma omp barrier
    activate(layer, rank, team);
#pragma omp barrier
    avx512vnni_matmul_products(&layer->job_down, rank);
#pragma omp barrier
    combine(layer, rank, team);
}

static const char *run_layer(enum matmul_class class, const shape_t *s, const args_t *args,
                             const void *packed, void *scratch, int threads)
{
    const char *illegal = assay_illegal(&moe_ffn_op, s, NULL);
    if (illegal)
        return illegal;
    struct layer layer = {.shape = s, .args = args, .class = class, .packed = packed};
    lay_out(&layer, s, class, scratch, threads);
    memset(layer.tpe, 0, (size_t)s->experts * sizeof(*layer.tpe));
    plan_products(&layer, threads);
    int64_t blocks = assay_mul(s->tokens * s->top_k, s->hidden * (s->ffn / Q4_K_BLOCK));
    int team = blocks < 0 ? threads : (int)max_i64(1, min_i64(threads, blocks / THREAD_BLOCKS));
#pragma omp parallel num_threads(team) if (team > 1)
    work(&layer, omp_get_thread_num(), omp_get_num_threads());
    return NULL;
}

static const char *run_f32(const void *shape, const void *args, const void *prepared, void *scratch,
                           int threads)
{
    (void)prepared;
    return run_layer(MATMUL_F32, shape, args, NULL, scratch, threads);
}

static const char *run_i8(const void *shape, const void *args, const void *prepared, void *scratch,
                          int threads)
{
    (void)prepared;
    return run_layer(MATMUL_I8, shape, args, NULL, scratch, threads);
}

static const char *run_packed(const void *shape, const void *args, const void *prepared,
                              void *scratch, int threads)
{
    return run_layer(MATMUL_I8_PACKED, shape, args, prepared, scratch, threads);
}

static int64_t scratch_f32(const void *shape, int threads)
{
    return lay_out(&(struct layer){0}, shape, MATMUL_F32, NULL, threads);
}

static int64_t scratch_i8(const void *shape, int threads)
{
    return lay_out(&(struct layer){0}, shape, MATMUL_I8, NULL, threads);
}

static int64_t scratch_packed(const void *shape, int threads)
{
    return lay_out(&(struct layer){0}, shape, MATMUL_I8_PACKED, NULL, threads);
}

static int64_t prepared_bytes(const void *shape)
{
    const shape_t *s = shape;
    return assay_add(assay_mul(2, packed_bytes(s->experts, s->ffn, s->hidden)),
                     packed_bytes(s->experts, s->hidden, s->ffn));
}

static void prepare(const void *shape, const void *args, void *prepared, int threads)
{
    const shape_t *s = shape;
    const args_t *a = args;
    int64_t first = packed_bytes(s->experts, s->ffn, s->hidden);
    struct matrix gate = {a->gate, s->ffn, s->hidden / Q4_K_BLOCK};
    struct matrix up = {a->up, s->ffn, s->hidden / Q4_K_BLOCK};
    struct matrix down = {a->down, s->hidden, s->ffn / Q4_K_BLOCK};
    pack_matrices(&gate, s->experts, prepared, threads);
    pack_matrices(&up, s->experts, (uint8_t *)prepared + first, threads);
    pack_matrices(&down, s->experts, (uint8_t *)prepared + 2 * first, threads);
}

/* Of all parts but the products. */
static int64_t depth_between(const shape_t *s)
{
    struct moe_router_topk_softmax_shape router = router_of(s);
    return moe_router_topk_softmax_avx512vnni.depth(&router) + SILU_MUL_DEPTH + s->top_k;
}

static int64_t depth_f32(const void *shape)
{
    const shape_t *s = shape;
    return depth_between(s) + panels_f32_depth(s->hidden) + panels_f32_depth(s->ffn);
}

static int64_t depth_i8(const void *shape)
{
    const shape_t *s = shape;
    return depth_between(s) + q4_K_twin_depth(s->hidden, 1) + q4_K_twin_depth(s->ffn, 1);
}

const struct assay_kernel moe_ffn_avx512vnni_f32 = {
    .op = "moe_ffn",
    .name = "avx512vnni-f32",
    .tier = "avx512vnni",
    .numerics = ASSAY_F32,
    .depth = depth_f32,
    .scratch_bytes = scratch_f32,
    .run = run_f32,
};

const struct assay_kernel moe_ffn_avx512vnni_i8 = {
    .op = "moe_ffn",
    .name = "avx512vnni-i8",
    .tier = "avx512vnni",
    .numerics = ASSAY_I8,
    .depth = depth_i8,
    .scratch_bytes = scratch_i8,
    .run = run_i8,
};

const struct assay_kernel moe_ffn_avx512vnni_i8_packed = {
    .op = "moe_ffn",
    .name = "avx512vnni-i8-packed",
    .tier = "avx512vnni",
    .numerics = ASSAY_I8,
    .depth = depth_i8,
    .prepared_bytes = prepared_bytes,
    .prepare = prepare,
    .scratch_bytes = scratch_packed,
    .run = run_packed,
};
