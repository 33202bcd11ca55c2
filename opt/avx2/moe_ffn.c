/* SPDX-License-Identifier: MIT */
/*
 * moe_ffn as one plan: a team of threads goes through five stages, each a set of tasks.
 *
 *   route     shares of the tokens: router, activations to int8
 *   list      one thread: the pairs of each expert
 *   hidden    256 rows of one expert: gate and up for its pairs, silu and their product, and in class
 *             i8 to int8, while all that is in cache
 *   down      rows of one expert
 *   combine   pieces of a token's columns
 *
 * Every stage calls what the op of that name calls, so the result has the bits of the parts called
 * one by one.
 */
#include "ref/moe_ffn.h"

#include "opt/avx2/digits.h"
#include "opt/avx2/dot_f32.h"
#include "opt/avx2/kernels.h"
#include "opt/avx2/moe_parts.h"
#include "opt/avx2/silu_mul.h"
#include "ref/q4_K_dot.h"
#include "ref/q4_K_gemm_moe_id.h"

#define PARALLEL_BLOCKS 256 /* of weights times pairs; below, threads cost more than they save */

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
static void *take(uint8_t *scratch, int64_t *used, int64_t bytes)
{
    int64_t start = *used;
    *used = assay_add(start, scratch_part(bytes));
    return scratch && *used >= 0 ? scratch + start : NULL;
}

/* Lays a layer out in scratch, which may be NULL; returns the bytes. */
static int64_t lay_out(struct layer *layer, const shape_t *s, enum matmul_class class,
                       uint8_t *scratch, int threads)
{
    int64_t used = 0, pair_words = assay_mul(assay_mul(s->tokens, s->top_k), 4);
    struct moe_router_topk_softmax_shape router = router_of(s);
    layer->ids = take(scratch, &used, pair_words);
    layer->weights = take(scratch, &used, pair_words);
    layer->tpe = take(scratch, &used, assay_mul(s->experts, 4));
    layer->pairs = take(scratch, &used, assay_mul(s->experts, pair_words));
    layer->gate = take(scratch, &used, assay_mul(s->ffn, pair_words));
    layer->up = take(scratch, &used, assay_mul(s->ffn, pair_words));
    layer->down = take(scratch, &used, assay_mul(s->hidden, pair_words));
    layer->router_scratch = take(scratch, &used, avx2_moe_route_bytes(&router, threads));
    for (int i = 0; i < 2; i++) {
        struct q4_K_gemm_moe_id_shape product = product_of(s, i == 1);
        struct matmul sizes = avx2_moe_matmul_sizes(&product);
        layer->lists[i] = take(scratch, &used, avx2_moe_matmul_lists_bytes(&product));
        layer->work[i] = take(scratch, &used, avx2_matmul_work_bytes(&sizes, class, threads));
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
    struct matmul matmul = avx2_moe_matmul_sizes(&product);
    avx2_moe_matmul_bind(&product, &args, layer->lists[down], &matmul);
    const uint8_t *packed = layer->packed;
    if (packed)
        packed += matrix * packed_bytes(s->experts, s->ffn, s->hidden);
    return avx2_matmul_plan(&matmul, layer->class, packed, layer->work[down], threads);
}

static void plan_products(struct layer *layer, int threads)
{
    const args_t *a = layer->args;
    layer->job_gate = job_of(layer, false, a->gate, 0, a->x, layer->gate, threads);
    layer->job_up = job_of(layer, false, a->up, 1, a->x, layer->up, threads);
    layer->job_down = job_of(layer, true, a->down, 2, layer->gate, layer->down, threads);
}

static void route(const struct layer *layer)
{
    struct moe_router_topk_softmax_shape router = router_of(layer->shape);
    struct moe_router_topk_softmax_args args = {layer->args->logits, layer->ids, layer->weights};
    avx2_moe_route(&router, &args, layer->router_scratch);
    avx2_matmul_sources(&layer->job_gate);
}

static void list(struct layer *layer, int threads)
{
    const shape_t *s = layer->shape;
    struct moe_ids_tpe_shape shape = {.experts = s->experts,
                                      .top_k = s->top_k,
                                      .tokens = s->tokens,
                                      .stride = s->tokens * s->top_k};
    avx2_moe_lists(&shape, layer->ids, layer->tpe, layer->pairs);
    plan_products(layer, threads);
}

/* h over gate, for the pairs of a list, elements of block b. */
static void activate(const struct layer *layer, const struct pair_list *pairs, int64_t b)
{
    int64_t blocks = layer->shape->ffn / Q4_K_BLOCK;
    struct i8_block *quantized = layer->job_down.prepared_sources;
    for (int64_t i = 0; i < pairs->n; i++) {
        int64_t block = pairs->pairs[i] * blocks + b;
        float *gate = layer->gate + block * Q4_K_BLOCK;
        silu_mul(gate, layer->up + block * Q4_K_BLOCK, Q4_K_BLOCK, gate);
        if (layer->class != MATMUL_F32)
            i8_quantize(gate, 1, &quantized[block]);
    }
}

static void hidden(const struct layer *layer)
{
    int64_t blocks = layer->shape->ffn / Q4_K_BLOCK;
    const struct matmul *matmul = &layer->job_gate.matmul;
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < matmul->n_lists * blocks; task++) {
        const struct pair_list *pairs = &matmul->lists[task / blocks];
        int64_t b = task % blocks;
        struct range rows = {b * Q4_K_BLOCK, (b + 1) * Q4_K_BLOCK};
        avx2_matmul_rows(&layer->job_gate, pairs, rows);
        avx2_matmul_rows(&layer->job_up, pairs, rows);
        activate(layer, pairs, b);
    }
}

