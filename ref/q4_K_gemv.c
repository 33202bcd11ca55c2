/* SPDX-License-Identifier: MIT */
#include "ref/q4_K_gemv.h"

#include <string.h>

#include "ref/fill.h"
#include "ref/op_parts.h"
#include "ref/q4_K_dot.h"

static const struct block_q4_K *row_of(const struct q4_K_gemv_shape *s, const uint8_t *w, int64_t r)
{
    return (const struct block_q4_K *)(w + s->w_offset) + r * (s->k / Q4_K_BLOCK);
}

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    (void)prepared, (void)scratch, (void)threads;
    const struct q4_K_gemv_shape *s = shape;
    const struct q4_K_gemv_args *a = args;
    const char *illegal = assay_illegal(&q4_K_gemv_op, shape, NULL);
    if (illegal)
        return illegal;
    for (int64_t r = 0; r < s->n; r++) {
        double sum = 0;
        for (int64_t b = 0; b < s->k / Q4_K_BLOCK; b++) {
            float w[Q4_K_BLOCK];
            q4_K_weights(&row_of(s, a->w, r)[b], w);
            for (int i = 0; i < Q4_K_BLOCK; i++)
                sum += (double)w[i] * (double)a->x[b * Q4_K_BLOCK + i];
        }
        a->y[r] = (float)sum;
    }
    return NULL;
}

static int64_t depth(const void *shape)
{
    (void)shape;
    return 2; /* the dequantized weight and the result; the sum in double is exact beside them */
}

const struct assay_kernel q4_K_gemv_ref = {
    .op = "q4_K_gemv",
    .name = "ref",
    .tier = "ref",
    .numerics = ASSAY_F32,
    .depth = depth,
    .run = run,
};

/* Class i8 for the given rows of W, or for all if `rows` is NULL. */
static void gemv_i8(const struct q4_K_gemv_shape *s, const uint8_t *w, const float *x,
                    const int64_t *rows, int64_t n_rows, float *y)
{
    memset(y, 0, (size_t)n_rows * sizeof(*y));
    for (int64_t b = 0; b < s->k / ACTIVATION_BLOCK; b++) {
        struct activation_i8 xq;
        activation_i8_quantize(&x[b * ACTIVATION_BLOCK], &xq);
        for (int64_t i = 0; i < n_rows; i++)
            y[i] = q4_K_add_i8(&row_of(s, w, rows ? rows[i] : i)[b], &xq, y[i]);
    }
}

static const char *run_i8(const void *shape, const void *args, const void *prepared, void *scratch,
                          int threads)
{
    (void)prepared, (void)scratch, (void)threads;
    const struct q4_K_gemv_shape *s = shape;
    const struct q4_K_gemv_args *a = args;
    const char *illegal = assay_illegal(&q4_K_gemv_op, shape, NULL);
    if (illegal)
        return illegal;
    gemv_i8(s, a->w, a->x, NULL, s->n, a->y);
    return NULL;
}

static int64_t depth_i8(const void *shape)
{
    return q4_K_dot_i8_depth(((const struct q4_K_gemv_shape *)shape)->k);
}

const struct assay_kernel q4_K_gemv_ref_i8 = {
    .op = "q4_K_gemv",
    .name = "ref-i8",
    .tier = "ref",
    .numerics = ASSAY_I8,
    .twin = 1,
    .depth = depth_i8,
    .run = run_i8,
};

static const struct assay_dim dims[] = {
    {"n", 1, INT64_MAX, 1, false},
    {"k", Q4_K_BLOCK, INT64_MAX, Q4_K_BLOCK, false},
    {"w_offset", 0, INT64_MAX, 2, true},
};

static void defaults(void *shape)
{
    struct q4_K_gemv_shape *s = shape;
    if (s->w_offset == ASSAY_UNSET)
        s->w_offset = 0;
}

static int64_t count_w(const void *shape)
{
    const struct q4_K_gemv_shape *s = shape;
    int64_t blocks = assay_mul(s->n, s->k / Q4_K_BLOCK);
    return assay_add(s->w_offset, assay_mul(blocks, Q4_K_BLOCK_BYTES));
}

static int64_t count_x(const void *shape)
{
    return ((const struct q4_K_gemv_shape *)shape)->k;
}

static int64_t count_y(const void *shape)
{
    return ((const struct q4_K_gemv_shape *)shape)->n;
}

static const struct assay_tensor tensors[] = {
    {"w", ASSAY_DTYPE_U8, ASSAY_WEIGHTS, 2, count_w, NULL},
    {"x", ASSAY_DTYPE_F32, ASSAY_INPUT, 4, count_x, NULL},
    {"y", ASSAY_DTYPE_F32, ASSAY_OUT_REAL, 4, count_y, count_y},
};

/* A GGUF tensor [k, n]. */
static const struct assay_stored stored = {
    0,
    "q4_K",
    ASSAY_DIM(struct q4_K_gemv_shape, w_offset),
    2,
    {ASSAY_DIM(struct q4_K_gemv_shape, k), ASSAY_DIM(struct q4_K_gemv_shape, n)},
};

