/* SPDX-License-Identifier: MIT */
/*
 * Class f32 on panels; class f16 is the same with weights and activations rounded to f16. Lane r is
 * row r.
 *
 * A super-block is summed in eight chains of 32 fused multiply-adds: chain s < 4 over the elements
 * i with i % 4 == s of the even sub-blocks, chain s + 4 over those of the odd ones, i ascending.
 * The chains are added as a tree, ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)), and then to the
 * token's sum. The order is the same for every tile size, so that a result depends on its own row
 * and token alone.
 *
 * Conversions to and from f16 round to nearest as their operand says, and keep f16 subnormals
 * whatever MXCSR says; an f32 subnormal is far below the smallest of them.
 */
#ifndef ASSAY_OPT_AVX2_DOT_F32_H
#define ASSAY_OPT_AVX2_DOT_F32_H

#include "opt/avx2/panel.h"

#define F32_TILE    6 /* tokens: 12 sums of two chains leave registers for weight and activation */
#define F32_WEIGHTS (Q4_K_BLOCK * PANEL_ROWS)

/* The weight's rounding, a chain, three levels of the tree, one sum per super-block but the first,
 * which is added to zero. */
static inline int64_t f32_depth(int64_t k)
{
    return 1 + 32 + 3 + k / Q4_K_BLOCK - 1;
}

/* fl(d*sc[j]) and fl(dmin*m[j]) of the rows. */
AVX2_INLINE void f32_scales(const uint8_t *panel, __m256 scale[8], __m256 min[8])
{
    struct panel_scales s = panel_scales(panel);
    const __m256i byte = _mm256_set1_epi32(0xff);
    __m256 d = load_f16(panel + PANEL_HEADERS);
    __m256 dmin = load_f16(panel + PANEL_HEADERS + 16);
    for (int j = 0; j < 8; j++) {
        __m256i sc = _mm256_and_si256(_mm256_srli_epi32(s.scales[j / 4], 8 * (j % 4)), byte);
        __m256i m = _mm256_and_si256(_mm256_srli_epi32(s.mins[j / 4], 8 * (j % 4)), byte);
        scale[j] = _mm256_mul_ps(d, _mm256_cvtepi32_ps(sc));
        min[j] = _mm256_mul_ps(dmin, _mm256_cvtepi32_ps(m));
    }
}

