/* SPDX-License-Identifier: MIT */
/*
 * q4_K_dequant: a sub-block has only 16 different weights. Their table is one fused
 * multiply-subtract (exact products, so the reference's bits), and vpermps looks 16 of them up by
 * nibble; it ignores index bits above the fourth, so the low nibbles need no mask.
 *
 * Lane l of a register is element 16i + l. n is a multiple of 256: there are no tails. Nothing here
 * is an integer sum. Output beyond the last-level cache bypasses it, where y is aligned for that;
 * in cache that would be slower.
 */
#include "ref/q4_K_dequant.h"

#include <omp.h>

#include "opt/avx512vnni/common.h"
#include "opt/avx512vnni/kernels.h"

#define STREAM_BYTES  ((int64_t)32 << 20) /* output of this size does not stay in L3 */
#define THREAD_BLOCKS 64                  /* fewer blocks than this are not worth a thread */
#define AHEAD         4 /* blocks whose scales are decoded first: broadcasts find them in cache */

ALWAYS_INLINE void store_weights(float *y, __m512 w, int stream)
{
    if (stream)
        _mm512_stream_ps(y, w);
    else
        _mm512_storeu_ps(y, w);
}

/* scales: block_scales. */
ALWAYS_INLINE void dequantize(const uint8_t *block, const float scales[LANES], float *y, int stream)
{
    const __m512 nibble = _mm512_cvtepi32_ps(lane_numbers());
    UNROLL
    for (int j = 0; j < Q4_K_SUB_BLOCKS; j += 2) {
        const float *mins = scales + Q4_K_SUB_BLOCKS;
        __m512 even = nibble_table(nibble, scales[j], mins[j]);
        __m512 odd = nibble_table(nibble, scales[j + 1], mins[j + 1]);
        UNROLL
        for (int i = 0; i < 2; i++) {
            const uint8_t *qs = block + 16 + 16 * (j + i);
            float *out = y + Q4_K_SUB_BLOCK * j + LANES * i;
            __m512i bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)qs));
            __m512 low = _mm512_permutexvar_ps(bytes, even);
            __m512 high = _mm512_permutexvar_ps(_mm512_srli_epi32(bytes, 4), odd);
            store_weights(out, low, stream);
            store_weights(out + Q4_K_SUB_BLOCK, high, stream);
        }
    }
}

ALWAYS_INLINE void dequantize_run(const uint8_t *w, float *y, int64_t blocks, int stream)
{
    _Alignas(64) float scales[AHEAD][LANES];
    for (int64_t first = 0; first < blocks; first += AHEAD) {
        int64_t end = min_i64(first + AHEAD, blocks);
        for (int64_t b = first; b < end; b++)
            _mm512_store_ps(scales[b - first], block_scales(w + b * Q4_K_BLOCK_BYTES));
        for (int64_t b = first; b < end; b++)
            dequantize(w + b * Q4_K_BLOCK_BYTES, scales[b - first], y + b * Q4_K_BLOCK, stream);
    }
}

static void dequantize_blocks(const uint8_t *w, float *y, int64_t first, int64_t last, int stream)
{
    w += first * Q4_K_BLOCK_BYTES, y += first * Q4_K_BLOCK;
    if (!stream) {
        dequantize_run(w, y, last - first, 0);
        return;
    }
    dequantize_run(w, y, last - first, 1);
    _mm_sfence();
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
    float *y = a->y;
    int64_t blocks = s->n / Q4_K_BLOCK;
    int stream = s->n > STREAM_BYTES / (int64_t)sizeof(*y) && (uintptr_t)y % 64 == 0;
    int team = (int)min_i64(threads, ceil_div(blocks, THREAD_BLOCKS));
    if (team == 1) {
        dequantize_blocks(w, y, 0, blocks, stream);
        return NULL;
    }
#pragma omp parallel num_threads(team)
    {
        int rank = omp_get_thread_num(), of = omp_get_num_threads();
        dequantize_blocks(w, y, share_start(blocks, rank, of), share_start(blocks, rank + 1, of),
                          stream);
    }
    return NULL;
}

const struct assay_kernel q4_K_dequant_avx512vnni = {
    .op = "q4_K_dequant",
    .name = "avx512vnni",
    .tier = "avx512vnni",
    .numerics = ASSAY_BITS,
    .run = run,
};
