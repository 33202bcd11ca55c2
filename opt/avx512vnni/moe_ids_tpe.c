/* SPDX-License-Identifier: MIT */
/*
 * moe_ids_tpe: one pass in pair order, which appends each pair to its expert's list and so gives
 * ascending lists; tpe counts along. A group of 16 pairs is checked at once: only if an id in it is
 * illegal, the pairs are checked one by one. Lanes are pairs in that check, experts in the search
 * for the longest list; tails are masked.
 *
 * Pairs and counts are below 2^31; indices into ids are 64-bit. One thread: the work is a few
 * nanoseconds a pair, and the order is that of the pairs.
 */
#include "ref/moe_ids_tpe.h"

#include <string.h>

#include "opt/avx512vnni/common.h"
#include "opt/avx512vnni/kernels.h"

ALWAYS_INLINE void append(int32_t *restrict tpe, int32_t *restrict ids, int64_t stride, int32_t e,
                          int64_t pair)
{
    int32_t count = tpe[e];
    ids[e * stride + count] = (int32_t)pair;
    tpe[e] = count + 1;
}

static void make_lists(const struct moe_ids_tpe_shape *s, const int32_t *restrict selected,
                       int32_t *restrict tpe, int32_t *restrict ids)
{
    const __m512i experts = _mm512_set1_epi32((int32_t)s->experts);
    int64_t pairs = s->tokens * s->top_k, stride = s->stride;
    memset(tpe, 0, (size_t)s->experts * sizeof(*tpe));
    for (int64_t first = 0; first < pairs; first += LANES) {
        int64_t n = min_i64(LANES, pairs - first);
        __m512i e = _mm512_maskz_loadu_epi32(first_lanes(n), selected + first);
        /* Unsigned, a negative id is too large. */
        __mmask16 legal = _mm512_mask_cmplt_epu32_mask(first_lanes(n), e, experts);
        if (legal == 0xffff) {
            UNROLL
            for (int64_t i = 0; i < LANES; i++)
                append(tpe, ids, stride, selected[first + i], first + i);
        } else {
            for (int64_t i = 0; i < n; i++) {
                if (legal >> i & 1)
                    append(tpe, ids, stride, selected[first + i], first + i);
            }
        }
    }
}

static int32_t longest(const int32_t *tpe, int64_t experts)
{
    __m512i most = _mm512_setzero_si512();
    for (int64_t e = 0; e < experts; e += LANES) {
        __mmask16 lanes = first_lanes(min_i64(LANES, experts - e));
        most = _mm512_max_epi32(most, _mm512_maskz_loadu_epi32(lanes, tpe + e));
    }
    return _mm512_reduce_max_epi32(most);
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
    make_lists(s, a->selected, a->tpe, a->ids);
    int64_t most = max_i64(1, longest(a->tpe, s->experts));
    const int64_t rows[2] = {s->m_gate_up, s->m_down};
    for (int i = 0; i < 2; i++) {
        a->grids[3 * i] = (uint32_t)ceil_div(most, MOE_TILE_PAIRS);
        a->grids[3 * i + 1] = (uint32_t)ceil_div(rows[i], MOE_TILE_ROWS);
        a->grids[3 * i + 2] = (uint32_t)s->experts;
    }
    return NULL;
}

const struct assay_kernel moe_ids_tpe_avx512vnni = {
    .op = "moe_ids_tpe",
    .name = "avx512vnni",
    .tier = "avx512vnni",
    .numerics = ASSAY_BITS,
    .run = run,
};
