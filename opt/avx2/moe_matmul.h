/* SPDX-License-Identifier: MIT */
/* How a q4_K_gemm_moe_id becomes a matmul; memory: avx2_moe_matmul_lists_bytes. */
#ifndef ASSAY_OPT_AVX2_MOE_MATMUL_H
#define ASSAY_OPT_AVX2_MOE_MATMUL_H

#include "opt/avx2/matmul.h"

struct matmul avx2_moe_matmul_sizes(const void *shape);
void avx2_moe_matmul_bind(const void *shape, const void *args, void *memory, struct matmul *matmul);
int64_t avx2_moe_matmul_lists_bytes(const void *shape);

#endif
