/* SPDX-License-Identifier: MIT */
/*
 * q4_K_gemv.
 *
 * f32: four rows at a time, lanes are elements. Weights come from 16-entry tables (common.h) and meet
 * x in four chains, one for each of the four registers of 64 weights; the chains of a super-block
 * are joined and added to the row's 16 sums, which are added up at the end. Longest path: the
 * weight, 4 products and FMA of a chain, 2 to join, k/256 super-blocks, 4 across lanes.
 *
 * i8: panels of 16 rows, one token (i8.h). The native kernel packs each panel into scratch.
 *
 * k is a multiple of 256 and so has no tail; the last panel stores its rows under a mask.
 */
#include "ref/q4_K_gemv.h"

#include <omp.h>

#include "opt/avx512vnni/common.h"
#include "opt/avx512vnni/i8.h"
#include "opt/avx512vnni/kernels.h"
#include "ref/q4_K_dot.h"

#define THREAD_BLOCKS 512 /* fewer super-blocks than this are not worth a thread */
#define ROWS_F32      4   /* rows at a time: 16 chains in registers */
#define UNITS         8   /* of work for each thread, to even out their speeds */

typedef struct q4_K_gemv_shape shape_t;

static int team_size(const shape_t *s, int threads)
{
    int64_t share = ceil_div(THREAD_BLOCKS, s->k / Q4_K_BLOCK);
    return (int)min_i64(threads, ceil_div(s->n, share));
}

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
    struct matrix matrix;
    const uint8_t *packed;
    const struct digits *digits;
    uint8_t *panels; /* of each thread */
    const float *x;
    float *y;
    int64_t panels_of_unit;
    struct work_queue queue;
};

static void work_f32(struct job *job)
{
    const struct matrix *m = &job->matrix;
    int64_t rows = job->panels_of_unit * PANEL_ROWS, stride = m->blocks * Q4_K_BLOCK_BYTES, r;
    while ((r = next_unit(&job->queue) * rows) < m->rows) {
        int64_t last = min_i64(r + rows, m->rows);
        for (; r + ROWS_F32 <= last; r += ROWS_F32) {
            const uint8_t *w = m->w + r * stride;
            const uint8_t *ahead = r + 2 * ROWS_F32 <= last ? w + ROWS_F32 * stride : NULL;
            rows_f32(ROWS_F32, w, stride, m->blocks, job->x, job->y + r, ahead);
        }
        for (; r < last; r++)
            rows_f32(1, m->w + r * stride, stride, m->blocks, job->x, job->y + r, NULL);
    }
}

static void work_i8(struct job *job, int rank)
{
    const struct matrix *m = &job->matrix;
    int64_t panels = ceil_div(m->rows, PANEL_ROWS), first;
    struct tokens_i8 token = {.n = 1, .x = {job->digits}, .y = {job->y}};
    uint8_t *panel = job->panels + rank * m->blocks * PANEL_BLOCK_BYTES;
    while ((first = next_unit(&job->queue) * job->panels_of_unit) < panels) {
        int64_t last = min_i64(first + job->panels_of_unit, panels);
        panels_i8(m, job->packed, first, last, &token, panel);
    }
}

static struct job job_of(const shape_t *s, const struct q4_K_gemv_args *a, int team)
{
    int64_t panels = ceil_div(s->n, PANEL_ROWS);
    return (struct job){
        .matrix = {a->w + s->w_offset, s->n, s->k / Q4_K_BLOCK},
        .x = a->x,
        .y = a->y,
        .panels_of_unit = team == 1 ? panels : ceil_div(panels, (int64_t)team * UNITS),
    };
}

static const char *run_f32(const void *shape, const void *args, const void *prepared, void *scratch,
                           int threads)
{
    (void)prepared, (void)scratch;
    const char *illegal = assay_illegal(&q4_K_gemv_op, shape, NULL);
    if (illegal)
        return illegal;
    int team = team_size(shape, threads);
    struct job job = job_of(shape, args, team);
    if (team == 1) {
        work_f32(&job);
        return NULL;
    }
#pragma omp parallel num_threads(team)
    work_f32(&job);
    return NULL;
}

/* x is quantized by one thread: k digits beside n*k weights. */
static const char *run_i8(const shape_t *s, const struct q4_K_gemv_args *a, const uint8_t *packed,
                          uint8_t *scratch, int threads)
{
    const char *illegal = assay_illegal(&q4_K_gemv_op, s, NULL);
    if (illegal)
        return illegal;
    int team = team_size(s, threads);
    struct job job = job_of(s, a, team);
    struct digits *digits = (struct digits *)scratch;
    for (int64_t b = 0; b < job.matrix.blocks; b++)
        quantize_block(a->x + b * Q4_K_BLOCK, &digits[b]);
    job.packed = packed;
    job.digits = digits;
    job.panels = scratch + line_bytes(job.matrix.blocks, sizeof(*digits));
    if (team == 1) {
        work_i8(&job, 0);
        return NULL;
    }
#pragma omp parallel num_threads(team)
    work_i8(&job, omp_get_thread_num());
    return NULL;
}

static const char *run_native(const void *shape, const void *args, const void *prepared,
                              void *scratch, int threads)
{
    (void)prepared;
    return run_i8(shape, args, NULL, scratch, threads);
}

static const char *run_packed(const void *shape, const void *args, const void *prepared,
                              void *scratch, int threads)
{
    return run_i8(shape, args, prepared, scratch, threads);
}

static int64_t scratch_packed(const void *shape, int threads)
{
    (void)threads;
    return line_bytes(((const shape_t *)shape)->k / Q4_K_BLOCK, sizeof(struct digits));
}

static int64_t scratch_native(const void *shape, int threads)
{
    int64_t panel = packed_bytes(1, 1, ((const shape_t *)shape)->k);
    return assay_add(scratch_packed(shape, threads), assay_mul(panel, threads));
}

static int64_t prepared_bytes(const void *shape)
{
    const shape_t *s = shape;
    return packed_bytes(1, s->n, s->k);
}

static void prepare(const void *shape, const void *args, void *prepared, int threads)
{
    struct job job = job_of(shape, args, 1);
    pack_matrices(&job.matrix, 1, prepared, threads);
}

static int64_t depth_f32(const void *shape)
{
    return 1 + 4 + 2 + ((const shape_t *)shape)->k / Q4_K_BLOCK + 4;
}

static int64_t depth_i8(const void *shape)
{
    return q4_K_dot_i8_depth(((const shape_t *)shape)->k);
}

const struct assay_kernel q4_K_gemv_avx512vnni_f32 = {
    .op = "q4_K_gemv",
    .name = "avx512vnni-f32",
    .tier = "avx512vnni",
    .numerics = ASSAY_F32,
    .depth = depth_f32,
    .run = run_f32,
};

const struct assay_kernel q4_K_gemv_avx512vnni_i8 = {
    .op = "q4_K_gemv",
    .name = "avx512vnni-i8",
    .tier = "avx512vnni",
    .numerics = ASSAY_I8,
    .twin = 1,
    .depth = depth_i8,
    .scratch_bytes = scratch_native,
    .run = run_native,
};

const struct assay_kernel q4_K_gemv_avx512vnni_i8_packed = {
    .op = "q4_K_gemv",
    .name = "avx512vnni-i8-packed",
    .tier = "avx512vnni",
    .numerics = ASSAY_I8,
    .twin = 1,
    .depth = depth_i8,
    .prepared_bytes = prepared_bytes,
    .prepare = prepare,
    .scratch_bytes = scratch_packed,
    .run = run_packed,
};
