/* SPDX-License-Identifier: MIT */
/*
 * Eight rows of q4_K super-blocks side by side. Seen as 36 dwords, the blocks of 8 rows are
 * transposed, so that row r is 32-bit lane r of every line of 32 bytes:
 *
 *   lines 0 .. 31   dword c of each row's qs: four bytes, whose low nibbles are elements
 *                   64*(c/8) + 4*(c%8) ..+3 and whose high nibbles are the same + 32
 *   lines 32 .. 34  dwords 0, 1, 2 of each row's s[12]
 *   line 35         the eight d, then the eight dmin
 *
 * The same 144 bytes a row. Rows past the matrix are blocks of zero bytes, whose weights are +0.
 *
 * Kernels take two panels at a time, a slab: super-block 0 of one, of the other, super-block 1
 * of one and so on, a single stream of memory. A packed matrix is its slabs in row order.
 */
#ifndef ASSAY_OPT_AVX2_PANEL_H
#define ASSAY_OPT_AVX2_PANEL_H

#include "opt/avx2/common.h"

#define PANEL_ROWS    8
#define PANEL_BYTES   (PANEL_ROWS * Q4_K_BLOCK_BYTES)
#define PANEL_LINE    32
#define PANEL_SCALES  (32 * PANEL_LINE)
#define PANEL_HEADERS (35 * PANEL_LINE)
#define SLAB_ROWS     (2 * PANEL_ROWS)
#define SLAB_BYTES    (2 * PANEL_BYTES)

/* Where a panel's rows are in the native layout. */
struct panel_source {
    const uint8_t *row[PANEL_ROWS];
    int64_t step[PANEL_ROWS]; /* bytes from block to block */
    const uint8_t *next;      /* the eight rows to be prefetched, or NULL */
};

/* The panel that starts at row `first` of `rows` rows of `blocks` super-blocks at w. */
static inline struct panel_source panel_source(const uint8_t *w, int64_t rows, int64_t blocks,
                                               int64_t first)
{
    static const uint8_t zero_block[Q4_K_BLOCK_BYTES];
    struct panel_source from;
    for (int r = 0; r < PANEL_ROWS; r++) {
        bool exists = first + r < rows;
        from.row[r] = exists ? w + (first + r) * blocks * Q4_K_BLOCK_BYTES : zero_block;
        from.step[r] = exists ? Q4_K_BLOCK_BYTES : 0;
    }
    int64_t next = first + SLAB_ROWS;
    from.next = rows - next >= PANEL_ROWS ? w + next * blocks * Q4_K_BLOCK_BYTES : NULL;
    return from;
}

AVX2_INLINE __m256i panel_load_two(const uint8_t *low, const uint8_t *high)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const void *)low)),
                                   _mm_loadu_si128((const void *)high), 1);
}

/* Four dwords at `offset` of each row's block: line[i] gets dword i of the eight rows. */
AVX2_INLINE void panel_transpose(const uint8_t *const *row, int offset, __m256i line[4])
{
    __m256i rows04 = panel_load_two(row[0] + offset, row[4] + offset);
    __m256i rows15 = panel_load_two(row[1] + offset, row[5] + offset);
    __m256i rows26 = panel_load_two(row[2] + offset, row[6] + offset);
    __m256i rows37 = panel_load_two(row[3] + offset, row[7] + offset);
    __m256i a = _mm256_unpacklo_epi32(rows04, rows15);
    __m256i b = _mm256_unpackhi_epi32(rows04, rows15);
    __m256i c = _mm256_unpacklo_epi32(rows26, rows37);
    __m256i d = _mm256_unpackhi_epi32(rows26, rows37);
    line[0] = _mm256_unpacklo_epi64(a, c);
    line[1] = _mm256_unpackhi_epi64(a, c);
    line[2] = _mm256_unpacklo_epi64(b, d);
    line[3] = _mm256_unpackhi_epi64(b, d);
}

/* Packs super-block `block` of the eight rows; `panel` is aligned to 32 bytes. Eight rows are as
 * many streams, more than hardware prefetch follows well: so the eight rows that come next, which are
 * one piece of memory, are fetched meanwhile into L2, a panel's share of bytes a block. */
static inline void panel_pack(const struct panel_source *from, int64_t block, uint8_t *panel)
{
    const uint8_t *row[PANEL_ROWS];
    for (int r = 0; r < PANEL_ROWS; r++)
        row[r] = from->row[r] + block * from->step[r];
    if (from->next) {
        for (int i = 0; i < PANEL_BYTES; i += 64)
            _mm_prefetch((const void *)(from->next + block * PANEL_BYTES + i), _MM_HINT_T1);
    }
    __m256i line[4];
    panel_transpose(row, 0, line);
    __m256i halves = _mm256_packus_epi32(_mm256_and_si256(line[0], _mm256_set1_epi32(0xffff)),
                                         _mm256_srli_epi32(line[0], 16));
    store_bytes(panel + PANEL_HEADERS, _mm256_permute4x64_epi64(halves, 0xd8));
    for (int i = 0; i < 3; i++)
        store_bytes(panel + PANEL_SCALES + i * PANEL_LINE, line[i + 1]);
    for (int group = 0; group < 8; group++) {
        panel_transpose(row, 16 + 16 * group, line);
        for (int i = 0; i < 4; i++)
            store_bytes(panel + (4 * group + i) * PANEL_LINE, line[i]);
    }
}

/* The slab that starts at row `first`. */
struct slab_source {
    struct panel_source half[2];
};

static inline struct slab_source slab_source(const uint8_t *w, int64_t rows, int64_t blocks,
                                             int64_t first)
{
    return (struct slab_source){
        {panel_source(w, rows, blocks, first), panel_source(w, rows, blocks, first + PANEL_ROWS)},
    };
}

/* Packs super-blocks first .. last-1. */
static inline void slab_pack(const struct slab_source *from, int64_t first, int64_t last,
                             uint8_t *slab)
{
    for (int64_t b = first; b < last; b++, slab += SLAB_BYTES) {
        panel_pack(&from->half[0], b, slab);
        panel_pack(&from->half[1], b, slab + PANEL_BYTES);
    }
}

/* Scales and mins, as four bytes in each row's lane. */
struct panel_scales {
    __m256i scales[2], mins[2]; /* sub-blocks 0..3 and 4..7 */
};

AVX2_INLINE struct panel_scales panel_scales(const uint8_t *panel)
{
    const __m256i six = _mm256_set1_epi8(0x3f);
    const __m256i four = _mm256_set1_epi8(0x0f);
    const __m256i high = _mm256_set1_epi8(0x30);
    __m256i s0 = load_bytes(panel + PANEL_SCALES);
    __m256i s1 = load_bytes(panel + PANEL_SCALES + PANEL_LINE);
    __m256i s2 = load_bytes(panel + PANEL_SCALES + 2 * PANEL_LINE);
    struct panel_scales to;
    to.scales[0] = _mm256_and_si256(s0, six);
    to.mins[0] = _mm256_and_si256(s1, six);
    to.scales[1] = _mm256_or_si256(_mm256_and_si256(s2, four),
                                   _mm256_and_si256(_mm256_srli_epi16(s0, 2), high));
    to.mins[1] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(s2, 4), four),
                                 _mm256_and_si256(_mm256_srli_epi16(s1, 2), high));
    return to;
}

#endif
