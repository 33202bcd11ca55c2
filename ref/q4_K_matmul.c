/* SPDX-License-Identifier: MIT */
#include "ref/q4_K_matmul.h"

#include <string.h>

#include "ref/fill.h"
#include "ref/op_parts.h"
#include "ref/q4_K_dot.h"

/* Pairs for which a block is dequantized once. */
enum { PAIRS_AT_ONCE = 64 };

/* Columns for which a block is quantized once. */
enum { COLUMNS_AT_ONCE = 64 };

static void ref_rows(const struct q4_K_product *product, int64_t first, int64_t n, float *dst)
{
    int64_t m = product->m;
    for (int64_t r = 0; r < m; r++) {
        double sum[PAIRS_AT_ONCE] = {0};
        for (int64_t b = 0; b < product->k / Q4_K_BLOCK; b++) {
            float w[Q4_K_BLOCK];
            q4_K_weights(&q4_K_row(product, r)[b], w);
            for (int64_t i = 0; i < n; i++) {
                const float *x = q4_K_source(product, q4_K_pair(product, first + i));
                for (int k = 0; k < Q4_K_BLOCK; k++)
                    sum[i] += (double)w[k] * (double)x[b * Q4_K_BLOCK + k];
            }
        }
        for (int64_t i = 0; i < n; i++)
            dst[q4_K_pair(product, first + i) * m + r] = (float)sum[i];
    }
}

void q4_K_matmul_ref(q4_K_products *products, const void *shape, const void *args, float *dst)
{
    struct q4_K_product product;
    for (int64_t p = 0; products(shape, args, p, &product); p++) {
        for (int64_t i = 0; i < product.n; i += PAIRS_AT_ONCE) {
            int64_t left = product.n - i;
            ref_rows(&product, i, left < PAIRS_AT_ONCE ? left : PAIRS_AT_ONCE, dst);
        }
    }
}

int64_t q4_K_matmul_ref_depth(const void *shape)
{
    (void)shape;
    return 2;
}

/* out[c], c < n, of a pair: its product with row columns[c], or `first` + c if `columns` is NULL. */
static void twin_columns(const struct q4_K_product *product, int64_t pair, int digits,
                         const int64_t *columns, int64_t first, int64_t n, float *out)
{
    float acc[ACTIVATION_MAX_DIGITS][COLUMNS_AT_ONCE] = {{0}};
    for (int64_t b = 0; b < product->k / ACTIVATION_BLOCK; b++) {
        struct activation_i8 x[ACTIVATION_MAX_DIGITS];
        activation_quantize_block(q4_K_source(product, pair) + b * ACTIVATION_BLOCK, digits, x);
        for (int64_t c = 0; c < n; c++) {
            int64_t r = columns ? columns[c] : first + c;
            for (int j = 0; j < digits; j++)
                acc[j][c] = q4_K_add_i8(&q4_K_row(product, r)[b], &x[j], acc[j][c]);
        }
    }
    for (int64_t c = 0; c < n; c++) {
        out[c] = acc[0][c];
        for (int j = 1; j < digits; j++)
            out[c] += acc[j][c];
    }
}

void q4_K_matmul_twin(q4_K_products *products, const void *shape, const void *args, int digits,
                      const int64_t *columns, int64_t n_columns, float *out)
{
    struct q4_K_product product;
    for (int64_t p = 0; products(shape, args, p, &product); p++) {
        int64_t n = columns ? n_columns : product.m;
        for (int64_t i = 0; i < product.n; i++) {
            int64_t pair = q4_K_pair(&product, i);
            for (int64_t c = 0; c < n; c += COLUMNS_AT_ONCE)
                twin_columns(&product, pair, digits, columns ? columns + c : NULL, c,
                             n - c < COLUMNS_AT_ONCE ? n - c : COLUMNS_AT_ONCE, &out[pair * n + c]);
        }
    }
}

void q4_K_matmul_expect(q4_K_products *products, const void *shape, const void *args, int64_t rows,
                        enum assay_numerics numerics, const int64_t *columns, int64_t n_columns,
                        struct assay_expected *expected)
{
    struct q4_K_product product;
    for (int64_t i = 0; i < rows * n_columns; i++)
        expected[i] = (struct assay_expected){.untouched = true};
    for (int64_t p = 0; products(shape, args, p, &product); p++) {
        for (int64_t c = 0; c < n_columns; c++) {
            for (int64_t b = 0; b < product.k / Q4_K_BLOCK; b++) {
                struct q4_K_expanded block;
                q4_K_expand(&q4_K_row(&product, columns[c])[b], numerics, &block);
                for (int64_t i = 0; i < product.n; i++) {
                    int64_t pair = q4_K_pair(&product, i);
                    struct assay_expected *out = &expected[pair * n_columns + c];
                    out->untouched = false;
                    q4_K_expect(&block, q4_K_source(&product, pair) + b * Q4_K_BLOCK, numerics,
                                out);
                }
            }
        }
    }
}

