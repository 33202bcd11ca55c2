/* SPDX-License-Identifier: MIT */
/*
 * q4_K_gemv: eight rows at a time are transposed super-block by super-block into a panel
 * (opt/avx2/panel.h) on the stack, row r in 32-bit lane r, and used at once. Rows past n are zero
 * blocks in the panel and are not stored.
 *
 * i8: the activations are quantized once into scratch, then opt/avx2/dot_i8.h, which says why
 * nothing overflows. f32: dequantized in registers and multiplied at once, opt/avx2/dot_f32.h.
 */
#include "ref/q4_K_gemv.h"
#include "opt/avx2/dot_f32.h"
#include "opt/avx2/dot_i8.h"
#include "opt/avx2/kernels.h"
#include "ref/q4_K_dot.h"

typedef struct q4_K_gemv_shape shape_t;

/* Weights below which threads cost more than they save. */
#define PARALLEL_WEIGHTS 65536

static int team(const shape_t *s, int threads)
{
    return s->n <= PARALLEL_WEIGHTS / s->k ? 1 : threads;
}

static void rows_f32(const shape_t *s, const struct q4_K_gemv_args *a, struct range panels)
{
    _Alignas(32) uint8_t panel[PANEL_BYTES];
    int64_t blocks = s->k / Q4_K_BLOCK;
    for (int64_t p = panels.first; p < panels.last; p++) {
        int64_t row = p * PANEL_ROWS;
        struct panel_source from = panel_source(a->w + s->w_offset, s->n, blocks, row);
        __m256 sum = _mm256_setzero_ps();
        for (int64_t b = 0; b < blocks; b++) {
            panel_pack(&from, b, panel);
            sum = _mm256_add_ps(sum, f32_single(panel, a->x + b * Q4_K_BLOCK));
        }
        store_floats(a->y + row, sum, s->n - row);
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
    int64_t panels = divide_up(s->n, PANEL_ROWS);
    threads = team(s, threads);
#pragma omp parallel num_threads(threads) if (threads > 1)
    rows_f32(s, args, thread_range(panels));
    return NULL;
}

static int64_t depth_f32(const void *shape)
{
    return f32_depth(((const shape_t *)shape)->k);
}

const struct assay_kernel q4_K_gemv_avx2_f32 = {
    .op = "q4_K_gemv",
    .name = "avx2-f32",
    .tier = "avx2",
    .numerics = ASSAY_F32,
    .depth = depth_f32,
    .run = run_f32,
};

static void rows_i8(const shape_t *s, const struct q4_K_gemv_args *a, const struct i8_block *x,
                    struct range panels)
{
    _Alignas(32) uint8_t panel[PANEL_BYTES];
    int64_t blocks = s->k / Q4_K_BLOCK;
    for (int64_t p = panels.first; p < panels.last; p++) {
        int64_t row = p * PANEL_ROWS;
        struct panel_source from = panel_source(a->w + s->w_offset, s->n, blocks, row);
        float sum[1][PANEL_ROWS] = {{0}};
        for (int64_t b = 0; b < blocks; b++) {
            const struct i8_block *at = x + b;
            panel_pack(&from, b, panel);
            i8_tile_body(panel, 1, &at, 1, sum);
        }
        store_floats(a->y + row, _mm256_loadu_ps(sum[0]), s->n - row);
    }
}

static int64_t scratch_i8(const void *shape, int threads)
{
    (void)threads;
    int64_t blocks = ((const shape_t *)shape)->k / Q4_K_BLOCK;
    return scratch_part(assay_mul(blocks, sizeof(struct i8_block)));
}

static const char *run_i8(const void *shape, const void *args, const void *prepared, void *scratch,
                          int threads)
{
    (void)prepared;
    const shape_t *s = shape;
    const struct q4_K_gemv_args *a = args;
    const char *illegal = assay_illegal(&q4_K_gemv_op, shape, NULL);
    if (illegal)
        return illegal;
    struct i8_block *x = scratch;
    int64_t panels = divide_up(s->n, PANEL_ROWS);
    threads = team(s, threads);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        struct range mine = thread_range(s->k / Q4_K_BLOCK);
        for (int64_t b = mine.first; b < mine.last; b++)
            i8_quantize(a->x + b * Q4_K_BLOCK, &x[b]);
#pragma omp barrier
        rows_i8(s, a, x, thread_range(panels));
    }
    return NULL;
}

static int64_t depth_i8(const void *shape)
{
    return q4_K_dot_i8_depth(((const shape_t *)shape)->k);
}

const struct assay_kernel q4_K_gemv_avx2_i8 = {
    .op = "q4_K_gemv",
    .name = "avx2-i8",
    .tier = "avx2",
    .numerics = ASSAY_I8,
    .twin = 1,
    .depth = depth_i8,
    .scratch_bytes = scratch_i8,
    .run = run_i8,
};
