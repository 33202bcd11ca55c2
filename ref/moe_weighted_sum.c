/* SPDX-License-Identifier: MIT */
#include "ref/moe_weighted_sum.h"

#include <math.h>
#include <string.h>

#include "ref/fill.h"
#include "ref/moe_ids_tpe.h"
#include "ref/op_parts.h"

typedef struct moe_weighted_sum_shape shape_t;

void moe_weighted_sum_token(const shape_t *s, const int32_t *ids, const float *weights,
                            const float *rows, float *out)
{
    for (int64_t i = 0; i < s->m; i++) {
        double sum = 0;
        for (int64_t slot = 0; slot < s->top_k; slot++) {
            if (moe_is_expert(ids[slot], s->experts))
                sum += (double)weights[slot] * (double)rows[slot * s->m + i];
        }
        out[i] = (float)sum;
    }
}

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    (void)prepared, (void)scratch, (void)threads;
    const shape_t *s = shape;
    const struct moe_weighted_sum_args *a = args;
    const char *illegal = assay_illegal(&moe_weighted_sum_op, shape, NULL);
    if (illegal)
        return illegal;
    for (int64_t token = 0; token < s->tokens; token++) {
        int64_t pair = token * s->top_k;
        moe_weighted_sum_token(s, &a->ids[pair], &a->weights[pair], &a->rows[pair * s->m],
                               &a->out[token * s->m]);
    }
    return NULL;
}

static int64_t depth(const void *shape)
{
    (void)shape;
    return 1; /* the result; the sum in double is exact beside it */
}

const struct assay_kernel moe_weighted_sum_ref = {
    .op = "moe_weighted_sum",
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
    {"m", 1, INT64_MAX, 1, false},
};

static const char *illegal(const void *shape)
{
    const shape_t *s = shape;
    return s->top_k > s->experts ? "top_k must not exceed experts" : NULL;
}

static int64_t count_pairs(const void *shape)
{
    const shape_t *s = shape;
    return assay_mul(s->tokens, s->top_k);
}

static int64_t count_rows(const void *shape)
{
    return assay_mul(count_pairs(shape), ((const shape_t *)shape)->m);
}

static int64_t count_out(const void *shape)
{
    const shape_t *s = shape;
    return assay_mul(s->tokens, s->m);
}

static int64_t columns(const void *shape)
{
    return ((const shape_t *)shape)->m;
}

static const struct assay_tensor tensors[] = {
    {"ids", ASSAY_DTYPE_I32, ASSAY_INPUT, 4, count_pairs, NULL},
    {"weights", ASSAY_DTYPE_F32, ASSAY_INPUT, 4, count_pairs, NULL},
    {"rows", ASSAY_DTYPE_F32, ASSAY_INPUT, 4, count_rows, NULL},
    {"out", ASSAY_DTYPE_F32, ASSAY_OUT_REAL, 4, count_out, columns},
};

/* 1 to 8 eighths times +-1 to +-limit: sums stay below 2^24 eighths. */
static void fill_exact(const shape_t *s, float *weights, float *rows, struct assay_random *random)
{
    int64_t limit = (1 << 24) / 8 / s->top_k - 1;
    limit = limit > 4096 ? 4096 : limit < 1 ? 1 : limit;
    for (int64_t i = 0; i < count_pairs(s); i++)
        weights[i] = (float)(1 + assay_below(random, 8)) / 8;
    for (int64_t i = 0; i < count_rows(s); i++) {
        float value = (float)(1 + assay_below(random, limit));
        rows[i] = assay_below(random, 2) ? value : -value;
    }
}

/* Weights of a token are positive with sum 1, the largest first. */
static void fill_model(const shape_t *s, float *weights, float *rows, struct assay_random *random)
{
    for (int64_t token = 0; token < s->tokens; token++) {
        float *of_token = &weights[token * s->top_k], sum = 0, weight = 1;
        for (int64_t slot = 0; slot < s->top_k; slot++) {
            weight *= 1 - (float)assay_below(random, 1000) / 2000;
            of_token[slot] = weight;
            sum += weight;
        }
        for (int64_t slot = 0; slot < s->top_k; slot++)
            of_token[slot] /= sum;
    }
    for (int64_t i = 0; i < count_rows(s); i++)
        rows[i] = (float)random->heavy_tail(random);
}

/* Of a slot, in turn from a random start. */
enum edge_kind {
    GAUSSIAN,
    ZERO_WEIGHT,
    NEGATIVE,
    CANCELS, /* the slot before it, but for a few ULPs */
    SUBNORMAL_ROW,
    SUBNORMAL_WEIGHT,
    LARGE,     /* products around 1e30 */
    OVERFLOWS, /* products around 1e39 */
    SMALL,     /* products around 1e-38, the least normal number */
    ONE_NAN,
    ONE_INFINITY,
    INFINITE_WEIGHT,
    NAN_WEIGHT,
    EDGE_KINDS
};

