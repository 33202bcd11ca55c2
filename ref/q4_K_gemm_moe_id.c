/* SPDX-License-Identifier: MIT */
#include "ref/q4_K_gemm_moe_id.h"

#include <stdlib.h>
#include <string.h>

#include "ref/fill.h"
#include "ref/moe_ids_tpe.h"
#include "ref/op_parts.h"
#include "ref/q4_K_dot.h"

typedef struct q4_K_gemm_moe_id_shape shape_t;

static const struct block_q4_K *row_of(const shape_t *s, const uint8_t *w, int64_t e, int64_t r)
{
    return (const struct block_q4_K *)(w + s->w_offset) + (e * s->m + r) * (s->k / Q4_K_BLOCK);
}

static const float *source_of(const shape_t *s, const float *src1, int64_t pair)
{
    int64_t token = pair / s->top_k, slot = pair % s->top_k;
    return &src1[(token * s->ne11 + slot % s->ne11) * s->k];
}

static int64_t scratch(const void *shape, int threads)
{
    (void)threads;
    const shape_t *s = shape;
    return assay_mul(assay_mul(s->tokens, s->top_k), sizeof(double));
}

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    (void)prepared, (void)threads;
    const shape_t *s = shape;
    const struct q4_K_gemm_moe_id_args *a = args;
    const char *illegal = assay_illegal(&q4_K_gemm_moe_id_op, shape, NULL);
    if (illegal)
        return illegal;
    double *sum = scratch;
    for (int64_t e = 0; e < s->experts; e++) {
        const int32_t *list = &a->ids[e * s->stride];
        for (int64_t r = 0; r < s->m && a->tpe[e] > 0; r++) {
            memset(sum, 0, (size_t)a->tpe[e] * sizeof(*sum));
            for (int64_t b = 0; b < s->k / Q4_K_BLOCK; b++) {
                float w[Q4_K_BLOCK];
                q4_K_weights(&row_of(s, a->w, e, r)[b], w);
                for (int32_t i = 0; i < a->tpe[e]; i++) {
                    const float *x = source_of(s, a->src1, list[i]) + b * Q4_K_BLOCK;
                    for (int k = 0; k < Q4_K_BLOCK; k++)
                        sum[i] += (double)w[k] * (double)x[k];
                }
            }
            for (int32_t i = 0; i < a->tpe[e]; i++)
                a->dst[list[i] * s->m + r] = (float)sum[i];
        }
    }
    return NULL;
}

static int64_t depth(const void *shape)
{
    (void)shape;
    return 2; /* the dequantized weight and the result; the sum in double is exact beside them */
}

const struct assay_kernel q4_K_gemm_moe_id_ref = {
    .op = "q4_K_gemm_moe_id",
    .name = "ref",
    .tier = "ref",
    .numerics = ASSAY_F32,
    .depth = depth,
    .scratch_bytes = scratch,
    .run = run,
};

/* Class i8 for the given columns of dst, or for all if `columns` is NULL. */
static void gemm_i8(const shape_t *s, const struct q4_K_gemm_moe_id_args *a, const int64_t *columns,
                    int64_t n_columns, float *out)
{
    for (int64_t e = 0; e < s->experts; e++) {
        for (int32_t i = 0; i < a->tpe[e]; i++) {
            int64_t pair = a->ids[e * s->stride + i];
            float *row = &out[pair * n_columns];
            memset(row, 0, (size_t)n_columns * sizeof(*row));
            for (int64_t b = 0; b < s->k / ACTIVATION_BLOCK; b++) {
                struct activation_i8 xq;
                activation_i8_quantize(source_of(s, a->src1, pair) + b * ACTIVATION_BLOCK, &xq);
                for (int64_t c = 0; c < n_columns; c++) {
                    int64_t r = columns ? columns[c] : c;
                    row[c] = q4_K_add_i8(&row_of(s, a->w, e, r)[b], &xq, row[c]);
                }
            }
        }
    }
}

static const char *run_i8(const void *shape, const void *args, const void *prepared, void *scratch,
                          int threads)
{
    (void)prepared, (void)scratch, (void)threads;
    const struct q4_K_gemm_moe_id_args *a = args;
    const char *illegal = assay_illegal(&q4_K_gemm_moe_id_op, shape, NULL);
    if (illegal)
        return illegal;
    gemm_i8(shape, a, NULL, ((const shape_t *)shape)->m, a->dst);
    return NULL;
}

static int64_t depth_i8(const void *shape)
{
    return q4_K_dot_i8_depth(((const shape_t *)shape)->k);
}

const struct assay_kernel q4_K_gemm_moe_id_ref_i8 = {
    .op = "q4_K_gemm_moe_id",
    .name = "ref-i8",
    .tier = "ref",
    .numerics = ASSAY_I8,
    .twin = 1,
    .depth = depth_i8,
    .run = run_i8,
};

