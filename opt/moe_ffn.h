/* SPDX-License-Identifier: MIT */
/* moe_ffn of any tier, by stages; opt/moe_ffn.c says which. */
#ifndef ASSAY_OPT_MOE_FFN_H
#define ASSAY_OPT_MOE_FFN_H

#include "opt/matmul.h"
#include "ref/moe_ffn.h"
#include "ref/moe_router_topk_softmax.h"
#include "ref/moe_weighted_sum.h"

/* What a tier's parts of the layer are. */
struct moe_tier {
    const struct matmul_tier *matmul;
    /* Tokens [first, last) of the router; scratch of a thread: route_bytes. */
    void (*route)(const struct moe_router_topk_softmax_shape *shape,
                  const struct moe_router_topk_softmax_args *args, int64_t first, int64_t last,
                  void *scratch);
    int64_t (*route_bytes)(const struct moe_router_topk_softmax_shape *shape);
    int64_t (*route_depth)(const void *shape);
    /* out may be gate. */
    void (*silu_mul)(const float *gate, const float *up, int64_t n, float *out);
    int64_t silu_mul_depth;
    /* A thread's share of moe_weighted_sum. */
    void (*sum)(const struct moe_weighted_sum_shape *shape,
                const struct moe_weighted_sum_args *args, int rank, int team);
};

/* What a kernel's functions do. `packed`: gate, up, down one after the other. */
const char *moe_ffn_run(const struct moe_tier *tier, enum matmul_class class, const void *shape,
                        const void *args, const void *packed, void *scratch, int threads);
int64_t moe_ffn_scratch(const struct moe_tier *tier, enum matmul_class class, const void *shape,
                        int threads);
int64_t moe_ffn_depth(const struct moe_tier *tier, enum matmul_class class, const void *shape);
int64_t moe_ffn_prepared_bytes(const void *shape);
void moe_ffn_prepare(const struct moe_tier *tier, const void *shape, const void *args, void *packed,
                     int threads);

/* Kernel moe_ffn_TIER_SUFFIX, and further members. */
#define MOE_FFN_KERNEL(tier_, suffix, label, class, numerics_, ...)                            \
    static const char *run_##suffix(const void *shape, const void *args, const void *prepared, \
                                    void *scratch, int threads)                                \
    {                                                                                          \
        return moe_ffn_run(&tier_##_moe, class, shape, args, prepared, scratch, threads);      \
    }                                                                                          \
    static int64_t scratch_##suffix(const void *shape, int threads)                            \
    {                                                                                          \
        return moe_ffn_scratch(&tier_##_moe, class, shape, threads);                           \
    }                                                                                          \
    static int64_t depth_##suffix(const void *shape)                                           \
    {                                                                                          \
        return moe_ffn_depth(&tier_##_moe, class, shape);                                      \
    }                                                                                          \
    const struct assay_kernel moe_ffn_##tier_##_##suffix = {.op = "moe_ffn",                   \
                                                            .name = #tier_ "-" label,          \
                                                            .tier = #tier_,                    \
                                                            .numerics = numerics_,             \
                                                            .depth = depth_##suffix,           \
                                                            .scratch_bytes = scratch_##suffix, \
                                                            .run = run_##suffix,               \
                                                            __VA_ARGS__};

/* Of a tier that has TIER_matmul, TIER_moe_route and so on, and silu_mul as an inline function. */
#define MOE_FFN_KERNELS(tier_)                                                              \
    static int64_t tier_##_route_depth(const void *shape)                                   \
    {                                                                                       \
        return moe_router_topk_softmax_##tier_.depth(shape);                                \
    }                                                                                       \
    static void tier_##_silu_mul(const float *gate, const float *up, int64_t n, float *out) \
    {                                                                                       \
        silu_mul(gate, up, n, out);                                                         \
    }                                                                                       \
    static const struct moe_tier tier_##_moe = {                                            \
        .matmul = &tier_##_matmul,                                                          \
        .route = tier_##_moe_route,                                                         \
        .route_bytes = tier_##_moe_route_bytes,                                             \
        .route_depth = tier_##_route_depth,                                                 \
        .silu_mul = tier_##_silu_mul,                                                       \
        .silu_mul_depth = SILU_MUL_DEPTH,                                                   \
        .sum = tier_##_moe_sum,                                                             \
    };                                                                                      \
    static void prepare(const void *shape, const void *args, void *packed, int threads)     \
    {                                                                                       \
        moe_ffn_prepare(&tier_##_moe, shape, args, packed, threads);                        \
    }                                                                                       \
    MOE_FFN_KERNEL(tier_, f32, "f32", MATMUL_F32, ASSAY_F32, .twin = 0)                     \
    MOE_FFN_KERNEL(tier_, i8, "i8", MATMUL_I8, ASSAY_I8, .twin = 0)                         \
    MOE_FFN_KERNEL(tier_, i8_packed, "i8-packed", MATMUL_I8_PACKED, ASSAY_I8,               \
                   .prepared_bytes = moe_ffn_prepared_bytes, .prepare = prepare)

#endif
