/* SPDX-License-Identifier: MIT */
/*
 * The four products of Q4_K weights. The lists of q4_K_gemm_moe_id become the ids by token from
 * which an engine starts; that, and its own grouping by expert, is part of a call.
 */
#include "opt/peers/kernels.h"
#include "opt/peers/product.h"
#include "ref/q4_K_gemm.h"
#include "ref/q4_K_gemm_moe_id.h"
#include "ref/q4_K_gemv.h"
#include "ref/q4_K_gemv_moe_id.h"

/* How an op's calls become products. Without args and space, only the sizes are set. */
struct binding {
    const struct assay_op *op;
    void (*bind)(const void *shape, const void *args, struct space *space, struct product *product);
};

static const void *from(const uint8_t *w, int64_t offset)
{
    return w ? w + offset : NULL;
}

static void bind_gemv(const void *shape, const void *args, struct space *space, struct product *p)
{
    (void)space;
    const struct q4_K_gemv_shape *s = shape;
    const struct q4_K_gemv_args *a = args;
    *p = (struct product){.weights = {0, s->n, s->k}, .tokens = 1};
    if (!a)
        return;
    p->w = from(a->w, s->w_offset);
    p->src = a->x;
    p->dst = a->y;
}

static void bind_gemm(const void *shape, const void *args, struct space *space, struct product *p)
{
    (void)space;
    const struct q4_K_gemm_shape *s = shape;
    const struct q4_K_gemm_args *a = args;
    *p = (struct product){.weights = {0, s->m, s->k}, .tokens = s->tokens};
    if (!a)
        return;
    p->w = from(a->w, s->w_offset);
    p->src = a->src;
    p->dst = a->dst;
}

static void bind_gemv_moe_id(const void *shape, const void *args, struct space *space,
                             struct product *p)
{
    (void)space;
    const struct q4_K_gemv_moe_id_shape *s = shape;
    const struct q4_K_gemv_moe_id_args *a = args;
    *p = (struct product){.weights = {s->experts, s->m, s->k},
                          .top_k = s->top_k,
                          .ne11 = s->ne11,
                          .tokens = s->tokens};
    if (!a)
        return;
    p->w = from(a->w, s->w_offset);
    p->src = a->src1;
    p->ids = a->ids;
    p->dst = a->dst;
}

/* Undoes the lists; -1 where a pair is in none. */
static const int32_t *ids_by_token(const struct q4_K_gemm_moe_id_shape *s,
                                   const struct q4_K_gemm_moe_id_args *a, struct space *space)
{
    int64_t pairs = s->tokens * s->top_k;
    int32_t *ids = space_take(space, pairs, sizeof(*ids));
    for (int64_t pair = 0; ids && pair < pairs; pair++)
        ids[pair] = -1;
    for (int64_t e = 0; ids && e < s->experts; e++) {
        for (int32_t i = 0; i < a->tpe[e]; i++)
            ids[a->ids[e * s->stride + i]] = (int32_t)e;
    }
    return ids;
}

static void bind_gemm_moe_id(const void *shape, const void *args, struct space *space,
                             struct product *p)
{
    const struct q4_K_gemm_moe_id_shape *s = shape;
    const struct q4_K_gemm_moe_id_args *a = args;
    *p = (struct product){.weights = {s->experts, s->m, s->k},
                          .top_k = s->top_k,
                          .ne11 = s->ne11,
                          .tokens = s->tokens};
    if (a) {
        p->w = from(a->w, s->w_offset);
        p->src = a->src1;
        p->dst = a->dst;
    }
    if (space)
        p->ids = ids_by_token(s, a, space);
}

static const char *run(const struct binding *binding, enum layout layout, const void *shape,
                       const void *args, const void *prepared, void *scratch, int threads)
{
    const char *illegal = assay_illegal(binding->op, shape, NULL);
    if (illegal)
        return illegal;
    struct space space = {scratch, 0};
    struct product product;
    binding->bind(shape, args, &space, &product);
    product.layout = layout;
    if (layout == PACKED)
        product.w = prepared;
    return product_run(&product, threads, &space);
}

