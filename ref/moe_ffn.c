/* SPDX-License-Identifier: MIT */
#include "ref/moe_ffn.h"

#include <math.h>
#include <string.h>

#include "ref/fill.h"
#include "ref/moe_ids_tpe.h"
#include "ref/moe_router_topk_softmax.h"
#include "ref/moe_weighted_sum.h"
#include "ref/op_parts.h"
#include "ref/q4_K.h"
#include "ref/q4_K_dot.h"
#include "ref/q4_K_gemm_moe_id.h"
#include "ref/silu_mul.h"

typedef struct moe_ffn_shape shape_t;
typedef struct moe_ffn_args args_t;

/* What the parts hand each other. */
struct between {
    int32_t *ids, *tpe, *lists;
    uint32_t grids[6];
    float *weights, *gate, *up, *down;
};

/* The next `count` elements of 4 bytes of scratch; *used becomes -1 on overflow. */
static void *take(uint8_t *scratch, int64_t *used, int64_t count)
{
    int64_t start = *used;
    *used = assay_add(start, assay_mul(count, 4));
    return scratch && *used >= 0 ? scratch + start : NULL;
}

/* Lays it out in scratch, which may be NULL; returns the bytes. */
static int64_t lay_out(const shape_t *s, uint8_t *scratch, struct between *between)
{
    int64_t used = 0, pairs = assay_mul(s->tokens, s->top_k);
    between->ids = take(scratch, &used, pairs);
    between->weights = take(scratch, &used, pairs);
    between->tpe = take(scratch, &used, s->experts);
    between->lists = take(scratch, &used, assay_mul(s->experts, pairs));
    between->gate = take(scratch, &used, assay_mul(pairs, s->ffn));
    between->up = take(scratch, &used, assay_mul(pairs, s->ffn));
    between->down = take(scratch, &used, assay_mul(pairs, s->hidden));
    return used;
}

static int64_t scratch_bytes(const void *shape, int threads)
{
    (void)threads;
    struct between between;
    return lay_out(shape, NULL, &between);
}

/* One of the three products: rows of `src`, one a token or one a pair, by the lists. */
static void multiply(const struct assay_kernel *gemm, const shape_t *s,
                     const struct between *between, const uint8_t *w, bool per_pair,
                     const float *src, float *dst)
{
    struct q4_K_gemm_moe_id_shape shape = {
        .experts = s->experts,
        .m = per_pair ? s->hidden : s->ffn,
        .k = per_pair ? s->ffn : s->hidden,
        .top_k = s->top_k,
        .ne11 = per_pair ? s->top_k : 1,
        .tokens = s->tokens,
        .stride = s->tokens * s->top_k,
    };
    struct q4_K_gemm_moe_id_args args = {w, src, between->lists, between->tpe, NULL, dst};
    gemm->run(&shape, &args, NULL, NULL, 1);
}

static const char *run_parts(const struct assay_kernel *gemm, const shape_t *s, const args_t *a,
                             void *scratch)
{
    const char *illegal = assay_illegal(&moe_ffn_op, s, NULL);
    if (illegal)
        return illegal;
    struct between x;
    lay_out(s, scratch, &x);
    int64_t pairs = s->tokens * s->top_k;
    const struct moe_router_topk_softmax_shape router = {s->experts, s->top_k, s->tokens, s->norm};
    const struct moe_weighted_sum_shape sum = {s->experts, s->top_k, s->tokens, s->hidden};
    moe_router_topk_softmax_ref.run(
        &router, &(struct moe_router_topk_softmax_args){a->logits, x.ids, x.weights}, NULL, NULL,
        1);
    moe_lists(x.ids, pairs, s->experts, pairs, x.tpe, x.lists);
    multiply(gemm, s, &x, a->gate, false, a->x, x.gate);
    multiply(gemm, s, &x, a->up, false, a->x, x.up);
    for (int64_t pair = 0; pair < pairs; pair++) {
        if (x.ids[pair] >= 0)
            silu_mul_elements(&x.gate[pair * s->ffn], &x.up[pair * s->ffn], s->ffn,
                              &x.gate[pair * s->ffn]);
    }
    multiply(gemm, s, &x, a->down, true, x.gate, x.down);
    moe_weighted_sum_ref.run(
        &sum, &(struct moe_weighted_sum_args){x.ids, x.weights, x.down, a->out}, NULL, NULL, 1);
    return NULL;
}

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    (void)prepared, (void)threads;
    return run_parts(&q4_K_gemm_moe_id_ref, shape, args, scratch);
}

