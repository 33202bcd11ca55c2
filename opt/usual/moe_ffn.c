/* SPDX-License-Identifier: MIT */
/*
 * moe_ffn: the layer as calls of its parts, one after the other: router and lists, gate, up, silu_mul,
 * down, weighted sum. Each is the project's fastest, and has threads and scratch of its own call.
 */
#include "ref/moe_ffn.h"

#include "opt/usual/usual.h"
#include "ref/moe_ids_tpe.h"
#include "ref/moe_router_topk_softmax.h"
#include "ref/moe_weighted_sum.h"
#include "ref/q4_K.h"
#include "ref/q4_K_dot.h"
#include "ref/q4_K_gemm_moe_id.h"
#include "ref/silu_mul.h"

typedef struct moe_ffn_shape shape_t;
typedef struct moe_ffn_args args_t;

struct layer {
    struct moe_router_topk_softmax_shape router;
    struct moe_ids_tpe_shape lists;
    struct q4_K_gemm_moe_id_shape gate, down; /* up is as gate */
    struct silu_mul_shape silu;
    struct moe_weighted_sum_shape sum;
    int64_t weight_bytes, packed_bytes[2]; /* of each matrix; packed: gate or up, down */
    /* in scratch: */
    int32_t *ids, *tpe, *pairs;
    uint32_t *grids;
    float *weights, *gate_rows, *up_rows, *h, *down_rows;
    void *work; /* of the part that runs */
};

static void set_shapes(struct layer *layer, const shape_t *s)
{
    int64_t pairs = assay_mul(s->tokens, s->top_k);
    *layer = (struct layer){
        .router = {s->experts, s->top_k, s->tokens, s->norm},
        .lists = {s->experts, s->top_k, s->tokens, s->ffn, s->hidden, pairs},
        .gate = {.experts = s->experts,
                 .m = s->ffn,
                 .k = s->hidden,
                 .top_k = s->top_k,
                 .ne11 = 1,
                 .tokens = s->tokens,
                 .stride = pairs},
        .down = {.experts = s->experts,
                 .m = s->hidden,
                 .k = s->ffn,
                 .top_k = s->top_k,
                 .ne11 = s->top_k,
                 .tokens = s->tokens,
                 .stride = pairs},
        .silu = {s->ffn, pairs},
        .sum = {s->experts, s->top_k, s->tokens, s->hidden},
        .weight_bytes = assay_mul(assay_mul(s->experts, s->ffn),
                                  s->hidden / Q4_K_BLOCK * (int64_t)sizeof(struct block_q4_K)),
    };
    layer->packed_bytes[0] = usual_packed_bytes(USUAL_PRODUCT, &layer->gate, layer->weight_bytes);
    layer->packed_bytes[1] = usual_packed_bytes(USUAL_PRODUCT, &layer->down, layer->weight_bytes);
}

static int64_t most_scratch(const struct layer *layer, int threads)
{
    const int64_t parts[] = {
        usual_scratch(USUAL_ROUTER, &layer->router, threads),
        usual_scratch(USUAL_LISTS, &layer->lists, threads),
        usual_scratch(USUAL_PRODUCT, &layer->gate, threads),
        usual_scratch(USUAL_PRODUCT, &layer->down, threads),
        usual_scratch(USUAL_SILU, &layer->silu, threads),
        usual_scratch(USUAL_SUM, &layer->sum, threads),
    };
    int64_t most = 0;
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts) && most >= 0; i++)
        most = parts[i] < 0 || parts[i] > most ? parts[i] : most;
    return most;
}

/* Returns the bytes of scratch, which may be NULL. */
static int64_t lay_out(struct layer *layer, void *scratch, int threads)
{
    int64_t used = 0, pairs = layer->silu.rows;
    int64_t hidden = assay_mul(pairs, layer->silu.n), wide = assay_mul(pairs, layer->sum.m);
    layer->ids = usual_take(scratch, &used, pairs, sizeof(int32_t));
    layer->weights = usual_take(scratch, &used, pairs, sizeof(float));
    layer->tpe = usual_take(scratch, &used, layer->lists.experts, sizeof(int32_t));
    layer->pairs =
        usual_take(scratch, &used, assay_mul(layer->lists.experts, pairs), sizeof(int32_t));
    layer->grids = usual_take(scratch, &used, 6, sizeof(uint32_t));
    layer->gate_rows = usual_take(scratch, &used, hidden, sizeof(float));
    layer->up_rows = usual_take(scratch, &used, hidden, sizeof(float));
    layer->h = usual_take(scratch, &used, hidden, sizeof(float));
    layer->down_rows = usual_take(scratch, &used, wide, sizeof(float));
    layer->work = usual_take(scratch, &used, most_scratch(layer, threads), 1);
    return used;
}

