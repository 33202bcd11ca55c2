/* SPDX-License-Identifier: MIT */
/*
 * Activations to int8 digits, as ref/activation_i8.h has it, bit for bit.
 *
 * The bits of |x| order like the numbers, and all that is not finite lies from 0x7f800000 on, so the
 * integer maximum decides everything. Q takes 8 activations to a vector, four of which make a
 * sub-block; a digit is the sign-extended low byte, and what is left, less the digit, is divided by
 * 256 by a shift. Packing cannot saturate.
 */
#ifndef ASSAY_OPT_AVX2_DIGITS_H
#define ASSAY_OPT_AVX2_DIGITS_H

#include <math.h>

#include "opt/avx2/common.h"
#include "ref/activation_i8.h"

/* As struct activation_i8, the digits first so that lines of 32 are aligned. */
struct i8_block {
    int8_t q[ACTIVATION_BLOCK];
    int16_t sums[8];
    float d;
    int32_t unused[3]; /* a multiple of 32 bytes */
};

/* Where one digit of a block goes: 256 digits, 8 sums, the scale. */
struct digit_place {
    int8_t *q;
    int16_t *sums;
    float *d;
};

/* The bits of max |x| of a block. */
AVX2_INLINE uint32_t largest_magnitude(const float *x)
{
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    __m256i max0 = _mm256_setzero_si256(), max1 = max0;
    for (int i = 0; i < ACTIVATION_BLOCK; i += 16) {
        max0 = _mm256_max_epi32(max0, _mm256_and_si256(load_bytes(x + i), magnitude));
        max1 = _mm256_max_epi32(max1, _mm256_and_si256(load_bytes(x + i + 8), magnitude));
    }
    max0 = _mm256_max_epi32(max0, max1);
    __m128i max = _mm_max_epi32(_mm256_castsi256_si128(max0), _mm256_extracti128_si256(max0, 1));
    max = _mm_max_epi32(max, _mm_shuffle_epi32(max, 0x4e));
    max = _mm_max_epi32(max, _mm_shuffle_epi32(max, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(max);
}

/* Takes the last digit off v, or all that is left of it if that is the first; returns the eight
 * dwords whose sum is that of the 32 digits. */
AVX2_INLINE __m256i take_digit(__m256i v[4], const bool first, int8_t *q)
{
    __m256i digit[4];
    for (int i = 0; i < 4; i++) {
        digit[i] = v[i];
        if (first)
            continue;
        digit[i] = _mm256_srai_epi32(_mm256_slli_epi32(v[i], 24), 24);
        v[i] = _mm256_srai_epi32(_mm256_sub_epi32(v[i], digit[i]), 8);
    }
    __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(digit[0], digit[1]),
                                        _mm256_packs_epi32(digit[2], digit[3]));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    store_bytes(q, _mm256_permutevar8x32_epi32(packed, order));
    return _mm256_add_epi32(_mm256_add_epi32(digit[0], digit[1]),
                            _mm256_add_epi32(digit[2], digit[3]));
}

/* The sums of eight vectors of dwords: three levels of hadd leave those of the low and of the high
 * halves, in order. */
AVX2_INLINE void store_digit_sums(const __m256i s[8], int16_t *sums)
{
    __m256i a = _mm256_hadd_epi32(_mm256_hadd_epi32(s[0], s[1]), _mm256_hadd_epi32(s[2], s[3]));
    __m256i b = _mm256_hadd_epi32(_mm256_hadd_epi32(s[4], s[5]), _mm256_hadd_epi32(s[6], s[7]));
    __m128i low = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    __m128i high = _mm_add_epi32(_mm256_castsi256_si128(b), _mm256_extracti128_si256(b, 1));
    _mm_storeu_si128((__m128i *)(void *)sums, _mm_packs_epi32(low, high));
}

/* activation_quantize_block. */
AVX2_INLINE void quantize_digits(const float *x, const int digits, const struct digit_place *to)
{
    uint32_t bits = largest_magnitude(x);
    float amax = assay_f32_from_bits(bits);
    if (bits >= 0x7f800000 || amax < ACTIVATION_TINY) {
        for (int j = 0; j < digits; j++) {
            memset(to[j].q, 0, ACTIVATION_BLOCK);
            memset(to[j].sums, 0, 8 * sizeof(*to[j].sums));
            *to[j].d = bits >= 0x7f800000 ? NAN : 0;
        }
        return;
    }
    const float top = activation_top(digits), step = amax / top;
    __m256 inv = _mm256_set1_ps(top / amax);
    __m256i sums[ACTIVATION_MAX_DIGITS][8];
    for (int s = 0; s < 8; s++) {
        __m256i v[4];
        for (int i = 0; i < 4; i++)
            v[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 32 * s + 8 * i), inv));
        for (int j = digits - 1; j >= 0; j--)
            sums[j][s] = take_digit(v, j == 0, to[j].q + 32 * s);
    }
    for (int j = 0; j < digits; j++) {
        store_digit_sums(sums[j], to[j].sums);
        *to[j].d = step * (float)(1 << 8 * (digits - 1 - j));
    }
}

/* activation_quantize_block. */
static inline void i8_quantize(const float *x, int digits, struct i8_block *blocks)
{
    struct digit_place to[ACTIVATION_MAX_DIGITS];
    for (int j = 0; j < digits; j++)
        to[j] = (struct digit_place){blocks[j].q, blocks[j].sums, &blocks[j].d};
    switch (digits) {
    case 1: quantize_digits(x, 1, to); break;
    case 2: quantize_digits(x, 2, to); break;
    default: quantize_digits(x, 3, to); break;
    }
}

#endif
