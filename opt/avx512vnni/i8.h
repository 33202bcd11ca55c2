/* SPDX-License-Identifier: MIT */
/*
 * Classes i8, i16 and i24: panels times quantized activations, with the bits of the scalar twins.
 *
 * A lane is a row. A line of a panel holds four weights of each row; they are the unsigned operand
 * of vpdpbusd, and four digits of a token, broadcast from memory, the signed one. Low and high
 * nibbles belong to sub-blocks 2g and 2g+1. A sub-block's sum is multiplied by its scale; the mins
 * meet the digits' sums in vpdpwssd.
 *
 * A token of D digits is D virtual tokens, each with sums of its own, which are added from the top
 * when they are stored. The blocks of a token are those of its digits side by side, so that one
 * pointer serves them all. Tiles of up to six virtual tokens share the unpacked nibbles: 12 sums, 6
 * isum and 6 results stay in registers.
 *
 * No overflow: |sub-block sum| <= 32*15*128 = 61440, |isum| <= 8*63*61440 < 2^25, and
 * |msum| <= 8*63*4096 < 2^21.
 */
#ifndef ASSAY_OPT_AVX512VNNI_I8_H
#define ASSAY_OPT_AVX512VNNI_I8_H

#include "opt/avx512vnni/digits.h"
#include "opt/avx512vnni/panel.h"

#define TILE_I8_MAX 6 /* virtual tokens */

/* So few virtual tokens wait for the weights. Hardware looks ahead better than prefetches do then;
 * where the weights go on elsewhere, some lines for each super-block give it a start. */
#define FEW_TOKENS 2
#define FEW_LINES  4

/* acc + four unsigned bytes of w times four signed bytes at x, which every lane gets. In assembly
 * because gcc loads the broadcast into a register first. */
ALWAYS_INLINE __m512i dot_broadcast(__m512i acc, __m512i w, const int8_t *x)
{
    __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(acc) : "v"(w), "m"(*(const int8_t(*)[4])x));
    return acc;
}

/* acc + two int16 of w times two int16 at x, which every lane gets. */
ALWAYS_INLINE __m512i dot_pair_broadcast(__m512i acc, __m512i w, const int16_t *x)
{
    __asm__("vpdpwssd %2%{1to16%}, %1, %0" : "+v"(acc) : "v"(w), "m"(*(const int16_t(*)[2])x));
    return acc;
}

/* Fetches lines into L2. A burst would hold up loads, so each round of tile_isum takes some. */
ALWAYS_INLINE const uint8_t *fetch_ahead(const uint8_t *ahead, int lines)
{
    for (int i = 0; i < lines; i++, ahead += 64)
        _mm_prefetch(ahead, _MM_HINT_T1);
    return ahead;
}

/* isum of a super-block for T virtual tokens, D of them at each x; fetches 4 * lines lines. High
 * nibbles stay in place, so that a sum of theirs is 16 times as large, until it is shifted. The
 * loop over pairs of sub-blocks is not unrolled: compilers would mix its rounds and run out of
 * registers. */
ALWAYS_INLINE void tile_isum(const int T, const int D, const bool wide, const uint8_t *block,
                             const __m512i scales[4], const struct digits *const x[],
                             const uint8_t *ahead, int lines, __m512i isum[])
{
    const __m512i low4 = _mm512_set1_epi8(15);
    const __mmask32 high_words = 0xaaaaaaaa;
    UNROLL
    for (int t = 0; t < T; t++)
        isum[t] = _mm512_setzero_si512();
    NO_UNROLL
    for (int g = 0; g < 4; g++) {
        __m512i even[TILE_I8_MAX], odd[TILE_I8_MAX];
        ahead = fetch_ahead(ahead, lines);
        UNROLL
        for (int t = 0; t < T; t++)
            even[t] = odd[t] = _mm512_setzero_si512();
        UNROLL
        for (int c = 0; c < 8; c++) {
            __m512i line = panel_line(block, 64 * (8 * g + c));
            __asm__("" : "+v"(line)); /* compilers would load it once for each use */
            __m512i low = _mm512_and_si512(line, low4), high = _mm512_andnot_si512(low4, line);
            UNROLL
            for (int t = 0; t < T; t++) {
                const int8_t *q = x[t / D][t % D].q + 64 * g + 4 * c;
                even[t] = dot_broadcast(even[t], low, q);
                odd[t] = dot_broadcast(odd[t], high, q + 32);
            }
        }
        UNROLL
        for (int t = 0; t < T; t++) {
            if (wide) {
                __m512i scale_even = _mm512_maskz_mov_epi16(~high_words, scales[g]);
                __m512i scale_odd = _mm512_srli_epi32(scales[g], 16);
                __m512i unshifted = _mm512_srai_epi32(odd[t], 4);
                __m512i both = _mm512_add_epi32(_mm512_mullo_epi32(even[t], scale_even),
                                                _mm512_mullo_epi32(unshifted, scale_odd));
                isum[t] = _mm512_add_epi32(isum[t], both);
            } else {
                __m512i high = _mm512_slli_epi32(odd[t], 12);
                __m512i pair = _mm512_mask_blend_epi16(high_words, even[t], high);
                isum[t] = _mm512_dpwssd_epi32(isum[t], pair, scales[g]);
            }
        }
    }
}