static const char *run_i8(const void *shape, const void *args, const void *prepared, void *scratch,
                          int threads)
{
    (void)prepared, (void)threads;
    return run_parts(&q4_K_gemm_moe_id_ref_i8, shape, args, scratch);
}

/* Of the router and silu one each, of the products' references two, of the sum one. */
static int64_t depth(const void *shape)
{
    (void)shape;
    return 1 + 2 + 1 + 2 + 1;
}

static int64_t depth_i8(const void *shape)
{
    const shape_t *s = shape;
    return 1 + q4_K_dot_i8_depth(s->hidden) + 1 + q4_K_dot_i8_depth(s->ffn) + 1;
}

const struct assay_kernel moe_ffn_ref = {
    .op = "moe_ffn",
    .name = "ref",
    .tier = "ref",
    .numerics = ASSAY_F32,
    .depth = depth,
    .scratch_bytes = scratch_bytes,
    .run = run,
};

const struct assay_kernel moe_ffn_ref_i8 = {
    .op = "moe_ffn",
    .name = "ref-i8",
    .tier = "ref",
    .numerics = ASSAY_I8,
    .depth = depth_i8,
    .scratch_bytes = scratch_bytes,
    .run = run_i8,
};

static const struct assay_dim dims[] = {
    {"experts", 1, INT32_MAX, 1, false},
    {"hidden", Q4_K_BLOCK, INT32_MAX / Q4_K_BLOCK *Q4_K_BLOCK, Q4_K_BLOCK, false},
    {"ffn", Q4_K_BLOCK, INT32_MAX / Q4_K_BLOCK *Q4_K_BLOCK, Q4_K_BLOCK, false},
    {"top_k", 1, INT32_MAX, 1, false},
    {"tokens", 1, INT32_MAX, 1, false},
    {"norm", 0, 1, 1, true},
};

static void defaults(void *shape)
{
    shape_t *s = shape;
    s->norm = s->norm == ASSAY_UNSET ? 1 : s->norm;
}

static const char *illegal(const void *shape)
{
    const shape_t *s = shape;
    int64_t pairs = assay_mul(s->tokens, s->top_k);
    if (s->top_k > s->experts)
        return "top_k must not exceed experts";
    return pairs < 0 || pairs > INT32_MAX ? "tokens * top_k must be below 2^31" : NULL;
}

static int64_t count_logits(const void *shape)
{
    const shape_t *s = shape;
    return assay_mul(s->tokens, s->experts);
}

static int64_t count_x(const void *shape)
{
    const shape_t *s = shape;
    return assay_mul(s->tokens, s->hidden);
}

/* As many independent ones as the errors' mean square shows (ref/NUMERICS.md, "A layer"). */
static int64_t activations(const void *shape)
{
    const shape_t *s = shape;
    return assay_mul(s->tokens, s->hidden < s->ffn ? s->hidden : s->ffn) / 4;
}

/* Of one matrix of one expert: gate, up and down are of equal size. */
static int64_t expert_bytes(const shape_t *s)
{
    return assay_mul(assay_mul(s->hidden, s->ffn / Q4_K_BLOCK), Q4_K_BLOCK_BYTES);
}

static int64_t count_w(const void *shape)
{
    const shape_t *s = shape;
    return assay_mul(s->experts, expert_bytes(s));
}

static int64_t columns(const void *shape)
{
    return ((const shape_t *)shape)->hidden;
}

static const struct assay_tensor tensors[] = {
    [MOE_FFN_LOGITS] = {"logits", ASSAY_DTYPE_F32, ASSAY_INPUT, 4, count_logits, NULL},
    [MOE_FFN_X] = {"x", ASSAY_DTYPE_F32, ASSAY_INPUT, 4, count_x, NULL},
    [MOE_FFN_GATE] = {"gate", ASSAY_DTYPE_U8, ASSAY_WEIGHTS, 2, count_w, NULL},
    [MOE_FFN_UP] = {"up", ASSAY_DTYPE_U8, ASSAY_WEIGHTS, 2, count_w, NULL},
    [MOE_FFN_DOWN] = {"down", ASSAY_DTYPE_U8, ASSAY_WEIGHTS, 2, count_w, NULL},
    [MOE_FFN_OUT] = {"out", ASSAY_DTYPE_F32, ASSAY_OUT_REAL, 4, count_x, columns},
};

