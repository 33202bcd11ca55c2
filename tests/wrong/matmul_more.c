/* SPDX-License-Identifier: MIT */
/* Wrong gemm, gemv_moe_id, and moe_id gemm in class f16. Each is a plain loop over pairs; `bug` says
 * what it gets wrong. */
#include <math.h>
#include <string.h>

#include "ref/activation_i8.h"
#include "ref/q4_K_dot.h"
#include "ref/q4_K_gemm.h"
#include "ref/q4_K_gemm_moe_id.h"
#include "ref/q4_K_gemv_moe_id.h"
#include "tests/wrong/wrong.h"

enum bug {
    NONE,
    /* of class f16: */
    NONE_F16,
    POISONED_TILE,
    NOT_ROUNDED,
    WEIGHTS_NOT_ROUNDED,
    ACTIVATIONS_NOT_ROUNDED,
    TOWARD_ZERO,
    F16_SUMS,
    SATURATED,
    SUBNORMALS_FLUSHED,
    /* of the dense gemm: */
    LAST_TOKEN_MISSING,
    TAIL_OF_NEIGHBOUR,
    SUMS_NOT_CLEARED,
    F16_FROM_32_TOKENS,
    FIRST_96_TOKENS,
    SCALE_OF_BATCH,
    /* of the gemv by ids: */
    INVALID_ZEROED,
    INVALID_IS_EXPERT_0,
    ID_PAST_EXPERTS,
    IDS_OF_TOKEN_0,
    SLOT_0_FOR_ALL,
    DUPLICATE_DROPPED,
    ROWS_COMPACTED,
    FIRST_8_PAIRS,
    EXPERT_BYTES_OF_ROW,
    /* within every bound; properties alone see them: */
    NO_ORDER, /* of which this is the control */
    TOKEN_1_ORDER,
    BATCH_ORDER,
    EXPERT_0_ORDER,
    SLOT_1_ORDER,
};

static float truncated_to_f16(float x)
{
    float nearest = assay_round_to_f16(x);
    uint16_t half = assay_f32_to_f16(x);
    return fabsf(nearest) > fabsf(x) ? assay_f16_to_f32((uint16_t)(half - 1)) : nearest;
}

static float rounded(float x, enum bug bug)
{
    float half = bug == TOWARD_ZERO ? truncated_to_f16(x) : assay_round_to_f16(x);
    if (bug == SATURATED && isinf(half) && isfinite(x))
        half = copysignf(65504, x);
    if (bug == SUBNORMALS_FLUSHED && fabsf(half) < 0x1p-14f)
        half = 0;
    return half;
}

/* One element. f16: weights and activations rounded, then f32 sums. */
static float dot(const struct block_q4_K *row, const float *x, int64_t k, bool f16, enum bug bug)
{
    double sum = 0;
    float half_sum = 0;
    bool plain_w = !f16 || bug == NOT_ROUNDED || bug == WEIGHTS_NOT_ROUNDED;
    bool plain_x = !f16 || bug == NOT_ROUNDED || bug == ACTIVATIONS_NOT_ROUNDED;
    for (int64_t b = 0; b < k / Q4_K_BLOCK; b++) {
        float w[Q4_K_BLOCK];
        q4_K_weights(&row[b], w);
        for (int i = 0; i < Q4_K_BLOCK; i++) {
            float wi = plain_w ? w[i] : rounded(w[i], bug);
            float xi = x[b * Q4_K_BLOCK + i];
            xi = plain_x ? xi : rounded(xi, bug);
            sum += (double)wi * (double)xi;
            if (bug == F16_SUMS)
                half_sum = assay_round_to_f16(half_sum + wi * xi);
        }
    }
    return bug == F16_SUMS ? half_sum : (float)sum;
}

/* In f32, one element after the other, in one direction or the other. */
static float dot_in_order(const struct block_q4_K *row, const float *x, int64_t k, bool backwards)
{
    float sum = 0, w[Q4_K_BLOCK];
    for (int64_t n = 0; n < k; n++) {
        int64_t i = backwards ? k - 1 - n : n;
        if (n % Q4_K_BLOCK == 0)
            q4_K_weights(&row[i / Q4_K_BLOCK], w);
        sum += w[i % Q4_K_BLOCK] * x[i];
    }
    return sum;
}

