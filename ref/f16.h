/* SPDX-License-Identifier: MIT */
/* IEEE binary16 <-> binary32, in integer arithmetic: the same on every machine and MXCSR. */
#ifndef ASSAY_REF_F16_H
#define ASSAY_REF_F16_H

#include <stdint.h>
#include <string.h>

static inline uint32_t assay_f32_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

static inline float assay_f32_from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

/* Exact; subnormals are kept, a NaN keeps its payload. */
static inline float assay_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h >> 15) << 31;
    uint32_t exponent = (h >> 10) & 31;
    uint32_t fraction = h & 1023;
    if (exponent == 31)
        return assay_f32_from_bits(sign | 0x7f800000u | fraction << 13);
    if (exponent != 0)
        return assay_f32_from_bits(sign | (exponent + 112) << 23 | fraction << 13);
    if (fraction == 0)
        return assay_f32_from_bits(sign);
    uint32_t shift = 0;
    while (!(fraction & 1024)) {
        fraction <<= 1;
        shift++;
    }
    return assay_f32_from_bits(sign | (113 - shift) << 23 | (fraction & 1023) << 13);
}

/* Rounds to nearest, ties to even; from 65520 on to infinity. A NaN becomes a quiet NaN. */
static inline uint16_t assay_f32_to_f16(float x)
{
    uint32_t bits = assay_f32_bits(x);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    uint32_t magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000)
        return sign | 0x7e00;
    if (magnitude >= 0x477ff000)
        return sign | 0x7c00;
    uint32_t exponent = magnitude >> 23;
    if (exponent < 102) /* below half of the smallest subnormal, 2^-25 */
        return sign;
    uint32_t significand = (magnitude & 0x7fffff) | 0x800000;
    /* Normal halves keep 11 bits; a subnormal is a multiple of 2^-24. */
    uint32_t drop = exponent >= 113 ? 13 : 126 - exponent;
    uint32_t kept = significand >> drop;
    uint32_t rest = significand & ((1u << drop) - 1);
    uint32_t half = 1u << (drop - 1);
    kept += rest > half || (rest == half && (kept & 1));
    if (exponent >= 113)
        kept += (exponent - 113) << 10;
    return sign | (uint16_t)kept;
}

static inline float assay_round_to_f16(float x)
{
    return assay_f16_to_f32(assay_f32_to_f16(x));
}

#endif
