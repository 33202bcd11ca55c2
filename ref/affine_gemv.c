/* SPDX-License-Identifier: MIT */
#include "ref/affine_gemv.h"

#include <math.h>
#include <string.h>

#include "ref/fill.h"
#include "ref/op_parts.h"

typedef struct affine_gemv_shape shape_t;

const char *affine_gemv_not_4bit(const void *shape)
{
    return ((const shape_t *)shape)->bits == 4 ? NULL : "a 4-bit pipeline";
}

const char *affine_gemv_not_8bit(const void *shape)
{
    return ((const shape_t *)shape)->bits == 8 ? NULL : "an 8-bit pipeline";
}

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    (void)prepared, (void)scratch, (void)threads;
    const shape_t *s = shape;
    const struct affine_gemv_args *a = args;
    const char *illegal = assay_illegal(&affine_gemv_op, shape, NULL);
    if (illegal)
        return illegal;
    for (int64_t o = 0; o < s->out_dim; o++) {
        double sum = 0;
        for (int64_t i = 0; i < s->in_dim; i++) {
            int64_t at = o * s->in_dim + i;
            double scale = (double)assay_bf16_to_f32(a->scales[at / AFFINE_GROUP]);
            double bias = (double)assay_bf16_to_f32(a->biases[at / AFFINE_GROUP]);
            sum += (scale * affine_code(s->bits, a->w, at) + bias) * (double)a->x[i];
        }
        a->y[o] = (float)sum;
    }
    return NULL;
}

static int64_t depth(const void *shape)
{
    (void)shape;
    return 1; /* the result; weight and sum in double are exact beside it */
}

const struct assay_kernel affine_gemv_ref = {
    .op = "affine_gemv",
    .name = "ref",
    .tier = "ref",
    .numerics = ASSAY_F32,
    .depth = depth,
    .run = run,
};

static const struct assay_dim dims[] = {
    {"bits", 4, 8, 4, false},
    {"out_dim", 1, INT64_MAX, 1, false},
    {"in_dim", AFFINE_GROUP, INT64_MAX, AFFINE_GROUP, false},
};

static int64_t count_groups(const void *shape)
{
    const shape_t *s = shape;
    return assay_mul(s->out_dim, s->in_dim / AFFINE_GROUP);
}

static int64_t count_w(const void *shape)
{
    return assay_mul(count_groups(shape), affine_words(((const shape_t *)shape)->bits));
}

static int64_t count_x(const void *shape)
{
    return ((const shape_t *)shape)->in_dim;
}

static int64_t count_y(const void *shape)
{
    return ((const shape_t *)shape)->out_dim;
}

static const struct assay_tensor tensors[] = {
    {"w", ASSAY_DTYPE_U32, ASSAY_WEIGHTS, 4, count_w, NULL},
    {"scales", ASSAY_DTYPE_U16, ASSAY_WEIGHTS, 2, count_groups, NULL},
    {"biases", ASSAY_DTYPE_U16, ASSAY_WEIGHTS, 2, count_groups, NULL},
    {"x", ASSAY_DTYPE_F32, ASSAY_INPUT, 4, count_x, NULL},
    {"y", ASSAY_DTYPE_F32, ASSAY_OUT_REAL, 4, count_y, count_y},
};

static bool fill(const void *shape, const struct assay_fill *how, void *const *t,
                 struct assay_random *random)
{
    const shape_t *s = shape;
    if (t[3]) {
        random->start(random, "x");
        fill_activation_blocks(how->kind, 1, s->in_dim, AFFINE_GROUP, t[3], random);
    }
    if (!t[0])
        return true;
    random->start(random, "w");
    return fill_affine(how->kind, s->bits, s->out_dim, s->in_dim, t[0], t[1], t[2], random);
}

/* What one weight and activation add; ref/NUMERICS.md derives slack and flush. */
static void expect(double scale, int code, double bias, double x, struct assay_expected *expected)
{
    double size = fabs(x), product = fabs(scale) * code, parts = product + fabs(bias);
    expected->value += (scale * code + bias) * x;
    expected->magnitude += parts * size;
    expected->terms_sq += parts * size * parts * size;
    expected->slack += 0x1p-142;
    expected->flush += 0x1p-118 + 0x1p-125 * (fabs(scale) + fabs(bias) + size);
    expected->flush += fmin(size, fabs(scale)) < 0x1p-126 ? product * size : 0;
    expected->reach = fmax(expected->reach, fmax(parts, fabs(scale) * size));
}

