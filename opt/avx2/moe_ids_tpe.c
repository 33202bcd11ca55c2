/* SPDX-License-Identifier: MIT */
/*
 * moe_ids_tpe: each expert's list has a row of its own, so one pass over the pairs builds all of
 * them: tpe, zeroed first, is the write position. Pairs come in ascending order, which makes the
 * lists ascending. One comparison drops ids < 0 too: as unsigned numbers they are above every
 * expert. Counts stay below 2^31 as the pairs do. The largest count is taken 8 lanes at a time, the
 * tail one by one. One thread: the pass is bound by its few stores.
 */
#include "ref/moe_ids_tpe.h"
#include "opt/avx2/common.h"
#include "opt/avx2/kernels.h"
#include "opt/moe_lists.h"

static int32_t largest(const int32_t *tpe, int64_t experts)
{
    __m256i most = _mm256_setzero_si256();
    int64_t e = 0;
    for (; e + 8 <= experts; e += 8)
        most = _mm256_max_epi32(most, load_bytes(tpe + e));
    int32_t lanes[8], max = 0;
    store_bytes(lanes, most);
    for (int i = 0; i < 8; i++)
        max = lanes[i] > max ? lanes[i] : max;
    for (; e < experts; e++)
        max = tpe[e] > max ? tpe[e] : max;
    return max;
}

static void grid(int32_t max_pairs, int64_t m, int64_t experts, uint32_t *to)
{
    to[0] = (uint32_t)ceil_div(max_pairs > 1 ? max_pairs : 1, MOE_TILE_PAIRS);
    to[1] = (uint32_t)ceil_div(m, MOE_TILE_ROWS);
    to[2] = (uint32_t)experts;
}

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    (void)prepared, (void)scratch, (void)threads;
    const struct moe_ids_tpe_shape *s = shape;
    const struct moe_ids_tpe_args *a = args;
    const char *illegal = assay_illegal(&moe_ids_tpe_op, shape, NULL);
    if (illegal)
        return illegal;
    list_pairs(s, a->selected, a->tpe, a->ids);
    int32_t max_pairs = largest(a->tpe, s->experts);
    grid(max_pairs, s->m_gate_up, s->experts, &a->grids[0]);
    grid(max_pairs, s->m_down, s->experts, &a->grids[3]);
    return NULL;
}

const struct assay_kernel moe_ids_tpe_avx2 = {
    .op = "moe_ids_tpe",
    .name = "avx2",
    .tier = "avx2",
    .numerics = ASSAY_BITS,
    .run = run,
};