static int64_t scratch_bytes(const struct binding *binding, enum layout layout, const void *shape,
                             int threads)
{
    struct space space = {NULL, 0};
    struct product product;
    binding->bind(shape, NULL, &space, &product);
    product.layout = layout;
    return product_run(&product, threads, &space) ? -1 : space.used;
}

static int64_t depth(const struct binding *binding, const void *shape)
{
    struct product product;
    binding->bind(shape, NULL, NULL, &product);
    return product_depth(product.weights.k);
}

static const char *cannot_pack(const struct binding *binding, const void *shape)
{
    struct product product;
    binding->bind(shape, NULL, NULL, &product);
    return engine_cannot_pack(&product.weights);
}

static int64_t prepared_bytes(const struct binding *binding, const void *shape)
{
    struct product product;
    binding->bind(shape, NULL, NULL, &product);
    return weights_bytes(&product.weights);
}

static void prepare(const struct binding *binding, const void *shape, const void *args,
                    void *prepared)
{
    struct product product;
    binding->bind(shape, args, NULL, &product);
    engine_pack(&product.weights, product.w, prepared);
}

/* The two kernels of an op. */
#define KERNELS(op_name)                                                                        \
    static const struct binding op_name = {&q4_K_##op_name##_op, bind_##op_name};               \
    static const char *op_name##_run(const void *shape, const void *args, const void *prepared, \
                                     void *scratch, int threads)                                \
    {                                                                                           \
        return run(&op_name, NATIVE, shape, args, prepared, scratch, threads);                  \
    }                                                                                           \
    static const char *op_name##_run_packed(const void *shape, const void *args,                \
                                            const void *prepared, void *scratch, int threads)   \
    {                                                                                           \
        return run(&op_name, PACKED, shape, args, prepared, scratch, threads);                  \
    }                                                                                           \
    static int64_t op_name##_scratch(const void *shape, int threads)                            \
    {                                                                                           \
        return scratch_bytes(&op_name, NATIVE, shape, threads);                                 \
    }                                                                                           \
    static int64_t op_name##_scratch_packed(const void *shape, int threads)                     \
    {                                                                                           \
        return scratch_bytes(&op_name, PACKED, shape, threads);                                 \
    }                                                                                           \
    static int64_t op_name##_depth(const void *shape)                                           \
    {                                                                                           \
        return depth(&op_name, shape);                                                          \
    }                                                                                           \
    static const char *op_name##_cannot_pack(const void *shape)                                 \
    {                                                                                           \
        return cannot_pack(&op_name, shape);                                                    \
    }                                                                                           \
    static int64_t op_name##_prepared(const void *shape)                                        \
    {                                                                                           \
        return prepared_bytes(&op_name, shape);                                                 \
    }                                                                                           \
    static void op_name##_prepare(const void *shape, const void *args, void *prepared,          \
                                  int threads)                                                  \
    {                                                                                           \
        (void)threads;                                                                          \
        prepare(&op_name, shape, args, prepared);                                               \
    }                                                                                           \
    const struct assay_kernel peer_##op_name = {.op = "q4_K_" #op_name,                         \
                                                .name = ASSAY_PEER_NATIVE,                      \
                                                .tier = PEER_TIER,                              \
                                                .numerics = ASSAY_I8,                           \
                                                .depth = op_name##_depth,                       \
                                                .scratch_bytes = op_name##_scratch,             \
                                                .run = op_name##_run};                          \
    const struct assay_kernel peer_##op_name##_packed = {.op = "q4_K_" #op_name,                \
                                                         .name = ASSAY_PEER_PACKED,             \
                                                         .tier = PEER_TIER,                     \
                                                         .numerics = ASSAY_I8,                  \
                                                         .depth = op_name##_depth,              \
                                                         .unsupported = op_name##_cannot_pack,  \
                                                         .prepared_bytes = op_name##_prepared,  \
                                                         .prepare = op_name##_prepare,          \
                                                         .scratch_bytes =                       \
                                                             op_name##_scratch_packed,          \
                                                         .run = op_name##_run_packed};

KERNELS(gemv)
KERNELS(gemm)
KERNELS(gemv_moe_id)
KERNELS(gemm_moe_id)
