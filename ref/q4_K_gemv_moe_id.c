/* SPDX-License-Identifier: MIT */
#include "ref/q4_K_gemv_moe_id.h"

#include <string.h>

#include "ref/fill.h"
#include "ref/moe_ids_tpe.h"
#include "ref/op_parts.h"
#include "ref/q4_K_dot.h"
#include "ref/q4_K_matmul.h"

typedef struct q4_K_gemv_moe_id_shape shape_t;
typedef struct q4_K_gemv_moe_id_args args_t;

enum { W, SRC1, IDS, DST }; /* tensors */

static bool valid(const shape_t *s, int32_t id)
{
    return id >= 0 && id < s->experts;
}

static bool products(const void *shape, const void *args, int64_t i, struct q4_K_product *product)
{
    const shape_t *s = shape;
    const args_t *a = args;
    if (i >= s->tokens * s->top_k)
        return false;
    bool written = valid(s, a->ids[i]);
    *product = (struct q4_K_product){
        .w = q4_K_matrix(a->w, s->w_offset, s->m, s->k, written ? a->ids[i] : 0),
        .src = a->src1,
        .m = s->m,
        .k = s->k,
        .top_k = s->top_k,
        .ne11 = s->ne11,
        .first = i,
        .n = written,
    };
    return true;
}

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    (void)prepared, (void)scratch, (void)threads;
    const args_t *a = args;
    const char *illegal = assay_illegal(&q4_K_gemv_moe_id_op, shape, NULL);
    if (!illegal)
        q4_K_matmul_ref(products, shape, args, a->dst);
    return illegal;
}

const struct assay_kernel q4_K_gemv_moe_id_ref = {
    .op = "q4_K_gemv_moe_id",
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
    const char *illegal = assay_illegal(&q4_K_gemv_moe_id_op, shape, NULL);
    if (!illegal)
        q4_K_matmul_i8(products, shape, args, NULL, 0, a->dst);
    return illegal;
}

static int64_t depth_i8(const void *shape)
{
    return q4_K_dot_i8_depth(((const shape_t *)shape)->k);
}

const struct assay_kernel q4_K_gemv_moe_id_ref_i8 = {
    .op = "q4_K_gemv_moe_id",
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
    {"w_offset", 0, INT64_MAX, 2, true},
};

static void defaults(void *shape)
{
    shape_t *s = shape;
    s->ne11 = s->ne11 == ASSAY_UNSET ? 1 : s->ne11;
    s->w_offset = s->w_offset == ASSAY_UNSET ? 0 : s->w_offset;
}

static int64_t count_w(const void *shape)
{
    const shape_t *s = shape;
    return assay_add(s->w_offset, assay_mul(s->experts, q4_K_moe_expert_bytes(s)));
}

static const struct assay_tensor tensors[] = {
    {"w", ASSAY_DTYPE_U8, ASSAY_WEIGHTS, 2, count_w, NULL},
    {"src1", ASSAY_DTYPE_F32, ASSAY_INPUT, 4, q4_K_moe_count_src1, NULL},
    {"ids", ASSAY_DTYPE_I32, ASSAY_INPUT, 4, q4_K_moe_pairs, NULL},
    {"dst", ASSAY_DTYPE_F32, ASSAY_OUT_REAL, 4, q4_K_moe_count_dst, q4_K_moe_columns_dst},
};

/* A GGUF tensor [k, m, experts]. */
static const struct assay_stored stored = {
    W,
    "q4_K",
    ASSAY_DIM(shape_t, w_offset),
    3,
    {ASSAY_DIM(shape_t, k), ASSAY_DIM(shape_t, m), ASSAY_DIM(shape_t, experts)},
};

static args_t args_of(void *const *t)
{
    return (args_t){t[W], t[SRC1], t[IDS], t[DST]};
}

static bool fill(const void *shape, const struct assay_fill *how, void *const *t,
                 struct assay_random *random)
{
    const shape_t *s = shape;
    if (t[IDS]) {
        random->start(random, "routing");
        if (!fill_routing(how, s->experts, s->tokens, s->top_k, t[IDS], random))
            return false;
    }
    if (t[SRC1]) {
        random->start(random, "src1");
        fill_activations(how->kind, s->tokens * s->ne11, s->k, t[SRC1], random);
    }
    return !t[W] ||
           q4_K_fill_weights(how->kind, s->w_offset, s->experts * s->m, s->k, t[W], random);
}

/* Whether a pair before `end` has this expert. */
static bool named(const int32_t *ids, int64_t end, int64_t expert)
{
    for (int64_t pair = 0; pair < end; pair++) {
        if (ids[pair] == expert)
            return true;
    }
    return false;
}

static void spoil(const void *shape, void *const *t)
{
    const shape_t *s = shape;
    uint8_t *w = (uint8_t *)t[W] + s->w_offset;
    for (int64_t e = 0; e < s->experts; e++) {
        if (!named(t[IDS], q4_K_moe_pairs(s), e))
            fill_prefix(w + e * q4_K_moe_expert_bytes(s), q4_K_moe_expert_bytes(s));
    }
}

