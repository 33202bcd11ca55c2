/* SPDX-License-Identifier: MIT */
/*
 * q4_K_gemv, class f32; integer classes are in matmul.c. Four rows at a time, lanes are elements.
 * Weights come from 16-entry tables (common.h) and meet x in four chains, one for each of the four
 * registers of 64 weights; the chains of a super-block are joined and added to the row's 16 sums,
 * which are added up at the end. Longest path: the weight, 4 products and FMA of a chain, 2 to
 * join, k/256 super-blocks, 4 across lanes.
 *
 * k is a multiple of 256 and so has no tail.
 */
#include "ref/q4_K_gemv.h"

#include <omp.h>

#include "opt/avx512vnni/common.h"
#include "opt/avx512vnni/kernels.h"

#define THREAD_BLOCKS 512 /* fewer super-blocks than this are not worth a thread */
#define ROWS_F32      4   /* rows at a time: 16 chains in registers */

typedef struct q4_K_gemv_shape shape_t;
typedef struct q4_K_gemv_args args_t;

/* y[0 .. R-1] of R rows, `stride` bytes apart, which share the loads of x. Meanwhile as many bytes
 * are fetched from `ahead`, unless it is NULL. */
ALWAYS_INLINE void rows_f32(const int R, const uint8_t *w, int64_t stride, int64_t blocks,
                            const float *x, float *y, const uint8_t *ahead)
{
    const __m512 nibble = _mm512_cvtepi32_ps(lane_numbers());
    __m512 sum[ROWS_F32];
    UNROLL
    for (int r = 0; r < R; r++)
        sum[r] = _mm512_setzero_ps();
    for (int64_t b = 0; b < blocks; b++, w += Q4_K_BLOCK_BYTES, x += Q4_K_BLOCK) {
        for (int i = 0; ahead && i < R * Q4_K_BLOCK_BYTES / 64; i++, ahead += 64)
            _mm_prefetch(ahead, _MM_HINT_T1);
        /* By way of memory: a broadcast load costs no shuffle. */
        _Alignas(64) float scales[ROWS_F32][LANES];
        __m512 chain[ROWS_F32][4];
        UNROLL
        for (int r = 0; r < R; r++) {
            _mm512_store_ps(scales[r], block_scales(w + r * stride));
            chain[r][0] = chain[r][1] = chain[r][2] = chain[r][3] = _mm512_setzero_ps();
        }
        NO_UNROLL
        for (int g = 0; g < 4; g++) {
            UNROLL
            for (int r = 0; r < R; r++) {
                const float *s = scales[r] + 2 * g;
                __m512 low = nibble_table(nibble, s[0], s[Q4_K_SUB_BLOCKS]);
                __m512 high = nibble_table(nibble, s[1], s[Q4_K_SUB_BLOCKS + 1]);
                UNROLL
                for (int i = 0; i < 2; i++) {
                    const uint8_t *qs = w + r * stride + 16 + 32 * g + LANES * i;
                    const float *xi = x + 64 * g + LANES * i;
                    __m512i q = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)qs));
                    __m512 even = _mm512_permutexvar_ps(q, low);
                    __m512 odd = _mm512_permutexvar_ps(_mm512_srli_epi32(q, 4), high);
                    chain[r][i] = _mm512_fmadd_ps(even, _mm512_loadu_ps(xi), chain[r][i]);
                    chain[r][2 + i] =
                        _mm512_fmadd_ps(odd, _mm512_loadu_ps(xi + Q4_K_SUB_BLOCK), chain[r][2 + i]);
                }
            }
        }
        UNROLL
        for (int r = 0; r < R; r++) {
            __m512 low = _mm512_add_ps(chain[r][0], chain[r][1]);
            sum[r] =
                _mm512_add_ps(sum[r], _mm512_add_ps(low, _mm512_add_ps(chain[r][2], chain[r][3])));
        }
    }
    UNROLL
    for (int r = 0; r < R; r++)
        y[r] = sum_lanes(sum[r]);
}

struct job {
    const shape_t *shape;
    const args_t *args;
    int64_t rows_of_unit;
    struct work_queue queue;
};

static void work_f32(struct job *job, int rank)
{
    const shape_t *s = job->shape;
    const float *x = job->args->x;
    int64_t blocks = s->k / Q4_K_BLOCK, stride = blocks * Q4_K_BLOCK_BYTES, unit;
    while ((unit = next_unit(&job->queue, rank)) >= 0) {
        int64_t r = unit * job->rows_of_unit;
        int64_t last = min_i64(r + job->rows_of_unit, s->n);
        const uint8_t *w = job->args->w + s->w_offset + r * stride;
        float *y = job->args->y + r, *end = job->args->y + last;
        for (; end - y >= ROWS_F32; y += ROWS_F32, w += ROWS_F32 * stride) {
            const uint8_t *ahead = end - y >= 2 * ROWS_F32 ? w + ROWS_F32 * stride : NULL;
            rows_f32(ROWS_F32, w, stride, blocks, x, y, ahead);
        }
        for (; y < end; y++, w += stride)
            rows_f32(1, w, stride, blocks, x, y, NULL);
    }
}

static const char *run_f32(const void *shape, const void *args, const void *prepared, void *scratch,
                           int threads)
{
    (void)prepared, (void)scratch;
    const shape_t *s = shape;
    const char *illegal = assay_illegal(&q4_K_gemv_op, shape, NULL);
    if (illegal)
        return illegal;
    int64_t worth = ceil_div(s->n, ceil_div(THREAD_BLOCKS, s->k / Q4_K_BLOCK));
    int team = (int)min_i64(threads, worth);
    struct job job = {.shape = s, .args = args};
    job.rows_of_unit = ceil_div(s->n, (int64_t)team * UNITS * ROWS_F32) * ROWS_F32;
    fill_queue(&job.queue, ceil_div(s->n, job.rows_of_unit), team);
#pragma omp parallel num_threads(team) if (team > 1)
    work_f32(&job, omp_get_thread_num());
    return NULL;
}

static int64_t depth_f32(const void *shape)
{
    return 1 + 4 + 2 + ((const shape_t *)shape)->k / Q4_K_BLOCK + 4;
}

const struct assay_kernel q4_K_gemv_avx512vnni_f32 = {
    .op = "q4_K_gemv",
    .name = "avx512vnni-f32",
    .tier = "avx512vnni",
    .numerics = ASSAY_F32,
    .depth = depth_f32,
    .run = run_f32,
};
