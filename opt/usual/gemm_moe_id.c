/* SPDX-License-Identifier: MIT */
/*
 * q4_K_gemm_moe_id: a gemv for each pair, expert by expert, so that a matrix which fits a cache is
 * read from it. Threads share the pairs. Each gemv quantizes its activations, as one that is called
 * alone does.
 */
#include "ref/q4_K_gemm_moe_id.h"

#include <omp.h>

#include "opt/usual/usual.h"
#include "ref/q4_K.h"
#include "ref/q4_K_dot.h"
#include "ref/q4_K_gemv.h"

typedef struct q4_K_gemm_moe_id_shape shape_t;
typedef struct q4_K_gemm_moe_id_args args_t;

/* What one gemv does. */
struct call {
    int64_t expert, pair;
};

static struct q4_K_gemv_shape matrix_of(const shape_t *s)
{
    return (struct q4_K_gemv_shape){s->m, s->k, 0};
}

static int64_t native_bytes(const shape_t *s)
{
    return assay_mul(s->m, s->k / Q4_K_BLOCK * (int64_t)sizeof(struct block_q4_K));
}

static int64_t packed_bytes(const shape_t *s)
{
    struct q4_K_gemv_shape matrix = matrix_of(s);
    return usual_packed_bytes(USUAL_GEMV, &matrix, native_bytes(s));
}

static int64_t prepared_bytes(const void *shape)
{
    return assay_mul(packed_bytes(shape), ((const shape_t *)shape)->experts);
}

static void prepare(const void *shape, const void *args, void *prepared, int threads)
{
    const shape_t *s = shape;
    const uint8_t *w = ((const args_t *)args)->w + s->w_offset;
    struct q4_K_gemv_shape matrix = matrix_of(s);
    for (int64_t e = 0; e < s->experts; e++)
        usual_pack(USUAL_GEMV, &matrix, w + e * native_bytes(s), native_bytes(s),
                   (uint8_t *)prepared + e * packed_bytes(s), threads);
}

/* Of a thread. */
static int64_t gemv_scratch(const shape_t *s)
{
    struct q4_K_gemv_shape matrix = matrix_of(s);
    int64_t used = 0;
    usual_take(NULL, &used, usual_scratch(USUAL_GEMV, &matrix, 1), 1);
    return used;
}

static int64_t scratch_bytes(const void *shape, int threads)
{
    const shape_t *s = shape;
    int64_t used = 0;
    usual_take(NULL, &used, assay_mul(s->tokens, s->top_k), sizeof(struct call));
    usual_take(NULL, &used, gemv_scratch(s), threads);
    return used;
}

static int64_t list_calls(const shape_t *s, const args_t *a, struct call *calls)
{
    int64_t count = 0;
    for (int64_t e = 0; e < s->experts; e++) {
        for (int32_t i = 0; i < a->tpe[e]; i++)
            calls[count++] = (struct call){e, a->ids[e * s->stride + i]};
    }
    return count;
}

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    const shape_t *s = shape;
    const args_t *a = args;
    const char *illegal = assay_illegal(&q4_K_gemm_moe_id_op, shape, NULL);
    if (illegal)
        return illegal;
    int64_t used = 0, each = gemv_scratch(s), bytes = packed_bytes(s);
    struct call *calls = usual_take(scratch, &used, s->tokens * s->top_k, sizeof(*calls));
    uint8_t *work = usual_take(scratch, &used, each, threads);
    int64_t count = list_calls(s, a, calls);
    struct q4_K_gemv_shape matrix = matrix_of(s);
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (int64_t i = 0; i < count; i++) {
        int64_t token = calls[i].pair / s->top_k, slot = calls[i].pair % s->top_k;
        struct q4_K_gemv_args gemv = {
            .x = a->src1 + (token * s->ne11 + slot % s->ne11) * s->k,
            .y = a->dst + calls[i].pair * s->m,
        };
        usual_run(USUAL_GEMV, &matrix, &gemv, (const uint8_t *)prepared + calls[i].expert * bytes,
                  work + omp_get_thread_num() * each, 1);
    }
    return NULL;
}

static int64_t depth(const void *shape)
{
    return q4_K_twin_depth(((const shape_t *)shape)->k, 1);
}

const struct assay_kernel usual_gemm_moe_id = {
    .op = "q4_K_gemm_moe_id",
    .name = "gemv-per-pair",
    .tier = USUAL_TIER,
    .numerics = ASSAY_I8,
    .twin = 1,
    .depth = depth,
    .prepared_bytes = prepared_bytes,
    .prepare = prepare,
    .scratch_bytes = scratch_bytes,
    .run = run,
};