static float edge_weight(enum edge_kind kind, float before, float g)
{
    switch (kind) {
    case ZERO_WEIGHT: return -0.0f;
    case NEGATIVE: return -fabsf(g);
    case CANCELS: return -before;
    case SUBNORMAL_WEIGHT: return g * 1e-40f;
    case LARGE:
    case OVERFLOWS: return 1e15f;
    case SMALL: return 1e-15f;
    case INFINITE_WEIGHT: return INFINITY;
    case NAN_WEIGHT: return NAN;
    default: return fabsf(g) + 0.125f;
    }
}

static float edge_value(enum edge_kind kind, float before, float g)
{
    switch (kind) {
    case CANCELS: return before * (1 + g * 1e-6f);
    case SUBNORMAL_ROW: return g * 1e-40f;
    case LARGE: return g * 1e15f;
    case OVERFLOWS: return g * 1e24f;
    case SMALL: return g * 1e-23f;
    default: return g;
    }
}

/* Half of the slots, the first and those that are not read are ordinary, or few outputs would be
 * finite. */
static void fill_edge(const shape_t *s, const int32_t *ids, float *weights, float *rows,
                      struct assay_random *random)
{
    int64_t turn = assay_below(random, EDGE_KINDS), m = s->m;
    for (int64_t pair = 0; pair < count_pairs(s); pair++) {
        bool plain = pair == 0 || assay_below(random, 2) || !moe_is_expert(ids[pair], s->experts);
        enum edge_kind kind = plain ? GAUSSIAN : (enum edge_kind)(turn++ % (int64_t)EDGE_KINDS);
        if (kind == CANCELS && pair % s->top_k == 0)
            kind = NEGATIVE;
        bool cancels = kind == CANCELS;
        weights[pair] =
            edge_weight(kind, cancels ? weights[pair - 1] : 0, (float)random->gaussian(random));
        for (int64_t i = pair * m; i < pair * m + m; i++)
            rows[i] = edge_value(kind, cancels ? rows[i - m] : 0, (float)random->gaussian(random));
        float *spot = &rows[pair * m + assay_below(random, m)];
        if (kind == ONE_NAN)
            *spot = NAN;
        if (kind == ONE_INFINITY)
            *spot = INFINITY;
    }
}

static bool fill(const void *shape, const struct assay_fill *how, void *const *t,
                 struct assay_random *random)
{
    const shape_t *s = shape;
    random->start(random, "routing");
    if (!fill_routing(how, s->experts, s->tokens, s->top_k, t[0], random))
        return false;
    random->start(random, "weights and rows");
    switch (how->kind) {
    case ASSAY_FILL_EXACT: fill_exact(s, t[1], t[2], random); break;
    case ASSAY_FILL_MODEL: fill_model(s, t[1], t[2], random); break;
    default: fill_edge(s, t[0], t[1], t[2], random); break;
    }
    return true;
}

static void spoil(const void *shape, void *const *t)
{
    const shape_t *s = shape;
    const int32_t *ids = t[0];
    float *weights = t[1], *rows = t[2];
    for (int64_t pair = 0; pair < count_pairs(s); pair++) {
        if (moe_is_expert(ids[pair], s->experts))
            continue;
        weights[pair] = NAN;
        for (int64_t i = 0; i < s->m; i++)
            rows[pair * s->m + i] = NAN;
    }
}

static int64_t inner(const void *shape)
{
    return ((const shape_t *)shape)->top_k;
}

static struct assay_expected expect(const shape_t *s, const int32_t *ids, const float *weights,
                                    const float *column)
{
    struct assay_expected out = {0};
    for (int64_t slot = 0; slot < s->top_k; slot++) {
        if (!moe_is_expert(ids[slot], s->experts))
            continue;
        double weight = (double)weights[slot], value = (double)column[slot * s->m];
        double size = fabs(weight * value);
        out.value += weight * value;
        out.magnitude += size;
        out.slack += 0x1p-149;
        out.flush += 0x1p-125;
        if (fabs(weight) < 0x1p-126 || fabs(value) < 0x1p-126)
            out.flush += size;
    }
    return out;
}