AVX2_INLINE __m256 f32_round_to_half(__m256 x)
{
    return _mm256_cvtph_ps(_mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

/* Q4_K_BLOCK activations. */
static inline void f32_round_block(const float *x, float *rounded)
{
    for (int i = 0; i < Q4_K_BLOCK; i += 8)
        _mm256_storeu_ps(rounded + i, f32_round_to_half(_mm256_loadu_ps(x + i)));
}

/* The four elements of a line in sub-block j, rounded to f16 if `half`. Nibble i stays where it is, at bit 8i, and counts
 * 2^8i times too much, which its scale makes up for: a power of two changes no rounding, and d*sc
 * is zero or at least 2^-24. */
AVX2_INLINE void f32_line(const uint8_t *panel, int j, int c, const __m256 scale[4], __m256 min,
                          const bool half, __m256 w[4])
{
    __m256i line = load_bytes(panel + (j / 2 * 8 + c) * PANEL_LINE);
    if (j % 2 != 0)
        line = _mm256_srli_epi32(line, 4);
    for (int i = 0; i < 4; i++) {
        __m256i q = _mm256_and_si256(line, _mm256_set1_epi32(15 << 8 * i));
        w[i] = _mm256_fmsub_ps(scale[i], _mm256_cvtepi32_ps(q), min);
        if (half)
            w[i] = f32_round_to_half(w[i]);
    }
}

AVX2_INLINE void f32_four_scales(__m256 scale, __m256 to[4])
{
    to[0] = scale;
    to[1] = _mm256_mul_ps(scale, _mm256_set1_ps(0x1p-8f));
    to[2] = _mm256_mul_ps(scale, _mm256_set1_ps(0x1p-16f));
    to[3] = _mm256_mul_ps(scale, _mm256_set1_ps(0x1p-24f));
}

/* The dequantized super-block, w[element][row], aligned to 32 bytes. */
AVX2_INLINE void f32_dequant_body(const uint8_t *panel, const bool half, float *w)
{
    __m256 scale[8], min[8];
    f32_scales(panel, scale, min);
    for (int j = 0; j < 8; j++) {
        __m256 scales[4], weights[4];
        f32_four_scales(scale[j], scales);
        for (int c = 0; c < 8; c++) {
            f32_line(panel, j, c, scales, min[j], half, weights);
            for (int i = 0; i < 4; i++)
                _mm256_store_ps(w + (32 * j + 4 * c + i) * PANEL_ROWS, weights[i]);
        }
    }
}

static inline void f32_dequant(const uint8_t *panel, float *w)
{
    f32_dequant_body(panel, false, w);
}

static inline void f16_dequant(const uint8_t *panel, float *w)
{
    f32_dequant_body(panel, true, w);
}

/* Adds one super-block of a panel times one token's, without the weights' detour through memory. */
AVX2_INLINE void f32_single_body(const uint8_t *panel, const bool half, const float *x, float *sums)
{
    __m256 scale[8], min[8], part[2];
    f32_scales(panel, scale, min);
    for (int odd = 0; odd < 2; odd++) {
        __m256 acc[4];
        for (int i = 0; i < 4; i++)
            acc[i] = _mm256_setzero_ps();
        for (int j = odd; j < 8; j += 2) {
            __m256 scales[4], weights[4];
            f32_four_scales(scale[j], scales);
            for (int c = 0; c < 8; c++) {
                f32_line(panel, j, c, scales, min[j], half, weights);
                for (int i = 0; i < 4; i++) {
                    __m256 activation = _mm256_broadcast_ss(x + 32 * j + 4 * c + i);
                    acc[i] = _mm256_fmadd_ps(weights[i], activation, acc[i]);
                }
            }
        }
        part[odd] = _mm256_add_ps(_mm256_add_ps(acc[0], acc[1]), _mm256_add_ps(acc[2], acc[3]));
    }
    __m256 block = _mm256_add_ps(part[0], part[1]);
    _mm256_storeu_ps(sums, _mm256_add_ps(_mm256_loadu_ps(sums), block));
}

static inline void f32_single(const uint8_t *panel, const float *x, float *sums)
{
    f32_single_body(panel, false, x, sums);
}

static inline void f16_single(const uint8_t *panel, const float *x, float *sums)
{
    f32_single_body(panel, true, x, sums);
}

/* The sum of `chains` (2 or 4) chains from `first` on, for each token. */
AVX2_INLINE void f32_chains(const float *w, const float *const *x, const int tokens,
                            const int chains, const int first, __m256 *to)
{
    __m256 acc[4][F32_TILE];
    for (int s = 0; s < chains; s++) {
        for (int t = 0; t < tokens; t++)
            acc[s][t] = _mm256_setzero_ps();
    }
    for (int pair = 0; pair < 4; pair++) {
        for (int c = 0; c < 8; c++) {
            int element = 64 * pair + first / 4 * 32 + 4 * c + first % 4;
            for (int s = 0; s < chains; s++) {
                __m256 weight = _mm256_load_ps(w + (element + s) * PANEL_ROWS);
                for (int t = 0; t < tokens; t++) {
                    __m256 activation = _mm256_broadcast_ss(x[t] + element + s);
                    acc[s][t] = _mm256_fmadd_ps(weight, activation, acc[s][t]);
                }
            }
        }
    }
    for (int t = 0; t < tokens; t++) {
        to[t] = _mm256_add_ps(acc[0][t], acc[1][t]);
        if (chains == 4)
            to[t] = _mm256_add_ps(to[t], _mm256_add_ps(acc[2][t], acc[3][t]));
    }
}

/* Chains first .. first+3. */
AVX2_INLINE void f32_half(const float *w, const float *const *x, const int tokens, const int chains,
                          const int first, __m256 *to)
{
    f32_chains(w, x, tokens, chains, first, to);
    if (chains == 2) {
        __m256 second[F32_TILE];
        f32_chains(w, x, tokens, 2, first + 2, second);
        for (int t = 0; t < tokens; t++)
            to[t] = _mm256_add_ps(to[t], second[t]);
    }
}

/* Two or three tokens need four chains at a time to hide the latency, more have registers for two
 * only. */
AVX2_INLINE void f32_tile_body(const float *w, const float *const *x, const int tokens,
                               const int chains, float *sums)
{
    __m256 even[F32_TILE], odd[F32_TILE];
    f32_half(w, x, tokens, chains, 0, even);
    f32_half(w, x, tokens, chains, 4, odd);
    for (int t = 0; t < tokens; t++) {
        __m256 block = _mm256_add_ps(even[t], odd[t]);
        float *sum = sums + t * SLAB_ROWS;
        _mm256_storeu_ps(sum, _mm256_add_ps(_mm256_loadu_ps(sum), block));
    }
}

/* Adds one super-block of a panel, dequantized to w, times those at x[t], to the panel's part of the
 * slab's sums; 2 tokens or more. */
static inline void f32_tile(const float *w, const float *const *x, int64_t tokens, float *sums)
{
    switch (tokens) {
    case 2: f32_tile_body(w, x, 2, 4, sums); break;
    case 3: f32_tile_body(w, x, 3, 4, sums); break;
    case 4: f32_tile_body(w, x, 4, 2, sums); break;
    case 5: f32_tile_body(w, x, 5, 2, sums); break;
    default: f32_tile_body(w, x, 6, 2, sums); break;
    }
}

#endif
