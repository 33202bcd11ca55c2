/* SPDX-License-Identifier: MIT */
/*
 * q4_K_dequant: the eight scales and mins of a block are made in one vector each and broadcast from
 * the stack. Lanes are 8 successive elements: 8 bytes of qs widened to dwords give 8 low and 8 high
 * nibbles, 32 elements apart. The products are exact, so a fused multiply-subtract has the bits of
 * the formula. Outputs that cannot stay in cache go around it, if they are aligned for that; there
 * are no tails.
 */
#include "ref/q4_K_dequant.h"
#include "opt/avx2/common.h"
#include "opt/avx2/kernels.h"

#define STREAM_BYTES   (INT64_C(32) << 20) /* a last-level cache */
#define AHEAD          4 /* blocks whose scales are decoded first: broadcasts find them in cache */
#define PARALLEL_BYTES (INT64_C(1) << 18) /* below this, threads cost more than they save */

/* Scales (or mins) from four bytes each for sub-blocks 0..3 and 4..7, times d (or dmin). */
AVX2_INLINE __m256 times_bytes(__m256 d, uint32_t low, uint32_t high)
{
    __m128i bytes = _mm_cvtsi64_si128((int64_t)((uint64_t)high << 32 | low));
    return _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)));
}

AVX2_INLINE void put(float *y, __m256 v, const bool stream)
{
    if (stream)
        _mm256_stream_ps(y, v);
    else
        _mm256_storeu_ps(y, v);
}

struct block_scales {
    float scale[8], min[8]; /* d*sc[j], dmin*m[j] */
};

AVX2_INLINE void decode_scales(const uint8_t *block, struct block_scales *to)
{
    uint32_t s[3];
    memcpy(s, block + 4, sizeof(s));
    __m256 d = _mm256_cvtph_ps(_mm_set1_epi16((short)(block[0] | block[1] << 8)));
    __m256 dmin = _mm256_cvtph_ps(_mm_set1_epi16((short)(block[2] | block[3] << 8)));
    _mm256_storeu_ps(to->scale, times_bytes(d, s[0] & 0x3f3f3f3f,
                                            (s[2] & 0x0f0f0f0f) | (s[0] >> 2 & 0x30303030)));
    _mm256_storeu_ps(to->min, times_bytes(dmin, s[1] & 0x3f3f3f3f,
                                          (s[2] >> 4 & 0x0f0f0f0f) | (s[1] >> 2 & 0x30303030)));
}

AVX2_INLINE void dequant_block(const uint8_t *block, const struct block_scales *scales, float *y,
                               const bool stream)
{
    const __m256i nibble = _mm256_set1_epi32(15);
    for (int pair = 0; pair < 4; pair++) {
        __m256 scale0 = _mm256_broadcast_ss(&scales->scale[2 * pair]);
        __m256 scale1 = _mm256_broadcast_ss(&scales->scale[2 * pair + 1]);
        __m256 min0 = _mm256_broadcast_ss(&scales->min[2 * pair]);
        __m256 min1 = _mm256_broadcast_ss(&scales->min[2 * pair + 1]);
        for (int i = 0; i < 32; i += 8) {
            const void *qs = block + 16 + 32 * pair + i;
            __m256i bytes = _mm256_cvtepu8_epi32(_mm_loadl_epi64(qs));
            __m256 low = _mm256_cvtepi32_ps(_mm256_and_si256(bytes, nibble));
            __m256 high = _mm256_cvtepi32_ps(_mm256_srli_epi32(bytes, 4));
            put(y + 64 * pair + i, _mm256_fmsub_ps(scale0, low, min0), stream);
            put(y + 64 * pair + 32 + i, _mm256_fmsub_ps(scale1, high, min1), stream);
        }
    }
}

AVX2_INLINE void dequant_run(const uint8_t *w, float *y, int64_t blocks, const bool stream)
{
    struct block_scales scales[AHEAD];
    for (int64_t first = 0; first < blocks; first += AHEAD) {
        int64_t end = min_i64(first + AHEAD, blocks);
        for (int64_t b = first; b < end; b++)
            decode_scales(w + b * Q4_K_BLOCK_BYTES, &scales[b - first]);
        for (int64_t b = first; b < end; b++)
            dequant_block(w + b * Q4_K_BLOCK_BYTES, &scales[b - first], y + b * Q4_K_BLOCK, stream);
    }
}

static void dequant(const uint8_t *w, float *y, int64_t first, int64_t last, bool stream)
{
    w += first * Q4_K_BLOCK_BYTES;
    y += first * Q4_K_BLOCK;
    if (stream) {
        dequant_run(w, y, last - first, true);
        _mm_sfence();
    } else {
        dequant_run(w, y, last - first, false);
    }
}

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    (void)prepared, (void)scratch;
    const struct q4_K_dequant_shape *s = shape;
    const struct q4_K_dequant_args *a = args;
    const char *illegal = assay_illegal(&q4_K_dequant_op, shape, NULL);
    if (illegal)
        return illegal;
    const uint8_t *w = a->w + s->w_offset;
    int64_t blocks = s->n / Q4_K_BLOCK;
    bool stream = s->n > STREAM_BYTES / 4 && (uintptr_t)a->y % 32 == 0;
    if (threads == 1 || s->n <= PARALLEL_BYTES / 4) {
        dequant(w, a->y, 0, blocks, stream);
        return NULL;
    }
#pragma omp parallel num_threads(threads)
    {
        struct range mine = thread_range(blocks);
        dequant(w, a->y, mine.first, mine.last, stream);
    }
    return NULL;
}

const struct assay_kernel q4_K_dequant_avx2 = {
    .op = "q4_K_dequant",
    .name = "avx2",
    .tier = "avx2",
    .numerics = ASSAY_BITS,
    .run = run,
};