/* A panel, and what its tiles fetch into cache meanwhile. */
struct panel_i8 {
    const uint8_t *packed;
    int64_t blocks, first_row;
    __mmask16 rows; /* lanes to store */
    bool stream;    /* all of them, past the caches: y is aligned to 64 bytes */
    const uint8_t *ahead;
    int ahead_lines; /* of 64 bytes, for each super-block */
};

/* y[i][first_row + 0..15] = panel times tokens[i] for `count` tokens of D digits. */
ALWAYS_INLINE void tile_i8(const int count, const int D, const struct panel_i8 *panel,
                           const struct digits *const tokens[], float *const y[])
{
    const int T = count * D;
    const __m512i even_bytes = _mm512_set1_epi32(0x00ff00ff);
    const uint8_t *block = panel->packed, *ahead = panel->ahead;
    const struct digits *x[TILE_I8_MAX];
    __m512 acc[TILE_I8_MAX];
    UNROLL
    for (int i = 0; i < count; i++)
        x[i] = tokens[i];
    UNROLL
    for (int t = 0; t < T; t++)
        acc[t] = _mm512_setzero_ps();
    const int lines = panel->ahead_lines / 4, more_lines = panel->ahead_lines % 4;
    for (int64_t b = 0; b < panel->blocks; b++, block += PANEL_BLOCK_BYTES) {
        ahead = fetch_ahead(ahead, more_lines);
        struct panel_scales scales = panel_scales(block);
        const __m512i scale_pairs[4] = {
            byte_pair_of_lanes(scales.scale[0], 0), byte_pair_of_lanes(scales.scale[0], 2),
            byte_pair_of_lanes(scales.scale[1], 0), byte_pair_of_lanes(scales.scale[1], 2)};
        __m512i isum[TILE_I8_MAX];
        int32_t wide = 0;
        UNROLL
        for (int t = 0; t < T; t++)
            wide |= x[t / D][t % D].wide;
        if (__builtin_expect(wide, 0))
            tile_isum(T, D, true, block, scale_pairs, x, ahead, lines, isum);
        else
            tile_isum(T, D, false, block, scale_pairs, x, ahead, lines, isum);
        ahead += 64 * 4 * lines;
        __m512i min02 = _mm512_and_si512(scales.min[0], even_bytes);
        __m512i min46 = _mm512_and_si512(scales.min[1], even_bytes);
        __m512i min13 = _mm512_and_si512(_mm512_srli_epi32(scales.min[0], 8), even_bytes);
        __m512i min57 = _mm512_and_si512(_mm512_srli_epi32(scales.min[1], 8), even_bytes);
        __m512 d = panel_halves(block, PANEL_D), dmin = panel_halves(block, PANEL_DMIN);
        UNROLL
        for (int t = 0; t < T; t++) {
            const struct digits *digit = x[t / D] + t % D;
            __m512i msum = _mm512_setzero_si512();
            msum = dot_pair_broadcast(msum, min02, digit->sums);
            msum = dot_pair_broadcast(msum, min46, digit->sums + 2);
            msum = dot_pair_broadcast(msum, min13, digit->sums + 4);
            msum = dot_pair_broadcast(msum, min57, digit->sums + 6);
            __m512 scaled = _mm512_mul_ps(d, _mm512_cvtepi32_ps(isum[t]));
            __m512 value = _mm512_fnmadd_ps(dmin, _mm512_cvtepi32_ps(msum), scaled);
            acc[t] = _mm512_fmadd_ps(value, _mm512_set1_ps(digit->d), acc[t]);
        }
        UNROLL
        for (int i = 0; i < count; i++)
            x[i] += D;
    }
    UNROLL
    for (int i = 0; i < count; i++) {
        __m512 sum = acc[D * i];
        UNROLL
        for (int j = 1; j < D; j++)
            sum = _mm512_add_ps(sum, acc[D * i + j]);
        if (panel->stream)
            _mm512_stream_ps(y[i] + panel->first_row, sum);
        else
            _mm512_mask_storeu_ps(y[i] + panel->first_row, panel->rows, sum);
    }
}

