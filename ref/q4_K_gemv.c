/* SPDX-License-Identifier: MIT */
#include "ref/q4_K_gemv.h"

#include "ref/fill.h"
#include "ref/op_parts.h"
#include "ref/q4_K_dot.h"
#include "ref/q4_K_matmul.h"

static bool products(const void *shape, const void *args, int64_t i, struct q4_K_product *product)
{
    const struct q4_K_gemv_shape *s = shape;
    const struct q4_K_gemv_args *a = args;
    *product = (struct q4_K_product){
        .w = q4_K_matrix(a->w, s->w_offset, s->n, s->k, 0),
        .src = a->x,
        .m = s->n,
        .k = s->k,
        .top_k = 1,
        .ne11 = 1,
        .n = 1,
    };
    return i == 0;
}

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    (void)prepared, (void)scratch, (void)threads;
    const struct q4_K_gemv_args *a = args;
    const char *illegal = assay_illegal(&q4_K_gemv_op, shape, NULL);
    if (!illegal)
        q4_K_matmul_ref(products, shape, args, a->y);
    return illegal;
}

const struct assay_kernel q4_K_gemv_ref = {
    .op = "q4_K_gemv",
    .name = "ref",
    .tier = "ref",
    .numerics = ASSAY_F32,
    .depth = q4_K_matmul_ref_depth,
    .run = run,
};

static const char *run_i8(const void *shape, const void *args, const void *prepared, void *scratch,
                          int threads)
{
    (void)prepared, (void)scratch, (void)threads;
    const struct q4_K_gemv_args *a = args;
    const char *illegal = assay_illegal(&q4_K_gemv_op, shape, NULL);
    if (!illegal)
        q4_K_matmul_i8(products, shape, args, NULL, 0, a->y);
    return illegal;
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
    return !w || q4_K_fill_weights(how->kind, s->w_offset, s->n, s->k, w, random);
}

static struct q4_K_gemv_args args_of(void *const *t)
{
    return (struct q4_K_gemv_args){t[0], t[1], t[2]};
}

static bool oracle(const void *shape, void *const *t, size_t tensor, enum assay_numerics numerics,
                   const int64_t *columns, int64_t n_columns, struct assay_expected *expected)
{
    (void)tensor;
    struct q4_K_gemv_args a = args_of(t);
    q4_K_matmul_expect(products, shape, &a, 1, numerics, columns, n_columns, expected);
    return true;
}

static bool twin(const void *shape, void *const *t, size_t tensor, enum assay_numerics numerics,
                 const int64_t *columns, int64_t n_columns, float *out)
{
    (void)tensor;
    struct q4_K_gemv_args a = args_of(t);
    if (numerics == ASSAY_I8)
        q4_K_matmul_i8(products, shape, &a, columns, n_columns, out);
    return numerics == ASSAY_I8;
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
    double weight_bytes = n * k / Q4_K_BLOCK * Q4_K_BLOCK_BYTES;
    return (struct assay_cost){
        .flop = 2 * n * k,
        .products = n * k,
        .read_bytes = weight_bytes + 4 * k,
        .weight_bytes = weight_bytes,
        .written_bytes = 4 * n,
    };
}

static bool isolate(const void *shape, void *const *t, int64_t part)
{
    return isolate_activations(1, count_x(shape), t ? t[1] : NULL, part);
}

/* Edge values may overflow, underflow or not be finite. */
static bool reshape_tame(const void *shape, const struct assay_fill *how, void *other)
{
    return q4_K_reshape_same(&q4_K_gemv_op, shape, other) && how->kind != ASSAY_FILL_EDGE;
}

static void derive_scaled(const void *shape, void *const *t, const void *other_shape,
                          void *const *other)
{
    (void)other_shape;
    assay_copy_inputs(&q4_K_gemv_op, shape, t, other);
    q4_K_scale_by_8(other[1], count_x(shape));
}

static int64_t broken_scaled(const void *shape, void *const *t, const void *other_shape,
                             void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)other_shape;
    struct q4_K_gemv_args a = args_of(t);
    *tensor = 2;
    return q4_K_first_unequal(products, shape, &a, a.y, other[2], 0, 1, 8, numerics);
}

static void derive_zero(const void *shape, void *const *t, const void *other_shape,
                        void *const *other)
{
    (void)other_shape;
    assay_copy_inputs(&q4_K_gemv_op, shape, t, other);
    q4_K_zero(other[1], count_x(shape));
}

static int64_t broken_zero(const void *shape, void *const *t, const void *other_shape,
                           void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)other_shape, (void)numerics;
    struct q4_K_gemv_args a = args_of(t);
    *tensor = 2;
    return q4_K_first_nonzero(products, shape, &a, other[2]);
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
    .n_stored = 1,
    .stored = &stored,
    .defaults = defaults,
    .fill = fill,
    .inner = inner,
    .activations = inner,
    .oracle = oracle,
    .has_f16 = true,
    .twin = twin,
    .cost = cost,
    .n_properties = sizeof(properties) / sizeof(*properties),
    .properties = properties,
    .isolate = isolate,
    .locate = locate,
    .reference = &q4_K_gemv_ref,
};
