/* SPDX-License-Identifier: MIT */
/*
 * The matmul kernels of this tier (opt/matmul.h). Rows are transposed eight at a time into panels,
 * row r in 32-bit lane r; two of them, a slab (panel.h), are a panel of opt/matmul.h. It meets the
 * tokens of a group in tiles, as equal as can be. Rows past m are zero blocks and are not stored.
 *
 * i8, i16, i24: native weights are packed into scratch, for a single tile each super-block just
 * before it is used (dot_i8.h: why nothing overflows). f32, f16: each super-block of a panel is
 * dequantized once for up to FLOAT_GROUP pairs, whose sums wait in scratch (dot_f32.h).
 */
#include "opt/avx2/dot_f32.h"
#include "opt/avx2/dot_i8.h"
#include "opt/avx2/kernels.h"
#include "opt/avx2/tier.h"

#define FLOAT_GROUP 48 /* a multiple of the tile; 48 KB of activations of a super-block */

/* A thread's scratch of classes f32 and f16. */
struct float_scratch {
    _Alignas(64) float w[F32_WEIGHTS];
    float sums[FLOAT_GROUP][SLAB_ROWS];
    uint8_t slab[SLAB_BYTES];
};

/* A slab of a matrix, and the pairs that meet it. */
struct slab_task {
    const struct matmul_job *job;
    const struct matmul_group *group;
    int64_t n, row; /* pairs; the slab's first row */
};

/* The slab's rows in a native matrix. Rows past matmul->rows are not read: in an indirect dispatch
 * they may still exist. */
static struct slab_source native_slab(const struct slab_task *task)
{
    const struct matmul_job *job = task->job;
    return slab_source(matmul_panel(job, task->group->list->matrix, 0), job->matmul.rows,
                       job->blocks, task->row);
}

static int64_t pair_of(const struct slab_task *task, int64_t i)
{
    return matmul_pair(task->group->list, task->group->first + i);
}

/* The row of prepared or original activations of pair i. */
static int64_t source_row(const struct slab_task *task, int64_t i)
{
    return matmul_source(&task->job->matmul, pair_of(task, i));
}

/* Stores the sums of pair i of the task. */
static void store_sums(const struct slab_task *task, int64_t i, const float *sums)
{
    const struct matmul *mm = &task->job->matmul;
    float *dst = mm->dst + pair_of(task, i) * mm->m + task->row;
    int64_t rows = mm->rows - task->row;
    store_floats(dst, _mm256_loadu_ps(sums), rows);
    if (rows > PANEL_ROWS)
        store_floats(dst + PANEL_ROWS, _mm256_loadu_ps(sums + PANEL_ROWS), rows - PANEL_ROWS);
}

static void slab_f32(const struct slab_task *task, struct float_scratch *scratch)
{
    const struct matmul_job *job = task->job;
    const bool half = job->class == MATMUL_F16;
    const float *src = half ? job->prepared_sources : job->matmul.src, *x[FLOAT_GROUP];
    for (int64_t i = 0; i < task->n; i++)
        x[i] = src + source_row(task, i) * job->matmul.k;
    struct slab_source from = native_slab(task);
    memset(scratch->sums, 0, sizeof(scratch->sums));
    int64_t tiles = ceil_div(task->n, F32_TILE);
    for (int64_t b = 0; b < job->blocks; b++) {
        slab_pack(&from, b, b + 1, scratch->slab);
        for (int h = 0; h < 2; h++) {
            const uint8_t *panel = scratch->slab + h * PANEL_BYTES;
            float *sums = scratch->sums[0] + h * PANEL_ROWS;
            if (task->n == 1)
                (half ? f16_single : f32_single)(panel, x[0], sums);
            else
                (half ? f16_dequant : f32_dequant)(panel, scratch->w);
            for (int64_t i = 0; task->n > 1 && i < tiles; i++) {
                int64_t first = share_start(task->n, i, tiles);
                int64_t last = share_start(task->n, i + 1, tiles);
                f32_tile(scratch->w, x + first, last - first, sums + first * SLAB_ROWS);
            }
        }
        for (int64_t i = 0; i < task->n; i++)
            x[i] += Q4_K_BLOCK;
    }
    for (int64_t i = 0; i < task->n; i++)
        store_sums(task, i, scratch->sums[i]);
}

/* One tile: `count` pairs of the task from `first` on. The weights are the slab `packed`, or, if
 * that is NULL, are packed into scratch, each super-block before it is used. */