#define TILE_I8(D, count)                                                               \
    static void tile_i8_##D##_##count(const struct panel_i8 *panel,                     \
                                      const struct digits *const x[], float *const y[]) \
    {                                                                                   \
        tile_i8(count, D, panel, x, y);                                                 \
    }
TILE_I8(1, 1)
TILE_I8(1, 2)
TILE_I8(1, 3)
TILE_I8(1, 4)
TILE_I8(1, 5)
TILE_I8(1, 6)
TILE_I8(2, 1)
TILE_I8(2, 2)
TILE_I8(2, 3)
TILE_I8(3, 1)
TILE_I8(3, 2)

typedef void tile_i8_fn(const struct panel_i8 *panel, const struct digits *const x[],
                        float *const y[]);
/* By digits and tokens. */
static tile_i8_fn *const tiles_i8[ACTIVATION_MAX_DIGITS + 1][TILE_I8_MAX + 1] = {
    [1] = {NULL, tile_i8_1_1, tile_i8_1_2, tile_i8_1_3, tile_i8_1_4, tile_i8_1_5, tile_i8_1_6},
    [2] = {NULL, tile_i8_2_1, tile_i8_2_2, tile_i8_2_3},
    [3] = {NULL, tile_i8_3_1, tile_i8_3_2},
};

/* Tokens that go through a panel while it is in L1. */
struct tokens_i8 {
    int n, digits;
    bool stream; /* results past the caches */
    const struct digits *x[MATMUL_GROUP];
    float *y[MATMUL_GROUP]; /* of row 0 */
};

/* How a group of tokens is cut into tiles, the first `larger` of them with one token more; and the
 * lines of a super-block of the next panel over the tiles. */
struct tiling_i8 {
    int tiles, size, larger, lines, more_lines;
};

static inline struct tiling_i8 tiling_i8(int tokens, int digits)
{
    struct tiling_i8 t;
    int most = TILE_I8_MAX / digits;
    t.tiles = (tokens + most - 1) / most;
    t.size = tokens / t.tiles;
    t.larger = tokens % t.tiles;
    t.lines = PANEL_BLOCK_BYTES / 64 / t.tiles;
    t.more_lines = PANEL_BLOCK_BYTES / 64 % t.tiles;
    return t;
}

/* Panels [first, last) of a matrix for a group of tokens. The matrix is packed, or native: then
 * each panel is packed into `scratch` first. The last one fetches the panel `after`, unless it is
 * NULL. */
static inline void panels_i8(const struct matrix *matrix, uint8_t *scratch, int64_t first,
                             int64_t last, const uint8_t *after, const struct tokens_i8 *tokens)
{
    const int64_t panel_bytes = matrix->blocks * PANEL_BLOCK_BYTES;
    const struct tiling_i8 tiling = tiling_i8(tokens->n, tokens->digits);
    const bool few = !scratch && tokens->n * tokens->digits <= FEW_TOKENS;
    for (int64_t p = first; p < last; p++) {
        const uint8_t *weights = panel_start(matrix, p), *next = weights + panel_bytes;
        struct panel_i8 panel = {
            .blocks = matrix->blocks, .first_row = p * PANEL_ROWS, .stream = tokens->stream};
        panel.rows = first_lanes(panel_rows(matrix, p));
        panel.packed = scratch ? scratch : weights;
        if (scratch)
            pack_panel(matrix, p, scratch);
        panel.ahead = p + 1 < last ? next : after;
        if (few && panel.ahead == next)
            panel.ahead = NULL;
        for (int i = 0, t = 0; i < tiling.tiles; i++) {
            int n = tiling.size + (i < tiling.larger);
            panel.ahead_lines = panel.ahead ? tiling.lines + (i < tiling.more_lines) : 0;
            if (few && panel.ahead)
                panel.ahead_lines = FEW_LINES;
            tiles_i8[tokens->digits][n](&panel, tokens->x + t, tokens->y + t);
            if (panel.ahead)
                panel.ahead += 64 * panel.ahead_lines * panel.blocks;
            t += n;
        }
    }
}

#endif