static bool oracle(const void *shape, void *const *t, size_t tensor, enum assay_numerics numerics,
                   const int64_t *columns, int64_t n_columns, struct assay_expected *expected)
{
    (void)tensor;
    args_t a = args_of(t);
    q4_K_matmul_expect(products, shape, &a, q4_K_moe_pairs(shape), numerics, columns, n_columns,
                       expected);
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
    const shape_t *s = shape;
    const int32_t *ids = t[IDS];
    double pairs = 0, experts = 0, sources = 0, m = (double)s->m, k = (double)s->k;
    for (int64_t token = 0; token < s->tokens; token++) {
        double before = pairs;
        for (int64_t pair = token * s->top_k; pair < (token + 1) * s->top_k; pair++) {
            pairs += valid(s, ids[pair]);
            experts += valid(s, ids[pair]) && !named(ids, pair, ids[pair]);
        }
        sources += s->ne11 == 1 ? pairs > before : pairs - before;
    }
    double weight_bytes = experts * (double)q4_K_moe_expert_bytes(s);
    return (struct assay_cost){
        .flop = 2 * pairs * m * k,
        .products = pairs * m * k,
        .read_bytes = weight_bytes + sources * 4 * k + 4 * (double)q4_K_moe_pairs(s),
        .weight_bytes = weight_bytes,
        .written_bytes = 4 * pairs * m,
    };
}

static bool isolate(const void *shape, void *const *t, int64_t part)
{
    const shape_t *s = shape;
    return isolate_activations(s->tokens * s->ne11, s->k, t ? t[SRC1] : NULL, part);
}

static size_t locate(const void *shape, void *const *t, size_t tensor, int64_t row, int64_t column,
                     struct assay_coordinate *at)
{
    (void)tensor;
    const shape_t *s = shape;
    int32_t expert = ((const int32_t *)t[IDS])[row];
    at[0] = (struct assay_coordinate){"expert",
                                      moe_is_expert(expert, s->experts) ? expert : ASSAY_UNSET};
    at[1] = (struct assay_coordinate){"token", row / s->top_k};
    at[2] = (struct assay_coordinate){"slot", row % s->top_k};
    at[3] = (struct assay_coordinate){"row", column};
    return 4;
}

/* ---- properties ---- */

/* Edge values may overflow, underflow or not be finite. */
static bool reshape_tame(const void *shape, const struct assay_fill *how, void *other)
{
    return q4_K_reshape_same(&q4_K_gemv_moe_id_op, shape, other) && how->kind != ASSAY_FILL_EDGE;
}

static int64_t first_unequal(const void *shape, void *const *t, const void *other_shape,
                             void *const *other, int64_t token, float factor,
                             enum assay_numerics numerics)
{
    args_t a = args_of(t);
    return q4_K_first_unequal(products, shape, &a, a.dst, other[DST],
                              token * ((const shape_t *)shape)->top_k, q4_K_moe_pairs(other_shape),
                              factor, numerics);
}

static void derive_scaled(const void *shape, void *const *t, const void *other_shape,
                          void *const *other)
{
    (void)other_shape;
    assay_copy_inputs(&q4_K_gemv_moe_id_op, shape, t, other);
    q4_K_scale_by_8(other[SRC1], q4_K_moe_count_src1(shape));
}

static int64_t broken_scaled(const void *shape, void *const *t, const void *other_shape,
                             void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    *tensor = DST;
    return first_unequal(shape, t, other_shape, other, 0, 8, numerics);
}

static void derive_zero(const void *shape, void *const *t, const void *other_shape,
                        void *const *other)
{
    (void)other_shape;
    assay_copy_inputs(&q4_K_gemv_moe_id_op, shape, t, other);
    q4_K_zero(other[SRC1], q4_K_moe_count_src1(shape));
}

static int64_t broken_zero(const void *shape, void *const *t, const void *other_shape,
                           void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)other_shape, (void)numerics;
    args_t a = args_of(t);
    *tensor = DST;
    return q4_K_first_nonzero(products, shape, &a, other[DST]);
}

static bool reshape_relabelled(const void *shape, const struct assay_fill *how, void *other)
{
    (void)how;
    return q4_K_reshape_same(&q4_K_gemv_moe_id_op, shape, other) &&
           ((const shape_t *)shape)->experts > 1;
}

/* Expert e becomes e + 1. */
static void derive_relabelled(const void *shape, void *const *t, const void *other_shape,
                              void *const *other)
{
    (void)other_shape;
    const shape_t *s = shape;
    const int32_t *ids = t[IDS];
    size_t expert_bytes = (size_t)q4_K_moe_expert_bytes(s);
    assay_copy_inputs(&q4_K_gemv_moe_id_op, shape, t, other);
    for (int64_t e = 0; e < s->experts; e++)
        memcpy((uint8_t *)other[W] + s->w_offset + (size_t)((e + 1) % s->experts) * expert_bytes,
               (const uint8_t *)t[W] + s->w_offset + (size_t)e * expert_bytes, expert_bytes);
    for (int64_t pair = 0; pair < q4_K_moe_pairs(s); pair++) {
        if (valid(s, ids[pair]))
            ((int32_t *)other[IDS])[pair] = (int32_t)((ids[pair] + 1) % s->experts);
    }
}