static bool fill(const void *shape, const struct assay_fill *how, void *const *t,
                 struct assay_random *random)
{
    const struct q4_K_gemv_shape *s = shape;
    uint8_t *w = t[0];
    if (t[1]) {
        random->start(random, "x");
        fill_activations(how->kind, 1, s->k, t[1], random);
    }
    if (!w)
        return true;
    fill_prefix(w, s->w_offset);
    random->start(random, "w");
    return fill_q4_K(how->kind, s->n, s->k, (struct block_q4_K *)(w + s->w_offset), random);
}

static void oracle(const void *shape, void *const *t, size_t tensor, const int64_t *columns,
                   int64_t n_columns, struct assay_expected *expected)
{
    (void)tensor;
    const struct q4_K_gemv_shape *s = shape;
    const float *x = t[1];
    for (int64_t i = 0; i < n_columns; i++) {
        memset(&expected[i], 0, sizeof(expected[i]));
        for (int64_t b = 0; b < s->k / Q4_K_BLOCK; b++)
            q4_K_expect(&row_of(s, t[0], columns[i])[b], &x[b * Q4_K_BLOCK], &expected[i]);
    }
}

static bool twin(const void *shape, void *const *t, size_t tensor, enum assay_numerics numerics,
                 const int64_t *columns, int64_t n_columns, float *out)
{
    (void)tensor;
    if (numerics != ASSAY_I8)
        return false;
    gemv_i8(shape, t[0], t[1], columns, n_columns, out);
    return true;
}

static int64_t inner(const void *shape)
{
    return ((const struct q4_K_gemv_shape *)shape)->k;
}

static struct assay_cost cost(const void *shape, void *const *t)
{
    (void)t;
    const struct q4_K_gemv_shape *s = shape;
    double n = (double)s->n, k = (double)s->k;
    return (struct assay_cost){2 * n * k, n * k / Q4_K_BLOCK * Q4_K_BLOCK_BYTES + 4 * k, 4 * n};
}

/* The properties say nothing of edge values, which may overflow, underflow or not be finite. */
static bool isolate(const void *shape, void *const *t, int64_t part)
{
    return isolate_activations(1, count_x(shape), t ? t[1] : NULL, part);
}

static bool reshape_tame(const void *shape, const struct assay_fill *how, void *other)
{
    *(struct q4_K_gemv_shape *)other = *(const struct q4_K_gemv_shape *)shape;
    return how->kind != ASSAY_FILL_EDGE;
}

static void derive_scaled(const void *shape, void *const *t, const void *other_shape,
                          void *const *other)
{
    (void)other_shape;
    float *x = other[1];
    assay_copy_inputs(&q4_K_gemv_op, shape, t, other);
    for (int64_t i = 0; i < count_x(shape); i++)
        x[i] *= 8;
}

static int64_t broken_scaled(const void *shape, void *const *t, const void *other_shape,
                             void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)other_shape, (void)numerics;
    *tensor = 2;
    return assay_first_unequal(t[2], other[2], count_y(shape), 8);
}

static void derive_zero(const void *shape, void *const *t, const void *other_shape,
                        void *const *other)
{
    (void)other_shape;
    float *x = other[1];
    assay_copy_inputs(&q4_K_gemv_op, shape, t, other);
    for (int64_t i = 0; i < count_x(shape); i++)
        x[i] = i % 2 ? -0.0f : 0.0f;
}

static int64_t broken_zero(const void *shape, void *const *t, const void *other_shape,
                           void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)t, (void)other_shape, (void)numerics;
    const float *y = other[2];
    *tensor = 2;
    for (int64_t i = 0; i < count_y(shape); i++) {
        if (!(y[i] == 0))
            return i;
    }
    return -1;
}

static const struct assay_property properties[] = {
    {"scaling the activations by 8 scales the outputs by 8", reshape_tame, derive_scaled,
     broken_scaled},
    {"zero activations give zero outputs", reshape_tame, derive_zero, broken_zero},
};

static size_t locate(const void *shape, void *const *t, size_t tensor, int64_t row, int64_t column,
                     struct assay_coordinate *at)
{
    (void)shape, (void)t, (void)tensor, (void)row;
    at[0] = (struct assay_coordinate){"row", column};
    return 1;
}

const struct assay_op q4_K_gemv_op = {
    .name = "q4_K_gemv",
    .n_dims = sizeof(dims) / sizeof(*dims),
    .dims = dims,
    .n_tensors = sizeof(tensors) / sizeof(*tensors),
    .tensors = tensors,
    .stored = &stored,
    .defaults = defaults,
    .fill = fill,
    .inner = inner,
    .activations = inner,
    .oracle = oracle,
    .twin = twin,
    .cost = cost,
    .n_properties = sizeof(properties) / sizeof(*properties),
    .properties = properties,
    .isolate = isolate,
    .locate = locate,
    .reference = &q4_K_gemv_ref,
};
