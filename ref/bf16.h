/* SPDX-License-Identifier: MIT */
/* bfloat16, the upper half of a binary32, in integer arithmetic: the same at every MXCSR. */
#ifndef ASSAY_REF_BF16_H
#define ASSAY_REF_BF16_H

#include <stdint.h>

#include "ref/f16.h"

/* Exact; subnormals are kept, a NaN keeps its payload. */
static inline float assay_bf16_to_f32(uint16_t h)
{
    return assay_f32_from_bits((uint32_t)h << 16);
}

/* Rounds to nearest, ties to even; past the largest finite to infinity. A NaN becomes a quiet one. */
static inline uint16_t assay_f32_to_bf16(float x)
{
    uint32_t bits = assay_f32_bits(x);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

#endif
