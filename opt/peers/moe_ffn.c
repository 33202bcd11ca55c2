/* SPDX-License-Identifier: MIT */
/*
 * moe_ffn: the graph that the engine's own model builder makes of a layer with softmax routing, from
 * logits on. ggml runs gate and up as two products, ik_llama.cpp as one node with silu and product.
 */
#include "ref/moe_ffn.h"
#include "opt/peers/kernels.h"
#include "opt/peers/product.h"

enum { TENSORS = 64, MAX_TOP_K = 16 }; /* engine_combine may take 2 * top_k tensors */

typedef struct moe_ffn_shape shape_t;
typedef struct moe_ffn_args args_t;

static struct weights gate_of(const shape_t *s)
{
    return (struct weights){s->experts, s->ffn, s->hidden};
}

static struct weights down_of(const shape_t *s)
{
    return (struct weights){s->experts, s->hidden, s->ffn};
}

/* Weights of the chosen experts, [tokens, top_k, 1]. */
static struct ggml_tensor *route(struct ggml_context *context, const shape_t *s,
                                 const float *logits, struct ggml_tensor **ids)
{
    struct ggml_tensor *all =
        ggml_soft_max(context, graph_f32(context, s->experts, s->tokens, 1, logits));
    *ids = engine_top_k(context, all, (int)s->top_k);
    struct ggml_tensor *chosen =
        ggml_get_rows(context, ggml_reshape_3d(context, all, 1, s->experts, s->tokens), *ids);
    if (!s->norm)
        return chosen;
    chosen = ggml_reshape_2d(context, chosen, s->top_k, s->tokens);
    chosen = ggml_div(context, chosen, ggml_sum_rows(context, chosen));
    return ggml_reshape_3d(context, chosen, 1, s->top_k, s->tokens);
}

/* gate, up, down: native, or one after the other in `prepared`. */
static const char *layer(const shape_t *s, const args_t *a, enum layout layout,
                         const void *const w[3], int threads, struct space *space)
{
    struct weights gate = gate_of(s), down = down_of(s);
    struct ggml_context *context = graph_open(space, TENSORS);
    if (!context)
        return "the engine has no context left";
    struct ggml_tensor *ids, *weights = route(context, s, a ? a->logits : NULL, &ids);
    struct ggml_tensor *x = graph_f32(context, s->hidden, 1, s->tokens, a ? a->x : NULL);
    struct ggml_tensor *h = engine_gate_up(context, engine_weights(context, &gate, layout, w[0]),
                                           engine_weights(context, &gate, layout, w[1]), x, ids);
    struct ggml_tensor *rows =
        ggml_mul_mat_id(context, engine_weights(context, &down, layout, w[2]), h, ids);
    struct ggml_tensor *out = engine_combine(context, rows, weights);
    return graph_compute(context, TENSORS, out, a ? a->out : NULL, threads, space);
}

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    (void)prepared;
    const args_t *a = args;
    const char *illegal = assay_illegal(&moe_ffn_op, shape, NULL);
    const void *const w[] = {a->gate, a->up, a->down};
    return illegal ? illegal : layer(shape, a, NATIVE, w, threads, &(struct space){scratch, 0});
}

static const char *run_packed(const void *shape, const void *args, const void *prepared,
                              void *scratch, int threads)
{
    const uint8_t *packed = prepared;
    const char *illegal = assay_illegal(&moe_ffn_op, shape, NULL);
    if (illegal)
        return illegal;
    struct weights gate = gate_of(shape);
    int64_t bytes = weights_bytes(&gate);
    const void *const w[] = {packed, packed + bytes, packed + 2 * bytes};
    return layer(shape, args, PACKED, w, threads, &(struct space){scratch, 0});
}

static int64_t bytes_of(const void *shape, enum layout layout, int threads)
{
    static const void *const none[3];
    struct space space = {NULL, 0};
    return layer(shape, NULL, layout, none, threads, &space) ? -1 : space.used;
}

static int64_t scratch_bytes(const void *shape, int threads)
{
    return bytes_of(shape, NATIVE, threads);
}

static int64_t scratch_bytes_packed(const void *shape, int threads)
{
    return bytes_of(shape, PACKED, threads);
}

static const char *unsupported(const void *shape)
{
    return ((const shape_t *)shape)->top_k > MAX_TOP_K ? "top_k is above 16" : NULL;
}

static const char *unsupported_packed(const void *shape)
{
    struct weights gate = gate_of(shape), down = down_of(shape);
    const char *reason = unsupported(shape);
    reason = reason ? reason : engine_cannot_pack(&gate);
    return reason ? reason : engine_cannot_pack(&down);
}

/* gate, up and down have as many weights each. */
static int64_t prepared_bytes(const void *shape)
{
    struct weights gate = gate_of(shape);
    return 3 * weights_bytes(&gate);
}

static void prepare(const void *shape, const void *args, void *prepared, int threads)
{
    (void)threads;
    const args_t *a = args;
    struct weights gate = gate_of(shape), down = down_of(shape);
    int64_t bytes = weights_bytes(&gate);
    uint8_t *packed = prepared;
    engine_pack(&gate, a->gate, packed);
    engine_pack(&gate, a->up, packed + bytes);
    engine_pack(&down, a->down, packed + 2 * bytes);
}

/* The products', and what softmax, silu and the sums over experts and slots add. */
static int64_t depth(const void *shape)
{
    const shape_t *s = shape;
    return product_depth(s->hidden) + product_depth(s->ffn) + s->experts + 2 * s->top_k + 32;
}

const struct assay_kernel peer_moe_ffn = {
    .op = "moe_ffn",
    .name = ASSAY_PEER_NATIVE,
    .tier = PEER_TIER,
    .numerics = ASSAY_I8,
    .depth = depth,
    .unsupported = unsupported,
    .scratch_bytes = scratch_bytes,
    .run = run,
};

const struct assay_kernel peer_moe_ffn_packed = {
    .op = "moe_ffn",
    .name = ASSAY_PEER_PACKED,
    .tier = PEER_TIER,
    .numerics = ASSAY_I8,
    .depth = depth,
    .unsupported = unsupported_packed,
    .prepared_bytes = prepared_bytes,
    .prepare = prepare,
    .scratch_bytes = scratch_bytes_packed,
    .run = run_packed,
};
