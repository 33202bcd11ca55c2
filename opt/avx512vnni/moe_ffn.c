/* SPDX-License-Identifier: MIT */
/*
 * moe_ffn as one plan: a team of threads goes through five stages, each a set of units of work.
 *
 *   route     shares of the tokens: router, activations to digits
 *   list      one thread: the pairs of each expert
 *   hidden    256 rows of one expert: gate and up for its pairs, silu and their product, and in class
 *             i8 to digits, while all that is in L2; so nothing waits between gate and down but once.
 *             Where that makes too few units for so many threads, gate and up are stages of their own
 *   down      panels of one expert
 *   combine   pieces of a token's columns
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
    struct work_queue queue;
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
    return avx512vnni_matmul_plan(&matmul, layer->class, packed, layer->work[down], threads);
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

/* h over gate, for pairs first .. last - 1 of a list, elements of block b. */
static void activate(const struct layer *layer, const struct pair_list *pairs, int64_t first,
                     int64_t last, int64_t b)
{
    int64_t blocks = layer->shape->ffn / Q4_K_BLOCK;
    struct digits *digits = layer->job_down.prepared_sources;
    for (int64_t i = first; i < last; i++) {
        int64_t block = pairs->pairs[i] * blocks + b;
        float *gate = layer->gate + block * Q4_K_BLOCK;
        silu_mul(gate, layer->up + block * Q4_K_BLOCK, Q4_K_BLOCK, gate);
        if (layer->class != MATMUL_F32)
            quantize_block(gate, 1, &digits[block]);
    }
}

/* Block b of a list's pairs: gate and up unless both are there, then h. */
static void hidden_unit(const struct layer *layer, const struct pair_list *pairs, int64_t b,
                        bool fused, int rank)
{
    int64_t row = b * Q4_K_BLOCK, end = row + Q4_K_BLOCK;
    int groups = (int)ceil_div(pairs->n, TOKEN_GROUP);
    for (int g = 0; g < groups; g++) {
        int64_t first = share_start(pairs->n, g, groups);
        int64_t last = share_start(pairs->n, g + 1, groups);
        if (fused) {
            avx512vnni_matmul_rows(&layer->job_gate, pairs, first, last, row, end, rank);
            avx512vnni_matmul_rows(&layer->job_up, pairs, first, last, row, end, rank);
        }
        activate(layer, pairs, first, last, b);
    }
}

/* All of the team come to the same `fused`. */
static void hidden(struct layer *layer, int rank)
{
    int64_t blocks = layer->shape->ffn / Q4_K_BLOCK, index;
    const struct matmul *matmul = &layer->job_gate.matmul;
    const bool fused = worth_fusing(&layer->job_gate.cut, blocks);
    if (!fused) {
        avx512vnni_matmul_products(&layer->job_gate, rank);
        avx512vnni_matmul_products(&layer->job_up, rank);
#pragma omp barrier
    }
    while ((index = next_unit(&layer->queue)) < matmul->n_lists * blocks)
        hidden_unit(layer, &matmul->lists[index / blocks], index % blocks, fused, rank);
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
    hidden(layer, rank);
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
