/* SPDX-License-Identifier: MIT */
#include "opt/moe_ffn.h"

#include "opt/avx512vnni/kernels.h"
#include "opt/avx512vnni/silu_mul.h"
#include "opt/avx512vnni/tier.h"

static int64_t route_depth(const void *shape)
{
    return moe_router_topk_softmax_avx512vnni.depth(shape);
}

static void activate(const float *gate, const float *up, int64_t n, float *out)
{
    silu_mul(gate, up, n, out);
}

static const struct moe_tier avx512vnni_moe = {
    .matmul = &avx512vnni_matmul,
    .route = avx512vnni_moe_route,
    .route_bytes = avx512vnni_moe_route_bytes,
    .route_depth = route_depth,
    .silu_mul = activate,
    .silu_mul_depth = SILU_MUL_DEPTH,
    .sum = avx512vnni_moe_sum,
};

MOE_FFN_KERNELS(avx512vnni)
