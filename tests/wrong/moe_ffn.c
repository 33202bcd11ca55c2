/* SPDX-License-Identifier: MIT */
/* Wrong layers: a plain layer of its own, with one bug in it. */
#include <math.h>
#include <stdlib.h>

#include "ref/moe_ffn.h"
#include "ref/moe_router_topk_softmax.h"
#include "ref/q4_K.h"
#include "tests/wrong/wrong.h"

typedef struct moe_ffn_shape shape_t;
typedef struct moe_ffn_args args_t;

enum bug {
    NONE,
    GATE_IS_UP,     /* silu of the wrong one */
    SIGMOID,        /* without the factor g */
    RELU,           /* instead of silu */
    HALF_HIDDEN,    /* the last block of h is left out of down */
    NOT_NORMALIZED, /* norm is ignored */
    EQUAL_WEIGHTS,  /* all slots weigh the same */
    LAST_SLOT,      /* is dropped, after normalizing */
    SLOTS_REVERSED, /* weights meet the wrong slots */
    NEXT_EXPERT,    /* down of the next expert */
    NEXT_TOKEN,     /* x of the next token */
    STALE_INVALID,  /* an invalid token's row is not written */
    SPREADING_NAN,  /* a token that is not finite spoils the next one */
    COARSE_HIDDEN,  /* h in bf16 */
    NEGATIVE_GATE,  /* gates below -20 count as they are */
};

static double dot(const uint8_t *matrix, int64_t row, const float *x, int64_t k)
{
    const struct block_q4_K *blocks = (const struct block_q4_K *)matrix + row * (k / Q4_K_BLOCK);
    double sum = 0;
    for (int64_t i = 0; i < k; i += Q4_K_BLOCK) {
        float w[Q4_K_BLOCK];
        q4_K_weights(&blocks[i / Q4_K_BLOCK], w);
        for (int j = 0; j < Q4_K_BLOCK; j++)
            sum += (double)w[j] * (double)x[i + j];
    }
    return sum;
}

static double activate(enum bug bug, double gate, double up)
{
    double g = bug == GATE_IS_UP ? up : gate, u = bug == GATE_IS_UP ? gate : up;
    if (bug == RELU)
        return g < 0 ? 0 : g * u;
    if (bug == NEGATIVE_GATE && g < -20)
        return g * u;
    return (bug == SIGMOID ? 1 : g) / (1 + exp(-g)) * u;
}

static float round_hidden(enum bug bug, double h)
{
    float f = (float)h;
    if (bug == COARSE_HIDDEN && isfinite(f))
        f = ldexpf(rintf(ldexpf(f, 8 - ilogbf(f == 0 ? 1 : f))), ilogbf(f == 0 ? 1 : f) - 8);
    return f;
}

static void add_slot(enum bug bug, const shape_t *s, const args_t *a, const float *x, int32_t e,
                     double weight, float *h, double *out)
{
    for (int64_t j = 0; j < s->ffn; j++) {
        double gate = dot(a->gate, e * s->ffn + j, x, s->hidden);
        double up = dot(a->up, e * s->ffn + j, x, s->hidden);
        bool dropped = bug == HALF_HIDDEN && j >= s->ffn - Q4_K_BLOCK / 2;
        h[j] = dropped ? 0 : round_hidden(bug, activate(bug, gate, up));
    }
    int64_t expert = bug == NEXT_EXPERT ? (e + 1) % s->experts : e;
    for (int64_t i = 0; i < s->hidden; i++)
        out[i] += weight * dot(a->down, expert * s->hidden + i, h, s->ffn);
}

static double weight_of(enum bug bug, const shape_t *s, const float *weights, int64_t slot)
{
    if (bug == EQUAL_WEIGHTS)
        return 1 / (double)s->top_k;
    if (bug == LAST_SLOT && slot == s->top_k - 1 && slot > 0)
        return 0;
    return (double)weights[bug == SLOTS_REVERSED ? s->top_k - 1 - slot : slot];
}