static int64_t broken_relabelled(const void *shape, void *const *t, const void *other_shape,
                                 void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    *tensor = DST;
    return first_unequal(shape, t, other_shape, other, 0, 1, numerics);
}

static bool reshape_reversed(const void *shape, const struct assay_fill *how, void *other)
{
    (void)how;
    return q4_K_reshape_same(&q4_K_gemv_moe_id_op, shape, other) &&
           ((const shape_t *)shape)->top_k > 1;
}

static int64_t mirrored(const shape_t *s, int64_t pair)
{
    return pair / s->top_k * s->top_k + s->top_k - 1 - pair % s->top_k;
}

/* Slot i becomes top_k - 1 - i. */
static void derive_reversed(const void *shape, void *const *t, const void *other_shape,
                            void *const *other)
{
    (void)other_shape;
    const shape_t *s = shape;
    assay_copy_inputs(&q4_K_gemv_moe_id_op, shape, t, other);
    for (int64_t pair = 0; pair < q4_K_moe_pairs(s); pair++) {
        ((int32_t *)other[IDS])[mirrored(s, pair)] = ((const int32_t *)t[IDS])[pair];
        if (s->ne11 > 1)
            memcpy((float *)other[SRC1] + mirrored(s, pair) * s->k,
                   (const float *)t[SRC1] + pair * s->k, (size_t)s->k * sizeof(float));
    }
}

static int64_t broken_reversed(const void *shape, void *const *t, const void *other_shape,
                               void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)other_shape, (void)numerics;
    const shape_t *s = shape;
    *tensor = DST;
    for (int64_t pair = 0; pair < q4_K_moe_pairs(s); pair++) {
        if (!valid(s, ((const int32_t *)t[IDS])[pair]))
            continue;
        int64_t r =
            assay_first_unequal((const float *)t[DST] + pair * s->m,
                                (const float *)other[DST] + mirrored(s, pair) * s->m, s->m, 1);
        if (r >= 0)
            return pair * s->m + r;
    }
    return -1;
}

static bool reshape_alone(const void *shape, const struct assay_fill *how, void *other)
{
    (void)how;
    q4_K_reshape_same(&q4_K_gemv_moe_id_op, shape, other);
    ((shape_t *)other)->tokens = 1;
    return ((const shape_t *)shape)->tokens > 1;
}

static void derive_alone(const void *shape, void *const *t, const void *other_shape,
                         void *const *other)
{
    (void)other_shape;
    const shape_t *s = shape;
    int64_t last = s->tokens - 1;
    memcpy(other[W], t[W], (size_t)count_w(shape));
    memcpy(other[SRC1], (const float *)t[SRC1] + last * s->ne11 * s->k,
           (size_t)(s->ne11 * s->k) * sizeof(float));
    memcpy(other[IDS], (const int32_t *)t[IDS] + last * s->top_k,
           (size_t)s->top_k * sizeof(int32_t));
}

static int64_t broken_alone(const void *shape, void *const *t, const void *other_shape,
                            void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    *tensor = DST;
    return first_unequal(shape, t, other_shape, other, ((const shape_t *)shape)->tokens - 1, 1,
                         numerics);
}

static const struct assay_property properties[] = {
    {"scaling the activations by 8 scales the outputs by 8", reshape_tame, derive_scaled,
     broken_scaled},
    {"zero activations give zero outputs", reshape_tame, derive_zero, broken_zero},
    {"relabelled experts give the same bits", reshape_relabelled, derive_relabelled,
     broken_relabelled},
    {"the order of slots does not matter", reshape_reversed, derive_reversed, broken_reversed},
    {"a token alone gives the same bits as in the batch", reshape_alone, derive_alone,
     broken_alone},
};

const struct assay_op q4_K_gemv_moe_id_op = {
    .name = "q4_K_gemv_moe_id",
    .n_dims = sizeof(dims) / sizeof(*dims),
    .dims = dims,
    .n_tensors = sizeof(tensors) / sizeof(*tensors),
    .tensors = tensors,
    .routed = true,
    .n_stored = 1,
    .stored = &stored,
    .defaults = defaults,
    .illegal = q4_K_moe_illegal,
    .fill = fill,
    .spoil = spoil,
    .inner = q4_K_moe_inner,
    .activations = q4_K_moe_count_src1,
    .oracle = oracle,
    .has_f16 = true,
    .twin = twin,
    .cost = cost,
    .n_properties = sizeof(properties) / sizeof(*properties),
    .properties = properties,
    .batch_dim = offsetof(shape_t, tokens) / sizeof(int64_t),
    .isolate = isolate,
    .locate = locate,
    .reference = &q4_K_gemv_moe_id_ref,
};
