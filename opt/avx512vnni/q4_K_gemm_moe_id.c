/* SPDX-License-Identifier: MIT */
/*
 * q4_K_gemm_moe_id: panels of 16 rows (panel.h) times the tokens of each expert, in f32 (f32.h) or
 * int8 (i8.h; there also why it cannot overflow). The native kernels pack each panel into a
 * thread's scratch; the packed one takes it from `prepared`.
 *
 * Every source row is quantized once. Then threads take units of work, some panels of one expert;
 * a unit takes its pairs in groups of up to TOKEN_GROUP, a panel meets the tokens of a group in
 * tiles. Groups and tiles are balanced: 17 tokens are three tiles of 6, 6 and 5. Rows past m are
 * zero blocks in a panel and masked out of the store. A pair's result depends on neither its group
 * nor its tile, so not on the order of lists either.
 */
#include "ref/q4_K_gemm_moe_id.h"

#include <omp.h>

#include "opt/avx512vnni/common.h"
#include "opt/avx512vnni/f32.h"
#include "opt/avx512vnni/i8.h"
#include "opt/avx512vnni/kernels.h"
#include "ref/moe_ids_tpe.h"
#include "ref/q4_K_dot.h"

#define UNITS         4   /* of work for each thread, at least, to even out their speeds */
#define THREAD_BLOCKS 512 /* fewer super-blocks than this are not worth a thread */

typedef struct q4_K_gemm_moe_id_shape shape_t;
typedef struct q4_K_gemm_moe_id_args args_t;

struct job {
    const shape_t *shape;
    const args_t *args;
    const uint8_t *packed;
    int64_t pairs_limit, rows, blocks; /* of an expert's list; of a matrix; of a row */
    int32_t *active;                   /* the experts that have pairs */
    int64_t n_active;
    int64_t panels_of_unit, units_of_expert;
    struct digits *digits; /* class i8: of each source row */
    uint8_t *thread_scratch;
    int64_t thread_bytes;
    struct work_queue queue;
};

static int64_t source_row(const shape_t *s, int32_t pair)
{
    return s->ne11 == 1 ? (int64_t)((uint32_t)pair / (uint32_t)s->top_k) : pair;
}

static int64_t pairs_of(const struct job *job, int64_t expert)
{
    return min_i64(job->args->tpe[expert], job->pairs_limit);
}

/* Limits of the work: all of it, or what the grid says. */
static struct job job_of(const shape_t *s, const args_t *a, int32_t *active)
{
    struct job job = {.shape = s, .args = a, .pairs_limit = INT32_MAX, .active = active};
    int64_t experts = s->experts;
    job.rows = s->m;
    job.blocks = s->k / Q4_K_BLOCK;
    if (s->indirect) {
        job.pairs_limit = (int64_t)a->grid[0] * MOE_TILE_PAIRS;
        job.rows = min_i64(s->m, (int64_t)a->grid[1] * MOE_TILE_ROWS);
        experts = min_i64(experts, a->grid[2]);
    }
    for (int64_t e = 0; e < experts && job.rows > 0; e++) {
        active[job.n_active] = (int32_t)e;
        job.n_active += pairs_of(&job, e) > 0;
    }
    return job;
}

/* The threads worth using; cuts each expert's panels into units for them. */
static int plan(struct job *job, int threads)
{
    int64_t panels = ceil_div(job->rows, PANEL_ROWS);
    int64_t work = job->n_active * panels * PANEL_ROWS * min_i64(job->blocks, THREAD_BLOCKS);
    int team = (int)max_i64(1, min_i64(threads, work / THREAD_BLOCKS));
    int64_t units = team == 1 ? 1 : ceil_div((int64_t)team * UNITS, max_i64(1, job->n_active));
    job->panels_of_unit = max_i64(1, ceil_div(panels, units));
    job->units_of_expert = ceil_div(panels, job->panels_of_unit);
    return team;
}

static struct matrix matrix_of(const struct job *job, int64_t expert)
{
    const shape_t *s = job->shape;
    int64_t expert_bytes = s->m * job->blocks * Q4_K_BLOCK_BYTES;
    const uint8_t *w = job->args->w + s->w_offset + expert * expert_bytes;
    return (struct matrix){w, s->m, job->blocks};
}

/* Pairs list[first] to list[last - 1] of one expert, panels [panel, end). */
static void group_i8(const struct job *job, const struct matrix *matrix, const uint8_t *packed,
                     const int32_t *list, int64_t first, int64_t last, int64_t panel, int64_t end,
                     uint8_t *scratch)
{
    struct tokens_i8 tokens;
    tokens.n = (int)(last - first);
    for (int t = 0; t < tokens.n; t++) {
        int32_t pair = list[first + t];
        tokens.x[t] = job->digits + source_row(job->shape, pair) * job->blocks;
        tokens.y[t] = job->args->dst + pair * job->shape->m;
    }
    panels_i8(matrix, packed, panel, end, &tokens, scratch);
}

static void group_f32(const struct job *job, const struct matrix *matrix, const int32_t *list,
                      int64_t first, int64_t last, int64_t panel, int64_t end,
                      struct scratch_f32 *scratch)
{
    struct tokens_f32 tokens;
    tokens.n = (int)(last - first);
    for (int t = 0; t < tokens.n; t++) {
        int32_t pair = list[first + t];
        tokens.x[t] = job->args->src1 + source_row(job->shape, pair) * job->shape->k;
        tokens.y[t] = job->args->dst + pair * job->shape->m;
    }
    for (int64_t p = panel; p < end; p++) {
        const uint8_t *ahead = p + 1 < end ? native_panel(matrix, p + 1) : NULL;
        panel_f32(matrix, p, ahead, &tokens, scratch);
    }
}

