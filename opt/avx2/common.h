/* SPDX-License-Identifier: MIT */
/* Helpers of the tier avx2 (AVX2, FMA, F16C, BMI2). Vectors are loaded and stored unaligned: the
 * contracts promise 2 or 4 bytes only. */
#ifndef ASSAY_OPT_AVX2_COMMON_H
#define ASSAY_OPT_AVX2_COMMON_H

#include <immintrin.h>
#include <omp.h>
#include <stdint.h>
#include <string.h>

#include "opt/partition.h"
#include "opt/scratch.h"
#include "ref/q4_K.h"

/* Kernel bodies whose tile size must become a constant. */
#define AVX2_INLINE static inline __attribute__((always_inline))

/* UNROLL: the loop that follows is unrolled, so that arrays indexed by its counter become
 * registers. NO_UNROLL: it is not. */
#ifdef __clang__
#define UNROLL    _Pragma("clang loop unroll(full)")
#define NO_UNROLL _Pragma("clang loop unroll(disable)")
#else
#define UNROLL    _Pragma("GCC unroll 64")
#define NO_UNROLL _Pragma("GCC unroll 1")
#endif

AVX2_INLINE __m256i load_bytes(const void *p)
{
    return _mm256_loadu_si256(p);
}

AVX2_INLINE void store_bytes(void *p, __m256i v)
{
    _mm256_storeu_si256(p, v);
}

/* The four bytes at p in every 32-bit lane. */
AVX2_INLINE __m256i broadcast_dword(const void *p)
{
    int32_t dword;
    memcpy(&dword, p, sizeof(dword));
    return _mm256_set1_epi32(dword);
}

/* Returns v. Integer sums that pass through here are not regrouped: gcc makes trees of them, whose
 * leaves do not fit in registers. */
AVX2_INLINE __m256i in_order(__m256i v)
{
    __asm__("" : "+x"(v));
    return v;
}

/* Eight f16, exactly. */
AVX2_INLINE __m256 load_f16(const void *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128(p));
}

/* All ones in the first `count` of 8 lanes. */
AVX2_INLINE __m256i first_lanes(int64_t count)
{
    static const int32_t ones_then_zeros[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    int64_t lanes = count < 0 ? 0 : count < 8 ? count : 8;
    return load_bytes(ones_then_zeros + 8 - lanes);
}

/* Stores the first `count` of 8 floats; memory past them is not touched. */
AVX2_INLINE void store_floats(float *p, __m256 v, int64_t count)
{
    if (count >= 8)
        _mm256_storeu_ps(p, v);
    else
        _mm256_maskstore_ps(p, first_lanes(count), v);
}

struct range {
    int64_t first, last; /* last is not in it */
};

/* This thread's share of `count` items; successive threads have successive shares. */
static inline struct range thread_range(int64_t count)
{
    int64_t rank = omp_get_thread_num(), team = omp_get_num_threads();
    return (struct range){share_start(count, rank, team), share_start(count, rank + 1, team)};
}

#endif
