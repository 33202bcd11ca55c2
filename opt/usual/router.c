/* SPDX-License-Identifier: MIT */
/*
 * moe_router_topk_softmax: one row after another: exp of all logits by the C library, std::partial_sort
 * of the experts, the weights of those selected. Threads share the rows.
 */
#include "ref/moe_router_topk_softmax.h"

#include <fenv.h>
#include <math.h>
#include <omp.h>

#include "opt/usual/usual.h"

#ifdef ASSAY_USUAL_CXX

typedef struct moe_router_topk_softmax_shape shape_t;
typedef struct moe_router_topk_softmax_args args_t;

/* The largest logit; NAN if the row is invalid. */
static float largest(const float *logits, int64_t experts)
{
    float max = -INFINITY;
    for (int64_t e = 0; e < experts; e++) {
        if (!(logits[e] < INFINITY))
            return NAN;
        max = logits[e] > max ? logits[e] : max;
    }
    return max > -INFINITY ? max : NAN;
}

static void route(const shape_t *s, const float *logits, float *p, int32_t *numbers, int32_t *ids,
                  float *weights)
{
    float max = largest(logits, s->experts), sum = 0, selected = 0;
    for (int64_t slot = 0; isnan(max) && slot < s->top_k; slot++) {
        ids[slot] = -1;
        weights[slot] = 0;
    }
    if (isnan(max))
        return;
    for (int64_t e = 0; e < s->experts; e++)
        sum += p[e] = expf(logits[e] - max);
    /* By logit, which no rounding has made equal. */
    usual_partial_sort(logits, s->experts, s->top_k, numbers);
    for (int64_t slot = 0; slot < s->top_k; slot++) {
        ids[slot] = numbers[slot];
        weights[slot] = p[numbers[slot]] / sum;
        selected += weights[slot];
    }
    for (int64_t slot = 0; s->norm && slot < s->top_k; slot++)
        weights[slot] /= fmaxf(selected, MOE_ROUTER_MIN_SUM);
}

/* Of a thread. */
static int64_t row_bytes(const shape_t *s)
{
    int64_t used = 0;
    usual_take(NULL, &used, s->experts, sizeof(float) + sizeof(int32_t));
    return used;
}

static int64_t scratch_bytes(const void *shape, int threads)
{
    return assay_mul(row_bytes(shape), threads);
}

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    (void)prepared;
    const shape_t *s = shape;
    const args_t *a = args;
    const char *illegal = assay_illegal(&moe_router_topk_softmax_op, shape, NULL);
    if (illegal)
        return illegal;
#pragma omp parallel num_threads(threads) if (threads > 1 && s->tokens > 1)
    {
        float *p = (float *)((uint8_t *)scratch + omp_get_thread_num() * row_bytes(s));
        int32_t *numbers = (int32_t *)(p + s->experts);
        fenv_t saved;
        fegetenv(&saved);
        fesetenv(FE_DFL_ENV); /* subnormals count, whatever the caller's mode */
#pragma omp for schedule(static)
        for (int64_t row = 0; row < s->tokens; row++)
            route(s, &a->logits[row * s->experts], p, numbers, &a->ids[row * s->top_k],
                  &a->weights[row * s->top_k]);
        fesetenv(&saved);
    }
    return NULL;
}

/* Of each exp 2, of both sums their terms, and the quotients. */
static int64_t depth(const void *shape)
{
    const shape_t *s = shape;
    return 4 + 2 * s->experts + s->top_k + 4;
}

const struct assay_kernel usual_router = {
    .op = "moe_router_topk_softmax",
    .name = "partial_sort",
    .tier = USUAL_TIER,
    .numerics = ASSAY_F32,
    .depth = depth,
    .scratch_bytes = scratch_bytes,
    .run = run,
};

#endif
