/* SPDX-License-Identifier: MIT */
/*
 * Class f32: panels times f32 activations. Class f16: the same, of weights and activations that were
 * rounded to f16.
 *
 * A super-block of a panel becomes f32 weights, 16 rows a register, in L1 (16 KB). Then for every
 * token: weights times the broadcast activation, in four chains over k (element 4i + u to chain u),
 * which hide the latency of FMA for a single token, whose weights stay in registers. The chains' sum
 * is added to the token's result after each super-block. So a result's order of summation depends on
 * its row and token alone.
 *
 * Conversions to and from f16 round to nearest as their operand says, and keep f16 subnormals
 * whatever MXCSR says; an f32 subnormal is far below the smallest of them.
 *
 * Roundings on the longest path: the weight, 64 FMA of a chain, two to join the chains, and one
 * for each super-block.
 */
#ifndef ASSAY_OPT_AVX512VNNI_F32_H
#define ASSAY_OPT_AVX512VNNI_F32_H

#include "opt/avx512vnni/panel.h"

#define TILE_F32_MAX 6 /* times four chains: 24 sums in registers */

static inline int64_t panels_f32_depth(int64_t k)
{
    return 1 + Q4_K_BLOCK / 4 + 2 + k / Q4_K_BLOCK;
}

/* Working memory of a thread. */
struct scratch_f32 {
    _Alignas(64) uint8_t panel[PANEL_BLOCK_BYTES];
    _Alignas(64) float weights[Q4_K_BLOCK][LANES];
    _Alignas(64) float sums[MATMUL_GROUP][LANES];
};

