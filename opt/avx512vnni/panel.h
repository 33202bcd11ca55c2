/* SPDX-License-Identifier: MIT */
/*
 * Panels: 16 rows of q4_K blocks interleaved by dwords, so that a row is a lane.
 *
 *   offset  bytes     of a panel's super-block, 16 * 144 bytes in all
 *   0       32 x 64   line c: dword c of each row's qs
 *   2048     3 x 64   line c: dword c of each row's s
 *   2240    16 x 2    d
 *   2272    16 x 2    dmin
 *
 * A panel is its super-blocks one after the other; a matrix is its panels in row order. Rows past
 * the matrix's last are zero blocks. Packing moves bytes only, so it can be undone.
 */
#ifndef ASSAY_OPT_AVX512VNNI_PANEL_H
#define ASSAY_OPT_AVX512VNNI_PANEL_H

#include <string.h>

#include "opt/avx512vnni/common.h"
#include "opt/matmul.h"

#define PANEL_ROWS        MATMUL_ROWS
#define PANEL_BLOCK_BYTES 2304
#define PANEL_SCALES      2048
#define PANEL_D           2240
#define PANEL_DMIN        2272

/* Scales and mins of a panel's super-block, as bytes of dwords: sub-blocks 0-3 and 4-7. */
struct panel_scales {
    __m512i scale[2], min[2];
};

ALWAYS_INLINE __m512i panel_line(const uint8_t *block, int offset)
{
    return _mm512_load_si512((const __m512i *)(block + offset));
}

/* The formulas at block_scales in common.h, one row a lane. */
ALWAYS_INLINE struct panel_scales panel_scales(const uint8_t *block)
{
    const __m512i low4 = _mm512_set1_epi32(0x0f0f0f0f), low6 = _mm512_set1_epi32(0x3f3f3f3f);
    const __m512i bits45 = _mm512_set1_epi32(0x30303030);
    __m512i s0 = panel_line(block, PANEL_SCALES), s1 = panel_line(block, PANEL_SCALES + 64);
    __m512i s2 = panel_line(block, PANEL_SCALES + 128);
    __m512i scale_high = _mm512_and_si512(_mm512_srli_epi32(s0, 2), bits45);
    __m512i min_high = _mm512_and_si512(_mm512_srli_epi32(s1, 2), bits45);
    struct panel_scales out;
    out.scale[0] = _mm512_and_si512(s0, low6);
    out.min[0] = _mm512_and_si512(s1, low6);
    out.scale[1] = _mm512_or_si512(_mm512_and_si512(s2, low4), scale_high);
    out.min[1] = _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi32(s2, 4), low4), min_high);
    return out;
}

/* Byte i = 0..3 of each lane, as int32. */
ALWAYS_INLINE __m512i byte_of_lanes(__m512i v, unsigned i)
{
    return _mm512_and_si512(_mm512_srli_epi32(v, 8 * i), _mm512_set1_epi32(255));
}

/* Bytes i and i+1 of each lane, i = 0 or 2, as two int16. */
ALWAYS_INLINE __m512i byte_pair_of_lanes(__m512i v, int8_t i)
{
    const __m128i from = _mm_setr_epi8(i, -1, i + 1, -1, i + 4, -1, i + 5, -1, i + 8, -1, i + 9, -1,
                                       i + 12, -1, i + 13, -1);
    return _mm512_shuffle_epi8(v, _mm512_broadcast_i32x4(from));
}

ALWAYS_INLINE __m512 panel_halves(const uint8_t *block, int offset)
{
    return _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)(block + offset)));
}

/* 16 bytes at p in the low half, 16 at q in the high one. */
ALWAYS_INLINE __m256i load_halves(const uint8_t *p, const uint8_t *q)
{
    __m256i low = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)p));
    return _mm256_inserti128_si256(low, _mm_loadu_si128((const __m128i *)q), 1);
}

