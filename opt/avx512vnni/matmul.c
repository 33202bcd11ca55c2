/* SPDX-License-Identifier: MIT */
#include "opt/avx512vnni/matmul.h"

#include <omp.h>

#include "opt/avx512vnni/f32.h"
#include "opt/avx512vnni/i8.h"
#include "ref/q4_K_dot.h"

#define SHARED_BLOCKS 64        /* of activations; fewer are prepared by one thread */
#define STREAM_BYTES  (2 << 20) /* of results, which no L2 cache would keep */

static bool is_integer(enum matmul_class class)
{
    return matmul_digits(class) > 0;
}

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
        return line_bytes(blocks, Q4_K_BLOCK * sizeof(float));
    return line_bytes(assay_mul(blocks, matmul_digits(class)), sizeof(struct digits));
}

static int64_t thread_bytes(const struct matmul *matmul, enum matmul_class class)
{
    if (class >= MATMUL_I8_PACKED)
        return 0;
    return is_integer(class) ? packed_bytes(1, 1, matmul->k) : (int64_t)sizeof(struct scratch_f32);
}

int64_t avx512vnni_matmul_work_bytes(const struct matmul *sizes, enum matmul_class class,
                                     int threads)
{
    return assay_add(source_bytes(sizes, class), assay_mul(thread_bytes(sizes, class), threads));
}

struct matmul_job avx512vnni_matmul_plan(const struct matmul *matmul, enum matmul_class class,
                                         const void *packed, void *scratch, int threads)
{
    int64_t panels = ceil_div(matmul->rows, PANEL_ROWS), blocks = matmul->k / Q4_K_BLOCK;
    struct matmul_job job = {
        .matmul = *matmul,
        .class = class,
        .packed = packed,
        .blocks = blocks,
        .cut = partition_of(matmul->lists, matmul->n_lists, panels, PANEL_ROWS, blocks,
                            matmul_digits(class), threads),
        .prepared_sources = class == MATMUL_F32 ? NULL : scratch,
        .thread_scratch = (uint8_t *)scratch + source_bytes(matmul, class),
        .thread_bytes = thread_bytes(matmul, class),
    };
    fill_queue(&job.queue, unit_count(&job.cut), job.cut.team);
    return job;
}

void avx512vnni_matmul_sources(const struct matmul_job *job, int rank, int team)
{
    int64_t n = source_blocks(&job->matmul), last = share_start(n, rank + 1, team);
    int digits = matmul_digits(job->class);
    for (int64_t b = share_start(n, rank, team); b < last; b++) {
        const float *x = job->matmul.src + b * Q4_K_BLOCK;
        if (digits > 0)
            quantize_block(x, digits, (struct digits *)job->prepared_sources + b * digits);
        else if (job->class == MATMUL_F16)
            round_block(x, (float *)job->prepared_sources + b * Q4_K_BLOCK);
    }
}

/* The row of src that a pair reads. */
static int64_t source_row(const struct matmul *matmul, int64_t pair)
{
    return matmul->ne11 == 1 ? (int64_t)((uint32_t)pair / (uint32_t)matmul->top_k) : pair;
}

static int64_t pair_of(const struct pair_list *list, int64_t i)
{
    return list->pairs ? list->pairs[i] : i;
}

/* Where the weights of a panel begin. */
static const uint8_t *panel_weights(const struct matmul_job *job, int64_t matrix, int64_t panel)
{
    const struct matmul *mm = &job->matmul;
    int64_t panels = ceil_div(mm->m, PANEL_ROWS);
    if (job->packed)
        return job->packed + (matrix * panels + panel) * job->blocks * PANEL_BLOCK_BYTES;
    return mm->w + (matrix * mm->m + panel * PANEL_ROWS) * job->blocks * Q4_K_BLOCK_BYTES;
}

/* Some pairs of a unit, at most a group, for a thread. */
struct group {
    const struct pair_list *list;
    int64_t first, last;
    void *scratch;
};

/* A group times panels [panel, end) of its matrix; meanwhile the panel at `after` is fetched. */
static void group_digits(const struct matmul_job *job, const struct group *group, int64_t panel,
                         int64_t end, const uint8_t *after)
{
    const struct matmul *mm = &job->matmul;
    const struct digits *digits = job->prepared_sources;
    const struct matrix matrix = {panel_weights(job, group->list->matrix, 0), mm->m, job->blocks};
    struct tokens_i8 tokens;
    tokens.n = (int)(group->last - group->first);
    tokens.digits = matmul_digits(job->class);
    tokens.stream = job->stream;
    for (int t = 0; t < tokens.n; t++) {
        int64_t pair = pair_of(group->list, group->first + t);
        tokens.x[t] = digits + source_row(mm, pair) * job->blocks * tokens.digits;
        tokens.y[t] = mm->dst + pair * mm->m;
    }
    panels_i8(&matrix, job->packed ? NULL : group->scratch, panel, end, after, &tokens);
}

