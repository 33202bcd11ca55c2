/* SPDX-License-Identifier: MIT */
/* What the parts of an expert layer offer to the ops that are made of them. */
#ifndef ASSAY_OPT_AVX2_MOE_PARTS_H
#define ASSAY_OPT_AVX2_MOE_PARTS_H

#include "opt/avx2/matmul.h"
#include "ref/moe_ids_tpe.h"
#include "ref/moe_router_topk_softmax.h"
#include "ref/moe_weighted_sum.h"

/* How a q4_K_gemm_moe_id becomes a matmul; memory: avx2_moe_matmul_lists_bytes. */
struct matmul avx2_moe_matmul_sizes(const void *shape);
void avx2_moe_matmul_bind(const void *shape, const void *args, void *memory, struct matmul *matmul);
int64_t avx2_moe_matmul_lists_bytes(const void *shape);

/* The calling thread's share of the router; scratch of the team: avx2_moe_route_bytes. */
void avx2_moe_route(const struct moe_router_topk_softmax_shape *shape,
                    const struct moe_router_topk_softmax_args *args, void *scratch);
int64_t avx2_moe_route_bytes(const struct moe_router_topk_softmax_shape *shape, int threads);

/* tpe and ids of moe_ids_tpe. */
void avx2_moe_lists(const struct moe_ids_tpe_shape *shape, const int32_t *selected, int32_t *tpe,
                    int32_t *ids);

/* The calling thread's share of moe_weighted_sum. */
void avx2_moe_sum(const struct moe_weighted_sum_shape *shape,
                  const struct moe_weighted_sum_args *args);

#endif
