/* SPDX-License-Identifier: MIT */
#include "ref/q4_K_gemm.h"

#include <string.h>

#include "ref/fill.h"
#include "ref/op_parts.h"
#include "ref/q4_K_dot.h"
#include "ref/q4_K_matmul.h"

typedef struct q4_K_gemm_shape shape_t;
typedef struct q4_K_gemm_args args_t;

enum { W, SRC, DST }; /* tensors */

static bool products(const void *shape, const void *args, int64_t i, struct q4_K_product *product)
{
    const shape_t *s = shape;
    const args_t *a = args;
    *product = (struct q4_K_product){
        .w = q4_K_matrix(a->w, s->w_offset, s->m, s->k, 0),
        .src = a->src,
        .m = s->m,
        .k = s->k,
        .top_k = 1,
        .ne11 = 1,
        .n = s->tokens,
    };
    return i == 0;
}

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    (void)prepared, (void)scratch, (void)threads;
    const args_t *a = args;
    const char *illegal = assay_illegal(&q4_K_gemm_op, shape, NULL);
    if (!illegal)
        q4_K_matmul_ref(products, shape, args, a->dst);
    return illegal;
}

const struct assay_kernel q4_K_gemm_ref = {
    .op = "q4_K_gemm",
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
    const args_t *a = args;
    const char *illegal = assay_illegal(&q4_K_gemm_op, shape, NULL);
    if (!illegal)
        q4_K_matmul_i8(products, shape, args, NULL, 0, a->dst);
    return illegal;
}

static int64_t depth_i8(const void *shape)
{
    return q4_K_dot_i8_depth(((const shape_t *)shape)->k);
}

const struct assay_kernel q4_K_gemm_ref_i8 = {
    .op = "q4_K_gemm",
    .name = "ref-i8",
    .tier = "ref",
    .numerics = ASSAY_I8,
    .twin = 1,
    .depth = depth_i8,
    .run = run_i8,
};

static const struct assay_dim dims[] = {
    {"m", 1, INT64_MAX, 1, false},
    {"k", Q4_K_BLOCK, INT64_MAX, Q4_K_BLOCK, false},
    {"tokens", 1, INT32_MAX, 1, false},
    {"w_offset", 0, INT64_MAX, 2, true},
};

static void defaults(void *shape)
{
    shape_t *s = shape;
    s->w_offset = s->w_offset == ASSAY_UNSET ? 0 : s->w_offset;
}

static int64_t count_w(const void *shape)
{
    const shape_t *s = shape;
    int64_t blocks = assay_mul(s->m, s->k / Q4_K_BLOCK);
    return assay_add(s->w_offset, assay_mul(blocks, Q4_K_BLOCK_BYTES));
}

static int64_t count_src(const void *shape)
{
    const shape_t *s = shape;
    return assay_mul(s->tokens, s->k);
}

static int64_t count_dst(const void *shape)
{
    const shape_t *s = shape;
    return assay_mul(s->tokens, s->m);
}

static int64_t columns_dst(const void *shape)
{
    return ((const shape_t *)shape)->m;
}

static const struct assay_tensor tensors[] = {
    {"w", ASSAY_DTYPE_U8, ASSAY_WEIGHTS, 2, count_w, NULL},
    {"src", ASSAY_DTYPE_F32, ASSAY_INPUT, 4, count_src, NULL},
    {"dst", ASSAY_DTYPE_F32, ASSAY_OUT_REAL, 4, count_dst, columns_dst},
};

static const struct assay_stored stored = {
    W, "q4_K", ASSAY_DIM(shape_t, w_offset), 2, {ASSAY_DIM(shape_t, k), ASSAY_DIM(shape_t, m)},
};

static args_t args_of(void *const *t)
{
    return (args_t){t[W], t[SRC], t[DST]};
}

static bool fill(const void *shape, const struct assay_fill *how, void *const *t,
                 struct assay_random *random)
{
    const shape_t *s = shape;
    if (t[SRC]) {
        random->start(random, "src");
        fill_activations(how->kind, s->tokens, s->k, t[SRC], random);
    }
    return !t[W] || q4_K_fill_weights(how->kind, s->w_offset, s->m, s->k, t[W], random);
}

static int64_t inner(const void *shape)
{
    return ((const shape_t *)shape)->k;
}

static bool oracle(const void *shape, void *const *t, size_t tensor, enum assay_numerics numerics,
                   const int64_t *columns, int64_t n_columns, struct assay_expected *expected)
{
    (void)tensor;
    args_t a = args_of(t);
    q4_K_matmul_expect(products, shape, &a, ((const shape_t *)shape)->tokens, numerics, columns,
                       n_columns, expected);
    return true;
}

static bool twin(const void *shape, void *const *t, size_t tensor, enum assay_numerics numerics,
                 const int64_t *columns, int64_t n_columns, float *out)
{
    (void)tensor;
    args_t a = args_of(t);
    if (numerics == ASSAY_I8)
        q4_K_matmul_i8(products, shape, &a, columns, n_columns, out);
    return numerics == ASSAY_I8;
}

static struct assay_cost cost(const void *shape, void *const *t)
{
    (void)t;
    const shape_t *s = shape;
    double m = (double)s->m, k = (double)s->k, tokens = (double)s->tokens;
    double weight_bytes = m * k / Q4_K_BLOCK * Q4_K_BLOCK_BYTES;
    return (struct assay_cost){
        .flop = 2 * tokens * m * k,
        .products = tokens * m * k,
        .read_bytes = weight_bytes + 4 * tokens * k,
        .weight_bytes = weight_bytes,
        .written_bytes = 4 * tokens * m,
    };
}

