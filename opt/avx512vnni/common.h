/* SPDX-License-Identifier: MIT */
/* What the kernels of tier avx512vnni share: the header of a q4_K block in registers, sums over
 * lanes. */
#ifndef ASSAY_OPT_AVX512VNNI_COMMON_H
#define ASSAY_OPT_AVX512VNNI_COMMON_H

#include <immintrin.h>
#include <stdint.h>

#include "opt/partition.h"
#include "opt/scratch.h"
#include "ref/q4_K.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* UNROLL: the loop that follows is unrolled, so that arrays indexed by its counter become
 * registers. */
#ifdef __clang__
#define UNROLL    _Pragma("clang loop unroll(full)")
#define NO_UNROLL _Pragma("clang loop unroll(disable)")
#else
#define UNROLL    _Pragma("GCC unroll 64")
#define NO_UNROLL _Pragma("GCC unroll 1")
#endif

#define LANES 16 /* f32 or int32 in a register */

/* Lanes 0 .. n-1, n <= 16. */
ALWAYS_INLINE __mmask16 first_lanes(int64_t n)
{
    return (__mmask16)((1u << n) - 1);
}

ALWAYS_INLINE __m512i lane_numbers(void)
{
    return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

/* Four additions deep, in a fixed order. */
ALWAYS_INLINE float sum_lanes(__m512 v)
{
    __m256 h = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}

/*
 * Lanes 0-7: d*sc[j]; lanes 8-15: dmin*m[j]; all exact. The header's dwords are d|dmin, s[0-3],
 * s[4-7], s[8-11]. As dwords of four bytes each
 *
 *   sc[0-3] = s[0-3] & 63      sc[4-7] = s[8-11] & 15 | s[0-3] >> 2 & 48
 *   m[0-3]  = s[4-7] & 63      m[4-7]  = s[8-11] >> 4 & 15 | s[4-7] >> 2 & 48
 *
 * where a dword shift moves bits across bytes only outside the masks.
 */
ALWAYS_INLINE __m512 block_scales(const uint8_t *block)
{
    const int low4 = 0x0f0f0f0f, low6 = 0x3f3f3f3f, bits45 = 0x30303030;
    __m128i header = _mm_loadu_si128((const __m128i *)block);
    __m128i low = _mm_shuffle_epi32(header, _MM_SHUFFLE(3, 2, 3, 1));
    __m128i high = _mm_shuffle_epi32(header, _MM_SHUFFLE(2, 2, 1, 1));
    low = _mm_and_si128(_mm_srlv_epi32(low, _mm_setr_epi32(0, 0, 0, 4)),
                        _mm_setr_epi32(low6, low4, low6, low4));
    high = _mm_and_si128(_mm_srli_epi32(high, 2), _mm_setr_epi32(0, bits45, 0, bits45));
    __m512 scales = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_or_si128(low, high)));
    const __m512i spread = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    __m512 d = _mm512_permutexvar_ps(spread, _mm512_castps128_ps512(_mm_cvtph_ps(header)));
    return _mm512_mul_ps(d, scales);
}

/* The weight of each nibble 0 .. 15 of a sub-block. */
ALWAYS_INLINE __m512 nibble_table(__m512 nibble, float scale, float min)
{
    return _mm512_fmsub_ps(nibble, _mm512_set1_ps(scale), _mm512_set1_ps(min));
}

/* table[j] of sub-block j: the weight of each nibble. */
ALWAYS_INLINE void block_tables(const uint8_t *block, __m512 table[Q4_K_SUB_BLOCKS])
{
    /* By way of memory: a broadcast load costs no shuffle. */
    _Alignas(64) float scales[LANES];
    _mm512_store_ps(scales, block_scales(block));
    __m512 nibble = _mm512_cvtepi32_ps(lane_numbers());
    UNROLL
    for (int j = 0; j < Q4_K_SUB_BLOCKS; j++)
        table[j] = nibble_table(nibble, scales[j], scales[Q4_K_SUB_BLOCKS + j]);
}

#endif