/* GGUF tensors: gate and up [hidden, ffn, experts], down [ffn, hidden, experts]. */
#define STORED(tensor, in, out)                                                          \
    {                                                                                    \
        tensor, "q4_K", ASSAY_NO_DIM, 3,                                                 \
        {                                                                                \
            ASSAY_DIM(shape_t, in), ASSAY_DIM(shape_t, out), ASSAY_DIM(shape_t, experts) \
        }                                                                                \
    }
static const struct assay_stored stored[] = {
    STORED(MOE_FFN_GATE, hidden, ffn),
    STORED(MOE_FFN_UP, hidden, ffn),
    STORED(MOE_FFN_DOWN, ffn, hidden),
};

/* Whether a token selects an expert: its row is valid, and fewer than top_k experts come first. */
static bool selects(const shape_t *s, const float *logits, int64_t expert)
{
    int64_t first = 0;
    bool finite = false;
    for (int64_t e = 0; e < s->experts; e++) {
        if (isnan(logits[e]) || logits[e] == INFINITY)
            return false;
        finite = finite || logits[e] != -INFINITY;
        first += logits[e] > logits[expert] || (logits[e] == logits[expert] && e < expert);
    }
    return finite && first < s->top_k;
}

static int64_t count_selecting(const shape_t *s, const float *logits, int64_t expert)
{
    int64_t count = 0;
    for (int64_t token = 0; token < s->tokens; token++)
        count += selects(s, &logits[token * s->experts], expert);
    return count;
}

static void spoil(const void *shape, void *const *t)
{
    const shape_t *s = shape;
    for (int64_t e = 0; e < s->experts; e++) {
        if (count_selecting(s, t[MOE_FFN_LOGITS], e) > 0)
            continue;
        for (size_t i = MOE_FFN_GATE; i <= MOE_FFN_DOWN; i++)
            fill_prefix((uint8_t *)t[i] + e * expert_bytes(s), expert_bytes(s));
    }
}

static int64_t inner(const void *shape)
{
    const shape_t *s = shape;
    return assay_mul(s->ffn, s->top_k);
}

/* Sums over experts, hidden, ffn and slots; and as much as one sum's ends for what is between. */
static int64_t chain(const void *shape)
{
    const shape_t *s = shape;
    return s->experts + s->hidden + s->ffn + s->top_k + 16;
}

static struct assay_cost cost(const void *shape, void *const *t)
{
    const shape_t *s = shape;
    double pairs = 0, touched = 0, hidden = (double)s->hidden;
    for (int64_t e = 0; e < s->experts; e++) {
        int64_t n = count_selecting(s, t[MOE_FFN_LOGITS], e);
        pairs += (double)n;
        touched += n > 0;
    }
    double weight_bytes = 3 * touched * (double)expert_bytes(s);
    double valid = pairs / (double)s->top_k; /* tokens; the others' x is not read */
    return (struct assay_cost){
        .flop = 6 * pairs * hidden * (double)s->ffn,
        .products = 3 * pairs * hidden * (double)s->ffn,
        .read_bytes = weight_bytes + 4 * valid * hidden + 4 * (double)(s->tokens * s->experts),
        .weight_bytes = weight_bytes,
        .written_bytes = 4 * (double)s->tokens * hidden,
    };
}

static bool reshape_same(const void *shape, const struct assay_fill *how, void *other)
{
    (void)how;
    *(shape_t *)other = *(const shape_t *)shape;
    return true;
}

static void derive_zero(const void *shape, void *const *t, const void *other_shape,
                        void *const *other)
{
    (void)other_shape;
    float *x = other[MOE_FFN_X];
    assay_copy_inputs(&moe_ffn_op, shape, t, other);
    for (int64_t i = 0; i < count_x(shape); i++)
        x[i] = i % 2 ? -0.0f : 0.0f;
}

static bool reshape_zero(const void *shape, const struct assay_fill *how, void *other)
{
    return reshape_same(shape, how, other) && how->kind != ASSAY_FILL_EDGE;
}