static const struct assay_dim dims[] = {
    {"experts", 1, INT32_MAX, 1, false},
    {"m", 1, INT32_MAX, 1, false},
    {"k", Q4_K_BLOCK, INT64_MAX, Q4_K_BLOCK, false},
    {"top_k", 1, INT32_MAX, 1, false},
    {"ne11", 1, INT32_MAX, 1, true},
    {"tokens", 1, INT32_MAX, 1, false},
    {"stride", 1, INT64_MAX, 1, true},
    {"w_offset", 0, INT64_MAX, 2, true},
    {"indirect", 0, 1, 1, true},
};

static void defaults(void *shape)
{
    shape_t *s = shape;
    s->ne11 = s->ne11 == ASSAY_UNSET ? 1 : s->ne11;
    s->stride = s->stride == ASSAY_UNSET ? assay_mul(s->tokens, s->top_k) : s->stride;
    s->w_offset = s->w_offset == ASSAY_UNSET ? 0 : s->w_offset;
    s->indirect = s->indirect == ASSAY_UNSET ? 0 : s->indirect;
}

static const char *illegal(const void *shape)
{
    const shape_t *s = shape;
    int64_t pairs = assay_mul(s->tokens, s->top_k);
    if (s->top_k > s->experts)
        return "top_k must not exceed experts";
    if (s->ne11 != 1 && s->ne11 != s->top_k)
        return "ne11 must be 1 or top_k";
    if (pairs < 0 || pairs > INT32_MAX)
        return "tokens * top_k must be below 2^31";
    return s->stride < pairs ? "stride must be at least tokens * top_k" : NULL;
}

static int64_t expert_bytes(const shape_t *s)
{
    return assay_mul(assay_mul(s->m, s->k / Q4_K_BLOCK), Q4_K_BLOCK_BYTES);
}

static int64_t count_w(const void *shape)
{
    const shape_t *s = shape;
    return assay_add(s->w_offset, assay_mul(s->experts, expert_bytes(s)));
}

static int64_t count_src1(const void *shape)
{
    const shape_t *s = shape;
    return assay_mul(assay_mul(s->tokens, s->ne11), s->k);
}

static int64_t count_ids(const void *shape)
{
    const shape_t *s = shape;
    return assay_mul(s->experts, s->stride);
}

static int64_t count_tpe(const void *shape)
{
    return ((const shape_t *)shape)->experts;
}

static int64_t count_grid(const void *shape)
{
    return ((const shape_t *)shape)->indirect ? 3 : 0;
}

static int64_t count_dst(const void *shape)
{
    const shape_t *s = shape;
    return assay_mul(assay_mul(s->tokens, s->top_k), s->m);
}

static int64_t columns_dst(const void *shape)
{
    return ((const shape_t *)shape)->m;
}

static const struct assay_tensor tensors[] = {
    {"w", ASSAY_DTYPE_U8, ASSAY_WEIGHTS, 2, count_w, NULL},
    {"src1", ASSAY_DTYPE_F32, ASSAY_INPUT, 4, count_src1, NULL},
    {"ids", ASSAY_DTYPE_I32, ASSAY_INPUT, 4, count_ids, NULL},
    {"tpe", ASSAY_DTYPE_I32, ASSAY_INPUT, 4, count_tpe, NULL},
    {"grid", ASSAY_DTYPE_U32, ASSAY_INPUT, 4, count_grid, NULL},
    {"dst", ASSAY_DTYPE_F32, ASSAY_OUT_REAL, 4, count_dst, columns_dst},
};

/* A GGUF tensor [k, m, experts]. */
static const struct assay_stored stored = {
    0,
    "q4_K",
    ASSAY_DIM(shape_t, w_offset),
    3,
    {ASSAY_DIM(shape_t, k), ASSAY_DIM(shape_t, m), ASSAY_DIM(shape_t, experts)},
};

static struct q4_K_gemm_moe_id_args args_of(void *const *t)
{
    return (struct q4_K_gemm_moe_id_args){t[0], t[1], t[2], t[3], t[4], t[5]};
}

static bool fill_lists(const shape_t *s, const struct assay_fill *how, void *const *t,
                       struct assay_random *random)
{
    int32_t *ids = t[2], *tpe = t[3];
    int64_t pairs = s->tokens * s->top_k;
    int32_t *selected = malloc((size_t)pairs * sizeof(*selected));
    random->start(random, "routing");
    if (!selected || !fill_routing(how, s->experts, s->tokens, s->top_k, selected, random)) {
        free(selected);
        return false;
    }
    for (int64_t i = 0; i < count_ids(s); i++)
        ids[i] = INT32_MIN; /* a read past tpe leads far away */
    moe_lists(selected, pairs, s->experts, s->stride, tpe, ids);
    free(selected);
    if (s->indirect)
        moe_grid(tpe, s->experts, s->m, t[4]);
    return true;
}

