/* SPDX-License-Identifier: MIT */
/*
 * gate / (1 + exp(-gate)) * up, eight elements at a time. A tail takes the same steps on masked
 * loads, so an element's bits do not depend on its place.
 *
 * exp is computed up to 88 and infinite beyond: the quotient is then -0, which the contract allows.
 * NaN passes through gate itself; -Inf over infinity is NaN.
 */
#ifndef ASSAY_OPT_AVX2_SILU_MUL_H
#define ASSAY_OPT_AVX2_SILU_MUL_H

#include <math.h>

#include "opt/avx2/exp_f32.h"
#include "ref/silu_mul.h"

#define SILU_MUL_DEPTH (EXP_ROUNDINGS + 3) /* sum, quotient, product */

AVX2_INLINE __m256 silu_mul_f32(__m256 gate, __m256 up)
{
    const __m256 most = _mm256_set1_ps(-SILU_MUL_LEAST), least = _mm256_set1_ps(EXP_LEAST);
    __m256 x = _mm256_sub_ps(_mm256_setzero_ps(), gate);
    __m256 beyond = _mm256_cmp_ps(x, most, _CMP_GT_OQ);
    __m256 e = exp_in_range(_mm256_min_ps(_mm256_max_ps(x, least), most));
    e = _mm256_blendv_ps(e, _mm256_set1_ps(INFINITY), beyond);
    return _mm256_mul_ps(_mm256_div_ps(gate, _mm256_add_ps(_mm256_set1_ps(1), e)), up);
}

/* n elements; out may be gate or up. */
static inline void silu_mul(const float *gate, const float *up, int64_t n, float *out)
{
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, silu_mul_f32(_mm256_loadu_ps(gate + i), _mm256_loadu_ps(up + i)));
    if (i == n)
        return;
    __m256i mask = first_lanes(n - i);
    __m256 v = silu_mul_f32(_mm256_maskload_ps(gate + i, mask), _mm256_maskload_ps(up + i, mask));
    _mm256_maskstore_ps(out + i, mask, v);
}

#endif