static int64_t broken_zero(const void *shape, void *const *t, const void *other_shape,
                           void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)t, (void)other_shape, (void)numerics;
    const float *out = other[MOE_FFN_OUT];
    *tensor = MOE_FFN_OUT;
    for (int64_t i = 0; i < count_x(shape); i++) {
        if (!(out[i] == 0))
            return i;
    }
    return -1;
}

static bool reshape_alone(const void *shape, const struct assay_fill *how, void *other)
{
    reshape_same(shape, how, other);
    ((shape_t *)other)->tokens = 1;
    return ((const shape_t *)shape)->tokens > 1;
}

static void copy_token(const shape_t *s, void *const *from, int64_t token, void *const *to,
                       int64_t place)
{
    memcpy((float *)to[MOE_FFN_LOGITS] + place * s->experts,
           (const float *)from[MOE_FFN_LOGITS] + token * s->experts,
           (size_t)s->experts * sizeof(float));
    memcpy((float *)to[MOE_FFN_X] + place * s->hidden,
           (const float *)from[MOE_FFN_X] + token * s->hidden, (size_t)s->hidden * sizeof(float));
}

static void copy_weights(const shape_t *s, void *const *t, void *const *other)
{
    for (size_t i = MOE_FFN_GATE; i <= MOE_FFN_DOWN; i++)
        memcpy(other[i], t[i], (size_t)count_w(s));
}

/* The last token. */
static void derive_alone(const void *shape, void *const *t, const void *other_shape,
                         void *const *other)
{
    (void)other_shape;
    const shape_t *s = shape;
    copy_weights(s, t, other);
    copy_token(s, t, s->tokens - 1, other, 0);
}

static void derive_reversed(const void *shape, void *const *t, const void *other_shape,
                            void *const *other)
{
    (void)other_shape;
    const shape_t *s = shape;
    copy_weights(s, t, other);
    for (int64_t token = 0; token < s->tokens; token++)
        copy_token(s, t, token, other, s->tokens - 1 - token);
}

static bool reshape_reversed(const void *shape, const struct assay_fill *how, void *other)
{
    return reshape_same(shape, how, other) && ((const shape_t *)shape)->tokens > 1;
}

/* Token t of one call is token last - t of the other, if it has that. */
static int64_t broken_mirrored(const void *shape, void *const *t, const void *other_shape,
                               void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)numerics;
    const shape_t *s = shape;
    *tensor = MOE_FFN_OUT;
    int64_t others = ((const shape_t *)other_shape)->tokens;
    for (int64_t token = s->tokens - others; token < s->tokens; token++) {
        int64_t i = assay_first_unequal(
            (const float *)t[MOE_FFN_OUT] + token * s->hidden,
            (const float *)other[MOE_FFN_OUT] + (s->tokens - 1 - token) * s->hidden, s->hidden, 1);
        if (i >= 0)
            return token * s->hidden + i;
    }
    return -1;
}

static const struct assay_property properties[] = {
    {"zero activations give zero", reshape_zero, derive_zero, broken_zero},
    {"a token alone gives the same bits as in the batch", reshape_alone, derive_alone,
     broken_mirrored},
    {"permuting the tokens permutes the outputs", reshape_reversed, derive_reversed,
     broken_mirrored},
};

static size_t locate(const void *shape, void *const *t, size_t tensor, int64_t row, int64_t column,
                     struct assay_coordinate *at)
{
    (void)shape, (void)t, (void)tensor;
    at[0] = (struct assay_coordinate){"token", row};
    at[1] = (struct assay_coordinate){"row", column};
    return 2;
}

const struct assay_op moe_ffn_op = {
    .name = "moe_ffn",
    .n_dims = sizeof(dims) / sizeof(*dims),
    .dims = dims,
    .n_tensors = sizeof(tensors) / sizeof(*tensors),
    .tensors = tensors,
    .routed = true,
    .n_stored = sizeof(stored) / sizeof(*stored),
    .stored = stored,
    .defaults = defaults,
    .illegal = illegal,
    .exact = moe_ffn_exact,
    .fill = moe_ffn_fill,
    .spoil = spoil,
    .inner = inner,
    .chain = chain,
    .activations = activations,
    .oracle = moe_ffn_oracle,
    .cost = cost,
    .n_properties = sizeof(properties) / sizeof(*properties),
    .properties = properties,
    .batch_dim = offsetof(shape_t, tokens) / sizeof(int64_t),
    .locate = locate,
    .reference = &moe_ffn_ref,
};
