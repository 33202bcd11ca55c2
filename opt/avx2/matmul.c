/* SPDX-License-Identifier: MIT */
#include "opt/avx2/matmul.h"

#include "opt/avx2/dot_f32.h"
#include "opt/avx2/dot_i8.h"
#include "ref/q4_K_dot.h"

#define CHUNK_ROWS       32    /* four panels: enough tasks even for a single token */
#define F32_PAIRS        48    /* a multiple of the tile; 48 KB of activations of a super-block */
#define PARALLEL_WEIGHTS 65536 /* below, threads cost more than they save */

/* Per-thread scratch of classes f32 and f16. */
struct f32_room {
    _Alignas(64) float w[F32_WEIGHTS];
    float sums[F32_PAIRS][PANEL_ROWS];
    uint8_t panel[PANEL_BYTES];
};

/* A panel of a task, and the pairs that meet it. */
struct panel_task {
    const struct matmul_job *job;
    struct panel_source from;
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
    if (matmul_digits(class) > 0)
        return assay_mul(matmul->k / Q4_K_BLOCK, PANEL_BYTES);
    return scratch_part(sizeof(struct f32_room));
}

int64_t avx2_matmul_work_bytes(const struct matmul *sizes, enum matmul_class class, int threads)
{
    return assay_add(source_bytes(sizes, class), assay_mul(threads, room_bytes(sizes, class)));
}

