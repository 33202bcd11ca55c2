/* SPDX-License-Identifier: MIT */
#include "opt/moe_ffn.h"

#include "opt/avx2/kernels.h"
#include "opt/avx2/silu_mul.h"
#include "opt/avx2/tier.h"

static int64_t route_depth(const void *shape)
{
    return moe_router_topk_softmax_avx2.depth(shape);
}

static void activate(const float *gate, const float *up, int64_t n, float *out)
{
    silu_mul(gate, up, n, out);
}

static const struct moe_tier avx2_moe = {
    .matmul = &avx2_matmul,
    .route = avx2_moe_route,
    .route_bytes = avx2_moe_route_bytes,
    .route_depth = route_depth,
    .silu_mul = activate,
    .silu_mul_depth = SILU_MUL_DEPTH,
    .sum = avx2_moe_sum,
};

MOE_FFN_KERNELS(avx2)