/* ---- properties ---- */

bool q4_K_reshape_same(const struct assay_op *op, const void *shape, void *other)
{
    memcpy(other, shape, op->n_dims * sizeof(int64_t));
    return true;
}

static bool commutes_with_rounding(const float *x, int64_t n, float factor)
{
    for (int64_t i = 0; i < n; i++) {
        if (assay_round_to_f16(factor * x[i]) != factor * assay_round_to_f16(x[i]))
            return false;
    }
    return true;
}

int64_t q4_K_first_unequal(q4_K_products *products, const void *shape, const void *args,
                           const float *dst, const float *other, int64_t start, int64_t count,
                           float factor, enum assay_numerics numerics)
{
    struct q4_K_product product;
    int64_t first = -1;
    for (int64_t p = 0; products(shape, args, p, &product); p++) {
        int64_t m = product.m;
        for (int64_t i = 0; i < product.n; i++) {
            int64_t pair = q4_K_pair(&product, i);
            if (pair < start || pair >= start + count || (first >= 0 && pair * m > first))
                continue;
            if (numerics == ASSAY_F16 && factor != 1 &&
                !commutes_with_rounding(q4_K_source(&product, pair), product.k, factor))
                continue;
            int64_t r = assay_first_unequal(&dst[pair * m], &other[(pair - start) * m], m, factor);
            first = r < 0 ? first : pair * m + r;
        }
    }
    return first;
}

int64_t q4_K_first_nonzero(q4_K_products *products, const void *shape, const void *args,
                           const float *dst)
{
    struct q4_K_product product;
    for (int64_t p = 0; products(shape, args, p, &product); p++) {
        for (int64_t i = 0; i < product.n; i++) {
            int64_t start = q4_K_pair(&product, i) * product.m;
            for (int64_t r = start; r < start + product.m; r++) {
                if (!(dst[r] == 0))
                    return r;
            }
        }
    }
    return -1;
}

void q4_K_scale_by_8(float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] *= 8;
}

void q4_K_zero(float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = i % 2 ? -0.0f : 0.0f;
}

/* ---- the routed ones ---- */

const char *q4_K_moe_illegal(const void *shape)
{
    const struct q4_K_moe_shape *s = shape;
    int64_t pairs = q4_K_moe_pairs(shape);
    if (s->top_k > s->experts)
        return "top_k must not exceed experts";
    if (s->ne11 != 1 && s->ne11 != s->top_k)
        return "ne11 must be 1 or top_k";
    return pairs < 0 || pairs > INT32_MAX ? "tokens * top_k must be below 2^31" : NULL;
}

int64_t q4_K_moe_expert_bytes(const void *shape)
{
    const struct q4_K_moe_shape *s = shape;
    return assay_mul(assay_mul(s->m, s->k / Q4_K_BLOCK), Q4_K_BLOCK_BYTES);
}

int64_t q4_K_moe_pairs(const void *shape)
{
    const struct q4_K_moe_shape *s = shape;
    return assay_mul(s->tokens, s->top_k);
}

int64_t q4_K_moe_count_src1(const void *shape)
{
    const struct q4_K_moe_shape *s = shape;
    return assay_mul(assay_mul(s->tokens, s->ne11), s->k);
}

int64_t q4_K_moe_count_dst(const void *shape)
{
    return assay_mul(q4_K_moe_pairs(shape), ((const struct q4_K_moe_shape *)shape)->m);
}

int64_t q4_K_moe_columns_dst(const void *shape)
{
    return ((const struct q4_K_moe_shape *)shape)->m;
}

int64_t q4_K_moe_inner(const void *shape)
{
    return ((const struct q4_K_moe_shape *)shape)->k;
}

bool q4_K_fill_weights(enum assay_fill_kind kind, int64_t w_offset, int64_t rows, int64_t k,
                       uint8_t *w, struct assay_random *random)
{
    fill_prefix(w, w_offset);
    random->start(random, "w");
    return fill_q4_K(kind, rows, k, (struct block_q4_K *)(w + w_offset), random);
}
