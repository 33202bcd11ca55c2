/* SPDX-License-Identifier: MIT */
/* What the parts of an expert layer offer to the ops that are made of them. */
#ifndef ASSAY_OPT_AVX512VNNI_MOE_PARTS_H
#define ASSAY_OPT_AVX512VNNI_MOE_PARTS_H

#include "opt/avx512vnni/matmul.h"
#include "ref/moe_ids_tpe.h"
#include "ref/moe_router_topk_softmax.h"
#include "ref/moe_weighted_sum.h"

/* How a q4_K_gemm_moe_id becomes a matmul; memory: avx512vnni_moe_matmul_lists_bytes. */
struct matmul avx512vnni_moe_matmul_sizes(const void *shape);
void avx512vnni_moe_matmul_bind(const void *shape, const void *args, void *memory,
                                struct matmul *matmul);
int64_t avx512vnni_moe_matmul_lists_bytes(const void *shape);

/* Tokens [first, last) of the router; scratch of one thread: avx512vnni_moe_route_bytes. */
void avx512vnni_moe_route(const struct moe_router_topk_softmax_shape *shape,
                          const struct moe_router_topk_softmax_args *args, int64_t first,
                          int64_t last, void *scratch);
int64_t avx512vnni_moe_route_bytes(const struct moe_router_topk_softmax_shape *shape);

/* tpe and ids of moe_ids_tpe. */
void avx512vnni_moe_lists(const struct moe_ids_tpe_shape *shape, const int32_t *restrict selected,
                          int32_t *restrict tpe, int32_t *restrict ids);

/* A thread's share of moe_weighted_sum. */
void avx512vnni_moe_sum(const struct moe_weighted_sum_shape *shape,
                        const struct moe_weighted_sum_args *args, int rank, int team);

#endif