static void group_f32(const struct matmul_job *job, const struct group *group, int64_t panel,
                      int64_t end, const uint8_t *after)
{
    const struct matmul *mm = &job->matmul;
    const struct matrix matrix = {panel_weights(job, group->list->matrix, 0), mm->m, job->blocks};
    const bool half = job->class == MATMUL_F16;
    const float *src = half ? job->prepared_sources : mm->src;
    struct tokens_f32 tokens;
    tokens.n = (int)(group->last - group->first);
    for (int t = 0; t < tokens.n; t++) {
        int64_t pair = pair_of(group->list, group->first + t);
        tokens.x[t] = src + source_row(mm, pair) * mm->k;
        tokens.y[t] = mm->dst + pair * mm->m;
    }
    for (int64_t p = panel; p < end; p++) {
        const uint8_t *ahead = p + 1 < end ? panel_start(&matrix, p + 1) : after;
        panel_f32(&matrix, p, half, ahead, &tokens, group->scratch);
    }
}

/* The first weights of the unit that a thread takes next, as far as it is known. */
static const uint8_t *waiting_weights(const struct matmul_job *job, struct unit_cursor at, int rank)
{
    struct unit next;
    int64_t index = waiting_unit(&job->queue, rank);
    if (index < 0 || !unit_at(&job->cut, &at, index, &next))
        return NULL;
    return panel_weights(job, next.list->matrix, next.panel);
}

static void take_unit(const struct matmul_job *job, const struct unit *unit, const uint8_t *after,
                      int rank)
{
    const int64_t n = unit->last - unit->first;
    const int64_t most = TOKEN_GROUP / max_i64(1, matmul_digits(job->class));
    const int64_t groups = ceil_div(n, most);
    for (int64_t g = 0; g < groups; g++) {
        struct group group = {unit->list, unit->first + share_start(n, g, groups),
                              unit->first + share_start(n, g + 1, groups),
                              job->thread_scratch + rank * job->thread_bytes};
        const uint8_t *then = after;
        if (g + 1 < groups)
            then = panel_weights(job, unit->list->matrix, unit->panel);
        if (is_integer(job->class))
            group_digits(job, &group, unit->panel, unit->end, then);
        else
            group_f32(job, &group, unit->panel, unit->end, then);
    }
}

void avx512vnni_matmul_products(struct matmul_job *job, int rank)
{
    struct unit_cursor at = {0};
    struct unit unit;
    int64_t index;
    while ((index = next_unit(&job->queue, rank)) >= 0 && unit_at(&job->cut, &at, index, &unit))
        take_unit(job, &unit, waiting_weights(job, at, rank), rank);
    if (job->stream)
        _mm_sfence(); /* before the barrier, which does not order such stores */
}

bool avx512vnni_matmul_worth_streaming(const struct matmul *matmul)
{
    int64_t pairs = 0;
    for (int64_t i = 0; i < matmul->n_lists; i++)
        pairs += matmul->lists[i].n;
    return matmul->m % PANEL_ROWS == 0 && (uintptr_t)matmul->dst % 64 == 0 &&
           pairs * matmul->m >= STREAM_BYTES / (int64_t)sizeof(float);
}

const char *avx512vnni_matmul_run(const struct matmul_op *op, enum matmul_class class,
                                  const void *shape, const void *args, const void *packed,
                                  void *scratch, int threads)
{
    const char *illegal = assay_illegal(op->op, shape, NULL);
    if (illegal)
        return illegal;
    struct matmul matmul = op->sizes(shape);
    op->bind(shape, args, scratch, &matmul);
    if (matmul.n_lists == 0 || matmul.rows == 0)
        return NULL;
    uint8_t *work = (uint8_t *)scratch + op->lists_bytes(shape);
    struct matmul_job job = avx512vnni_matmul_plan(&matmul, class, packed, work, threads);
    const int team = job.cut.team;
    job.stream = avx512vnni_matmul_worth_streaming(&matmul);
    bool shared = team > 1 && source_blocks(&matmul) > SHARED_BLOCKS;
    if (!shared)
        avx512vnni_matmul_sources(&job, 0, 1);
    if (team == 1) {
        avx512vnni_matmul_products(&job, 0);
        return NULL;
    }
#pragma omp parallel num_threads(team)
    {
        if (shared) {
            avx512vnni_matmul_sources(&job, omp_get_thread_num(), omp_get_num_threads());
#pragma omp barrier
        }
        avx512vnni_matmul_products(&job, omp_get_thread_num());
    }
    return NULL;
}

int64_t avx512vnni_matmul_scratch(const struct matmul_op *op, enum matmul_class class,
                                  const void *shape, int threads)
{
    struct matmul sizes = op->sizes(shape);
    return assay_add(op->lists_bytes(shape), avx512vnni_matmul_work_bytes(&sizes, class, threads));
}

int64_t avx512vnni_matmul_depth(const struct matmul_op *op, enum matmul_class class,
                                const void *shape)
{
    int64_t k = op->sizes(shape).k;
    if (is_integer(class))
        return q4_K_twin_depth(k, matmul_digits(class));
    return panels_f32_depth(k) - (class == MATMUL_F16); /* whose weights are exact */
}

int64_t avx512vnni_matmul_packed_bytes(const struct matmul_op *op, const void *shape)
{
    struct matmul sizes = op->sizes(shape);
    return packed_bytes(sizes.matrices, sizes.m, sizes.k);
}

void avx512vnni_matmul_pack(const struct matmul_op *op, const void *shape, const uint8_t *w,
                            void *packed, int threads)
{
    struct matmul sizes = op->sizes(shape);
    struct matrix first = {w, sizes.m, sizes.k / Q4_K_BLOCK};
    pack_matrices(&first, sizes.matrices, packed, threads);
}