struct matmul_job avx2_matmul_plan(const struct matmul *matmul, enum matmul_class class,
                                   void *scratch)
{
    return (struct matmul_job){
        .matmul = *matmul,
        .class = class,
        .blocks = matmul->k / Q4_K_BLOCK,
        .chunks = divide_up(matmul->rows, CHUNK_ROWS),
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

static int64_t pair_of(const struct panel_task *task, int64_t i)
{
    return task->list->pairs ? task->list->pairs[task->first + i] : task->first + i;
}

/* The row of src that a pair reads. */
static int64_t source_row(const struct panel_task *task, int64_t i)
{
    const struct matmul *mm = &task->job->matmul;
    int64_t pair = pair_of(task, i);
    return mm->ne11 == 1 ? (int64_t)((uint32_t)pair / (uint32_t)mm->top_k) : pair;
}

/* Stores the sums of pairs first .. first + n - 1 of the task. */
static void store_sums(const struct panel_task *task, int64_t first, int64_t n,
                       float (*sums)[PANEL_ROWS])
{
    const struct matmul *mm = &task->job->matmul;
    for (int64_t i = 0; i < n; i++)
        store_floats(mm->dst + pair_of(task, first + i) * mm->m + task->row,
                     _mm256_loadu_ps(sums[i]), mm->rows - task->row);
}

/* The tiles that cut n pairs into parts of at most `tile`, as equal as can be: where the i-th
 * starts. */
static int64_t tile_start(int64_t n, int64_t tiles, int64_t i)
{
    return n / tiles * i + smaller(i, n % tiles);
}

static void panel_f32(const struct panel_task *task, struct f32_room *room)
{
    const struct matmul_job *job = task->job;
    const bool half = job->class == MATMUL_F16;
    const float *src = half ? job->prepared_sources : job->matmul.src, *x[F32_PAIRS];
    for (int64_t i = 0; i < task->n; i++)
        x[i] = src + source_row(task, i) * job->matmul.k;
    memset(room->sums, 0, sizeof(room->sums));
    int64_t tiles = divide_up(task->n, F32_TILE);
    for (int64_t b = 0; b < job->blocks; b++) {
        panel_pack(&task->from, b, room->panel);
        if (task->n == 1) {
            __m256 block = (half ? f16_single : f32_single)(room->panel, x[0]);
            _mm256_storeu_ps(room->sums[0], _mm256_add_ps(_mm256_loadu_ps(room->sums[0]), block));
            x[0] += Q4_K_BLOCK;
            continue;
        }
        (half ? f16_dequant : f32_dequant)(room->panel, room->w);
        for (int64_t i = 0; i < tiles; i++) {
            int64_t first = tile_start(task->n, tiles, i);
            int64_t last = tile_start(task->n, tiles, i + 1);
            f32_tile(room->w, x + first, last - first, room->sums + first);
        }
        for (int64_t i = 0; i < task->n; i++)
            x[i] += Q4_K_BLOCK;
    }
    store_sums(task, 0, task->n, room->sums);
}

/* The sums of each token's digits, from the top; in place. */
static void add_digits(int64_t tokens, int digits, float (*sums)[PANEL_ROWS])
{
    for (int64_t t = 0; t < tokens; t++) {
        __m256 sum = _mm256_loadu_ps(sums[t * digits]);
        for (int j = 1; j < digits; j++)
            sum = _mm256_add_ps(sum, _mm256_loadu_ps(sums[t * digits + j]));
        _mm256_storeu_ps(sums[t], sum);
    }
}

static void panel_i8(const struct panel_task *task, uint8_t *panel)
{
    const struct matmul_job *job = task->job;
    const struct i8_block *quantized = job->prepared_sources, *x[I8_TILE];
    const int digits = matmul_digits(job->class);
    int64_t tiles = divide_up(task->n, I8_TILE / digits);
    for (int64_t b = 0; tiles > 1 && b < job->blocks; b++)
        panel_pack(&task->from, b, panel + b * PANEL_BYTES);
    for (int64_t i = 0; i < tiles; i++) {
        int64_t first = tile_start(task->n, tiles, i);
        int64_t count = tile_start(task->n, tiles, i + 1) - first;
        float sums[I8_TILE][PANEL_ROWS] = {{0}};
        for (int64_t t = 0; t < count; t++)
            x[t] = quantized + source_row(task, first + t) * job->blocks * digits;
        if (tiles > 1)
            i8_tile(panel, job->blocks, x, count, digits, sums);
        for (int64_t b = 0; tiles == 1 && b < job->blocks; b++) {
            panel_pack(&task->from, b, panel);
            i8_tile(panel, 1, x, count, digits, sums);
            for (int64_t t = 0; t < count; t++)
                x[t] += digits;
        }
        add_digits(count, digits, sums);
        store_sums(task, first, count, sums);
    }
}

/* Rows past matmul->rows are not read: in an indirect dispatch they may still exist. */
void avx2_matmul_rows(const struct matmul_job *job, const struct pair_list *list, struct range rows)
{
    const struct matmul *mm = &job->matmul;
    void *room = job->rooms + omp_get_thread_num() * job->room_bytes;
    const uint8_t *w = mm->w + list->matrix * mm->m * job->blocks * Q4_K_BLOCK_BYTES;
    int64_t last = smaller(rows.last, mm->rows);
    for (int64_t row = rows.first; row < last; row += PANEL_ROWS) {
        struct panel_task task = {job,    panel_source(w, mm->rows, job->blocks, row), row, list, 0,
                                  list->n};
        if (matmul_digits(job->class) > 0) {
            panel_i8(&task, room);
            continue;
        }
        for (; task.first < list->n; task.first += F32_PAIRS) {
            task.n = smaller(F32_PAIRS, list->n - task.first);
            panel_f32(&task, room);
        }
    }
}

void avx2_matmul_products(const struct matmul_job *job)
{
    int64_t tasks = job->matmul.n_lists * job->chunks;
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < tasks; task++) {
        int64_t row = task % job->chunks * CHUNK_ROWS;
        avx2_matmul_rows(job, &job->matmul.lists[task / job->chunks],
                         (struct range){row, row + CHUNK_ROWS});
    }
}

const char *avx2_matmul_run(const struct matmul_op *op, enum matmul_class class, const void *shape,
                            const void *args, void *scratch, int threads)
{
    const char *illegal = assay_illegal(op->op, shape, NULL);
    if (illegal)
        return illegal;
    struct matmul matmul = op->sizes(shape);
    op->bind(shape, args, scratch, &matmul);
    uint8_t *work = (uint8_t *)scratch + op->lists_bytes(shape);
    struct matmul_job job = avx2_matmul_plan(&matmul, class, work);
    if (matmul.n_lists * matmul.rows <= PARALLEL_WEIGHTS / matmul.k)
        threads = 1;
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