static const char *product(const struct layer *layer, const struct q4_K_gemm_moe_id_shape *shape,
                           const void *packed, const float *rows, float *dst, int threads)
{
    struct q4_K_gemm_moe_id_args args = {NULL, rows, layer->pairs, layer->tpe, NULL, dst};
    return usual_run(USUAL_PRODUCT, shape, &args, packed, layer->work, threads);
}

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    const args_t *a = args;
    const char *wrong = assay_illegal(&moe_ffn_op, shape, NULL);
    if (wrong)
        return wrong;
    struct layer layer;
    set_shapes(&layer, shape);
    lay_out(&layer, scratch, threads);
    const uint8_t *gate = prepared, *up = gate + layer.packed_bytes[0];
    const uint8_t *down = up + layer.packed_bytes[0];
    struct moe_router_topk_softmax_args router = {a->logits, layer.ids, layer.weights};
    struct moe_ids_tpe_args lists = {layer.ids, layer.tpe, layer.pairs, layer.grids};
    struct silu_mul_args silu = {layer.gate_rows, layer.up_rows, layer.h};
    struct moe_weighted_sum_args sum = {layer.ids, layer.weights, layer.down_rows, a->out};
    const struct assay_kernel *const *parts = usual_parts;
    wrong = parts[USUAL_ROUTER]->run(&layer.router, &router, NULL, layer.work, threads);
    if (!wrong)
        wrong = parts[USUAL_LISTS]->run(&layer.lists, &lists, NULL, layer.work, threads);
    if (!wrong)
        wrong = product(&layer, &layer.gate, gate, a->x, layer.gate_rows, threads);
    if (!wrong)
        wrong = product(&layer, &layer.gate, up, a->x, layer.up_rows, threads);
    if (!wrong)
        wrong = parts[USUAL_SILU]->run(&layer.silu, &silu, NULL, layer.work, threads);
    if (!wrong)
        wrong = product(&layer, &layer.down, down, layer.h, layer.down_rows, threads);
    if (!wrong)
        wrong = parts[USUAL_SUM]->run(&layer.sum, &sum, NULL, layer.work, threads);
    return wrong;
}

static int64_t scratch_bytes(const void *shape, int threads)
{
    struct layer layer;
    set_shapes(&layer, shape);
    return lay_out(&layer, NULL, threads);
}

static int64_t prepared_bytes(const void *shape)
{
    struct layer layer;
    set_shapes(&layer, shape);
    return assay_add(assay_mul(2, layer.packed_bytes[0]), layer.packed_bytes[1]);
}

static void prepare(const void *shape, const void *args, void *prepared, int threads)
{
    const args_t *a = args;
    struct layer layer;
    set_shapes(&layer, shape);
    uint8_t *gate = prepared, *up = gate + layer.packed_bytes[0];
    usual_pack(USUAL_PRODUCT, &layer.gate, a->gate, layer.weight_bytes, gate, threads);
    usual_pack(USUAL_PRODUCT, &layer.gate, a->up, layer.weight_bytes, up, threads);
    usual_pack(USUAL_PRODUCT, &layer.down, a->down, layer.weight_bytes, up + layer.packed_bytes[0],
               threads);
}

/* Of the parts. */
static int64_t depth(const void *shape)
{
    const shape_t *s = shape;
    struct layer layer;
    set_shapes(&layer, shape);
    return usual_parts[USUAL_ROUTER]->depth(&layer.router) +
           usual_parts[USUAL_SILU]->depth(&layer.silu) + usual_parts[USUAL_SUM]->depth(&layer.sum) +
           q4_K_twin_depth(s->hidden, 1) + q4_K_twin_depth(s->ffn, 1);
}

const struct assay_kernel usual_moe_ffn = {
    .op = "moe_ffn",
    .name = "six-calls",
    .tier = USUAL_TIER,
    .numerics = ASSAY_I8,
    .depth = depth,
    .prepared_bytes = prepared_bytes,
    .prepare = prepare,
    .scratch_bytes = scratch_bytes,
    .run = run,
};
