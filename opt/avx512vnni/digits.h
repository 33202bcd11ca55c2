/* SPDX-License-Identifier: MIT */
/*
 * Activations to int8 digits, as ref/activation_i8.h has it, bit for bit.
 *
 * As integers, magnitudes order like the numbers and those that are not finite are the largest, so
 * an integer maximum decides everything. A vector has the Q of 16 activations; a digit is the
 * sign-extended low byte, and what is left, less the digit, is divided by 256 by a shift. Packing
 * cannot saturate.
 */
#ifndef ASSAY_OPT_AVX512VNNI_DIGITS_H
#define ASSAY_OPT_AVX512VNNI_DIGITS_H

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "opt/avx512vnni/common.h"
#include "ref/activation_i8.h"

/* Sums are in the order of vpdpwssd's pairs: sub-blocks 0 2, 4 6, 1 3, 5 7. */
struct digits {
    int8_t q[ACTIVATION_BLOCK];
    int16_t sums[8];
    float d;
    int32_t wide;      /* some sub-block's products with nibbles may not add up to an int16 */
    uint8_t unused[8]; /* to a multiple of 32 bytes */
};

/* 15 times as much is an int16, whether the digits are positive or negative. */
#define NARROW_MOST 2184

/* Where one digit of a block goes: 256 digits, 8 sums, the scale, and `wide` or NULL. */
struct digit_place {
    int8_t *q;
    int16_t *sums;
    float *d;
    int32_t *wide;
};

/* The bits of max |x| of a block. */
ALWAYS_INLINE uint32_t largest_magnitude(const float *x)
{
    __m512i magnitude = _mm512_setzero_si512();
    UNROLL
    for (int i = 0; i < 16; i++) {
        __m512i bits = _mm512_castps_si512(_mm512_loadu_ps(x + LANES * i));
        bits = _mm512_and_si512(bits, _mm512_set1_epi32(0x7fffffff));
        magnitude = _mm512_max_epu32(magnitude, bits);
    }
    return _mm512_reduce_max_epu32(magnitude);
}

/* Takes the last digit off v, 64 activations, or all that is left of it if that is the first. */
ALWAYS_INLINE __m512i take_digit(__m512i v[4], const bool first)
{
    /* Packing works within quarters, which leaves the dwords in this order. */
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i digit[4];
    UNROLL
    for (int i = 0; i < 4; i++) {
        digit[i] = v[i];
        if (first)
            continue;
        digit[i] = _mm512_srai_epi32(_mm512_slli_epi32(v[i], 24), 24);
        v[i] = _mm512_srai_epi32(_mm512_sub_epi32(v[i], digit[i]), 8);
    }
    __m512i low = _mm512_packs_epi32(digit[0], digit[1]);
    __m512i high = _mm512_packs_epi32(digit[2], digit[3]);
    return _mm512_permutexvar_epi32(order, _mm512_packs_epi16(low, high));
}

/* Sums of four bytes: 16 dwords, of whose quarters two make the sum of each sub-block. */
ALWAYS_INLINE __m512i sums_of_four(__m512i digits)
{
    return _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), digits);
}

/* The eight sums, in the order of struct digits or of the sub-blocks. Quarters 0 and 1 of sums[i]
 * belong to sub-block 2i, 2 and 3 to 2i+1. Two rounds of adding neighbours leave dword i of a
 * quarter from sums[i]. */
ALWAYS_INLINE __m128i sub_block_sums(const __m512i sums[4], const bool in_order)
{
    const __m512i ones = _mm512_set1_epi16(1);
    __m512i low = _mm512_madd_epi16(_mm512_packs_epi32(sums[0], sums[1]), ones);
    __m512i high = _mm512_madd_epi16(_mm512_packs_epi32(sums[2], sums[3]), ones);
    __m512i all = _mm512_madd_epi16(_mm512_packs_epi32(low, high), ones);
    all = _mm512_add_epi32(all, _mm512_shuffle_i32x4(all, all, _MM_SHUFFLE(2, 3, 0, 1)));
    __m128i even = _mm512_castsi512_si128(all), odd = _mm512_extracti32x4_epi32(all, 2);
    __m128i packed = _mm_packs_epi32(even, odd);
    return in_order ? _mm_unpacklo_epi16(packed, _mm_unpackhi_epi64(packed, packed)) : packed;
}

/* Whether 16-bit sums may not do, from the sums of a block's digits and of its positive ones. */
ALWAYS_INLINE int32_t is_wide(__m128i sums, __m128i positive)
{
    __m128i negative = _mm_sub_epi16(positive, sums);
    return _mm_cmpgt_epi16_mask(_mm_max_epi16(positive, negative), _mm_set1_epi16(NARROW_MOST));
}

/* activation_quantize_block, given the largest_magnitude. */
ALWAYS_INLINE void quantize_scaled(const float *x, uint32_t largest, const int digits,
                                   const bool in_order, const struct digit_place *to)
{
    float amax = _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128((int)largest)));
    if (largest >= 0x7f800000 || amax < ACTIVATION_TINY) {
        for (int j = 0; j < digits; j++) {
            memset(to[j].q, 0, ACTIVATION_BLOCK);
            memset(to[j].sums, 0, 8 * sizeof(*to[j].sums));
            *to[j].d = largest >= 0x7f800000 ? NAN : 0.0f;
            if (to[j].wide)
                *to[j].wide = 0;
        }
        return;
    }
    const float top = activation_top(digits), step = amax / top;
    const __m512 inv = _mm512_set1_ps(top / amax);
    __m512i sums[ACTIVATION_MAX_DIGITS][4], positive[ACTIVATION_MAX_DIGITS][4];
    UNROLL
    for (int i = 0; i < 4; i++) {
        __m512i v[4];
        UNROLL
        for (int l = 0; l < 4; l++) {
            __m512 scaled = _mm512_mul_ps(_mm512_loadu_ps(x + 64 * i + LANES * l), inv);
            v[l] = _mm512_cvt_roundps_epi32(scaled, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        }
        UNROLL
        for (int j = digits - 1; j >= 0; j--) {
            __m512i digit = take_digit(v, j == 0);
            _mm512_storeu_si512((__m512i *)(to[j].q + 64 * i), digit);
            sums[j][i] = sums_of_four(digit);
            if (to[j].wide)
                positive[j][i] = sums_of_four(_mm512_max_epi8(digit, _mm512_setzero_si512()));
        }
    }
    UNROLL
    for (int j = 0; j < digits; j++) {
        __m128i all = sub_block_sums(sums[j], in_order);
        _mm_storeu_si128((__m128i *)to[j].sums, all);
        if (to[j].wide)
            *to[j].wide = is_wide(all, sub_block_sums(positive[j], in_order));
        *to[j].d = step * (float)(1 << 8 * (digits - 1 - j));
    }
}

ALWAYS_INLINE void quantize_places(const float *x, const int digits, const bool in_order,
                                   const struct digit_place *to)
{
    quantize_scaled(x, largest_magnitude(x), digits, in_order, to);
}

/* The digits of a block side by side, sums reordered. */
static inline void quantize_block(const float *x, int digits, struct digits *out)
{
    struct digit_place to[ACTIVATION_MAX_DIGITS];
    for (int j = 0; j < digits; j++)
        to[j] = (struct digit_place){out[j].q, out[j].sums, &out[j].d, &out[j].wide};
    switch (digits) {
    case 1: quantize_places(x, 1, false, to); break;
    case 2: quantize_places(x, 2, false, to); break;
    default: quantize_places(x, 3, false, to); break;
    }
}

#endif
