/* SPDX-License-Identifier: MIT */
#include "ref/moe_router_topk_softmax.h"

#include <fenv.h>
#include <math.h>
#include <string.h>

#include "ref/op_parts.h"

typedef struct moe_router_topk_softmax_shape shape_t;

/* What a row's p = exp(logit - max) / sum are computed from; invalid rows have sum 0. */
struct softmax {
    double max, sum;
};

static struct softmax softmax_of(const float *logits, int64_t experts)
{
    struct softmax row = {-INFINITY, 0};
    for (int64_t e = 0; e < experts; e++) {
        if (isnan(logits[e]) || logits[e] == INFINITY)
            return (struct softmax){0};
        row.max = fmax(row.max, (double)logits[e]);
    }
    if (row.max == -INFINITY)
        return (struct softmax){0};
    for (int64_t e = 0; e < experts; e++)
        row.sum += exp((double)logits[e] - row.max);
    return row;
}

static double probability(struct softmax row, float logit)
{
    return exp((double)logit - row.max) / row.sum;
}

/* Whether expert a comes before expert b. */
static bool before(const float *logits, int64_t a, int64_t b)
{
    return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
}

/* The first of the experts that come after `previous`, or of all if that is -1; -1: none. */
static int64_t next_expert(const float *logits, int64_t experts, int64_t previous)
{
    int64_t next = -1;
    for (int64_t e = 0; e < experts; e++) {
        if ((previous < 0 || before(logits, previous, e)) && (next < 0 || before(logits, e, next)))
            next = e;
    }
    return next;
}

static void rank_experts(const float *logits, int64_t experts, int64_t top_k, int32_t *ids)
{
    int64_t expert = -1;
    for (int64_t slot = 0; slot < top_k; slot++) {
        expert = next_expert(logits, experts, expert);
        ids[slot] = (int32_t)expert;
    }
}

static double selected_scale(const shape_t *s, struct softmax row, const float *logits,
                             const int32_t *ids)
{
    double sum = 0;
    for (int64_t slot = 0; slot < s->top_k; slot++)
        sum += probability(row, logits[ids[slot]]);
    return s->norm ? 1 / fmax(sum, (double)MOE_ROUTER_MIN_SUM) : 1;
}

static void route(const shape_t *s, const float *logits, int32_t *ids, float *weights)
{
    struct softmax row = softmax_of(logits, s->experts);
    if (row.sum == 0) {
        for (int64_t slot = 0; slot < s->top_k; slot++) {
            ids[slot] = -1;
            weights[slot] = 0;
        }
        return;
    }
    rank_experts(logits, s->experts, s->top_k, ids);
    double scale = selected_scale(s, row, logits, ids);
    for (int64_t slot = 0; slot < s->top_k; slot++)
        weights[slot] = (float)(probability(row, logits[ids[slot]]) * scale);
}

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    (void)prepared, (void)scratch, (void)threads;
    const shape_t *s = shape;
    const struct moe_router_topk_softmax_args *a = args;
    const char *illegal = assay_illegal(&moe_router_topk_softmax_op, shape, NULL);
    if (illegal)
        return illegal;
    fenv_t saved;
    fegetenv(&saved);
    fesetenv(FE_DFL_ENV); /* subnormals count, whatever the caller's mode */
    for (int64_t token = 0; token < s->tokens; token++)
        route(s, &a->logits[token * s->experts], &a->ids[token * s->top_k],
              &a->weights[token * s->top_k]);
    fesetenv(&saved);
    return NULL;
}

static int64_t depth(const void *shape)
{
    (void)shape;
    return 1;
}

const struct assay_kernel moe_router_topk_softmax_ref = {
    .op = "moe_router_topk_softmax",
    .name = "ref",
    .tier = "ref",
    .numerics = ASSAY_F32,
    .depth = depth,
    .run = run,
};

static const struct assay_dim dims[] = {
    {"experts", 1, INT32_MAX, 1, false},
    {"top_k", 1, INT32_MAX, 1, false},
    {"tokens", 1, INT32_MAX, 1, false},
    {"norm", 0, 1, 1, true},
};

static void defaults(void *shape)
{
    shape_t *s = shape;
    s->norm = s->norm == ASSAY_UNSET ? 1 : s->norm;
}

static const char *illegal(const void *shape)
{
    const shape_t *s = shape;
    return s->top_k > s->experts ? "top_k must not exceed experts" : NULL;
}

static int64_t count_logits(const void *shape)
{
    const shape_t *s = shape;
    return assay_mul(s->tokens, s->experts);
}

static int64_t count_selected(const void *shape)
{
    const shape_t *s = shape;
    return assay_mul(s->tokens, s->top_k);
}

static int64_t columns_selected(const void *shape)
{
    return ((const shape_t *)shape)->top_k;
}

