/* SPDX-License-Identifier: MIT */
/* The columns of one token's weighted sum: lanes are columns, slots are added in order by FMA, a
 * tail in masked lanes, so a column's bits do not depend on its place. */
#ifndef ASSAY_OPT_AVX512VNNI_MOE_WEIGHTED_SUM_H
#define ASSAY_OPT_AVX512VNNI_MOE_WEIGHTED_SUM_H

#include "opt/avx512vnni/common.h"
#include "ref/moe_ids_tpe.h"
#include "ref/moe_weighted_sum.h"

#define WEIGHTED_SUM_VECTORS 4 /* chains that hide the latency of FMA */

/* Columns [first, last) of a token: ids and weights [top_k], rows [top_k, m], out [m]. */
static inline void weighted_sum(const struct moe_weighted_sum_shape *s, const int32_t *ids,
                                const float *weights, const float *rows, int64_t first,
                                int64_t last, float *out)
{
    for (int64_t i = first; i < last; i += WEIGHTED_SUM_VECTORS * LANES) {
        __m512 sum[WEIGHTED_SUM_VECTORS];
        __mmask16 lanes[WEIGHTED_SUM_VECTORS];
        UNROLL
        for (int v = 0; v < WEIGHTED_SUM_VECTORS; v++) {
            sum[v] = _mm512_setzero_ps();
            lanes[v] = first_lanes(max_i64(0, min_i64(LANES, last - i - LANES * v)));
        }
        for (int64_t slot = 0; slot < s->top_k; slot++) {
            if (!moe_is_expert(ids[slot], s->experts))
                continue;
            __m512 weight = _mm512_set1_ps(weights[slot]);
            const float *row = rows + slot * s->m + i;
            UNROLL
            for (int v = 0; v < WEIGHTED_SUM_VECTORS; v++) {
                __m512 values = _mm512_maskz_loadu_ps(lanes[v], row + LANES * v);
                sum[v] = _mm512_fmadd_ps(weight, values, sum[v]);
            }
        }
        UNROLL
        for (int v = 0; v < WEIGHTED_SUM_VECTORS; v++)
            _mm512_mask_storeu_ps(out + i + LANES * v, lanes[v], sum[v]);
    }
}

#endif
