/* SPDX-License-Identifier: MIT */
/*
 * exp(x) in f32 for x <= 200, -Inf included; infinite above 88.7; NaN of NaN.
 *
 * x = n*ln2 + r with |r| <= ln2/2: n from a rounded product, r by two FMA with ln2 in two parts,
 * the first of which has trailing zeros so that n times it is exact. exp(r) by a polynomial of
 * degree 6, times 2^n by vscalefps. exp(0) is exactly 1.
 *
 * Error, measured for all f32 in [-87.3, -2^-31]: at most 1.01 ULP, hence EXPF_ROUNDINGS; on
 * one in seven of those from 2^-33 to 88 within 1.4 u, which are 2^-24 of the value. Results
 * below the smallest normal number are within one quantum, 2^-149.
 */
#ifndef ASSAY_OPT_AVX512VNNI_EXPF_H
#define ASSAY_OPT_AVX512VNNI_EXPF_H

#include "opt/avx512vnni/common.h"

#define EXPF_ROUNDINGS 2

ALWAYS_INLINE __m512 expf_lanes(__m512 x)
{
    /* exp(-200) is far below the smallest subnormal; -Inf would make r NaN. NaN second: it is kept.
     */
    x = _mm512_max_ps(_mm512_set1_ps(-200.0f), x);
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(0x1.715476p+0f)),
                                    _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.62e4p-1f), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.7f7d1cp-20f), r);
    /* exp(r) = 1 + r + r^2*q(r); q by Remez, its relative error is 2^-28. */
    __m512 q = _mm512_set1_ps(0x1.6a241ap-10f);
    q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(0x1.1239f2p-7f));
    q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(0x1.5558f2p-5f));
    q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(0x1.555492p-3f));
    q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(0x1.fffffcp-2f));
    __m512 p = _mm512_fmadd_ps(_mm512_mul_ps(r, r), q, r);
    p = _mm512_add_ps(p, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, n);
}

#endif