static const struct assay_tensor tensors[] = {
    {"logits", ASSAY_DTYPE_F32, ASSAY_INPUT, 4, count_logits, NULL},
    {"ids", ASSAY_DTYPE_I32, ASSAY_OUT_BITS, 4, count_selected, columns_selected},
    {"weights", ASSAY_DTYPE_F32, ASSAY_OUT_REAL, 4, count_selected, columns_selected},
};

/* With a power of two of equal finite logits every p is a power of two, and so are their sums
 * where a power of two of them is selected. */
static bool exact(const void *shape)
{
    const shape_t *s = shape;
    return !s->norm || (s->top_k & (s->top_k - 1)) == 0;
}

/* p of distinct logits may come in either order if they lie this close. */
static bool in_tie_band(double p, double q)
{
    return fabs(p - q) <= MOE_ROUTER_TIE_ULP * fmax(fmax(p, q) * 0x1p-23, 0x1p-149);
}

/* Whether `got` is a permitted order: position by position within the tie band of the reference,
 * equal logits by index, -Inf after all finite ones. */
static bool permitted(const shape_t *s, const float *logits, const int32_t *reference,
                      const int32_t *got)
{
    struct softmax row = softmax_of(logits, s->experts);
    for (int64_t slot = 0; slot < s->top_k; slot++) {
        int64_t e = got[slot];
        if (row.sum == 0 || e < 0 || e >= s->experts)
            return false;
        float wanted = logits[reference[slot]];
        if ((wanted == -INFINITY) != (logits[e] == -INFINITY))
            return false;
        if (!in_tie_band(probability(row, logits[e]), probability(row, wanted)))
            return false;
        for (int64_t other = 0; other < e; other++) {
            bool taken = logits[other] != logits[e];
            for (int64_t earlier = 0; earlier < slot; earlier++)
                taken = taken || got[earlier] == other;
            if (!taken)
                return false;
        }
        for (int64_t earlier = 0; earlier < slot; earlier++) {
            if (got[earlier] == e)
                return false;
        }
    }
    return true;
}

static int64_t reconcile(const void *shape, void *const *got, void *const *expected)
{
    const shape_t *s = shape;
    const float *logits = got[0];
    int64_t swaps = 0;
    for (int64_t token = 0; token < s->tokens; token++) {
        const int32_t *chosen = (const int32_t *)got[1] + token * s->top_k;
        int32_t *reference = (int32_t *)expected[1] + token * s->top_k;
        size_t row_bytes = (size_t)s->top_k * sizeof(*chosen);
        if (memcmp(chosen, reference, row_bytes) == 0 ||
            !permitted(s, &logits[token * s->experts], reference, chosen))
            continue;
        for (int64_t slot = 0; slot < s->top_k; slot++)
            swaps += chosen[slot] != reference[slot];
        memcpy(reference, chosen, row_bytes);
    }
    return swaps;
}

/* Between the expert of each rank up to top_k and the one after it. */
static void margins(const void *shape, void *const *t, int64_t histogram[ASSAY_MARGIN_BINS])
{
    const shape_t *s = shape;
    for (int64_t token = 0; token < s->tokens; token++) {
        const float *logits = (const float *)t[0] + token * s->experts;
        struct softmax row = softmax_of(logits, s->experts);
        int64_t expert = row.sum > 0 ? next_expert(logits, s->experts, -1) : -1;
        for (int64_t rank = 0; rank < s->top_k && expert >= 0; rank++) {
            int64_t next = next_expert(logits, s->experts, expert);
            if (next < 0)
                break;
            double p = probability(row, logits[expert]), q = probability(row, logits[next]);
            double ulps = (p - q) / fmax(p * 0x1p-23, 0x1p-149);
            int bin = logits[expert] == logits[next] ? 0 : 1;
            for (; bin > 0 && bin < ASSAY_MARGIN_BINS - 1 && ulps >= 1; bin++)
                ulps /= 16;
            histogram[bin]++;
            expert = next;
        }
    }
}

static int64_t inner(const void *shape)
{
    return ((const shape_t *)shape)->experts;
}

/* exp(x) for f32 x = logit - max inherits x's rounding, |x|*u, in the numerator and, weighted by p,
 * in the sum; a subnormal result has an absolute error. */
static bool oracle(const void *shape, void *const *t, size_t tensor, enum assay_numerics numerics,
                   const int64_t *columns, int64_t n_columns, struct assay_expected *expected)
{
    (void)tensor, (void)numerics;
    const shape_t *s = shape;
    for (int64_t token = 0; token < s->tokens; token++) {
        const float *logits = (const float *)t[0] + token * s->experts;
        const int32_t *ids = (const int32_t *)t[1] + token * s->top_k;
        struct softmax row = softmax_of(logits, s->experts);
        double scale = row.sum > 0 ? selected_scale(s, row, logits, ids) : 0;
        double mean_x = 0;
        for (int64_t e = 0; e < s->experts && row.sum > 0; e++) {
            double p = probability(row, logits[e]);
            mean_x += p > 0 ? p * (row.max - (double)logits[e]) : 0;
        }
        for (int64_t c = 0; c < n_columns; c++) {
            struct assay_expected *out = &expected[token * n_columns + c];
            *out = (struct assay_expected){0};
            if (row.sum == 0)
                continue;
            float logit = logits[ids[columns[c]]];
            double p = probability(row, logit) * scale;
            out->value = p;
            out->magnitude = p;
            if (p > 0)
                out->slack = p * 0x1p-24 * (row.max - (double)logit + 2 * mean_x) + 0x1p-149;
        }
    }
    return true;
}

