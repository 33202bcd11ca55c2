/* SPDX-License-Identifier: MIT */
#include "ref/q4_K_dequant.h"

#include <string.h>

#include "ref/fill.h"
#include "ref/op_parts.h"
#include "ref/q4_K.h"

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    (void)prepared, (void)scratch, (void)threads;
    const struct q4_K_dequant_shape *s = shape;
    const struct q4_K_dequant_args *a = args;
    const char *illegal = assay_illegal(&q4_K_dequant_op, shape, NULL);
    if (illegal)
        return illegal;
    const struct block_q4_K *w = (const struct block_q4_K *)(a->w + s->w_offset);
    for (int64_t b = 0; b < s->n / Q4_K_BLOCK; b++)
        q4_K_weights(&w[b], &a->y[b * Q4_K_BLOCK]);
    return NULL;
}

const struct assay_kernel q4_K_dequant_ref = {
    .op = "q4_K_dequant",
    .name = "ref",
    .tier = "ref",
    .numerics = ASSAY_BITS,
    .run = run,
};

static const struct assay_dim dims[] = {
    {"n", Q4_K_BLOCK, INT64_MAX, Q4_K_BLOCK, false},
    {"w_offset", 0, INT64_MAX, 2, true},
};

static void defaults(void *shape)
{
    struct q4_K_dequant_shape *s = shape;
    if (s->w_offset == ASSAY_UNSET)
        s->w_offset = 0;
}

static int64_t count_w(const void *shape)
{
    const struct q4_K_dequant_shape *s = shape;
    return assay_add(s->w_offset, assay_mul(s->n / Q4_K_BLOCK, Q4_K_BLOCK_BYTES));
}

static int64_t count_y(const void *shape)
{
    const struct q4_K_dequant_shape *s = shape;
    return s->n;
}

static const struct assay_tensor tensors[] = {
    {"w", ASSAY_DTYPE_U8, ASSAY_WEIGHTS, 2, count_w, NULL},
    {"y", ASSAY_DTYPE_F32, ASSAY_OUT_BITS, 4, count_y, count_y},
};

/* A GGUF tensor of any dimensions. */
static const struct assay_stored stored = {
    0,
    "q4_K",
    ASSAY_DIM(struct q4_K_dequant_shape, w_offset),
    4,
    {ASSAY_DIM(struct q4_K_dequant_shape, n), ASSAY_DIM(struct q4_K_dequant_shape, n),
     ASSAY_DIM(struct q4_K_dequant_shape, n), ASSAY_DIM(struct q4_K_dequant_shape, n)},
};

static bool fill(const void *shape, const struct assay_fill *how, void *const *t,
                 struct assay_random *random)
{
    const struct q4_K_dequant_shape *s = shape;
    uint8_t *w = t[0];
    if (!w)
        return true;
    fill_prefix(w, s->w_offset);
    random->start(random, "w");
    int64_t n_blocks = s->n / Q4_K_BLOCK;
    struct block_q4_K *blocks = (struct block_q4_K *)(w + s->w_offset);
    if (how->kind != ASSAY_FILL_EDGE)
        return fill_q4_K(how->kind, n_blocks, Q4_K_BLOCK, blocks, random);
    fill_q4_K_covering(n_blocks, blocks, random);
    return true;
}

static int64_t inner(const void *shape)
{
    (void)shape;
    return 1;
}

static struct assay_cost cost(const void *shape, void *const *t)
{
    (void)t;
    double n = (double)((const struct q4_K_dequant_shape *)shape)->n;
    double weight_bytes = n / Q4_K_BLOCK * Q4_K_BLOCK_BYTES;
    return (struct assay_cost){.flop = n,
                               .read_bytes = weight_bytes,
                               .weight_bytes = weight_bytes,
                               .written_bytes = 4 * n};
}

/* "a block alone": the last one. */

static bool reshape_alone(const void *shape, const struct assay_fill *how, void *other)
{
    (void)how;
    const struct q4_K_dequant_shape *s = shape;
    *(struct q4_K_dequant_shape *)other = (struct q4_K_dequant_shape){Q4_K_BLOCK, 0};
    return s->n > Q4_K_BLOCK || s->w_offset > 0;
}

static void derive_alone(const void *shape, void *const *t, const void *other_shape,
                         void *const *other)
{
    (void)other_shape;
    memcpy(other[0], (const uint8_t *)t[0] + count_w(shape) - Q4_K_BLOCK_BYTES, Q4_K_BLOCK_BYTES);
}

static int64_t broken_alone(const void *shape, void *const *t, const void *other_shape,
                            void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)other_shape, (void)numerics;
    *tensor = 1;
    int64_t start = count_y(shape) - Q4_K_BLOCK;
    int64_t i = assay_first_unequal((const float *)t[1] + start, other[1], Q4_K_BLOCK, 1);
    return i < 0 ? -1 : start + i;
}

static const struct assay_property properties[] = {
    {"a block alone gives the same bits as in the run", reshape_alone, derive_alone, broken_alone},
};

static size_t locate(const void *shape, void *const *t, size_t tensor, int64_t row, int64_t column,
                     struct assay_coordinate *at)
{
    (void)shape, (void)t, (void)tensor, (void)row;
    at[0] = (struct assay_coordinate){"block", column / Q4_K_BLOCK};
    at[1] = (struct assay_coordinate){"sub-block", column / Q4_K_SUB_BLOCK % Q4_K_SUB_BLOCKS};
    at[2] = (struct assay_coordinate){"element of the block", column % Q4_K_BLOCK};
    return 3;
}

const struct assay_op q4_K_dequant_op = {
    .name = "q4_K_dequant",
    .n_dims = sizeof(dims) / sizeof(*dims),
    .dims = dims,
    .n_tensors = sizeof(tensors) / sizeof(*tensors),
    .tensors = tensors,
    .n_stored = 1,
    .stored = &stored,
    .defaults = defaults,
    .fill = fill,
    .inner = inner,
    .cost = cost,
    .n_properties = sizeof(properties) / sizeof(*properties),
    .properties = properties,
    .any_mxcsr = true,
    .locate = locate,
    .reference = &q4_K_dequant_ref,
};
