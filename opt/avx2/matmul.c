/* SPDX-License-Identifier: MIT */
#include "opt/avx2/matmul.h"

#include "opt/avx2/dot_f32.h"
#include "opt/avx2/dot_i8.h"
#include "ref/q4_K_dot.h"

#define UNITS            8     /* of work for each thread, at least, to even out their speeds */
#define F32_PAIRS        48    /* a multiple of the tile; 48 KB of activations of a super-block */
#define PARALLEL_WEIGHTS 65536 /* below, threads cost more than they save */

/* Per-thread scratch of classes f32 and f16. */
struct f32_room {
    _Alignas(64) float w[F32_WEIGHTS];
    float sums[F32_PAIRS][SLAB_ROWS];
    uint8_t slab[SLAB_BYTES];
};

/* A slab of a matrix, and the pairs that meet it. */
struct slab_task {
    const struct matmul_job *job;
    const uint8_t *w;
    int64_t row;
    const struct pair_list *list;
    int64_t first, n; /* of the list's pairs */
};

static int64_t source_blocks(const struct matmul *matmul)
{
    return assay_mul(matmul->sources, matmul->k / Q4_K_BLOCK);
}

static int64_t source_bytes(const struct matmul *matmul, enum matmul_class class)
{
    int64_t blocks = source_blocks(matmul);
    if (class == MATMUL_F32)
        return 0;
    if (class == MATMUL_F16)
        return scratch_part(assay_mul(blocks, Q4_K_BLOCK * sizeof(float)));
    return scratch_part(assay_mul(blocks, matmul_digits(class) * sizeof(struct i8_block)));
}

static int64_t room_bytes(const struct matmul *matmul, enum matmul_class class)
{
    if (class >= MATMUL_I8_PACKED)
        return 0;
    if (matmul_digits(class) > 0)
        return packed_bytes(1, 1, matmul->k);
    return scratch_part(sizeof(struct f32_room));
}

int64_t avx2_matmul_work_bytes(const struct matmul *sizes, enum matmul_class class, int threads)
{
    return assay_add(source_bytes(sizes, class), assay_mul(threads, room_bytes(sizes, class)));
}

struct matmul_job avx2_matmul_plan(const struct matmul *matmul, enum matmul_class class,
                                   const void *packed, void *scratch, int threads)
{
    int64_t slabs = divide_up(matmul->rows, SLAB_ROWS);
    int64_t units = divide_up((int64_t)threads * UNITS, matmul->n_lists > 0 ? matmul->n_lists : 1);
    int64_t unit_rows = divide_up(slabs, threads > 1 ? units : 1) * SLAB_ROWS;
    return (struct matmul_job){
        .matmul = *matmul,
        .class = class,
        .packed = packed,
        .blocks = matmul->k / Q4_K_BLOCK,
        .units = unit_rows > 0 ? divide_up(matmul->rows, unit_rows) : 0,
        .unit_rows = unit_rows,
        .prepared_sources = scratch,
        .rooms = (uint8_t *)scratch + source_bytes(matmul, class),
        .room_bytes = room_bytes(matmul, class),
    };
}

void avx2_matmul_sources(const struct matmul_job *job)
{
    int64_t n = job->class == MATMUL_F32 ? 0 : source_blocks(&job->matmul);
    int digits = matmul_digits(job->class);
#pragma omp for schedule(static)
    for (int64_t b = 0; b < n; b++) {
        const float *x = job->matmul.src + b * Q4_K_BLOCK;
        if (digits > 0)
            i8_quantize(x, digits, (struct i8_block *)job->prepared_sources + b * digits);
        else
            f32_round_block(x, (float *)job->prepared_sources + b * Q4_K_BLOCK);
    }
}

static int64_t pair_of(const struct slab_task *task, int64_t i)
{
    return task->list->pairs ? task->list->pairs[task->first + i] : task->first + i;
}

