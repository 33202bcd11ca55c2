/* SPDX-License-Identifier: MIT */
#include "opt/matmul.h"

#include <omp.h>

#include "ref/q4_K_dot.h"

#define SHARED_BLOCKS 64        /* of activations; fewer are prepared by one thread */
#define STREAM_BYTES  (2 << 20) /* of results, which no L2 cache would keep */

static int64_t source_blocks(const struct matmul *matmul)
{
    return assay_mul(matmul->sources, matmul->k / Q4_K_BLOCK);
}

/* Bytes of a block of prepared activations. */
static int64_t source_bytes(const struct matmul_tier *tier, enum matmul_class class)
{
    if (class == MATMUL_F16)
        return Q4_K_BLOCK * sizeof(float);
    return matmul_digits(class) * tier->digit_bytes;
}

static int64_t thread_bytes(const struct matmul_tier *tier, enum matmul_class class, int64_t k)
{
    if (class >= MATMUL_I8_PACKED)
        return 0;
    return matmul_digits(class) > 0 ? matmul_packed_bytes(1, 1, k) : tier->float_scratch;
}

int64_t matmul_work_bytes(const struct matmul_tier *tier, enum matmul_class class,
                          const struct matmul *sizes, int threads)
{
    return assay_add(line_bytes(source_blocks(sizes), source_bytes(tier, class)),
                     line_bytes(threads, thread_bytes(tier, class, sizes->k)));
}

/* Whether results are many, and whole cache lines. */
static bool worth_streaming(const struct matmul *matmul)
{
    int64_t pairs = 0;
    for (int64_t i = 0; i < matmul->n_lists; i++)
        pairs += matmul->lists[i].n;
    return matmul->m % MATMUL_ROWS == 0 && (uintptr_t)matmul->dst % 64 == 0 &&
           pairs * matmul->m >= STREAM_BYTES / (int64_t)sizeof(float);
}

struct matmul_job matmul_plan(const struct matmul_tier *tier, enum matmul_class class,
                              const struct matmul *matmul, const void *packed, void *scratch,
                              int threads)
{
    int64_t panels = ceil_div(matmul->rows, MATMUL_ROWS), blocks = matmul->k / Q4_K_BLOCK;
    struct matmul_job job = {
        .matmul = *matmul,
        .tier = tier,
        .class = class,
        .packed = packed,
        .stream = tier->streams && worth_streaming(matmul),
        .blocks = blocks,
        .cut = partition_of(matmul->lists, matmul->n_lists, panels, MATMUL_ROWS, blocks,
                            matmul_digits(class), threads),
        .prepared_sources = scratch,
        .thread_scratch =
            (uint8_t *)scratch + line_bytes(source_blocks(matmul), source_bytes(tier, class)),
        .thread_bytes = thread_bytes(tier, class, matmul->k),
    };
    fill_queue(&job.queue, unit_count(&job.cut), job.cut.team);
    return job;
}

void matmul_sources(const struct matmul_job *job, int rank, int team)
{
    const int digits = matmul_digits(job->class);
    const int64_t n = source_blocks(&job->matmul), bytes = source_bytes(job->tier, job->class);
    if (bytes == 0)
        return;
    int64_t last = share_start(n, rank + 1, team);
    for (int64_t b = share_start(n, rank, team); b < last; b++) {
        const float *x = job->matmul.src + b * Q4_K_BLOCK;
        uint8_t *to = (uint8_t *)job->prepared_sources + b * bytes;
        if (digits > 0)
            job->tier->quantize(x, digits, to);
        else
            job->tier->round(x, (float *)(void *)to);
    }
}

/* The first weights of the unit that a thread takes next, as far as it is known. */
static const uint8_t *waiting_weights(const struct matmul_job *job, struct unit_cursor at, int rank)
{
    struct unit next;
    int64_t index = waiting_unit(&job->queue, rank);
    if (index < 0 || !unit_at(&job->cut, &at, index, &next))
        return NULL;
    return matmul_panel(job, next.list->matrix, next.panel);
}