static const char *run_moe(const void *shape, const void *args, enum bug bug)
{
    const struct q4_K_gemm_moe_id_shape *s = shape;
    const struct q4_K_gemm_moe_id_args *a = args;
    const char *illegal = assay_illegal(&q4_K_gemm_moe_id_op, shape, NULL);
    if (illegal)
        return illegal;
    const struct block_q4_K *w = (const struct block_q4_K *)(a->w + s->w_offset);
    for (int64_t e = 0; e < s->experts; e++) {
        const int32_t *list = &a->ids[e * s->stride];
        for (int64_t i = 0; i < a->tpe[e] * s->m; i++) {
            int64_t pair = list[i / s->m], r = i % s->m;
            int64_t source = pair / s->top_k * s->ne11 + pair % s->top_k % s->ne11;
            const struct block_q4_K *row = w + (e * s->m + r) * (s->k / Q4_K_BLOCK);
            a->dst[pair * s->m + r] = dot(row, &a->src1[source * s->k], s->k, true, bug);
        }
        /* The tile's sums pass through one matrix product: Inf * 0 reaches its other columns. */
        for (int32_t i = 1; bug == POISONED_TILE && i < a->tpe[e]; i++) {
            for (int64_t r = 0; r < s->m; r++) {
                float before = a->dst[list[i - 1] * s->m + r];
                if (i % 32 != 0 && !isfinite(before))
                    a->dst[list[i] * s->m + r] = NAN;
            }
        }
    }
    return NULL;
}

/* A token's scale that is the whole batch's. */
static float dot_batch_scale(const struct block_q4_K *row, const float *x, const float *src,
                             int64_t tokens, int64_t k)
{
    float acc = 0;
    for (int64_t b = 0; b < k / Q4_K_BLOCK; b++) {
        struct activation_i8 xq;
        float amax = 0;
        for (int64_t i = 0; i < tokens * Q4_K_BLOCK; i++)
            amax = fmaxf(amax, fabsf(src[i / Q4_K_BLOCK * k + b * Q4_K_BLOCK + i % Q4_K_BLOCK]));
        activation_i8_quantize(&x[b * Q4_K_BLOCK], &xq);
        if (xq.d > 0 && isfinite(amax)) {
            memset(xq.sums, 0, sizeof(xq.sums));
            xq.d = amax / 127;
            for (int i = 0; i < Q4_K_BLOCK; i++) {
                xq.q[i] = (int8_t)rintf(x[b * Q4_K_BLOCK + i] * (127 / amax));
                xq.sums[i / 32] = (int16_t)(xq.sums[i / 32] + xq.q[i]);
            }
        }
        acc = q4_K_add_i8(&row[b], &xq, acc);
    }
    return acc;
}

static const char *run_gemm(const void *shape, const void *args, enum bug bug)
{
    const struct q4_K_gemm_shape *s = shape;
    const struct q4_K_gemm_args *a = args;
    const char *illegal = assay_illegal(&q4_K_gemm_op, shape, NULL);
    if (illegal)
        return illegal;
    const struct block_q4_K *w = (const struct block_q4_K *)(a->w + s->w_offset);
    for (int64_t t = 0; t < s->tokens; t++) {
        int64_t source = t;
        if (bug == TAIL_OF_NEIGHBOUR && s->tokens > 4 && t >= s->tokens / 4 * 4)
            source = t - 1;
        if ((bug == LAST_TOKEN_MISSING && t == s->tokens - 1) ||
            (bug == FIRST_96_TOKENS && t >= 96))
            continue;
        for (int64_t r = 0; r < s->m; r++) {
            const struct block_q4_K *row = w + r * (s->k / Q4_K_BLOCK);
            const float *x = &a->src[source * s->k];
            bool f16 = bug == F16_FROM_32_TOKENS && s->tokens >= 32;
            float value = bug == SCALE_OF_BATCH ? dot_batch_scale(row, x, a->src, s->tokens, s->k)
                                                : dot(row, x, s->k, f16, bug);
            if (bug >= NO_ORDER)
                value = dot_in_order(row, x, s->k,
                                     (bug == TOKEN_1_ORDER && s->tokens > 2 && t == 1) ||
                                         (bug == BATCH_ORDER && s->tokens > 1));
            if (bug == SUMS_NOT_CLEARED && t % 6 == 1)
                value += a->dst[(t - 1) * s->m + r];
            a->dst[t * s->m + r] = value;
        }
    }
    return NULL;
}