/* Bytes 16*piece .. +15 of 16 blocks, a stride apart, as four lines of dwords. Quarter i of a
 * register starts with row 4i, so that what is left is a 4x4 transpose within quarters. */
ALWAYS_INLINE void transpose_piece(const uint8_t *src, int64_t stride, int piece, __m512i line[4])
{
    __m512i r[4];
    UNROLL
    for (int i = 0; i < 4; i++) {
        const uint8_t *p = src + i * stride + 16 * piece;
        __m512i low = _mm512_castsi256_si512(load_halves(p, p + 4 * stride));
        r[i] = _mm512_inserti64x4(low, load_halves(p + 8 * stride, p + 12 * stride), 1);
    }
    __m512i a = _mm512_unpacklo_epi32(r[0], r[1]), b = _mm512_unpackhi_epi32(r[0], r[1]);
    __m512i c = _mm512_unpacklo_epi32(r[2], r[3]), d = _mm512_unpackhi_epi32(r[2], r[3]);
    line[0] = _mm512_unpacklo_epi64(a, c);
    line[1] = _mm512_unpackhi_epi64(a, c);
    line[2] = _mm512_unpacklo_epi64(b, d);
    line[3] = _mm512_unpackhi_epi64(b, d);
}

/* Packs block 0 of 16 rows that are `stride` bytes apart. */
static inline void pack_16_blocks(const uint8_t *src, int64_t stride, uint8_t *block)
{
    __m512i line[4];
    transpose_piece(src, stride, 0, line);
    _mm256_store_si256((__m256i *)(block + PANEL_D), _mm512_cvtepi32_epi16(line[0]));
    _mm256_store_si256((__m256i *)(block + PANEL_DMIN),
                       _mm512_cvtepi32_epi16(_mm512_srli_epi32(line[0], 16)));
    UNROLL
    for (int i = 0; i < 3; i++)
        _mm512_store_si512((__m512i *)(block + PANEL_SCALES + 64 * i), line[i + 1]);
    for (int piece = 1; piece < Q4_K_BLOCK_BYTES / 16; piece++) {
        transpose_piece(src, stride, piece, line);
        UNROLL
        for (int i = 0; i < 4; i++)
            _mm512_store_si512((__m512i *)(block + 256 * (piece - 1) + 64 * i), line[i]);
    }
}

/* The same for 1 to 16 rows. */
static inline void pack_blocks(const uint8_t *src, int64_t stride, int64_t rows, uint8_t *block)
{
    if (rows == PANEL_ROWS) {
        pack_16_blocks(src, stride, block);
        return;
    }
    uint8_t padded[PANEL_ROWS * Q4_K_BLOCK_BYTES] = {0};
    for (int64_t r = 0; r < rows; r++)
        memcpy(padded + r * Q4_K_BLOCK_BYTES, src + r * stride, Q4_K_BLOCK_BYTES);
    pack_16_blocks(padded, Q4_K_BLOCK_BYTES, block);
}

/* A matrix of q4_K rows, native or as panels. */
struct matrix {
    const uint8_t *w;
    int64_t rows, blocks; /* super-blocks of a row */
};

static inline int64_t panel_rows(const struct matrix *matrix, int64_t panel)
{
    return min_i64(PANEL_ROWS, matrix->rows - panel * PANEL_ROWS);
}

static inline const uint8_t *panel_start(const struct matrix *matrix, int64_t panel)
{
    return matrix->w + panel * PANEL_ROWS * matrix->blocks * Q4_K_BLOCK_BYTES;
}

/* Packs one panel of a native matrix. */
static inline void pack_panel(const struct matrix *matrix, int64_t panel, uint8_t *packed)
{
    int64_t rows = panel_rows(matrix, panel);
    const uint8_t *src = panel_start(matrix, panel);
    for (int64_t b = 0; b < matrix->blocks; b++)
        pack_blocks(src + b * Q4_K_BLOCK_BYTES, matrix->blocks * Q4_K_BLOCK_BYTES, rows,
                    packed + b * PANEL_BLOCK_BYTES);
}

#endif
