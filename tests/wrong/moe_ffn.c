/* SPDX-License-Identifier: MIT */
/* Wrong layers: a plain layer of its own, with one bug in it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ref/activation_i8.h"
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
    NEGATIVE_GATE,  /* gates below -10 count as they are */
    STALE_HIDDEN,   /* h of the last 32 columns is that of the 32 before */
    EXPERT_SCALE,   /* the middle expert's `down` is 2^-16 too large */
    SUM_IN_BF16,    /* the sum of slots is kept in bf16 */
    SERIAL,         /* no bug: every sum in f32, one term after the other */
    WEIGHTS_FIRST, /* no bug: weights meet h before `down`, slots from the last, 1 / (1 + e) first */

    /* Class i8. */
    DIGITS,          /* no bug: its rule */
    DIGITS_PER_32,   /* no bug: finer steps */
    COARSE_DIGITS,   /* h in steps of amax/64 */
    CUT_DIGITS,      /* h truncated instead of rounded */
    STALE_SCALE,     /* the last block of h has the scale of the one before */
    EXPERT_SCALE_I8, /* the middle expert's `down` is 1/16 too large */
    DIGITS_TWICE,    /* x is rounded to 8 digits of 96 first */
};

static bool is_i8(enum bug bug)
{
    return bug >= DIGITS;
}

enum { LANES = 8 };

static double dot(enum bug bug, const float *w, const float *x, int64_t k)
{
    double sums[LANES] = {0}, sum = 0;
    float serial = 0;
    for (int64_t i = 0; bug == SERIAL && i < k; i++)
        serial += w[i] * x[i];
    for (int64_t i = 0; bug != SERIAL && i < k; i += LANES) {
        for (int j = 0; j < LANES; j++)
            sums[j] += (double)w[i + j] * (double)x[i + j];
    }
    for (int j = 0; j < LANES; j++)
        sum += sums[j];
    return bug == SERIAL ? (double)serial : sum;
}

/* n values in steps of a group's amax / top, that of the group before where it is stale. */
static void round_to_digits(float *x, int64_t n, int64_t group, float top, bool stale, bool cut)
{
    float step = 0;
    for (int64_t start = 0; start < n; start += group) {
        float amax = 0;
        for (int64_t i = start; i < start + group; i++)
            amax = fmaxf(amax, isfinite(x[i]) ? fabsf(x[i]) : INFINITY);
        bool last = start + group == n;
        if (!(stale && last && start > 0))
            step = amax < ACTIVATION_TINY ? INFINITY : amax / top;
        for (int64_t i = start; i < start + group; i++) {
            float steps = x[i] / step;
            steps = fminf(fmaxf(cut ? truncf(steps) : rintf(steps), -top), top);
            x[i] = isinf(step) && isfinite(amax) ? 0 : isinf(amax) ? NAN : steps * step;
        }
    }
}

static void digits_of_x(enum bug bug, float *x, int64_t n)
{
    if (bug == DIGITS_TWICE)
        round_to_digits(x, n, Q4_K_BLOCK, 96, false, false);
    if (is_i8(bug))
        round_to_digits(x, n, bug == DIGITS_PER_32 ? 32 : Q4_K_BLOCK, 127, false, false);
}

static void digits_of_h(enum bug bug, float *h, int64_t n)
{
    if (is_i8(bug))
        round_to_digits(h, n, bug == DIGITS_PER_32 ? 32 : Q4_K_BLOCK,
                        bug == COARSE_DIGITS ? 64 : 127, bug == STALE_SCALE, bug == CUT_DIGITS);
}

static double activate(enum bug bug, double gate, double up)
{
    double g = bug == GATE_IS_UP ? up : gate, u = bug == GATE_IS_UP ? gate : up;
    if (bug == RELU)
        return g < 0 ? 0 : g * u;
    if (bug == NEGATIVE_GATE && g < -10)
        return g * u;
    if (bug == WEIGHTS_FIRST)
        return (double)(1 / (1 + expf(-(float)g)) * (float)g * (float)u);
    return (bug == SIGMOID ? 1 : g) / (1 + exp(-g)) * u;
}

static float to_bf16(double value)
{
    float f = (float)value;
    int exponent = ilogbf(f == 0 ? 1 : f) - 8;
    return isfinite(f) ? ldexpf(rintf(ldexpf(f, -exponent)), exponent) : f;
}

struct memory {
    int32_t *ids;
    float *weights, *x, *h;
    float *gate, *up, *down; /* dequantized */
    double *sum;
};