static bool oracle(const void *shape, void *const *t, size_t tensor, enum assay_numerics numerics,
                   const int64_t *columns, int64_t n_columns, struct assay_expected *expected)
{
    (void)tensor, (void)numerics;
    const shape_t *s = shape;
    const uint16_t *scales = t[1], *biases = t[2];
    const float *x = t[3];
    double sum_x = 0;
    for (int64_t i = 0; i < s->in_dim; i++)
        sum_x += fabs((double)x[i]);
    for (int64_t c = 0; c < n_columns; c++) {
        memset(&expected[c], 0, sizeof(expected[c]));
        for (int64_t i = 0; i < s->in_dim; i++) {
            int64_t at = columns[c] * s->in_dim + i, group = at / AFFINE_GROUP;
            expect((double)assay_bf16_to_f32(scales[group]), affine_code(s->bits, t[0], at),
                   (double)assay_bf16_to_f32(biases[group]), (double)x[i], &expected[c]);
        }
        expected[c].reach = fmax(expected[c].reach, affine_levels(s->bits) * sum_x);
    }
    return true;
}

static int64_t inner(const void *shape)
{
    return count_x(shape);
}

static struct assay_cost cost(const void *shape, void *const *t)
{
    (void)t;
    const shape_t *s = shape;
    double out = (double)s->out_dim, in = (double)s->in_dim;
    double weight_bytes = out * in * (double)s->bits / 8 + out * in / AFFINE_GROUP * 4;
    return (struct assay_cost){
        .flop = 2 * out * in,
        .products = out * in,
        .read_bytes = weight_bytes + 4 * in,
        .weight_bytes = weight_bytes,
        .written_bytes = 4 * out,
    };
}

static bool isolate(const void *shape, void *const *t, int64_t part)
{
    return isolate_activation_blocks(1, count_x(shape), AFFINE_GROUP, t ? t[3] : NULL, part);
}

/* The properties say nothing of edge values, which may overflow, underflow or not be finite. */
static bool reshape_tame(const void *shape, const struct assay_fill *how, void *other)
{
    *(shape_t *)other = *(const shape_t *)shape;
    return how->kind != ASSAY_FILL_EDGE;
}

static void derive_scaled(const void *shape, void *const *t, const void *other_shape,
                          void *const *other)
{
    (void)other_shape;
    float *x = other[3];
    assay_copy_inputs(&affine_gemv_op, shape, t, other);
    for (int64_t i = 0; i < count_x(shape); i++)
        x[i] *= 8;
}

static int64_t broken_scaled(const void *shape, void *const *t, const void *other_shape,
                             void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)other_shape, (void)numerics;
    *tensor = 4;
    return assay_first_unequal(t[4], other[4], count_y(shape), 8);
}

static void derive_zero(const void *shape, void *const *t, const void *other_shape,
                        void *const *other)
{
    (void)other_shape;
    float *x = other[3];
    assay_copy_inputs(&affine_gemv_op, shape, t, other);
    for (int64_t i = 0; i < count_x(shape); i++)
        x[i] = i % 2 ? -0.0f : 0.0f;
}

static int64_t broken_zero(const void *shape, void *const *t, const void *other_shape,
                           void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)t, (void)other_shape, (void)numerics;
    const float *y = other[4];
    *tensor = 4;
    for (int64_t i = 0; i < count_y(shape); i++) {
        if (!(y[i] == 0))
            return i;
    }
    return -1;
}

static void derive_negated(const void *shape, void *const *t, const void *other_shape,
                           void *const *other)
{
    (void)other_shape;
    uint16_t *scales = other[1], *biases = other[2];
    assay_copy_inputs(&affine_gemv_op, shape, t, other);
    for (int64_t g = 0; g < count_groups(shape); g++) {
        scales[g] ^= 0x8000;
        biases[g] ^= 0x8000;
    }
}

static int64_t broken_negated(const void *shape, void *const *t, const void *other_shape,
                              void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)other_shape, (void)numerics;
    const float *first = t[4], *second = other[4];
    *tensor = 4;
    for (int64_t i = 0; i < count_y(shape); i++) {
        if (!(second[i] == -first[i])) /* zeros of either sign are equal */
            return i;
    }
    return -1;
}

static const struct assay_property properties[] = {
    {"scaling the activations by 8 scales the outputs by 8", reshape_tame, derive_scaled,
     broken_scaled},
    {"zero activations give zero outputs", reshape_tame, derive_zero, broken_zero},
    {"scales and biases of the other sign give outputs of the other sign", reshape_tame,
     derive_negated, broken_negated},
};

static size_t locate(const void *shape, void *const *t, size_t tensor, int64_t row, int64_t column,
                     struct assay_coordinate *at)
{
    (void)shape, (void)t, (void)tensor, (void)row;
    at[0] = (struct assay_coordinate){"row", column};
    return 1;
}

const struct assay_op affine_gemv_op = {
    .name = "affine_gemv",
    .n_dims = sizeof(dims) / sizeof(*dims),
    .dims = dims,
    .n_tensors = sizeof(tensors) / sizeof(*tensors),
    .tensors = tensors,
    .fill = fill,
    .inner = inner,
    .oracle = oracle,
    .cost = cost,
    .n_properties = sizeof(properties) / sizeof(*properties),
    .properties = properties,
    .isolate = isolate,
    .locate = locate,
    .reference = &affine_gemv_ref,
};