/* Whether the pair's row is written, its expert, and the row. */
struct target {
    bool written;
    int64_t expert, row;
};

static struct target target_of(const struct q4_K_gemv_moe_id_shape *s, const int32_t *ids,
                               int64_t pair, int64_t before, enum bug bug)
{
    int32_t id = ids[bug == IDS_OF_TOKEN_0 ? pair % s->top_k : pair];
    struct target to = {id >= 0 && id < s->experts, id, pair};
    if (bug == INVALID_IS_EXPERT_0 && !to.written)
        to = (struct target){true, 0, pair};
    if (bug == ID_PAST_EXPERTS && id == s->experts)
        to.written = true;
    if (bug == ROWS_COMPACTED)
        to.row = before;
    if (bug == DUPLICATE_DROPPED && pair % s->top_k > 0 && ids[pair - 1] == id)
        to.written = false;
    if (bug == FIRST_8_PAIRS && pair >= 8)
        to.written = false;
    return to;
}

static const char *run_ids(const void *shape, const void *args, enum bug bug)
{
    const struct q4_K_gemv_moe_id_shape *s = shape;
    const struct q4_K_gemv_moe_id_args *a = args;
    const char *illegal = assay_illegal(&q4_K_gemv_moe_id_op, shape, NULL);
    if (illegal)
        return illegal;
    const struct block_q4_K *w = (const struct block_q4_K *)(a->w + s->w_offset);
    int64_t rows = bug == EXPERT_BYTES_OF_ROW ? s->m - (s->m > 1) : s->m, before = 0;
    for (int64_t pair = 0; pair < s->tokens * s->top_k; pair++) {
        struct target to = target_of(s, a->ids, pair, before, bug);
        int64_t slot = bug == SLOT_0_FOR_ALL ? 0 : pair % s->top_k % s->ne11;
        const float *x = &a->src1[(pair / s->top_k * s->ne11 + slot) * s->k];
        bool backwards = (bug == EXPERT_0_ORDER && to.expert == 0) ||
                         (bug == SLOT_1_ORDER && s->top_k > 2 && pair % s->top_k == 1) ||
                         (bug == BATCH_ORDER && s->tokens > 1);
        before += to.written;
        for (int64_t r = 0; r < s->m && to.written; r++) {
            const struct block_q4_K *row = w + (to.expert * rows + r) * (s->k / Q4_K_BLOCK);
            a->dst[to.row * s->m + r] = bug >= NO_ORDER ? dot_in_order(row, x, s->k, backwards)
                                                        : dot(row, x, s->k, false, bug);
        }
        if (bug == INVALID_ZEROED && !to.written)
            memset(&a->dst[pair * s->m], 0, (size_t)s->m * sizeof(float));
    }
    return NULL;
}

static int64_t depth_ref(const void *shape)
{
    (void)shape;
    return 2;
}

static int64_t depth_gemm_order(const void *shape)
{
    return ((const struct q4_K_gemm_shape *)shape)->k + 2;
}

static int64_t depth_ids_order(const void *shape)
{
    return ((const struct q4_K_gemv_moe_id_shape *)shape)->k + 2;
}

static int64_t depth_gemm_i8(const void *shape)
{
    return q4_K_twin_depth(((const struct q4_K_gemm_shape *)shape)->k, 1);
}

#define RUN(what, bug)                                                                      \
    static const char *run_##what##_##bug(const void *shape, const void *args,              \
                                          const void *prepared, void *scratch, int threads) \
    {                                                                                       \
        (void)prepared, (void)scratch, (void)threads;                                       \
        return run_##what(shape, args, bug);                                                \
    }
#define KERNEL(what, op_name, which, text, class_, depth_) \
    {                                                      \
        .bug = text, .kernel = {                           \
            .op = op_name,                                 \
            .name = "wrong-" #which,                       \
            .tier = "ref",                                 \
            .numerics = class_,                            \
            .twin = (class_) == ASSAY_I8,                  \
            .depth = depth_,                               \
            .run = run_##what##_##which                    \
        }                                                  \
    }

