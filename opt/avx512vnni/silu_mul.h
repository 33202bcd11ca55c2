/* SPDX-License-Identifier: MIT */
/*
 * gate / (1 + exp(-gate)) * up, sixteen elements at a time; a tail in masked lanes, so an element's
 * bits do not depend on its place.
 *
 * vscalefps makes exp infinite where it leaves f32: the quotient is then -0, which the contract
 * allows. NaN passes through gate itself; -Inf over infinity is NaN.
 */
#ifndef ASSAY_OPT_AVX512VNNI_SILU_MUL_H
#define ASSAY_OPT_AVX512VNNI_SILU_MUL_H

#include "opt/avx512vnni/expf.h"
#include "ref/silu_mul.h"

#define SILU_MUL_DEPTH (EXPF_ROUNDINGS + 3) /* sum, quotient, product */

ALWAYS_INLINE __m512 silu_mul_lanes(__m512 gate, __m512 up)
{
    /* exp(200) is infinite; larger arguments would overflow on the way to it. */
    __m512 x = _mm512_sub_ps(_mm512_setzero_ps(), gate);
    __m512 e = expf_lanes(_mm512_min_ps(x, _mm512_set1_ps(200)));
    return _mm512_mul_ps(_mm512_div_ps(gate, _mm512_add_ps(_mm512_set1_ps(1), e)), up);
}

/* n elements; out may be gate or up. */
static inline void silu_mul(const float *gate, const float *up, int64_t n, float *out)
{
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        __m512 g = _mm512_loadu_ps(gate + i), u = _mm512_loadu_ps(up + i);
        _mm512_storeu_ps(out + i, silu_mul_lanes(g, u));
    }
    if (i < n) {
        __mmask16 lanes = first_lanes(n - i);
        __m512 g = _mm512_maskz_loadu_ps(lanes, gate + i), u = _mm512_maskz_loadu_ps(lanes, up + i);
        _mm512_mask_storeu_ps(out + i, lanes, silu_mul_lanes(g, u));
    }
}

#endif