static void unit(const struct job *job, int64_t index, void *scratch)
{
    int64_t expert = job->active[index / job->units_of_expert];
    int64_t panel = index % job->units_of_expert * job->panels_of_unit;
    int64_t end = min_i64(panel + job->panels_of_unit, ceil_div(job->rows, PANEL_ROWS));
    struct matrix matrix = matrix_of(job, expert);
    const int32_t *list = job->args->ids + expert * job->shape->stride;
    int64_t pairs = pairs_of(job, expert);
    int groups = (int)ceil_div(pairs, TOKEN_GROUP);
    const uint8_t *packed = NULL;
    if (job->packed)
        packed = job->packed + expert * packed_bytes(1, job->shape->m, job->shape->k);
    for (int g = 0; g < groups; g++) {
        int64_t first = share_start(pairs, g, groups), last = share_start(pairs, g + 1, groups);
        if (job->digits)
            group_i8(job, &matrix, packed, list, first, last, panel, end, scratch);
        else
            group_f32(job, &matrix, list, first, last, panel, end, scratch);
    }
}

static int64_t source_blocks(const shape_t *s)
{
    return assay_mul(assay_mul(s->tokens, s->ne11), s->k / Q4_K_BLOCK);
}

/* A thread's part; all of the team call it. */
static void work(struct job *job, int rank, int team)
{
    if (job->digits) {
        int64_t n = source_blocks(job->shape), last = share_start(n, rank + 1, team);
        for (int64_t b = share_start(n, rank, team); b < last; b++)
            quantize_block(job->args->src1 + b * ACTIVATION_BLOCK, &job->digits[b]);
        if (team > 1) {
#pragma omp barrier
        }
    }
    int64_t units = job->n_active * job->units_of_expert, index;
    while ((index = next_unit(&job->queue)) < units)
        unit(job, index, job->thread_scratch + rank * job->thread_bytes);
}

static void run_job(struct job *job, int threads)
{
    int team = plan(job, threads);
    if (team == 1) {
        work(job, 0, 1);
        return;
    }
#pragma omp parallel num_threads(team)
    work(job, omp_get_thread_num(), omp_get_num_threads());
}

static int64_t active_bytes(const shape_t *s)
{
    return line_bytes(s->experts, sizeof(int32_t));
}

static const char *run_f32(const void *shape, const void *args, const void *prepared, void *scratch,
                           int threads)
{
    (void)prepared;
    const char *illegal = assay_illegal(&q4_K_gemm_moe_id_op, shape, NULL);
    if (illegal)
        return illegal;
    struct job job = job_of(shape, args, scratch);
    job.thread_scratch = (uint8_t *)scratch + active_bytes(shape);
    job.thread_bytes = sizeof(struct scratch_f32);
    run_job(&job, threads);
    return NULL;
}

static int64_t scratch_f32(const void *shape, int threads)
{
    return assay_add(active_bytes(shape), assay_mul(threads, sizeof(struct scratch_f32)));
}

static const char *run_i8(const shape_t *s, const args_t *args, const uint8_t *packed,
                          uint8_t *scratch, int threads)
{
    const char *illegal = assay_illegal(&q4_K_gemm_moe_id_op, s, NULL);
    if (illegal)
        return illegal;
    struct job job = job_of(s, args, (int32_t *)scratch);
    job.packed = packed;
    job.digits = (struct digits *)(scratch + active_bytes(s));
    job.thread_scratch =
        (uint8_t *)job.digits + line_bytes(source_blocks(s), sizeof(struct digits));
    job.thread_bytes = packed ? 0 : packed_bytes(1, 1, s->k);
    run_job(&job, threads);
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
    int64_t digits = line_bytes(source_blocks(shape), sizeof(struct digits));
    return assay_add(active_bytes(shape), digits);
}

static int64_t scratch_native(const void *shape, int threads)
{
    int64_t panel = packed_bytes(1, 1, ((const shape_t *)shape)->k);
    return assay_add(scratch_packed(shape, threads), assay_mul(panel, threads));
}

static int64_t prepared_bytes(const void *shape)
{
    const shape_t *s = shape;
    return packed_bytes(s->experts, s->m, s->k);
}

static void prepare(const void *shape, const void *args, void *prepared, int threads)
{
    const shape_t *s = shape;
    const args_t *a = args;
    struct matrix first = {a->w + s->w_offset, s->m, s->k / Q4_K_BLOCK};
    pack_matrices(&first, s->experts, prepared, threads);
}

static int64_t depth_f32(const void *shape)
{
    return panels_f32_depth(((const shape_t *)shape)->k);
}

static int64_t depth_i8(const void *shape)
{
    return q4_K_dot_i8_depth(((const shape_t *)shape)->k);
}

const struct assay_kernel q4_K_gemm_moe_id_avx512vnni_f32 = {
    .op = "q4_K_gemm_moe_id",
    .name = "avx512vnni-f32",
    .tier = "avx512vnni",
    .numerics = ASSAY_F32,
    .depth = depth_f32,
    .scratch_bytes = scratch_f32,
    .run = run_f32,
};

const struct assay_kernel q4_K_gemm_moe_id_avx512vnni_i8 = {
    .op = "q4_K_gemm_moe_id",
    .name = "avx512vnni-i8",
    .tier = "avx512vnni",
    .numerics = ASSAY_I8,
    .twin = 1,
    .depth = depth_i8,
    .scratch_bytes = scratch_native,
    .run = run_native,
};

const struct assay_kernel q4_K_gemm_moe_id_avx512vnni_i8_packed = {
    .op = "q4_K_gemm_moe_id",
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