static void make_hidden(enum bug bug, const shape_t *s, const struct memory *m, int32_t e)
{
    float *h = m->h;
    for (int64_t j = 0; j < s->ffn; j++) {
        int64_t row = (e * s->ffn + j) * s->hidden;
        double gate = dot(bug, m->gate + row, m->x, s->hidden);
        double value = activate(bug, gate, dot(bug, m->up + row, m->x, s->hidden));
        bool dropped = bug == HALF_HIDDEN && j >= s->ffn - Q4_K_BLOCK / 2;
        h[j] = dropped ? 0 : bug == COARSE_HIDDEN ? to_bf16(value) : (float)value;
        if (bug == STALE_HIDDEN && j >= s->ffn - 32)
            h[j] = h[j - 32];
    }
    digits_of_h(bug, h, s->ffn);
}

static void add_slot(enum bug bug, const shape_t *s, const struct memory *m, int32_t e,
                     double weight)
{
    int64_t expert = bug == NEXT_EXPERT ? (e + 1) % s->experts : e;
    bool scaled = e == s->experts / 2;
    if (bug == EXPERT_SCALE && scaled)
        weight *= 1 + 0x1p-16;
    if (bug == EXPERT_SCALE_I8 && scaled)
        weight *= 1 + 0x1p-4;
    for (int64_t j = 0; bug == WEIGHTS_FIRST && j < s->ffn; j++)
        m->h[j] *= (float)weight;
    for (int64_t i = 0; i < s->hidden; i++) {
        double y = dot(bug, m->down + (expert * s->hidden + i) * s->ffn, m->h, s->ffn);
        m->sum[i] += bug == WEIGHTS_FIRST ? y : weight * y;
        if (bug == SUM_IN_BF16)
            m->sum[i] = (double)to_bf16(m->sum[i]);
    }
}

static double weight_of(enum bug bug, const shape_t *s, const float *weights, int64_t slot)
{
    if (bug == EQUAL_WEIGHTS)
        return 1 / (double)s->top_k;
    if (bug == LAST_SLOT && slot == s->top_k - 1 && slot > 0)
        return 0;
    return (double)weights[bug == SLOTS_REVERSED ? s->top_k - 1 - slot : slot];
}

static void run_token(enum bug bug, const shape_t *s, const args_t *a, int64_t token,
                      const struct memory *m)
{
    struct moe_router_topk_softmax_shape router = {s->experts, s->top_k, 1, s->norm};
    router.norm = bug == NOT_NORMALIZED ? 0 : s->norm;
    struct moe_router_topk_softmax_args routed = {&a->logits[token * s->experts], m->ids,
                                                  m->weights};
    moe_router_topk_softmax_ref.run(&router, &routed, NULL, NULL, 1);
    if (bug == STALE_INVALID && m->ids[0] < 0)
        return;
    int64_t source = bug == NEXT_TOKEN ? (token + 1) % s->tokens : token;
    memcpy(m->x, &a->x[source * s->hidden], (size_t)s->hidden * sizeof(*m->x));
    digits_of_x(bug, m->x, s->hidden);
    for (int64_t i = 0; i < s->hidden; i++)
        m->sum[i] = 0;
    for (int64_t i = 0; i < s->top_k; i++) {
        int64_t slot = bug == WEIGHTS_FIRST ? s->top_k - 1 - i : i;
        if (m->ids[slot] < 0)
            continue;
        make_hidden(bug, s, m, m->ids[slot]);
        add_slot(bug, s, m, m->ids[slot], weight_of(bug, s, m->weights, slot));
    }
    float *out = &a->out[token * s->hidden];
    bool spoilt = bug == SPREADING_NAN && token > 0 && !isfinite(out[-1]);
    for (int64_t i = 0; i < s->hidden; i++)
        out[i] = spoilt ? NAN : (float)m->sum[i];
}

static float *dequantized(const uint8_t *w, int64_t count)
{
    float *weights = malloc((size_t)count * sizeof(*weights));
    for (int64_t i = 0; weights && i < count; i += Q4_K_BLOCK)
        q4_K_weights((const struct block_q4_K *)w + i / Q4_K_BLOCK, weights + i);
    return weights;
}

