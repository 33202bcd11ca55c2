/* SPDX-License-Identifier: MIT */
/*
 * moe_ids_tpe: from the experts of each (token, slot) to a list of pairs for each expert
 *
 *   tpe[e] = number of pairs p = token*top_k + slot with selected[p] == e
 *   ids[e*stride + i] = the i-th of them, ascending, i < tpe[e]
 *   grids[0], grids[1] = (max(1, ceil(max tpe / 32)), ceil(m / 64), experts)
 *                        for m = m_gate_up and m = m_down
 *
 * Shapes    selected [tokens, top_k] i32; tpe [experts] i32; ids [experts, stride] i32;
 *           grids [2, 3] u32. stride >= tokens*top_k, by default equal; tokens*top_k < 2^31.
 * Numerics  bits; integers only.
 * Memory    All aligned to 4 bytes; outputs overlap nothing. Entries of ids at i >= tpe[e] are not
 *           written. tpe and grids are written whole.
 * Errors    An illegal shape is refused before any output is written. Ids < 0 or >= experts are
 *           dropped; an expert may stand in several slots of a token.
 * Threads   The outputs do not depend on their number.
 * Cost      0 flop; 4 bytes a pair read; the valid pairs, tpe and grids written, 4 bytes each.
 * Source    compute_ids_tpe of ferrum-kernels, whose list order is that of GPU atomics; here the
 *           order is fixed. 32 and 64 are the tile of their GEMM.
 */
#ifndef ASSAY_REF_MOE_IDS_TPE_H
#define ASSAY_REF_MOE_IDS_TPE_H

#include "ref/op.h"

#define MOE_TILE_PAIRS 32
#define MOE_TILE_ROWS  64

struct moe_ids_tpe_shape {
    int64_t experts, top_k, tokens, m_gate_up, m_down, stride;
};

struct moe_ids_tpe_args {
    const int32_t *selected;
    int32_t *tpe;
    int32_t *ids;
    uint32_t *grids;
};

/* Ids for which this is false are dropped, here and wherever ids are read. */
static inline bool moe_is_expert(int32_t id, int64_t experts)
{
    return id >= 0 && id < experts;
}

extern const struct assay_op moe_ids_tpe_op;
extern const struct assay_kernel moe_ids_tpe_ref;

/* tpe and ids as above. */
void moe_lists(const int32_t *selected, int64_t pairs, int64_t experts, int64_t stride,
               int32_t *tpe, int32_t *ids);

/* One grid as above. */
void moe_grid(const int32_t *tpe, int64_t experts, int64_t m, uint32_t grid[3]);

#endif