static void run_token(enum bug bug, const shape_t *s, const args_t *a, int64_t token, int32_t *ids,
                      float *weights, float *h, double *sum)
{
    struct moe_router_topk_softmax_shape router = {s->experts, s->top_k, 1, s->norm};
    router.norm = bug == NOT_NORMALIZED ? 0 : s->norm;
    struct moe_router_topk_softmax_args routed = {&a->logits[token * s->experts], ids, weights};
    moe_router_topk_softmax_ref.run(&router, &routed, NULL, NULL, 1);
    if (bug == STALE_INVALID && ids[0] < 0)
        return;
    int64_t source = bug == NEXT_TOKEN ? (token + 1) % s->tokens : token;
    for (int64_t i = 0; i < s->hidden; i++)
        sum[i] = 0;
    for (int64_t slot = 0; slot < s->top_k && ids[slot] >= 0; slot++)
        add_slot(bug, s, a, &a->x[source * s->hidden], ids[slot], weight_of(bug, s, weights, slot),
                 h, sum);
    float *out = &a->out[token * s->hidden];
    bool spoilt = bug == SPREADING_NAN && token > 0 && !isfinite(out[-1]);
    for (int64_t i = 0; i < s->hidden; i++)
        out[i] = spoilt ? NAN : (float)sum[i];
}

static const char *run(enum bug bug, const shape_t *s, const args_t *a)
{
    const char *illegal = assay_illegal(&moe_ffn_op, s, NULL);
    if (illegal)
        return illegal;
    int32_t *ids = malloc((size_t)s->top_k * sizeof(*ids));
    float *weights = malloc((size_t)s->top_k * sizeof(*weights));
    float *h = malloc((size_t)s->ffn * sizeof(*h));
    double *sum = malloc((size_t)s->hidden * sizeof(*sum));
    bool ok = ids && weights && h && sum;
    for (int64_t token = 0; ok && token < s->tokens; token++)
        run_token(bug, s, a, token, ids, weights, h, sum);
    free(ids);
    free(weights);
    free(h);
    free(sum);
    return ok ? NULL : "out of memory";
}

#define RUN(bug)                                                                            \
    static const char *run_##bug(const void *shape, const void *args, const void *prepared, \
                                 void *scratch, int threads)                                \
    {                                                                                       \
        (void)prepared, (void)scratch, (void)threads;                                       \
        return run(bug, shape, args);                                                       \
    }
RUN(NONE)
RUN(GATE_IS_UP)
RUN(SIGMOID)
RUN(RELU)
RUN(HALF_HIDDEN)
RUN(NOT_NORMALIZED)
RUN(EQUAL_WEIGHTS)
RUN(LAST_SLOT)
RUN(SLOTS_REVERSED)
RUN(NEXT_EXPERT)
RUN(NEXT_TOKEN)
RUN(STALE_INVALID)
RUN(SPREADING_NAN)
RUN(COARSE_HIDDEN)
RUN(NEGATIVE_GATE)

static int64_t depth(const void *shape)
{
    (void)shape;
    return 8;
}

#define WRONG(text, which)                \
    {                                     \
        .bug = text,                      \
        .kernel = {.op = "moe_ffn",       \
                   .name = #which,        \
                   .tier = "ref",         \
                   .numerics = ASSAY_F32, \
                   .depth = depth,        \
                   .run = run_##which},   \
    }

const struct wrong wrong_moe_ffn[] = {
    WRONG(NULL, NONE),
    WRONG("silu of up", GATE_IS_UP),
    WRONG("sigmoid for silu", SIGMOID),
    WRONG("relu for silu", RELU),
    WRONG("half of the last block of h is dropped", HALF_HIDDEN),
    WRONG("norm is ignored", NOT_NORMALIZED),
    WRONG("slots weigh the same", EQUAL_WEIGHTS),
    WRONG("last slot dropped after normalizing", LAST_SLOT),
    WRONG("weights in the order of other slots", SLOTS_REVERSED),
    WRONG("down of the next expert", NEXT_EXPERT),
    WRONG("x of the next token", NEXT_TOKEN),
    WRONG("an invalid token's row is not written", STALE_INVALID),
    WRONG("NaN spreads to the next token", SPREADING_NAN),
    WRONG("h in bf16", COARSE_HIDDEN),
    WRONG("silu(g) = g below -20", NEGATIVE_GATE),
};
const size_t n_wrong_moe_ffn = sizeof(wrong_moe_ffn) / sizeof(*wrong_moe_ffn);
