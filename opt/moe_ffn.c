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
 * Gate, up and silu of 256 rows at once, so that they stay in L2, was 4 to 6 % slower at 32 and
 * more tokens: panels of two matrices in turns are not one linear stream.
 *
 * The lists are those of moe_ids_tpe, and every other stage calls what the op of that name calls,
 * so the result has the bits of the parts called one by one. Weights are packed once; scratch is
 * sized once, for all that is handed on.
 */
#include "opt/moe_ffn.h"

#include <omp.h>
#include <string.h>

#include "opt/moe_lists.h"
#include "ref/q4_K_gemm_moe_id.h"

#define THREAD_BLOCKS 512 /* fewer super-blocks than this are not worth a thread */

typedef struct moe_ffn_shape shape_t;
typedef struct moe_ffn_args args_t;

struct layer {
    const shape_t *shape;
    const args_t *args;
    const struct moe_tier *tier;
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

/* Lays a layer of this shape, tier and class out in scratch, which may be NULL; returns the bytes. */
static int64_t lay_out(struct layer *layer, uint8_t *scratch, int threads)
{
    const shape_t *s = layer->shape;
    int64_t used = 0, pairs = assay_mul(s->tokens, s->top_k);
    struct moe_router_topk_softmax_shape router = router_of(s);
    layer->ids = take(scratch, &used, pairs, sizeof(int32_t));
    layer->weights = take(scratch, &used, pairs, sizeof(float));
    layer->tpe = take(scratch, &used, s->experts, sizeof(int32_t));
    layer->pairs = take(scratch, &used, assay_mul(s->experts, pairs), sizeof(int32_t));
    layer->gate = take(scratch, &used, assay_mul(pairs, s->ffn), sizeof(float));
    layer->up = take(scratch, &used, assay_mul(pairs, s->ffn), sizeof(float));
    layer->down = take(scratch, &used, assay_mul(pairs, s->hidden), sizeof(float));
    layer->router_scratch = take(scratch, &used, layer->tier->route_bytes(&router), threads);
    for (int i = 0; i < 2; i++) {
        struct q4_K_gemm_moe_id_shape product = product_of(s, i == 1);
        struct matmul sizes = moe_matmul_sizes(&product);
        layer->lists[i] = take(scratch, &used, moe_matmul_lists_bytes(&product), 1);
        int64_t bytes = matmul_work_bytes(layer->tier->matmul, layer->class, &sizes, threads);
        layer->work[i] = take(scratch, &used, bytes, 1);
    }
    return used;
}

/* One of the three products; before there are lists, to prepare its sources. */
static struct matmul_job job_of(const struct layer *layer, bool down, const uint8_t *w,
                                int64_t matrix, const float *src, float *dst, int threads)
{
    const shape_t *s = layer->shape;
    struct q4_K_gemm_moe_id_shape product = product_of(s, down);
    struct q4_K_gemm_moe_id_args args = {
        .src1 = src, .ids = layer->pairs, .tpe = layer->tpe, .dst = dst};
    struct matmul matmul = moe_matmul_sizes(&product);
    matmul.w = w;
    moe_matmul_bind(&product, &args, layer->lists[down], &matmul);
    const uint8_t *packed = layer->packed;
    if (packed)
        packed += matrix * matmul_packed_bytes(s->experts, s->ffn, s->hidden);
    return matmul_plan(layer->tier->matmul, layer->class, &matmul, packed, layer->work[down],
                       threads);
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
    int64_t bytes = layer->tier->route_bytes(&router);
    layer->tier->route(&router, &args, share_start(s->tokens, rank, team),
                       share_start(s->tokens, rank + 1, team),
                       layer->router_scratch + rank * bytes);
    matmul_sources(&layer->job_gate, rank, team);
}

static void list(struct layer *layer, int threads)
{
    const shape_t *s = layer->shape;
    struct moe_ids_tpe_shape shape = {.experts = s->experts,
                                      .top_k = s->top_k,
                                      .tokens = s->tokens,
                                      .stride = s->tokens * s->top_k};
    list_pairs(&shape, layer->ids, layer->tpe, layer->pairs);
    plan_products(layer, threads);
}

/* h over gate, for a thread's share of the listed pairs. */
static void activate(const struct layer *layer, int rank, int team)
{
    const struct matmul *matmul = &layer->job_gate.matmul;
    const int64_t ffn = layer->shape->ffn, blocks = ffn / Q4_K_BLOCK;
    const int digits = matmul_digits(layer->class);
    const int64_t bytes = digits * layer->tier->matmul->digit_bytes;
    uint8_t *quantized = layer->job_down.prepared_sources;
    int64_t listed = 0, before = 0;
    for (int64_t l = 0; l < matmul->n_lists; l++)
        listed += matmul->lists[l].n;
    int64_t first = share_start(listed, rank, team), last = share_start(listed, rank + 1, team);
    for (int64_t l = 0; l < matmul->n_lists; before += matmul->lists[l++].n) {
        const struct pair_list *list = &matmul->lists[l];
        int64_t end = min_i64(list->n, last - before);
        for (int64_t i = max_i64(0, first - before); i < end; i++) {
            float *gate = layer->gate + list->pairs[i] * ffn;
            layer->tier->silu_mul(gate, layer->up + list->pairs[i] * ffn, ffn, gate);
            for (int64_t b = 0; digits > 0 && b < blocks; b++)
                layer->tier->matmul->quantize(gate + b * Q4_K_BLOCK, digits,
                                              quantized + (list->pairs[i] * blocks + b) * bytes);
        }
    }
}

static void combine(const struct layer *layer, int rank, int team)
{
    const shape_t *s = layer->shape;
    struct moe_weighted_sum_shape shape = {s->experts, s->top_k, s->tokens, s->hidden};
    struct moe_weighted_sum_args args = {layer->ids, layer->weights, layer->down, layer->args->out};
    layer->tier->sum(&shape, &args, rank, team);
}

/* A thread's part; all of the team call it. */
static void work(struct layer *layer, int rank, int team)
{
    route(layer, rank, team);
#pragma omp barrier
    if (rank == 0)
        list(layer, team);
#pragma omp barrier
    matmul_products(&layer->job_gate, rank);
    matmul_products(&layer->job_up, rank);
#pragma omp barrier
    activate(layer, rank, team);
#pragma omp barrier
    matmul_products(&layer->job_down, rank);
#pragma omp barrier
    combine(layer, rank, team);
}

const char *moe_ffn_run(const struct moe_tier *tier, enum matmul_class class, const void *shape,
                        const void *args, const void *packed, void *scratch, int threads)
{
    const char *illegal = assay_illegal(&moe_ffn_op, shape, NULL);
    if (illegal)
        return illegal;
    const shape_t *s = shape;
    struct layer layer = {.shape = s, .args = args, .tier = tier, .class = class, .packed = packed};
    lay_out(&layer, scratch, threads);
    memset(layer.tpe, 0, (size_t)s->experts * sizeof(*layer.tpe));
    plan_products(&layer, threads);
    int64_t blocks = assay_mul(s->tokens * s->top_k, s->hidden * (s->ffn / Q4_K_BLOCK));
    int team = blocks < 0 ? threads : (int)max_i64(1, min_i64(threads, blocks / THREAD_BLOCKS));
#pragma omp parallel num_threads(team) if (team > 1)
    work(&layer, omp_get_thread_num(), omp_get_num_threads());
    return NULL;
}

int64_t moe_ffn_scratch(const struct moe_tier *tier, enum matmul_class class, const void *shape,
                        int threads)
{
    return lay_out(&(struct layer){.shape = shape, .tier = tier, .class = class}, NULL, threads);
}

int64_t moe_ffn_depth(const struct moe_tier *tier, enum matmul_class class, const void *shape)
{
    const shape_t *s = shape;
    struct moe_router_topk_softmax_shape router = router_of(s);
    return tier->route_depth(&router) + matmul_depth(tier->matmul, class, s->hidden) +
           tier->silu_mul_depth + matmul_depth(tier->matmul, class, s->ffn) + s->top_k;
}

int64_t moe_ffn_prepared_bytes(const void *shape)
{
    const shape_t *s = shape;
    return assay_add(assay_mul(2, matmul_packed_bytes(s->experts, s->ffn, s->hidden)),
                     matmul_packed_bytes(s->experts, s->hidden, s->ffn));
}

void moe_ffn_prepare(const struct moe_tier *tier, const void *shape, const void *args, void *packed,
                     int threads)
{
    const shape_t *s = shape;
    const args_t *a = args;
    uint8_t *to = packed;
    int64_t bytes = matmul_packed_bytes(s->experts, s->ffn, s->hidden);
    matmul_pack(tier->matmul, a->gate, s->experts, s->ffn, s->hidden, to, threads);
    matmul_pack(tier->matmul, a->up, s->experts, s->ffn, s->hidden, to + bytes, threads);
    matmul_pack(tier->matmul, a->down, s->experts, s->hidden, s->ffn, to + 2 * bytes, threads);
}