/* The row of src that a pair reads. */
static int64_t source_row(const struct slab_task *task, int64_t i)
{
    const struct matmul *mm = &task->job->matmul;
    int64_t pair = pair_of(task, i);
    return mm->ne11 == 1 ? (int64_t)((uint32_t)pair / (uint32_t)mm->top_k) : pair;
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

/* The tiles that cut n pairs into parts of at most `tile`, as equal as can be: where the i-th
 * starts. */
static int64_t tile_start(int64_t n, int64_t tiles, int64_t i)
{
    return n / tiles * i + smaller(i, n % tiles);
}

static void slab_f32(const struct slab_task *task, struct f32_room *room)
{
    const struct matmul_job *job = task->job;
    const bool half = job->class == MATMUL_F16;
    const float *src = half ? job->prepared_sources : job->matmul.src, *x[F32_PAIRS];
    for (int64_t i = 0; i < task->n; i++)
        x[i] = src + source_row(task, i) * job->matmul.k;
    struct slab_source from = slab_source(task->w, job->matmul.rows, job->blocks, task->row);
    memset(room->sums, 0, sizeof(room->sums));
    int64_t tiles = divide_up(task->n, F32_TILE);
    for (int64_t b = 0; b < job->blocks; b++) {
        slab_pack(&from, b, b + 1, room->slab);
        for (int h = 0; h < 2; h++) {
            const uint8_t *panel = room->slab + h * PANEL_BYTES;
            float *sums = room->sums[0] + h * PANEL_ROWS;
            if (task->n == 1)
                (half ? f16_single : f32_single)(panel, x[0], sums);
            else
                (half ? f16_dequant : f32_dequant)(panel, room->w);
            for (int64_t i = 0; task->n > 1 && i < tiles; i++) {
                int64_t first = tile_start(task->n, tiles, i);
                int64_t last = tile_start(task->n, tiles, i + 1);
                f32_tile(room->w, x + first, last - first, sums + first * SLAB_ROWS);
            }
        }
        for (int64_t i = 0; i < task->n; i++)
            x[i] += Q4_K_BLOCK;
    }
    for (int64_t i = 0; i < task->n; i++)
        store_sums(task, i, room->sums[i]);
}

/* One tile: `count` pairs of the task from `first` on. The weights are the slab `packed`, or, if
 * that is NULL, are packed into `room`, each super-block before it is used. */
static void tile_i8(const struct slab_task *task, int64_t first, int64_t count,
                    const uint8_t *packed, uint8_t *room, struct i8_ahead *ahead)
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
        struct slab_source from = slab_source(task->w, job->matmul.rows, job->blocks, task->row);
        for (int64_t b = 0; b < job->blocks; b++) {
            slab_pack(&from, b, b + 1, room);
            tile(room, 1, x, ahead, sums);
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

static void slab_i8(const struct slab_task *task, const uint8_t *packed, uint8_t *room)
{
    const struct matmul_job *job = task->job;
    const int digits = matmul_digits(job->class);
    int64_t bytes = job->blocks * SLAB_BYTES, tiles = divide_up(task->n, I8_TILE / digits);
    struct i8_ahead ahead = {0};
    if (packed && task->row + SLAB_ROWS < job->matmul.rows)
        ahead = (struct i8_ahead){packed + bytes, packed + 2 * bytes,
                                  (int)divide_up(SLAB_BYTES / 64 / 4, tiles)};
    if (!packed && tiles > 1) {
        struct slab_source from = slab_source(task->w, job->matmul.rows, job->blocks, task->row);
        slab_pack(&from, 0, job->blocks, room);
        packed = room;
    }
    for (int64_t i = 0; i < tiles; i++) {
        int64_t first = tile_start(task->n, tiles, i);
        tile_i8(task, first, tile_start(task->n, tiles, i + 1) - first, packed, room, &ahead);
    }
}

/* Rows past matmul->rows are not read: in an indirect dispatch they may still exist. */
void avx2_matmul_rows(const struct matmul_job *job, const struct pair_list *list, struct range rows)
{
    const struct matmul *mm = &job->matmul;
    void *room = job->rooms + omp_get_thread_num() * job->room_bytes;
    struct slab_task task = {job, NULL, rows.first, list, 0, list->n};
    const uint8_t *packed = NULL;
    if (job->packed)
        packed = job->packed + list->matrix * packed_bytes(1, mm->m, mm->k);
    else
        task.w = mm->w + list->matrix * mm->m * job->blocks * Q4_K_BLOCK_BYTES;
    int64_t last = smaller(rows.last, mm->rows);
    for (; task.row < last; task.row += SLAB_ROWS) {
        if (matmul_digits(job->class) > 0) {
            const uint8_t *slab = packed ? packed + packed_bytes(1, task.row, mm->k) : NULL;
            slab_i8(&task, slab, room);
            continue;
        }
        for (task.first = 0; task.first < list->n; task.first += F32_PAIRS) {
            task.n = smaller(F32_PAIRS, list->n - task.first);
            slab_f32(&task, room);
        }
    }
}

void avx2_matmul_products(const struct matmul_job *job)
{
    int64_t units = job->matmul.n_lists * job->units;
#pragma omp for schedule(dynamic)
    for (int64_t unit = 0; unit < units; unit++) {
        int64_t row = unit % job->units * job->unit_rows;
        avx2_matmul_rows(job, &job->matmul.lists[unit / job->units],
                         (struct range){row, row + job->unit_rows});
    }
}

const char *avx2_matmul_run(const struct matmul_op *op, enum matmul_class class, const void *shape,
                            const void *args, const void *packed, void *scratch, int threads)
{
    const char *illegal = assay_illegal(op->op, shape, NULL);
    if (illegal)
        return illegal;
    struct matmul matmul = op->sizes(shape);
    op->bind(shape, args, scratch, &matmul);
    uint8_t *work = (uint8_t *)scratch + op->lists_bytes(shape);
    if (matmul.n_lists * matmul.rows <= PARALLEL_WEIGHTS / matmul.k)
        threads = 1;
    struct matmul_job job = avx2_matmul_plan(&matmul, class, packed, work, threads);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        avx2_matmul_sources(&job);
        avx2_matmul_products(&job);
    }
    return NULL;
}

int64_t avx2_matmul_scratch(const struct matmul_op *op, enum matmul_class class, const void *shape,
                            int threads)
{
    struct matmul sizes = op->sizes(shape);
    return assay_add(op->lists_bytes(shape), avx2_matmul_work_bytes(&sizes, class, threads));
}

int64_t avx2_matmul_depth(const struct matmul_op *op, enum matmul_class class, const void *shape)
{
    int64_t k = op->sizes(shape).k;
    if (matmul_digits(class) > 0)
        return q4_K_twin_depth(k, matmul_digits(class));
    return f32_depth(k) - (class == MATMUL_F16); /* whose weights are exact */
}

int64_t avx2_matmul_packed_bytes(const struct matmul_op *op, const void *shape)
{
    struct matmul sizes = op->sizes(shape);
    return packed_bytes(sizes.matrices, sizes.m, sizes.k);
}

void avx2_matmul_pack(const struct matmul_op *op, const void *shape, const uint8_t *w, void *packed,
                      int threads)
{
    struct matmul sizes = op->sizes(shape);
    pack_matrices(w, sizes.matrices, sizes.m, sizes.k, packed, threads);
}
