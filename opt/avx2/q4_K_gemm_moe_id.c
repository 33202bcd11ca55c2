/* SPDX-License-Identifier: MIT */
/*
 * q4_K_gemm_moe_id: a task is an expert that has pairs and CHUNK_ROWS of its rows. The rows are
 * transposed eight at a time into a panel (opt/avx2/panel.h), row r in 32-bit lane r, and every
 * panel meets all pairs of the expert, in tiles of nearly equal size. Rows past m are zero blocks
 * in the panel and are not stored.
 *
 * i8: source rows are quantized once into scratch; a whole panel is packed, then each tile of
 * tokens walks it (opt/avx2/dot_i8.h: why nothing overflows). f32: each super-block of a panel is
 * dequantized once for up to F32_PAIRS pairs, whose sums wait in scratch (opt/avx2/dot_f32.h).
 */
#include "ref/q4_K_gemm_moe_id.h"
#include "opt/avx2/dot_f32.h"
#include "opt/avx2/dot_i8.h"
#include "opt/avx2/kernels.h"
#include "ref/moe_ids_tpe.h"
#include "ref/q4_K_dot.h"

typedef struct q4_K_gemm_moe_id_shape shape_t;

#define CHUNK_ROWS 32 /* four panels: enough tasks even for a single token */
#define F32_PAIRS  48 /* a multiple of the tile; their activations of a super-block are 48 KB */

/* What one call does. */
struct work {
    const shape_t *shape;
    const uint8_t *w;
    const float *src1;
    const int32_t *ids;
    const int32_t *tpe;
    float *dst;
    int64_t blocks;        /* of a row */
    int64_t rows;          /* of an expert */
    int64_t pairs_limit;   /* of an expert */
    int64_t chunks;        /* of an expert's rows */
    const int32_t *active; /* the experts that have pairs */
    int64_t n_active;
    const struct i8_block *x; /* class i8: the quantized source rows */
};

/* Per-thread scratch of class f32. */
struct f32_room {
    _Alignas(64) float w[F32_WEIGHTS];
    float sums[F32_PAIRS][PANEL_ROWS];
    uint8_t panel[PANEL_BYTES];
};

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The whole of tpe, or what the grid reaches. `active` has room for every expert. */
static struct work plan(const shape_t *s, const struct q4_K_gemm_moe_id_args *a, int32_t *active)
{
    struct work work = {
        .shape = s,
        .w = a->w + s->w_offset,
        .src1 = a->src1,
        .ids = a->ids,
        .tpe = a->tpe,
        .dst = a->dst,
        .blocks = s->k / Q4_K_BLOCK,
        .rows = s->m,
        .pairs_limit = INT32_MAX,
        .active = active,
    };
    int64_t experts = s->experts;
    if (s->indirect) {
        work.pairs_limit = (int64_t)a->grid[0] * MOE_TILE_PAIRS;
        work.rows = smaller(s->m, (int64_t)a->grid[1] * MOE_TILE_ROWS);
        experts = smaller(s->experts, (int64_t)a->grid[2]);
    }
    for (int64_t e = 0; e < experts; e++) {
        if (a->tpe[e] > 0)
            active[work.n_active++] = (int32_t)e;
    }
    work.chunks = divide_up(work.rows, CHUNK_ROWS);
    return work;
}

/* The row of src1 that a pair reads: with ne11 = top_k it is the pair itself. */
static int64_t source_row(const shape_t *s, int32_t pair)
{
    return s->ne11 == s->top_k ? pair : (int64_t)((uint32_t)pair / (uint32_t)s->top_k);
}

static void store_sums(const struct work *work, const int32_t *pairs, int64_t n_pairs, int64_t row,
                       float (*sums)[PANEL_ROWS])
{
    for (int64_t i = 0; i < n_pairs; i++)
        store_floats(work->dst + pairs[i] * work->shape->m + row, _mm256_loadu_ps(sums[i]),
                     work->rows - row);
}

/* The tiles that cut n pairs into parts of at most `tile`, as equal as can be: where the i-th
 * starts. */
static int64_t tile_start(int64_t n, int64_t tiles, int64_t i)
{
    return n / tiles * i + smaller(i, n % tiles);
}

static void panel_f32(const struct work *work, const uint8_t *w, const int32_t *pairs,
                      int64_t n_pairs, int64_t row, struct f32_room *room)
{
    const shape_t *s = work->shape;
    struct panel_source from = panel_source(w, work->rows, work->blocks, row);
    const float *x[F32_PAIRS];
    for (int64_t i = 0; i < n_pairs; i++)
        x[i] = work->src1 + source_row(s, pairs[i]) * s->k;
    memset(room->sums, 0, sizeof(room->sums));
    int64_t tiles = divide_up(n_pairs, F32_TILE);
    for (int64_t b = 0; b < work->blocks; b++) {
        panel_pack(&from, b, room->panel);
        if (n_pairs == 1) {
            __m256 block = f32_single(room->panel, x[0]);
            _mm256_storeu_ps(room->sums[0], _mm256_add_ps(_mm256_loadu_ps(room->sums[0]), block));
            x[0] += Q4_K_BLOCK;
            continue;
        }
        f32_dequant(room->panel, room->w);
        for (int64_t i = 0; i < tiles; i++) {
            int64_t first = tile_start(n_pairs, tiles, i);
            int64_t last = tile_start(n_pairs, tiles, i + 1);
            f32_tile(room->w, x + first, last - first, room->sums + first);
        }
        for (int64_t i = 0; i < n_pairs; i++)
            x[i] += Q4_K_BLOCK;
    }
    store_sums(work, pairs, n_pairs, row, room->sums);
}