static bool isolate(const void *shape, void *const *t, int64_t part)
{
    const shape_t *s = shape;
    return isolate_activations(s->tokens, s->k, t ? t[SRC] : NULL, part);
}

static size_t locate(const void *shape, void *const *t, size_t tensor, int64_t row, int64_t column,
                     struct assay_coordinate *at)
{
    (void)shape, (void)t, (void)tensor;
    at[0] = (struct assay_coordinate){"token", row};
    at[1] = (struct assay_coordinate){"row", column};
    return 2;
}

/* ---- properties ---- */

/* Edge values may overflow, underflow or not be finite. */
static bool reshape_tame(const void *shape, const struct assay_fill *how, void *other)
{
    return q4_K_reshape_same(&q4_K_gemm_op, shape, other) && how->kind != ASSAY_FILL_EDGE;
}

static void derive_scaled(const void *shape, void *const *t, const void *other_shape,
                          void *const *other)
{
    (void)other_shape;
    assay_copy_inputs(&q4_K_gemm_op, shape, t, other);
    q4_K_scale_by_8(other[SRC], count_src(shape));
}

static int64_t broken_scaled(const void *shape, void *const *t, const void *other_shape,
                             void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)other_shape;
    args_t a = args_of(t);
    *tensor = DST;
    return q4_K_first_unequal(products, shape, &a, a.dst, other[DST], 0,
                              ((const shape_t *)shape)->tokens, 8, numerics);
}

static void derive_zero(const void *shape, void *const *t, const void *other_shape,
                        void *const *other)
{
    (void)other_shape;
    assay_copy_inputs(&q4_K_gemm_op, shape, t, other);
    q4_K_zero(other[SRC], count_src(shape));
}

static int64_t broken_zero(const void *shape, void *const *t, const void *other_shape,
                           void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)other_shape, (void)numerics;
    args_t a = args_of(t);
    *tensor = DST;
    return q4_K_first_nonzero(products, shape, &a, other[DST]);
}

static bool reshape_reversed(const void *shape, const struct assay_fill *how, void *other)
{
    (void)how;
    return q4_K_reshape_same(&q4_K_gemm_op, shape, other) && ((const shape_t *)shape)->tokens > 1;
}

/* Token t becomes tokens - 1 - t. */
static void derive_reversed(const void *shape, void *const *t, const void *other_shape,
                            void *const *other)
{
    (void)other_shape;
    const shape_t *s = shape;
    assay_copy_inputs(&q4_K_gemm_op, shape, t, other);
    for (int64_t i = 0; i < s->tokens; i++)
        memcpy((float *)other[SRC] + (s->tokens - 1 - i) * s->k, (const float *)t[SRC] + i * s->k,
               (size_t)s->k * sizeof(float));
}

static int64_t broken_reversed(const void *shape, void *const *t, const void *other_shape,
                               void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)other_shape, (void)numerics;
    const shape_t *s = shape;
    *tensor = DST;
    for (int64_t i = 0; i < s->tokens; i++) {
        int64_t r =
            assay_first_unequal((const float *)t[DST] + i * s->m,
                                (const float *)other[DST] + (s->tokens - 1 - i) * s->m, s->m, 1);
        if (r >= 0)
            return i * s->m + r;
    }
    return -1;
}

static bool reshape_alone(const void *shape, const struct assay_fill *how, void *other)
{
    bool several = reshape_reversed(shape, how, other);
    ((shape_t *)other)->tokens = 1;
    return several;
}

/* The last token, often in the tail of a tile. */
static void derive_alone(const void *shape, void *const *t, const void *other_shape,
                         void *const *other)
{
    (void)other_shape;
    const shape_t *s = shape;
    memcpy(other[W], t[W], (size_t)count_w(shape));
    memcpy(other[SRC], (const float *)t[SRC] + (s->tokens - 1) * s->k,
           (size_t)s->k * sizeof(float));
}

static int64_t broken_alone(const void *shape, void *const *t, const void *other_shape,
                            void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)other_shape;
    args_t a = args_of(t);
    *tensor = DST;
    return q4_K_first_unequal(products, shape, &a, a.dst, other[DST],
                              ((const shape_t *)shape)->tokens - 1, 1, 1, numerics);
}

static const struct assay_property properties[] = {
    {"scaling the activations by 8 scales the outputs by 8", reshape_tame, derive_scaled,
     broken_scaled},
    {"zero activations give zero outputs", reshape_tame, derive_zero, broken_zero},
    {"the order of tokens does not matter", reshape_reversed, derive_reversed, broken_reversed},
    {"a token alone gives the same bits as in the batch", reshape_alone, derive_alone,
     broken_alone},
};

const struct assay_op q4_K_gemm_op = {
    .name = "q4_K_gemm",
    .n_dims = sizeof(dims) / sizeof(*dims),
    .dims = dims,
    .n_tensors = sizeof(tensors) / sizeof(*tensors),
    .tensors = tensors,
    .n_stored = 1,
    .stored = &stored,
    .defaults = defaults,
    .fill = fill,
    .inner = inner,
    .activations = count_src,
    .oracle = oracle,
    .has_f16 = true,
    .twin = twin,
    .cost = cost,
    .n_properties = sizeof(properties) / sizeof(*properties),
    .properties = properties,
    .batch_dim = offsetof(shape_t, tokens) / sizeof(int64_t),
    .isolate = isolate,
    .locate = locate,
    .reference = &q4_K_gemm_ref,
};