static bool oracle(const void *shape, void *const *t, size_t tensor, enum assay_numerics numerics,
                   const int64_t *column, int64_t n_columns, struct assay_expected *expected)
{
    (void)tensor, (void)numerics;
    const shape_t *s = shape;
    for (int64_t token = 0; token < s->tokens; token++) {
        int64_t pair = token * s->top_k;
        const int32_t *ids = (const int32_t *)t[0] + pair;
        const float *weights = (const float *)t[1] + pair;
        const float *rows = (const float *)t[2] + pair * s->m;
        for (int64_t c = 0; c < n_columns; c++)
            expected[token * n_columns + c] = expect(s, ids, weights, &rows[column[c]]);
    }
    return true;
}

static struct assay_cost cost(const void *shape, void *const *t)
{
    const shape_t *s = shape;
    const int32_t *ids = t[0];
    double valid = 0, m = (double)s->m;
    for (int64_t pair = 0; pair < count_pairs(s); pair++)
        valid += moe_is_expert(ids[pair], s->experts);
    return (struct assay_cost){.flop = 2 * valid * m,
                               .read_bytes = valid * 4 * (m + 1) + 4 * (double)count_pairs(s),
                               .written_bytes = 4 * (double)count_out(s)};
}

/* "a token alone": the last one. */

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
    const shape_t *s = shape;
    size_t pairs = (size_t)s->top_k, values = (size_t)count_rows(other_shape);
    int64_t pair = (s->tokens - 1) * s->top_k;
    memcpy(other[0], (const int32_t *)t[0] + pair, pairs * sizeof(int32_t));
    memcpy(other[1], (const float *)t[1] + pair, pairs * sizeof(float));
    memcpy(other[2], (const float *)t[2] + pair * s->m, values * sizeof(float));
}

static int64_t broken_alone(const void *shape, void *const *t, const void *other_shape,
                            void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)other_shape, (void)numerics;
    const shape_t *s = shape;
    int64_t start = (s->tokens - 1) * s->m;
    *tensor = 3;
    int64_t i = assay_first_unequal((const float *)t[3] + start, other[3], s->m, 1);
    return i < 0 ? -1 : start + i;
}

/* Which expert it is does not matter, and scaling is exact where nothing under- or overflows. */

static bool reshape_tame(const void *shape, const struct assay_fill *how, void *other)
{
    *(shape_t *)other = *(const shape_t *)shape;
    return how->kind != ASSAY_FILL_EDGE;
}

static void derive_scaled(const void *shape, void *const *t, const void *other_shape,
                          void *const *other)
{
    (void)other_shape;
    const shape_t *s = shape;
    int32_t *ids = other[0];
    float *weights = other[1];
    assay_copy_inputs(&moe_weighted_sum_op, shape, t, other);
    for (int64_t pair = 0; pair < count_pairs(s); pair++) {
        bool valid = moe_is_expert(ids[pair], s->experts);
        ids[pair] = valid ? (int32_t)(s->experts - 1 - ids[pair]) : -1;
        weights[pair] *= 8;
    }
}

static int64_t broken_scaled(const void *shape, void *const *t, const void *other_shape,
                             void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)other_shape, (void)numerics;
    *tensor = 3;
    return assay_first_unequal(t[3], other[3], count_out(shape), 8);
}

static const struct assay_property properties[] = {
    {"a token alone gives the same bits as in the batch", reshape_alone, derive_alone,
     broken_alone},
    {"8 times the weights give 8 times the outputs, whichever experts they are of", reshape_tame,
     derive_scaled, broken_scaled},
};

static size_t locate(const void *shape, void *const *t, size_t tensor, int64_t row, int64_t column,
                     struct assay_coordinate *at)
{
    (void)tensor;
    const shape_t *s = shape;
    const int32_t *ids = (const int32_t *)t[0] + row * s->top_k;
    int64_t valid = 0;
    for (int64_t slot = 0; slot < s->top_k; slot++)
        valid += moe_is_expert(ids[slot], s->experts);
    at[0] = (struct assay_coordinate){"token", row};
    at[1] = (struct assay_coordinate){"column", column};
    at[2] = (struct assay_coordinate){"column mod 16", column % 16};
    at[3] = (struct assay_coordinate){"valid slots", valid};
    return 4;
}

const struct assay_op moe_weighted_sum_op = {
    .name = "moe_weighted_sum",
    .n_dims = sizeof(dims) / sizeof(*dims),
    .dims = dims,
    .n_tensors = sizeof(tensors) / sizeof(*tensors),
    .tensors = tensors,
    .routed = true,
    .illegal = illegal,
    .fill = fill,
    .spoil = spoil,
    .inner = inner,
    .oracle = oracle,
    .cost = cost,
    .n_properties = sizeof(properties) / sizeof(*properties),
    .properties = properties,
    .batch_dim = offsetof(shape_t, tokens) / sizeof(int64_t),
    .locate = locate,
    .reference = &moe_weighted_sum_ref,
};