static struct assay_cost cost(const void *shape, void *const *t)
{
    (void)t;
    const shape_t *s = shape;
    double logits = (double)count_logits(shape);
    return (struct assay_cost){.flop = logits,
                               .read_bytes = 4 * logits,
                               .written_bytes = 8 * (double)(s->tokens * s->top_k)};
}

/* The first element of a row of the outputs in which two calls differ, or -1. */
static int64_t row_differs(const shape_t *s, void *const *t, int64_t row, void *const *other,
                           int64_t other_row, size_t *tensor)
{
    int64_t k = s->top_k, first = row * k, second = other_row * k;
    *tensor = 1;
    for (int64_t slot = 0; slot < k; slot++) {
        if (((const int32_t *)t[1])[first + slot] != ((const int32_t *)other[1])[second + slot])
            return first + slot;
    }
    *tensor = 2;
    int64_t slot =
        assay_first_unequal((const float *)t[2] + first, (const float *)other[2] + second, k, 1);
    return slot < 0 ? -1 : first + slot;
}

/* "a row alone": the last one. */

static bool reshape_alone(const void *shape, const struct assay_fill *how, void *other)
{
    (void)how;
    *(shape_t *)other = *(const shape_t *)shape;
    ((shape_t *)other)->tokens = 1;
    return ((const shape_t *)shape)->tokens > 1;
}

static void derive_alone(const void *shape, void *const *t, const void *other_shape,
                         void *const *other)
{
    (void)other_shape;
    const shape_t *s = shape;
    memcpy(other[0], (const float *)t[0] + (s->tokens - 1) * s->experts,
           (size_t)s->experts * sizeof(float));
}

static int64_t broken_alone(const void *shape, void *const *t, const void *other_shape,
                            void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)other_shape, (void)numerics;
    return row_differs(shape, t, ((const shape_t *)shape)->tokens - 1, other, 0, tensor);
}

static bool reshape_reversed(const void *shape, const struct assay_fill *how, void *other)
{
    (void)how;
    *(shape_t *)other = *(const shape_t *)shape;
    return ((const shape_t *)shape)->tokens > 1;
}

static void derive_reversed(const void *shape, void *const *t, const void *other_shape,
                            void *const *other)
{
    (void)other_shape;
    const shape_t *s = shape;
    for (int64_t row = 0; row < s->tokens; row++)
        memcpy((float *)other[0] + (s->tokens - 1 - row) * s->experts,
               (const float *)t[0] + row * s->experts, (size_t)s->experts * sizeof(float));
}

static int64_t broken_reversed(const void *shape, void *const *t, const void *other_shape,
                               void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)other_shape, (void)numerics;
    const shape_t *s = shape;
    int64_t first = -1;
    for (int64_t row = 0; row < s->tokens && first < 0; row++)
        first = row_differs(s, t, row, other, s->tokens - 1 - row, tensor);
    return first;
}

static const struct assay_property properties[] = {
    {"a row alone gives the same bits as in the batch", reshape_alone, derive_alone, broken_alone},
    {"permuting the rows permutes the outputs", reshape_reversed, derive_reversed, broken_reversed},
};

static size_t locate(const void *shape, void *const *t, size_t tensor, int64_t row, int64_t column,
                     struct assay_coordinate *at)
{
    (void)shape, (void)t, (void)tensor;
    at[0] = (struct assay_coordinate){"token", row};
    at[1] = (struct assay_coordinate){"slot", column};
    return 2;
}

const struct assay_op moe_router_topk_softmax_op = {
    .name = "moe_router_topk_softmax",
    .n_dims = sizeof(dims) / sizeof(*dims),
    .dims = dims,
    .n_tensors = sizeof(tensors) / sizeof(*tensors),
    .tensors = tensors,
    .defaults = defaults,
    .illegal = illegal,
    .exact = exact,
    .fill = moe_router_topk_softmax_fill,
    .inner = inner,
    .oracle = oracle,
    .reconcile = reconcile,
    .cost = cost,
    .n_properties = sizeof(properties) / sizeof(*properties),
    .properties = properties,
    .batch_dim = offsetof(shape_t, tokens) / sizeof(int64_t),
    .any_mxcsr = true,
    .margins = margins,
    .locate = locate,
    .reference = &moe_router_topk_softmax_ref,
};