static void tile_i8(const struct slab_task *task, int64_t first, int64_t count,
                    const uint8_t *packed, struct i8_ahead *ahead)
{
    const struct matmul_job *job = task->job;
    const int digits = matmul_digits(job->class);
    const struct i8_block *quantized = job->prepared_sources, *x[I8_TILE];
    float sums[I8_TILE][SLAB_ROWS] = {{0}};
    i8_tile_fn *tile = i8_tiles[digits][count];
    for (int64_t t = 0; t < count; t++)
        x[t] = quantized + source_row(task, first + t) * job->blocks * digits;
    if (packed) {
        tile(packed, job->blocks, x, ahead, sums);
    } else {
        struct slab_source from = native_slab(task);
        for (int64_t b = 0; b < job->blocks; b++) {
            slab_pack(&from, b, b + 1, task->group->scratch);
            tile(task->group->scratch, 1, x, ahead, sums);
            for (int64_t t = 0; t < count; t++)
                x[t] += digits;
        }
    }
    for (int64_t t = 0; t < count; t++) {
        float *sum = sums[t * digits];
        for (int j = 1; j < digits; j++) {
            for (int r = 0; r < SLAB_ROWS; r++)
                sum[r] += sums[t * digits + j][r];
        }
        store_sums(task, first + t, sum);
    }
}

/* Meanwhile fetches the packed slab `next`, unless it is NULL. */
static void slab_i8(const struct slab_task *task, const uint8_t *packed, const uint8_t *next)
{
    const struct matmul_job *job = task->job;
    const int64_t tiles = ceil_div(task->n, I8_TILE / matmul_digits(job->class));
    struct i8_ahead ahead = {0};
    if (next)
        ahead = (struct i8_ahead){next, next + job->blocks * SLAB_BYTES,
                                  (int)ceil_div(SLAB_BYTES / 64 / 4, tiles)};
    if (!packed && tiles > 1) {
        struct slab_source from = native_slab(task);
        slab_pack(&from, 0, job->blocks, task->group->scratch);
        packed = task->group->scratch;
    }
    for (int64_t i = 0; i < tiles; i++) {
        int64_t first = share_start(task->n, i, tiles);
        tile_i8(task, first, share_start(task->n, i + 1, tiles) - first, packed, &ahead);
    }
}

static void multiply(const struct matmul_job *job, const struct matmul_group *group, int64_t panel,
                     int64_t end, const uint8_t *after)
{
    struct slab_task task = {.job = job, .group = group, .n = group->last - group->first};
    for (int64_t p = panel; p < end; p++) {
        task.row = p * SLAB_ROWS;
        if (matmul_digits(job->class) == 0) {
            slab_f32(&task, group->scratch);
        } else if (job->packed) {
            const uint8_t *packed = matmul_panel(job, group->list->matrix, p);
            slab_i8(&task, packed, p + 1 < end ? packed + job->blocks * SLAB_BYTES : after);
        } else {
            slab_i8(&task, NULL, NULL);
        }
    }
}

static void quantize(const float *x, int digits, void *to)
{
    i8_quantize(x, digits, to);
}

static void pack(const uint8_t *w, int64_t rows, int64_t blocks, int64_t panel, uint8_t *packed)
{
    struct slab_source from = slab_source(w, rows, blocks, panel * SLAB_ROWS);
    slab_pack(&from, 0, blocks, packed);
}

const struct matmul_tier avx2_matmul = {
    .quantize = quantize,
    .digit_bytes = sizeof(struct i8_block),
    .round = f32_round_block,
    .multiply = multiply,
    .float_scratch = sizeof(struct float_scratch),
    .float_group = FLOAT_GROUP,
    .float_depth = f32_depth,
    .pack = pack,
};

MATMUL_KERNEL(avx2, q4_K_gemv, f32, "f32", MATMUL_F32, ASSAY_F32, .twin = 0)
MATMUL_INTEGER_KERNELS(avx2, q4_K_gemv)
MATMUL_KERNEL(avx2, q4_K_gemm, f32, "f32", MATMUL_F32, ASSAY_F32, .twin = 0)
MATMUL_INTEGER_KERNELS(avx2, q4_K_gemm)
MATMUL_KERNEL(avx2, q4_K_gemm_moe_id, f32, "f32", MATMUL_F32, ASSAY_F32, .twin = 0)
MATMUL_KERNEL(avx2, q4_K_gemm_moe_id, f16, "f16", MATMUL_F16, ASSAY_F16, .twin = 0)
MATMUL_INTEGER_KERNELS(avx2, q4_K_gemm_moe_id)
MATMUL_KERNEL(avx2, q4_K_gemv_moe_id, f32, "f32", MATMUL_F32, ASSAY_F32, .twin = 0)
MATMUL_INTEGER_KERNELS(avx2, q4_K_gemv_moe_id)