static void take_unit(const struct matmul_job *job, const struct unit *unit, const uint8_t *after,
                      int rank)
{
    const int digits = matmul_digits(job->class);
    const int64_t n = unit->last - unit->first;
    const int64_t groups = ceil_div(n, digits > 0 ? MATMUL_GROUP / digits : job->tier->float_group);
    for (int64_t g = 0; g < groups; g++) {
        struct matmul_group group = {unit->list, unit->first + share_start(n, g, groups),
                                     unit->first + share_start(n, g + 1, groups),
                                     job->thread_scratch + rank * job->thread_bytes};
        const uint8_t *then = after;
        if (g + 1 < groups)
            then = matmul_panel(job, unit->list->matrix, unit->panel);
        job->tier->multiply(job, &group, unit->panel, unit->end, then);
    }
}

void matmul_products(struct matmul_job *job, int rank)
{
    struct unit_cursor at = {0};
    struct unit unit;
    int64_t index;
    while ((index = next_unit(&job->queue, rank)) >= 0 && unit_at(&job->cut, &at, index, &unit))
        take_unit(job, &unit, waiting_weights(job, at, rank), rank);
}

const char *matmul_run(const struct matmul_tier *tier, const struct matmul_op *op,
                       enum matmul_class class, const void *shape, const void *args,
                       const void *packed, void *scratch, int threads)
{
    const char *illegal = assay_illegal(op->op, shape, NULL);
    if (illegal)
        return illegal;
    struct matmul matmul = op->sizes(shape);
    matmul.w = op->weights(shape, args);
    op->bind(shape, args, scratch, &matmul);
    if (matmul.n_lists == 0 || matmul.rows == 0)
        return NULL;
    uint8_t *work = (uint8_t *)scratch + op->lists_bytes(shape);
    struct matmul_job job = matmul_plan(tier, class, &matmul, packed, work, threads);
    const int team = job.cut.team;
    bool shared = team > 1 && source_blocks(&matmul) > SHARED_BLOCKS;
    if (!shared)
        matmul_sources(&job, 0, 1);
    if (team == 1) {
        matmul_products(&job, 0);
        return NULL;
    }
#pragma omp parallel num_threads(team)
    {
        if (shared) {
            matmul_sources(&job, omp_get_thread_num(), omp_get_num_threads());
#pragma omp barrier
        }
        matmul_products(&job, omp_get_thread_num());
    }
    return NULL;
}

int64_t matmul_scratch(const struct matmul_tier *tier, const struct matmul_op *op,
                       enum matmul_class class, const void *shape, int threads)
{
    struct matmul sizes = op->sizes(shape);
    return assay_add(op->lists_bytes(shape), matmul_work_bytes(tier, class, &sizes, threads));
}

int64_t matmul_depth(const struct matmul_tier *tier, enum matmul_class class, int64_t k)
{
    if (matmul_digits(class) > 0)
        return q4_K_twin_depth(k, matmul_digits(class));
    return tier->float_depth(k) - (class == MATMUL_F16); /* whose weights are exact */
}

int64_t matmul_packed_bytes(int64_t matrices, int64_t rows, int64_t k)
{
    int64_t blocks = assay_mul(ceil_div(rows, MATMUL_ROWS), k / Q4_K_BLOCK);
    return assay_mul(assay_mul(matrices, blocks), MATMUL_ROWS * Q4_K_BLOCK_BYTES);
}

void matmul_pack(const struct matmul_tier *tier, const uint8_t *w, int64_t matrices, int64_t rows,
                 int64_t k, void *packed, int threads)
{
    const int64_t panels = ceil_div(rows, MATMUL_ROWS), blocks = k / Q4_K_BLOCK;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < matrices * panels; i++)
        tier->pack(w + i / panels * rows * blocks * Q4_K_BLOCK_BYTES, rows, blocks, i % panels,
                   (uint8_t *)packed + i * matmul_packed_bytes(1, 1, k));
}

int64_t matmul_prepared_bytes(const struct matmul_op *op, const void *shape)
{
    struct matmul sizes = op->sizes(shape);
    return matmul_packed_bytes(sizes.matrices, sizes.m, sizes.k);
}

void matmul_prepare(const struct matmul_tier *tier, const struct matmul_op *op, const void *shape,
                    const void *args, void *packed, int threads)
{
    struct matmul sizes = op->sizes(shape);
    matmul_pack(tier, op->weights(shape, args), sizes.matrices, sizes.m, sizes.k, packed, threads);
}
