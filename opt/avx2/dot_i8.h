/* SPDX-License-Identifier: MIT */
/*
 * Classes i8, i16 and i24 on panels: the bits of the scalar twins (ref/q4_K_dot.h) for 8 rows and a
 * few tokens. A token of D digits is D virtual tokens with sums of their own; the blocks of its
 * digits stand side by side.
 *
 * Lane r is row r. vpmaddubsw multiplies four nibbles (u8, 0..15) of each row by the same four
 * activation digits (s8) and adds pairs: at most 2*15*128 = 3840 in absolute value. A sub-block has
 * 8 lines, so its int16 sums stay within 30720 and need no saturation. vpmaddwd with the pair
 * (sc, sc) widens them to int32: at most 63*2*30720 a sub-block, 3.1e7 in all. Mins: vpmaddwd of
 * (m[2p], m[2p+1]) and (sums[2p], sums[2p+1]), at most 8*63*4096.
 */
#ifndef ASSAY_OPT_AVX2_DOT_I8_H
#define ASSAY_OPT_AVX2_DOT_I8_H

#include "opt/avx2/digits.h"
#include "opt/avx2/panel.h"

#define I8_TILE \
    4 /* virtual tokens: 8 int16 and 4 int32 sums, nibbles and a mask fill 16 registers */

/* The scales as int16 pairs (sc, sc) and the mins as (m[2p], m[2p+1]) in each row's lane. */
AVX2_INLINE void i8_scale_pairs(const uint8_t *panel, __m256i scale[8], __m256i min[4])
{
    struct panel_scales s = panel_scales(panel);
    /* In each lane: byte j, zero, byte j, zero; 0x80 makes vpshufb write zero. */
    const __m256i twice =
        _mm256_setr_epi32((int)0x80008000, (int)0x80048004, (int)0x80088008, (int)0x800c800c,
                          (int)0x80008000, (int)0x80048004, (int)0x80088008, (int)0x800c800c);
    const __m256i first_two = _mm256_add_epi32(twice, _mm256_set1_epi32(0x00010000));
    for (int j = 0; j < 8; j++) {
        __m256i pick = _mm256_add_epi32(twice, _mm256_set1_epi32(0x00010001 * (j % 4)));
        scale[j] = _mm256_shuffle_epi8(s.scales[j / 4], pick);
    }
    for (int p = 0; p < 4; p++) {
        __m256i pick = _mm256_add_epi32(first_two, _mm256_set1_epi32(0x00020002 * (p % 2)));
        min[p] = _mm256_shuffle_epi8(s.mins[p / 2], pick);
    }
}

/* Adds super-blocks 0 .. blocks-1 of a panel times those of `count` rows of activations of D digits
 * each to the sums of the virtual tokens. */
AVX2_INLINE void i8_tile_body(const uint8_t *panel, int64_t blocks, const struct i8_block *const *x,
                              const int count, const int D, float (*sums)[PANEL_ROWS])
{
    const int tokens = count * D;
    const __m256i nibble = _mm256_set1_epi8(15);
    for (int64_t b = 0; b < blocks; b++, panel += PANEL_BYTES) {
        __m256i scale[8], min[4], isum[I8_TILE], low[I8_TILE], high[I8_TILE];
        i8_scale_pairs(panel, scale, min);
        for (int t = 0; t < tokens; t++)
            isum[t] = _mm256_setzero_si256();
        for (int pair = 0; pair < 4; pair++) {
            for (int t = 0; t < tokens; t++)
                low[t] = high[t] = _mm256_setzero_si256();
            for (int c = 0; c < 8; c++) {
                __m256i line = load_bytes(panel + (8 * pair + c) * PANEL_LINE);
                __m256i even = _mm256_and_si256(line, nibble);
                __m256i odd = _mm256_and_si256(_mm256_srli_epi16(line, 4), nibble);
                for (int t = 0; t < tokens; t++) {
                    const int8_t *q = x[t / D][b * D + t % D].q + 64 * pair + 4 * c;
                    __m256i products = _mm256_maddubs_epi16(even, broadcast_dword(q));
                    low[t] = in_order(_mm256_add_epi16(low[t], products));
                    products = _mm256_maddubs_epi16(odd, broadcast_dword(q + 32));
                    high[t] = in_order(_mm256_add_epi16(high[t], products));
                }
            }
            for (int t = 0; t < tokens; t++) {
                __m256i even = _mm256_madd_epi16(low[t], scale[2 * pair]);
                __m256i odd = _mm256_madd_epi16(high[t], scale[2 * pair + 1]);
                isum[t] = _mm256_add_epi32(isum[t], _mm256_add_epi32(even, odd));
            }
        }
        __m256 d = load_f16(panel + PANEL_HEADERS);
        __m256 dmin = load_f16(panel + PANEL_HEADERS + 16);
        for (int t = 0; t < tokens; t++) {
            const struct i8_block *digit = &x[t / D][b * D + t % D];
            __m256i msum = _mm256_setzero_si256();
            for (int p = 0; p < 4; p++)
                msum = _mm256_add_epi32(
                    msum, _mm256_madd_epi16(min[p], broadcast_dword(digit->sums + 2 * p)));
            __m256 scaled = _mm256_mul_ps(d, _mm256_cvtepi32_ps(isum[t]));
            scaled = _mm256_fnmadd_ps(dmin, _mm256_cvtepi32_ps(msum), scaled);
            __m256 sum = _mm256_loadu_ps(sums[t]);
            _mm256_storeu_ps(sums[t], _mm256_fmadd_ps(scaled, _mm256_set1_ps(digit->d), sum));
        }
    }
}

static inline void i8_tile(const uint8_t *panel, int64_t blocks, const struct i8_block *const *x,
                           int64_t tokens, int digits, float (*sums)[PANEL_ROWS])
{
    switch (10 * digits + tokens) {
    case 11: i8_tile_body(panel, blocks, x, 1, 1, sums); break;
    case 12: i8_tile_body(panel, blocks, x, 2, 1, sums); break;
    case 13: i8_tile_body(panel, blocks, x, 3, 1, sums); break;
    case 14: i8_tile_body(panel, blocks, x, 4, 1, sums); break;
    case 21: i8_tile_body(panel, blocks, x, 1, 2, sums); break;
    case 22: i8_tile_body(panel, blocks, x, 2, 2, sums); break;
    default: i8_tile_body(panel, blocks, x, 1, 3, sums); break;
    }
}

#endif
