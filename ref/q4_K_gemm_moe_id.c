/* SPDX-License-Identifier: MIT */
#include "ref/q4_K_gemm_moe_id.h"

#include <math.h>
#include <stdlib.h>

#include "ref/fill.h"
#include "ref/moe_ids_tpe.h"
#include "ref/op_parts.h"
#include "ref/q4_K_dot.h"
#include "ref/q4_K_matmul.h"

typedef struct q4_K_gemm_moe_id_shape shape_t;
typedef struct q4_K_gemm_moe_id_args args_t;

bool q4_K_gemm_moe_id_products(const void *shape, const void *args, int64_t i,
                               struct q4_K_product *product)
{
    const shape_t *s = shape;
    const args_t *a = args;
    if (i >= s->experts)
        return false;
    *product = (struct q4_K_product){
        .w = q4_K_matrix(a->w, s->w_offset, s->m, s->k, i),
        .src = a->src1,
        .m = s->m,
        .k = s->k,
        .top_k = s->top_k,
        .ne11 = s->ne11,
        .pairs = &a->ids[i * s->stride],
        .n = a->tpe[i],
    };
    return true;
}

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    (void)prepared, (void)scratch, (void)threads;
    const args_t *a = args;
    const char *illegal = assay_illegal(&q4_K_gemm_moe_id_op, shape, NULL);
    if (!illegal)
        q4_K_matmul_ref(q4_K_gemm_moe_id_products, shape, args, a->dst);
    return illegal;
}

const struct assay_kernel q4_K_gemm_moe_id_ref = {
    .op = "q4_K_gemm_moe_id",
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
    const char *illegal = assay_illegal(&q4_K_gemm_moe_id_op, shape, NULL);
    if (!illegal)
        q4_K_matmul_i8(q4_K_gemm_moe_id_products, shape, args, NULL, 0, a->dst);
    return illegal;
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
    const char *rule = q4_K_moe_illegal(shape);
    if (rule)
        return rule;
    return s->stride < q4_K_moe_pairs(shape) ? "stride must be at least tokens * top_k" : NULL;
}

static int64_t count_w(const void *shape)
{
    const shape_t *s = shape;
    return assay_add(s->w_offset, assay_mul(s->experts, q4_K_moe_expert_bytes(s)));
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

static const struct assay_tensor tensors[] = {
    {"w", ASSAY_DTYPE_U8, ASSAY_WEIGHTS, 2, count_w, NULL},
    {"src1", ASSAY_DTYPE_F32, ASSAY_INPUT, 4, q4_K_moe_count_src1, NULL},
    {"ids", ASSAY_DTYPE_I32, ASSAY_INPUT, 4, count_ids, NULL},
    {"tpe", ASSAY_DTYPE_I32, ASSAY_INPUT, 4, count_tpe, NULL},
    {"grid", ASSAY_DTYPE_U32, ASSAY_INPUT, 4, count_grid, NULL},
    {"dst", ASSAY_DTYPE_F32, ASSAY_OUT_REAL, 4, q4_K_moe_count_dst, q4_K_moe_columns_dst},
};

/* A GGUF tensor [k, m, experts]. */
static const struct assay_stored stored = {
    0,
    "q4_K",
    ASSAY_DIM(shape_t, w_offset),
    3,
    {ASSAY_DIM(shape_t, k), ASSAY_DIM(shape_t, m), ASSAY_DIM(shape_t, experts)},
};

static args_t args_of(void *const *t)
{
    return (args_t){t[0], t[1], t[2], t[3], t[4], t[5]};
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
    return !w || q4_K_fill_weights(how->kind, s->w_offset, s->experts * s->m, s->k, w, random);
}

static void spoil(const void *shape, void *const *t)
{
    const shape_t *s = shape;
    uint8_t *w = (uint8_t *)t[0] + s->w_offset;
    const int32_t *tpe = t[3];
    for (int64_t e = 0; e < s->experts; e++) {
        if (tpe[e] == 0)
            fill_prefix(w + e * q4_K_moe_expert_bytes(s), q4_K_moe_expert_bytes(s));
    }
}

static bool isolate(const void *shape, void *const *t, int64_t part)
{
    const shape_t *s = shape;
    return isolate_activations(s->tokens * s->ne11, s->k, t ? t[1] : NULL, part);
}

static bool oracle(const void *shape, void *const *t, size_t tensor, enum assay_numerics numerics,
                   const int64_t *columns, int64_t n_columns, struct assay_expected *expected)
{
    (void)tensor;
    args_t a = args_of(t);
    q4_K_matmul_expect(q4_K_gemm_moe_id_products, shape, &a, q4_K_moe_pairs(shape), numerics,
                       columns, n_columns, expected);
    return true;
}

static bool twin(const void *shape, void *const *t, size_t tensor, enum assay_numerics numerics,
                 const int64_t *columns, int64_t n_columns, float *out)
{
    (void)tensor;
    args_t a = args_of(t);
    if (numerics == ASSAY_I8)
        q4_K_matmul_i8(q4_K_gemm_moe_id_products, shape, &a, columns, n_columns, out);
    return numerics == ASSAY_I8;
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
    /* Tokens in no list are not read: at least so many are in one. */
    double sources = s->ne11 == 1 ? ceil(pairs / (double)s->top_k) : pairs;
    double weight_bytes = touched * (double)q4_K_moe_expert_bytes(s);
    return (struct assay_cost){
        .flop = 2 * pairs * m * k,
        .products = pairs * m * k,
        .read_bytes = weight_bytes + sources * 4 * k + 4 * (pairs + (double)s->experts),
        .weight_bytes = weight_bytes,
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
    .n_stored = 1,
    .stored = &stored,
    .defaults = defaults,
    .illegal = illegal,
    .fill = fill,
    .spoil = spoil,
    .inner = q4_K_moe_inner,
    .activations = q4_K_moe_count_src1,
    .oracle = oracle,
    .has_f16 = true,
    .twin = twin,
    .cost = cost,
    .n_properties = Q4_K_GEMM_MOE_ID_PROPERTIES,
    .properties = q4_K_gemm_moe_id_properties,
    .batch_dim = ASSAY_DIM(shape_t, tokens),
    .isolate = isolate,
    .locate = q4_K_gemm_moe_id_locate,
    .reference = &q4_K_gemm_moe_id_ref,
};
