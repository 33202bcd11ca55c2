/* SPDX-License-Identifier: MIT */
/* The pairs of each expert as lists of a matmul. */
#ifndef ASSAY_OPT_MOE_LISTS_H
#define ASSAY_OPT_MOE_LISTS_H

#include <string.h>

#include "opt/matmul.h"
#include "ref/moe_ids_tpe.h"

/* How a q4_K_gemm_moe_id becomes a matmul; memory: moe_matmul_lists_bytes. */
struct matmul moe_matmul_sizes(const void *shape);
void moe_matmul_bind(const void *shape, const void *args, void *memory, struct matmul *matmul);
int64_t moe_matmul_lists_bytes(const void *shape);

/* tpe [experts] and ids [experts, stride] of moe_ids_tpe. One pass in the order of pairs, so that
 * lists ascend; tpe counts along. */
static inline void list_pairs(const struct moe_ids_tpe_shape *s, const int32_t *restrict selected,
                              int32_t *restrict tpe, int32_t *restrict ids)
{
    memset(tpe, 0, (size_t)s->experts * sizeof(*tpe));
    for (int64_t pair = 0; pair < s->tokens * s->top_k; pair++) {
        int32_t e = selected[pair];
        if (moe_is_expert(e, s->experts))
            ids[e * s->stride + tpe[e]++] = (int32_t)pair;
    }
}

#endif
