/* SPDX-License-Identifier: MIT */
/* What this tier's parts offer to the ops that are made of them. */
#ifndef ASSAY_OPT_AVX2_TIER_H
#define ASSAY_OPT_AVX2_TIER_H

#include "opt/moe_ffn.h"

extern const struct matmul_tier avx2_matmul;

/* See struct moe_tier. */
void avx2_moe_route(const struct moe_router_topk_softmax_shape *shape,
                    const struct moe_router_topk_softmax_args *args, int64_t first, int64_t last,
                    void *scratch);
int64_t avx2_moe_route_bytes(const struct moe_router_topk_softmax_shape *shape);
void avx2_moe_sum(const struct moe_weighted_sum_shape *shape,
                  const struct moe_weighted_sum_args *args, int rank, int team);

#endif
