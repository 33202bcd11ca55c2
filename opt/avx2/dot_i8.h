/* SPDX-License-Identifier: MIT */
/*
 * Classes i8, i16 and i24 on slabs, two panels: the bits of the scalar twins (ref/q4_K_dot.h) for 16
 * rows and a few tokens. A token of D digits is D virtual tokens with sums of their own; the blocks
 * of its digits stand side by side.
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
    6 /* virtual tokens: 12 sums of a sub-block, two lines and a digit are 15 registers */

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

/* What a tile fetches into L2 while it computes, `lines` a pair of sub-blocks. */
struct i8_ahead {
    const uint8_t *from, *end;
    int lines;
};

AVX2_INLINE void i8_fetch(struct i8_ahead *ahead)
{
    for (int i = 0; i < ahead->lines && ahead->from < ahead->end; i++, ahead->from += 64)
        _mm_prefetch((const void *)ahead->from, _MM_HINT_T1);
}

/* Sub-block j of the two panels times that of the virtual tokens, in int16. */
AVX2_INLINE void i8_sub_block(const uint8_t *panels, const int odd, const struct i8_block *const *x,
                              int offset, const int count, const int D, __m256i sums[2][I8_TILE])
{
    const __m256i nibble = _mm256_set1_epi8(15);
    UNROLL
    for (int c = 0; c < 8; c++) {
        __m256i line[2];
        UNROLL
        for (int h = 0; h < 2; h++) {
            line[h] = load_bytes(panels + h * PANEL_BYTES + c * PANEL_LINE);
            if (odd)
                line[h] = _mm256_srli_epi16(line[h], 4);
            line[h] = in_order(_mm256_and_si256(line[h], nibble));
        }
        UNROLL
        for (int t = 0; t < count * D; t++) {
            __m256i digits = broadcast_dword(x[t / D][t % D].q + offset + 4 * c);
            UNROLL
            for (int h = 0; h < 2; h++) {
                __m256i products = _mm256_maddubs_epi16(line[h], digits);
                if (c > 0)
                    products = in_order(_mm256_add_epi16(sums[h][t], products));
                sums[h][t] = products;
            }
        }
    }
}

/* Adds d*isum - dmin*msum, times the digits' scale, to the sums of the virtual tokens. */
AVX2_INLINE void i8_add_block(const uint8_t *panel, const __m256i min[4],
                              const struct i8_block *const *x, const int count, const int D,
                              const __m256i isum[I8_TILE], float (*sums)[SLAB_ROWS])
{
    __m256 d = load_f16(panel + PANEL_HEADERS);
    __m256 dmin = load_f16(panel + PANEL_HEADERS + 16);
    UNROLL
    for (int t = 0; t < count * D; t++) {
        const struct i8_block *digit = &x[t / D][t % D];
        __m256i msum = _mm256_setzero_si256();
        UNROLL
        for (int p = 0; p < 4; p++)
            msum = _mm256_add_epi32(
                msum, _mm256_madd_epi16(min[p], broadcast_dword(digit->sums + 2 * p)));
        __m256 scaled = _mm256_mul_ps(d, _mm256_cvtepi32_ps(isum[t]));
        scaled = _mm256_fnmadd_ps(dmin, _mm256_cvtepi32_ps(msum), scaled);
        __m256 sum = _mm256_loadu_ps(sums[t]);
        _mm256_storeu_ps(sums[t], _mm256_fmadd_ps(scaled, _mm256_set1_ps(digit->d), sum));
    }
}

/* Adds super-blocks 0 .. blocks-1 of a slab times those of `count` rows of activations of
 * D digits each to the sums of the virtual tokens. The loop over pairs of sub-blocks is not
 * unrolled: compilers would mix its rounds and run out of registers. */
AVX2_INLINE void i8_tile_body(const uint8_t *slab, int64_t blocks,
                              const struct i8_block *const *tokens, const int count, const int D,
                              struct i8_ahead *ahead, float (*sums)[SLAB_ROWS])
{
    const struct i8_block *x[I8_TILE];
    UNROLL
    for (int i = 0; i < count; i++)
        x[i] = tokens[i];
    for (int64_t b = 0; b < blocks; b++, slab += SLAB_BYTES) {
        __m256i scale[2][8], min[2][4], isum[2][I8_TILE], part[2][I8_TILE];
        UNROLL
        for (int h = 0; h < 2; h++) {
            i8_scale_pairs(slab + h * PANEL_BYTES, scale[h], min[h]);
            UNROLL
            for (int t = 0; t < count * D; t++)
                isum[h][t] = _mm256_setzero_si256();
        }
        NO_UNROLL
        for (int g = 0; g < 4; g++) {
            i8_fetch(ahead);
            UNROLL
            for (int odd = 0; odd < 2; odd++) {
                i8_sub_block(slab + 8 * g * PANEL_LINE, odd, x, 64 * g + 32 * odd, count, D, part);
                UNROLL
                for (int i = 0; i < 2 * count * D; i++) {
                    int h = i % 2, t = i / 2;
                    __m256i scaled = _mm256_madd_epi16(part[h][t], scale[h][2 * g + odd]);
                    isum[h][t] = _mm256_add_epi32(isum[h][t], scaled);
                }
            }
        }
        UNROLL
        for (int h = 0; h < 2; h++)
            i8_add_block(slab + h * PANEL_BYTES, min[h], x, count, D, isum[h],
                         (float(*)[SLAB_ROWS])(sums[0] + h * PANEL_ROWS));
        UNROLL
        for (int i = 0; i < count; i++)
            x[i] += D;
    }
}

#define I8_TILE_FUNCTION(D, count)                                                             \
    static void i8_tile_##D##_##count(const uint8_t *slab, int64_t blocks,                     \
                                      const struct i8_block *const *x, struct i8_ahead *ahead, \
                                      float(*sums)[SLAB_ROWS])                                 \
    {                                                                                          \
        i8_tile_body(slab, blocks, x, count, D, ahead, sums);                                  \
    }
I8_TILE_FUNCTION(1, 1)
I8_TILE_FUNCTION(1, 2)
I8_TILE_FUNCTION(1, 3)
I8_TILE_FUNCTION(1, 4)
I8_TILE_FUNCTION(1, 5)
I8_TILE_FUNCTION(1, 6)
I8_TILE_FUNCTION(2, 1)
I8_TILE_FUNCTION(2, 2)
I8_TILE_FUNCTION(2, 3)
I8_TILE_FUNCTION(3, 1)
I8_TILE_FUNCTION(3, 2)

typedef void i8_tile_fn(const uint8_t *slab, int64_t blocks, const struct i8_block *const *x,
                        struct i8_ahead *ahead, float (*sums)[SLAB_ROWS]);
/* By digits and tokens. */
static i8_tile_fn *const i8_tiles[ACTIVATION_MAX_DIGITS + 1][I8_TILE + 1] = {
    [1] = {NULL, i8_tile_1_1, i8_tile_1_2, i8_tile_1_3, i8_tile_1_4, i8_tile_1_5, i8_tile_1_6},
    [2] = {NULL, i8_tile_2_1, i8_tile_2_2, i8_tile_2_3},
    [3] = {NULL, i8_tile_3_1, i8_tile_3_2},
};

#endif