ALWAYS_INLINE __m512 round_to_half(__m512 x)
{
    return _mm512_cvtph_ps(_mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

/* Q4_K_BLOCK activations. */
static inline void round_block(const float *x, float *rounded)
{
    for (int i = 0; i < Q4_K_BLOCK; i += LANES)
        _mm512_storeu_ps(rounded + i, round_to_half(_mm512_loadu_ps(x + i)));
}

/* What dequantizing does with four weights, elements i .. i+3 of 16 rows. */
struct weight_sink {
    float (*weights)[LANES]; /* store them: weights[i][r] is element i of row r */
    const float *x;          /* or multiply them by a token's activations */
    __m512 chain[4];
};

ALWAYS_INLINE void dequantize(const uint8_t *block, const bool half, const bool store,
                              struct weight_sink *sink)
{
    const struct panel_scales scales = panel_scales(block);
    const __m512 d = panel_halves(block, PANEL_D), dmin = panel_halves(block, PANEL_DMIN);
    const __m512i low4 = _mm512_set1_epi32(15);
    for (unsigned j = 0; j < Q4_K_SUB_BLOCKS; j++) {
        __m512i scale_bytes = byte_of_lanes(scales.scale[j / 4], j % 4);
        __m512i min_bytes = byte_of_lanes(scales.min[j / 4], j % 4);
        __m512 scale = _mm512_mul_ps(d, _mm512_cvtepi32_ps(scale_bytes));
        __m512 min = _mm512_mul_ps(dmin, _mm512_cvtepi32_ps(min_bytes));
        const uint8_t *lines = block + 64 * 8 * (j / 2);
        for (int c = 0; c < 8; c++) {
            __m512i line = panel_line(lines, 64 * c);
            if (j % 2 != 0)
                line = _mm512_srli_epi32(line, 4);
            UNROLL
            for (unsigned i = 0; i < 4; i++) {
                __m512i q = _mm512_and_si512(_mm512_srli_epi32(line, 8 * i), low4);
                __m512 w = _mm512_fmsub_ps(_mm512_cvtepi32_ps(q), scale, min);
                unsigned element = 32 * j + 4 * (unsigned)c + i;
                if (half)
                    w = round_to_half(w);
                if (store)
                    _mm512_store_ps(sink->weights[element], w);
                else
                    sink->chain[i] =
                        _mm512_fmadd_ps(w, _mm512_set1_ps(sink->x[element]), sink->chain[i]);
            }
        }
    }
}

ALWAYS_INLINE void dequantize_panel(const uint8_t *block, const bool half,
                                    float weights[Q4_K_BLOCK][LANES])
{
    struct weight_sink sink = {.weights = weights};
    dequantize(block, half, true, &sink);
}

ALWAYS_INLINE void add_chains(const __m512 chain[4], float sum[LANES])
{
    __m512 all =
        _mm512_add_ps(_mm512_add_ps(chain[0], chain[1]), _mm512_add_ps(chain[2], chain[3]));
    _mm512_store_ps(sum, _mm512_add_ps(_mm512_load_ps(sum), all));
}

/* sum += the block's weights times x[0-255]: the bits of a tile. */
ALWAYS_INLINE void single_f32(const uint8_t *block, const bool half, const float *x,
                              float sum[LANES])
{
    struct weight_sink sink = {.x = x};
    for (int u = 0; u < 4; u++)
        sink.chain[u] = _mm512_setzero_ps();
    dequantize(block, half, false, &sink);
    add_chains(sink.chain, sum);
}

/* sums[t] += weights times x[t][0-255] for T tokens. */
ALWAYS_INLINE void tile_f32(const int T, float weights[Q4_K_BLOCK][LANES], const float *const x[],
                            float sums[][LANES])
{
    __m512 chain[4][TILE_F32_MAX];
    UNROLL
    for (int t = 0; t < 4 * T; t++)
        chain[t / T][t % T] = _mm512_setzero_ps();
    for (int i = 0; i < Q4_K_BLOCK; i += 4) {
        UNROLL
        for (int u = 0; u < 4; u++) {
            __m512 w = _mm512_load_ps(weights[i + u]);
            UNROLL
            for (int t = 0; t < T; t++)
                chain[u][t] = _mm512_fmadd_ps(w, _mm512_set1_ps(x[t][i + u]), chain[u][t]);
        }
    }
    UNROLL
    for (int t = 0; t < T; t++) {
        const __m512 all[4] = {chain[0][t], chain[1][t], chain[2][t], chain[3][t]};
        add_chains(all, sums[t]);
    }
}

#define TILE_F32(T)                                                                    \
    static void tile_f32_##T(float weights[Q4_K_BLOCK][LANES], const float *const x[], \
                             float sums[][LANES])                                      \
    {                                                                                  \
        tile_f32(T, weights, x, sums);                                                 \
    }
TILE_F32(2)
TILE_F32(3)
TILE_F32(4)
TILE_F32(5)
TILE_F32(6)

typedef void tile_f32_fn(float weights[Q4_K_BLOCK][LANES], const float *const x[],
                         float sums[][LANES]);
static tile_f32_fn *const tiles_f32[] = {NULL,       NULL,       tile_f32_2, tile_f32_3,
                                         tile_f32_4, tile_f32_5, tile_f32_6};

struct tokens_f32 {
    int n;
    const float *x[MATMUL_GROUP];
    float *y[MATMUL_GROUP]; /* of row 0 */
};

/* scratch->sums += the packed super-block b of a panel times that of the tokens. */
ALWAYS_INLINE void block_f32(const bool half, int64_t b, const struct tokens_f32 *tokens,
                             struct scratch_f32 *scratch)
{
    if (tokens->n == 1) {
        single_f32(scratch->panel, half, tokens->x[0] + b * Q4_K_BLOCK, scratch->sums[0]);
        return;
    }
    int tiles = (tokens->n + TILE_F32_MAX - 1) / TILE_F32_MAX;
    dequantize_panel(scratch->panel, half, scratch->weights);
    for (int i = 0; i < tiles; i++) {
        int first = (int)share_start(tokens->n, i, tiles);
        int n = (int)share_start(tokens->n, i + 1, tiles) - first;
        const float *x[TILE_F32_MAX];
        for (int t = 0; t < n; t++)
            x[t] = tokens->x[first + t] + b * Q4_K_BLOCK;
        tiles_f32[n](scratch->weights, x, scratch->sums + first);
    }
}

static inline void block_full(int64_t b, const struct tokens_f32 *tokens,
                              struct scratch_f32 *scratch)
{
    block_f32(false, b, tokens, scratch);
}

static inline void block_half(int64_t b, const struct tokens_f32 *tokens,
                              struct scratch_f32 *scratch)
{
    block_f32(true, b, tokens, scratch);
}

/* One panel for a group of tokens, in class f16 if `half`. Meanwhile the panel `ahead`, unless it is
 * NULL, is fetched. */
static inline void panel_f32(const struct matrix *matrix, int64_t panel, bool half,
                             const uint8_t *ahead, const struct tokens_f32 *tokens,
                             struct scratch_f32 *scratch)
{
    int64_t rows = panel_rows(matrix, panel);
    const uint8_t *src = panel_start(matrix, panel);
    memset(scratch->sums, 0, (size_t)tokens->n * sizeof(*scratch->sums));
    for (int64_t b = 0; b < matrix->blocks; b++) {
        for (int i = 0; ahead && i < PANEL_BLOCK_BYTES / 64; i++, ahead += 64)
            _mm_prefetch(ahead, _MM_HINT_T1);
        pack_blocks(src + b * Q4_K_BLOCK_BYTES, matrix->blocks * Q4_K_BLOCK_BYTES, rows,
                    scratch->panel);
        (half ? block_half : block_full)(b, tokens, scratch);
    }
    for (int t = 0; t < tokens->n; t++)
        _mm512_mask_storeu_ps(tokens->y[t] + panel * PANEL_ROWS, first_lanes(rows),
                              _mm512_load_ps(scratch->sums[t]));
}

#endif