static void combine(const struct layer *layer)
{
    const shape_t *s = layer->shape;
    struct moe_weighted_sum_shape shape = {s->experts, s->top_k, s->tokens, s->hidden};
    struct moe_weighted_sum_args args = {layer->ids, layer->weights, layer->down, layer->args->out};
    avx2_moe_sum(&shape, &args);
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
    bool small = blocks >= 0 && blocks <= PARALLEL_BLOCKS;
#pragma omp parallel num_threads(threads) if (threads > 1 && !small)
    {
        route(&layer); /* each stage but the last ends when all threads have */
#pragma omp barrier
#pragma omp single
        list(&layer, threads);
        hidden(&layer);
        avx2_matmul_products(&layer.job_down);
        combine(&layer);
    }
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
    uint8_t *to = prepared;
    int64_t bytes = packed_bytes(s->experts, s->ffn, s->hidden);
    pack_matrices(a->gate, s->experts, s->ffn, s->hidden, to, threads);
    pack_matrices(a->up, s->experts, s->ffn, s->hidden, to + bytes, threads);
    pack_matrices(a->down, s->experts, s->hidden, s->ffn, to + 2 * bytes, threads);
}

/* Of all parts but the products. */
static int64_t depth_between(const shape_t *s)
{
    struct moe_router_topk_softmax_shape router = router_of(s);
    return moe_router_topk_softmax_avx2.depth(&router) + SILU_MUL_DEPTH + s->top_k;
}

static int64_t depth_f32(const void *shape)
{
    const shape_t *s = shape;
    return depth_between(s) + f32_depth(s->hidden) + f32_depth(s->ffn);
}

static int64_t depth_i8(const void *shape)
{
    const shape_t *s = shape;
    return depth_between(s) + q4_K_twin_depth(s->hidden, 1) + q4_K_twin_depth(s->ffn, 1);
}

const struct assay_kernel moe_ffn_avx2_f32 = {
    .op = "moe_ffn",
    .name = "avx2-f32",
    .tier = "avx2",
    .numerics = ASSAY_F32,
    .depth = depth_f32,
    .scratch_bytes = scratch_f32,
    .run = run_f32,
};

const struct assay_kernel moe_ffn_avx2_i8 = {
    .op = "moe_ffn",
    .name = "avx2-i8",
    .tier = "avx2",
    .numerics = ASSAY_I8,
    .depth = depth_i8,
    .scratch_bytes = scratch_i8,
    .run = run_i8,
};

const struct assay_kernel moe_ffn_avx2_i8_packed = {
    .op = "moe_ffn",
    .name = "avx2-i8-packed",
    .tier = "avx2",
    .numerics = ASSAY_I8,
    .depth = depth_i8,
    .prepared_bytes = prepared_bytes,
    .prepare = prepare,
    .scratch_bytes = scratch_packed,
    .run = run_packed,
};