static const char *run(enum bug bug, const shape_t *s, const args_t *a)
{
    const char *illegal = assay_illegal(&moe_ffn_op, s, NULL);
    if (illegal)
        return illegal;
    struct memory m = {
        .ids = malloc((size_t)s->top_k * sizeof(*m.ids)),
        .weights = malloc((size_t)s->top_k * sizeof(*m.weights)),
        .x = malloc((size_t)s->hidden * sizeof(*m.x)),
        .h = malloc((size_t)s->ffn * sizeof(*m.h)),
        .gate = dequantized(a->gate, s->experts * s->ffn * s->hidden),
        .up = dequantized(a->up, s->experts * s->ffn * s->hidden),
        .down = dequantized(a->down, s->experts * s->ffn * s->hidden),
        .sum = malloc((size_t)s->hidden * sizeof(*m.sum)),
    };
    bool ok = m.ids && m.weights && m.x && m.h && m.gate && m.up && m.down && m.sum;
    for (int64_t token = 0; ok && token < s->tokens; token++)
        run_token(bug, s, a, token, &m);
    void *all[] = {m.ids, m.weights, m.x, m.h, m.gate, m.up, m.down, m.sum};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        free(all[i]);
    return ok ? NULL : "out of memory";
}

#define RUN(bug)                                                                            \
    static const char *run_##bug(const void *shape, const void *args, const void *prepared, \
                                 void *scratch, int threads)                                \
    {                                                                                       \
        (void)prepared, (void)scratch, (void)threads;                                       \
        return run(bug, shape, args);                                                       \
    }
#define BUGS(X)                                                                   \
    X(NONE, F32, 0, NULL)                                                         \
    X(GATE_IS_UP, F32, 0, "silu of up")                                           \
    X(SIGMOID, F32, 0, "sigmoid for silu")                                        \
    X(RELU, F32, 0, "relu for silu")                                              \
    X(HALF_HIDDEN, F32, 0, "half of the last block of h is dropped")              \
    X(NOT_NORMALIZED, F32, 0, "norm is ignored")                                  \
    X(EQUAL_WEIGHTS, F32, 0, "slots weigh the same")                              \
    X(LAST_SLOT, F32, 0, "last slot dropped after normalizing")                   \
    X(SLOTS_REVERSED, F32, 0, "weights in the order of other slots")              \
    X(NEXT_EXPERT, F32, 0, "down of the next expert")                             \
    X(NEXT_TOKEN, F32, 0, "x of the next token")                                  \
    X(STALE_INVALID, F32, 0, "an invalid token's row is not written")             \
    X(SPREADING_NAN, F32, 0, "NaN spreads to the next token")                     \
    X(COARSE_HIDDEN, F32, 0, "h in bf16")                                         \
    X(NEGATIVE_GATE, F32, 0, "silu(g) = g below -10")                             \
    X(STALE_HIDDEN, F32, 0, "last 32 of h are those before")                      \
    X(EXPERT_SCALE, F32, 0, "one expert's down 2^-16 too large")                  \
    X(SUM_IN_BF16, F32, 0, "sum of slots in bf16")                                \
    X(SERIAL, F32, 0, NULL)                                                       \
    X(WEIGHTS_FIRST, F32, 0, NULL)                                                \
    X(DIGITS, I8, 0, NULL)                                                        \
    X(DIGITS_PER_32, I8, 0, NULL)                                                 \
    X(COARSE_DIGITS, I8, ONLY(STATISTICS) | ONLY(BOUND), "h in steps of amax/64") \
    X(CUT_DIGITS, I8, ONLY(STATISTICS) | ONLY(BOUND), "h truncated to digits")    \
    X(STALE_SCALE, I8, 0, "scale of the block of h before")                       \
    X(EXPERT_SCALE_I8, I8, ONLY(STATISTICS), "one expert's down 1/16 too large")  \
    X(DIGITS_TWICE, I8, ONLY(STATISTICS), "x rounded twice")

#define RUN_OF(bug, class, layers, text) RUN(bug)
BUGS(RUN_OF)

/* All is in double and rounded once, but for a few roundings of h and of weights. */
static int64_t depth(const void *shape)
{
    (void)shape;
    return 8;
}

static int64_t depth_serial(const void *shape)
{
    const shape_t *s = shape;
    return s->hidden + s->ffn + depth(shape);
}

#define WRONG(bug_, class, layers, text)                           \
    {                                                              \
        .bug = text,                                               \
        .only = layers,                                            \
        .kernel = {.op = "moe_ffn",                                \
                   .name = #bug_,                                  \
                   .tier = "ref",                                  \
                   .numerics = ASSAY_##class,                      \
                   .depth = bug_ == SERIAL ? depth_serial : depth, \
                   .run = run_##bug_},                             \
    },

const struct wrong wrong_moe_ffn[] = {BUGS(WRONG)};
const size_t n_wrong_moe_ffn = sizeof(wrong_moe_ffn) / sizeof(*wrong_moe_ffn);
