/* SPDX-License-Identifier: MIT */
/* The columns of one token's weighted sum: lanes are columns, slots are added in order by FMA, and
 * a tail takes the same steps on masked loads, so a column's bits do not depend on its place. */
#ifndef ASSAY_OPT_AVX2_MOE_WEIGHTED_SUM_H
#define ASSAY_OPT_AVX2_MOE_WEIGHTED_SUM_H

#include "opt/avx2/common.h"
#include "ref/moe_ids_tpe.h"
#include "ref/moe_weighted_sum.h"

#define WEIGHTED_SUM_TILE 32 /* columns: four chains hide some of the latency of FMA */

/* Columns [columns.first, columns.last) of a token: ids and weights [top_k], rows [top_k, m], out
 * [m]. */
static inline void weighted_sum(const struct moe_weighted_sum_shape *s, const int32_t *ids,
                                const float *weights, const float *rows, struct range columns,
                                float *out)
{
    int64_t i = columns.first;
    for (; i + WEIGHTED_SUM_TILE <= columns.last; i += WEIGHTED_SUM_TILE) {
        __m256 sum[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
                         _mm256_setzero_ps()};
        for (int64_t slot = 0; slot < s->top_k; slot++) {
            if (!moe_is_expert(ids[slot], s->experts))
                continue;
            __m256 weight = _mm256_set1_ps(weights[slot]);
            const float *row = rows + slot * s->m + i;
            for (int v = 0; v < 4; v++)
                sum[v] = _mm256_fmadd_ps(weight, _mm256_loadu_ps(row + 8 * v), sum[v]);
        }
        for (int v = 0; v < 4; v++)
            _mm256_storeu_ps(out + i + 8 * v, sum[v]);
    }
    for (; i < columns.last; i += 8) {
        __m256i mask = first_lanes(columns.last - i);
        __m256 sum = _mm256_setzero_ps();
        for (int64_t slot = 0; slot < s->top_k; slot++) {
            if (!moe_is_expert(ids[slot], s->experts))
                continue;
            __m256 row = _mm256_maskload_ps(rows + slot * s->m + i, mask);
            sum = _mm256_fmadd_ps(_mm256_set1_ps(weights[slot]), row, sum);
        }
        _mm256_maskstore_ps(out + i, mask, sum);
    }
}

#endif