static void panel_i8(const struct work *work, const uint8_t *w, const int32_t *pairs,
                     int64_t n_pairs, int64_t row, uint8_t *panel)
{
    struct panel_source from = panel_source(w, work->rows, work->blocks, row);
    for (int64_t b = 0; b < work->blocks; b++)
        panel_pack(&from, b, panel + b * PANEL_BYTES);
    int64_t tiles = divide_up(n_pairs, I8_TILE);
    for (int64_t i = 0; i < tiles; i++) {
        int64_t first = tile_start(n_pairs, tiles, i);
        int64_t count = tile_start(n_pairs, tiles, i + 1) - first;
        const struct i8_block *x[I8_TILE];
        float sums[I8_TILE][PANEL_ROWS] = {{0}};
        for (int64_t t = 0; t < count; t++)
            x[t] = work->x + source_row(work->shape, pairs[first + t]) * work->blocks;
        i8_tile(panel, work->blocks, x, count, sums);
        store_sums(work, pairs + first, count, row, sums);
    }
}

/* Rows past work->rows are not read: in an indirect dispatch they may still exist. */
static void do_task(const struct work *work, int64_t task, void *room)
{
    const shape_t *s = work->shape;
    int64_t e = work->active[task / work->chunks];
    const uint8_t *w = work->w + e * s->m * work->blocks * Q4_K_BLOCK_BYTES;
    const int32_t *pairs = work->ids + e * s->stride;
    int64_t n_pairs = smaller(work->tpe[e], work->pairs_limit);
    int64_t first = task % work->chunks * CHUNK_ROWS;
    int64_t last = smaller(first + CHUNK_ROWS, work->rows);
    for (int64_t row = first; row < last; row += PANEL_ROWS) {
        if (work->x) {
            panel_i8(work, w, pairs, n_pairs, row, room);
            continue;
        }
        for (int64_t i = 0; i < n_pairs; i += F32_PAIRS)
            panel_f32(work, w, pairs + i, smaller(F32_PAIRS, n_pairs - i), row, room);
    }
}

/* Scratch: the active experts, class i8's quantized rows, then each thread's room. */
static int64_t active_bytes(const shape_t *s)
{
    return scratch_part(assay_mul(s->experts, sizeof(int32_t)));
}

static int64_t scratch_f32(const void *shape, int threads)
{
    int64_t rooms = assay_mul(threads, scratch_part(sizeof(struct f32_room)));
    return assay_add(active_bytes(shape), rooms);
}

static const char *run_f32(const void *shape, const void *args, const void *prepared, void *scratch,
                           int threads)
{
    (void)prepared;
    const char *illegal = assay_illegal(&q4_K_gemm_moe_id_op, shape, NULL);
    if (illegal)
        return illegal;
    struct work work = plan(shape, args, scratch);
    struct f32_room *rooms = (void *)((uint8_t *)scratch + active_bytes(shape));
    int64_t tasks = work.n_active * work.chunks;
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1)
    for (int64_t task = 0; task < tasks; task++)
        do_task(&work, task, &rooms[omp_get_thread_num()]);
    return NULL;
}

static int64_t depth_f32(const void *shape)
{
    return f32_depth(((const shape_t *)shape)->k);
}

const struct assay_kernel q4_K_gemm_moe_id_avx2_f32 = {
    .op = "q4_K_gemm_moe_id",
    .name = "avx2-f32",
    .tier = "avx2",
    .numerics = ASSAY_F32,
    .depth = depth_f32,
    .scratch_bytes = scratch_f32,
    .run = run_f32,
};

static int64_t quantized_bytes(const shape_t *s)
{
    int64_t blocks = assay_mul(assay_mul(s->tokens, s->ne11), s->k / Q4_K_BLOCK);
    return scratch_part(assay_mul(blocks, sizeof(struct i8_block)));
}

static int64_t panel_bytes(const shape_t *s)
{
    return assay_mul(s->k / Q4_K_BLOCK, PANEL_BYTES);
}

static int64_t scratch_i8(const void *shape, int threads)
{
    int64_t rooms = assay_mul(threads, panel_bytes(shape));
    return assay_add(assay_add(active_bytes(shape), quantized_bytes(shape)), rooms);
}

static const char *run_i8(const void *shape, const void *args, const void *prepared, void *scratch,
                          int threads)
{
    (void)prepared;
    const shape_t *s = shape;
    const char *illegal = assay_illegal(&q4_K_gemm_moe_id_op, shape, NULL);
    if (illegal)
        return illegal;
    struct work work = plan(s, args, scratch);
    struct i8_block *x = (void *)((uint8_t *)scratch + active_bytes(s));
    uint8_t *panels = (uint8_t *)x + quantized_bytes(s);
    work.x = x;
    int64_t tasks = work.n_active * work.chunks;
    int64_t x_blocks = s->tokens * s->ne11 * work.blocks;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        uint8_t *mine = panels + omp_get_thread_num() * panel_bytes(s);
#pragma omp for schedule(static)
        for (int64_t b = 0; b < x_blocks; b++)
            i8_quantize(work.src1 + b * Q4_K_BLOCK, &x[b]);
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < tasks; task++)
            do_task(&work, task, mine);
    }
    return NULL;
}

static int64_t depth_i8(const void *shape)
{
    return q4_K_dot_i8_depth(((const shape_t *)shape)->k);
}

const struct assay_kernel q4_K_gemm_moe_id_avx2_i8 = {
    .op = "q4_K_gemm_moe_id",
    .name = "avx2-i8",
    .tier = "avx2",
    .numerics = ASSAY_I8,
    .twin = 1,
    .depth = depth_i8,
    .scratch_bytes = scratch_i8,
    .run = run_i8,
};