#define MOE_F16(X)                                                                \
    X(NONE_F16, NULL)                                                             \
    X(POISONED_TILE, "an overflowing activation makes its tile's next token NaN") \
    X(NOT_ROUNDED, "neither weights nor activations rounded")                     \
    X(WEIGHTS_NOT_ROUNDED, "weights not rounded")                                 \
    X(ACTIVATIONS_NOT_ROUNDED, "activations not rounded")                         \
    X(TOWARD_ZERO, "rounded toward zero")                                         \
    X(F16_SUMS, "sums in f16")                                                    \
    X(SATURATED, "overflow saturates at 65504")                                   \
    X(SUBNORMALS_FLUSHED, "f16 subnormals flushed")

#define GEMM(X)                                                     \
    X(NONE, NULL)                                                   \
    X(LAST_TOKEN_MISSING, "last token not computed")                \
    X(TAIL_OF_NEIGHBOUR, "tail of tokens uses the token before")    \
    X(SUMS_NOT_CLEARED, "sums of a tile's second token not zeroed") \
    X(F16_FROM_32_TOKENS, "rounds to f16 from 32 tokens on")        \
    X(FIRST_96_TOKENS, "tokens from the 97th on not computed")

#define IDS(X)                                                    \
    X(NONE, NULL)                                                 \
    X(INVALID_ZEROED, "rows of invalid ids zeroed")               \
    X(INVALID_IS_EXPERT_0, "invalid ids taken for expert 0")      \
    X(ID_PAST_EXPERTS, "id = experts not refused")                \
    X(IDS_OF_TOKEN_0, "token 0's experts used for all tokens")    \
    X(SLOT_0_FOR_ALL, "slot 0's row used for all slots")          \
    X(DUPLICATE_DROPPED, "an expert's second slot dropped")       \
    X(ROWS_COMPACTED, "rows of valid pairs written without gaps") \
    X(FIRST_8_PAIRS, "pairs from the 9th on not computed")        \
    X(EXPERT_BYTES_OF_ROW, "experts one row too close together")

#define GEMM_ORDER(X)                                              \
    X(NO_ORDER, NULL)                                              \
    X(TOKEN_1_ORDER, "token 1 of several summed in another order") \
    X(BATCH_ORDER, "several tokens summed in another order than one")

#define IDS_ORDER(X)                                             \
    X(NO_ORDER, NULL)                                            \
    X(EXPERT_0_ORDER, "expert 0 summed in another order")        \
    X(SLOT_1_ORDER, "slot 1 of several summed in another order") \
    X(BATCH_ORDER, "several tokens summed in another order than one")

#define RUN_MOE(bug, text)    RUN(moe, bug)
#define RUN_GEMM(bug, text)   RUN(gemm, bug)
#define RUN_IDS(bug, text)    RUN(ids, bug)
#define ENTRY_MOE(bug, text)  KERNEL(moe, "q4_K_gemm_moe_id", bug, text, ASSAY_F16, depth_ref),
#define ENTRY_GEMM(bug, text) KERNEL(gemm, "q4_K_gemm", bug, text, ASSAY_F32, depth_ref),
#define ENTRY_IDS(bug, text)  KERNEL(ids, "q4_K_gemv_moe_id", bug, text, ASSAY_F32, depth_ref),

#define ENTRY_GEMM_ORDER(bug, text) \
    KERNEL(gemm, "q4_K_gemm", bug, text, ASSAY_F32, depth_gemm_order),
#define ENTRY_IDS_ORDER(bug, text) \
    KERNEL(ids, "q4_K_gemv_moe_id", bug, text, ASSAY_F32, depth_ids_order),

MOE_F16(RUN_MOE)
GEMM(RUN_GEMM)
GEMM_ORDER(RUN_GEMM)
IDS(RUN_IDS)
IDS_ORDER(RUN_IDS)
RUN(gemm, SCALE_OF_BATCH)

const struct wrong wrong_matmul_more[] = {
    MOE_F16(ENTRY_MOE) GEMM(ENTRY_GEMM) GEMM_ORDER(ENTRY_GEMM_ORDER) IDS(ENTRY_IDS)
        IDS_ORDER(ENTRY_IDS_ORDER) KERNEL(gemm, "q4_K_gemm", SCALE_OF_BATCH,
                                          "one scale for all tokens", ASSAY_I8, depth_gemm_i8)};
const size_t n_wrong_matmul_more = sizeof(wrong_matmul_more) / sizeof(*wrong_matmul_more);