static bool fill(const void *shape, const struct assay_fill *how, void *const *t,
                 struct assay_random *random)
{
    const shape_t *s = shape;
    uint8_t *w = t[0];
    if (t[2] && !fill_lists(s, how, t, random))
        return false;
    if (t[1]) {
        random->start(random, "src1");
        fill_activations(how->kind, s->tokens * s->ne11, s->k, t[1], random);
    }
    if (!w)
        return true;
    fill_prefix(w, s->w_offset);
    random->start(random, "w");
    return fill_q4_K(how->kind, s->experts * s->m, s->k, (struct block_q4_K *)(w + s->w_offset),
                     random);
}

static void spoil(const void *shape, void *const *t)
{
    const shape_t *s = shape;
    uint8_t *w = (uint8_t *)t[0] + s->w_offset;
    const int32_t *tpe = t[3];
    for (int64_t e = 0; e < s->experts; e++) {
        if (tpe[e] == 0)
            fill_prefix(w + e * expert_bytes(s), expert_bytes(s));
    }
}

static bool isolate(const void *shape, void *const *t, int64_t part)
{
    const shape_t *s = shape;
    return isolate_activations(s->tokens * s->ne11, s->k, t ? t[1] : NULL, part);
}

static int64_t inner(const void *shape)
{
    return ((const shape_t *)shape)->k;
}

static void oracle(const void *shape, void *const *t, size_t tensor, const int64_t *columns,
                   int64_t n_columns, struct assay_expected *expected)
{
    (void)tensor;
    const shape_t *s = shape;
    struct q4_K_gemm_moe_id_args a = args_of(t);
    for (int64_t i = 0; i < s->tokens * s->top_k * n_columns; i++)
        expected[i] = (struct assay_expected){.untouched = true};
    for (int64_t e = 0; e < s->experts; e++) {
        for (int32_t i = 0; i < a.tpe[e]; i++) {
            int64_t pair = a.ids[e * s->stride + i];
            const float *x = source_of(s, a.src1, pair);
            for (int64_t c = 0; c < n_columns; c++) {
                struct assay_expected *out = &expected[pair * n_columns + c];
                out->untouched = false;
                for (int64_t b = 0; b < s->k / Q4_K_BLOCK; b++)
                    q4_K_expect(&row_of(s, a.w, e, columns[c])[b], &x[b * Q4_K_BLOCK], out);
            }
        }
    }
}

static bool twin(const void *shape, void *const *t, size_t tensor, enum assay_numerics numerics,
                 const int64_t *columns, int64_t n_columns, float *out)
{
    (void)tensor;
    struct q4_K_gemm_moe_id_args a = args_of(t);
    if (numerics != ASSAY_I8)
        return false;
    gemm_i8(shape, &a, columns, n_columns, out);
    return true;
}

static struct assay_cost cost(const void *shape, void *const *t)
{
    const shape_t *s = shape;
    const int32_t *tpe = t[3];
    double pairs = 0, touched = 0, m = (double)s->m, k = (double)s->k;
    for (int64_t e = 0; e < s->experts; e++) {
        pairs += tpe[e];
        touched += tpe[e] > 0;
    }
    double sources = s->ne11 == 1 ? (double)s->tokens : pairs;
    return (struct assay_cost){
        .flop = 2 * pairs * m * k,
        .read_bytes =
            touched * (double)expert_bytes(s) + sources * 4 * k + 4 * (pairs + (double)s->experts),
        .written_bytes = 4 * pairs * m,
    };
}

const struct assay_op q4_K_gemm_moe_id_op = {
    .name = "q4_K_gemm_moe_id",
    .n_dims = sizeof(dims) / sizeof(*dims),
    .dims = dims,
    .n_tensors = sizeof(tensors) / sizeof(*tensors),
    .tensors = tensors,
    .routed = true,
    .stored = &stored,
    .defaults = defaults,
    .illegal = illegal,
    .fill = fill,
    .spoil = spoil,
    .inner = inner,
    .activations = count_src1,
    .oracle = oracle,
    .twin = twin,
    .cost = cost,
    .n_properties = Q4_K_GEMM_MOE_ID_PROPERTIES,
    .properties = q4_K_gemm_moe_id_properties,
    .batch_dim = ASSAY_DIM(shape_t, tokens),
    .isolate = isolate,
    .locate = q4_K_gemm_moe_id_locate,
    .reference = &q4_K_gemm_moe_id_ref,
};
