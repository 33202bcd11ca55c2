/* SPDX-License-Identifier: MIT */
/*
 * What the matmul ops on q4_K weights share. A call of any of them is a few products, each of one
 * matrix and some rows of activations; an op says which, and the naive reference, the scalar twin,
 * the oracle and the properties follow.
 */
#ifndef ASSAY_REF_Q4_K_MATMUL_H
#define ASSAY_REF_Q4_K_MATMUL_H

#include "ref/op.h"
#include "ref/q4_K.h"

/*
 * For i < n, with pair = pairs ? pairs[i] : first + i, token = pair / top_k, slot = pair % top_k:
 *
 *   dst[pair, r] = sum_k w[r, k] * src[token, slot % ne11, k]
 */
struct q4_K_product {
    const struct block_q4_K *w; /* [m, k/256] */
    const float *src;           /* [tokens, ne11, k] */
    int64_t m, k, top_k, ne11;
    const int32_t *pairs; /* NULL: first, first + 1, ... */
    int64_t first, n;
};

/* Product number i = 0, 1, ... of a call; false: there are no more. Every pair is in one product at
 * most; the rows of dst of the others are not written. */
typedef bool q4_K_products(const void *shape, const void *args, int64_t i,
                           struct q4_K_product *product);

static inline int64_t q4_K_pair(const struct q4_K_product *product, int64_t i)
{
    return product->pairs ? product->pairs[i] : product->first + i;
}

/* The activations of a pair. */
static inline const float *q4_K_source(const struct q4_K_product *product, int64_t pair)
{
    int64_t token = pair / product->top_k, slot = pair % product->top_k;
    return &product->src[(token * product->ne11 + slot % product->ne11) * product->k];
}

static inline const struct block_q4_K *q4_K_row(const struct q4_K_product *product, int64_t r)
{
    return product->w + r * (product->k / Q4_K_BLOCK);
}

/* The naive reference: sums in double, rounded once. */
void q4_K_matmul_ref(q4_K_products *products, const void *shape, const void *args, float *dst);

/* The scalar twin of the integer class of so many digits, for these columns of dst, or for all m if
 * `columns` is NULL. */
void q4_K_matmul_twin(q4_K_products *products, const void *shape, const void *args, int digits,
                      const int64_t *columns, int64_t n_columns, float *out);

/*
 * Defines the kernel OP_ref_CLASS, which is the twin. k_of says k of a shape; the op has
 *
 *   const char *run_twin(const void *shape, const void *args, int digits)
 */
#define Q4_K_TWIN_KERNEL(op_name, k_of, class_name, class_numerics)                                \
    static const char *run_##class_name(const void *shape, const void *args, const void *prepared, \
                                        void *scratch, int threads)                                \
    {                                                                                              \
        (void)prepared, (void)scratch, (void)threads;                                              \
        return run_twin(shape, args, assay_digits(class_numerics));                                \
    }                                                                                              \
    static int64_t depth_##class_name(const void *shape)                                           \
    {                                                                                              \
        return q4_K_twin_depth(k_of(shape), assay_digits(class_numerics));                         \
    }                                                                                              \
    const struct assay_kernel op_name##_ref_##class_name = {                                       \
        .op = #op_name,                                                                            \
        .name = "ref-" #class_name,                                                                \
        .tier = "ref",                                                                             \
        .numerics = class_numerics,                                                                \
        .twin = 1,                                                                                 \
        .depth = depth_##class_name,                                                               \
        .run = run_##class_name,                                                                   \
    };
#define Q4_K_TWIN_KERNELS(op_name, k_of)            \
    Q4_K_TWIN_KERNEL(op_name, k_of, i8, ASSAY_I8)   \
    Q4_K_TWIN_KERNEL(op_name, k_of, i16, ASSAY_I16) \
    Q4_K_TWIN_KERNEL(op_name, k_of, i24, ASSAY_I24)

/* The oracle, for `rows` rows of dst. */
void q4_K_matmul_expect(q4_K_products *products, const void *shape, const void *args, int64_t rows,
                        enum assay_numerics numerics, const int64_t *columns, int64_t n_columns,
                        struct assay_expected *expected);

/* Roundings of the naive reference: the dequantized weight and the result; the sum in double is
 * exact beside them. */
int64_t q4_K_matmul_ref_depth(const void *shape);

/* ---- properties ---- */

/* The other call's shape is the same. */
bool q4_K_reshape_same(const struct assay_op *op, const void *shape, void *other);

/*
 * The first element, in the order of pairs, where `other` is not `factor` times dst; -1: none. Pair p
 * of dst is compared with pair p - start of other, if that is from 0 to count - 1. Class f16: pairs
 * whose activations' rounding to f16 does not commute with the factor are passed over.
 */
int64_t q4_K_first_unequal(q4_K_products *products, const void *shape, const void *args,
                           const float *dst, const float *other, int64_t start, int64_t count,
                           float factor, enum assay_numerics numerics);

/* The first element of a written row of dst that is not zero; -1: none. */
int64_t q4_K_first_nonzero(q4_K_products *products, const void *shape, const void *args,
                           const float *dst);

/* Eight times the n activations; zeros of both signs in their place. */
void q4_K_scale_by_8(float *x, int64_t n);
void q4_K_zero(float *x, int64_t n);

/* ---- the routed ones ---- */

/* How the shapes of both routed matmuls start. */
struct q4_K_moe_shape {
    int64_t experts, m, k, top_k, ne11, tokens;
};

/* The rule between those dimensions that a shape breaks, or NULL. */
const char *q4_K_moe_illegal(const void *shape);

int64_t q4_K_moe_expert_bytes(const void *shape);
int64_t q4_K_moe_pairs(const void *shape);
int64_t q4_K_moe_count_src1(const void *shape);
int64_t q4_K_moe_count_dst(const void *shape);
int64_t q4_K_moe_columns_dst(const void *shape);
int64_t q4_K_moe_inner(const void *shape);

/* Where all experts' weights start, and one's. */
static inline const struct block_q4_K *q4_K_matrix(const uint8_t *w, int64_t w_offset, int64_t m,
                                                   int64_t k, int64_t expert)
{
    return (const struct block_q4_K *)(w + w_offset) + expert * m * (k / Q4_K_BLOCK);
}

/* Fills the weights of `rows` rows, and the bytes before them. False: out of memory. */
bool q4_K_fill_weights(enum assay_fill_kind kind, int64_t w_offset, int64_t rows, int64_t k,
                       uint8_t *w, struct assay_random *random);

#endif
