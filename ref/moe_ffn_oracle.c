/* SPDX-License-Identifier: MIT */
/* The layer in double, and how far the errors of its stages carry. ref/NUMERICS.md derives it. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ref/moe_ffn.h"
#include "ref/moe_router_topk_softmax.h"
#include "ref/op_parts.h"
#include "ref/q4_K_dot.h"

/* The largest slope of silu is 1.0998, at 2.4. */
#define SILU_SLOPE 1.1
#define U          0x1p-24

typedef struct moe_ffn_shape shape_t;
typedef struct assay_expected expected_t;

/* An upper bound of gamma where errors of errors are concerned: no kernel has reason to declare more
 * than sums one by one, parts apart. */
static double gamma_of(const shape_t *s)
{
    return U * (double)(2 * (s->hidden + s->ffn + s->experts + s->top_k) + 256);
}

/* How far a kernel's value may lie from e's, whatever its class, but for what steps of x do. */
static double fine_deviation(const expected_t *e, double gamma)
{
    return e->flushed + e->slack + e->flush + gamma * (e->magnitude + e->reach / 253);
}

static double deviation(const expected_t *e, double gamma)
{
    return e->step / 253 + fine_deviation(e, gamma);
}

/* Adds factor times a value and its errors. */
static inline void carry(const expected_t *from, double factor, expected_t *to)
{
    double size = fabs(factor);
    to->value += factor * from->value;
    to->magnitude += size * from->magnitude;
    to->slack += size * from->slack;
    to->flush += size * from->flush;
    to->step += size * from->step;
    to->step_sq += factor * factor * from->step_sq;
    to->reach += size * from->reach;
    to->flushed += size * from->flushed;
}

/* An intermediate result that may overflow excuses all that it enters, even times 0. */
static void excuse(expected_t *e)
{
    const double limit = (double)FLT_MAX / 2;
    if (!(e->magnitude <= limit && e->reach <= limit))
        e->magnitude = INFINITY;
}

/* h = silu(g) * u. The error of g passes through a slope of at most SILU_SLOPE times u; the error
 * of u through silu(g); exp(-g) may be off by its argument's rounding, 2u*|g|, which
 * weighs 1 - sigmoid(g). */
static expected_t silu_times(const expected_t *g, const expected_t *u, double gamma)
{
    double sigmoid = 1 / (1 + exp(-g->value));
    double silu = g->value / (1 + exp(-g->value));
    double slope = sigmoid * (1 + g->value * (1 - sigmoid));
    double size = fabs(u->value), reached = size + deviation(u, gamma);
    expected_t h = {.value = silu * u->value};
    double own = (1 + 2 * (1 - sigmoid) * fabs(g->value)) * fabs(h.value);
    double steep = SILU_SLOPE * reached, silu_size = fabs(silu);
    h.magnitude = SILU_SLOPE * g->magnitude * (size + fine_deviation(u, gamma)) +
                  silu_size * u->magnitude + own;
    double vanished = g->value < -80 ? fabs(h.value) : 0; /* where zero will do for silu */
    h.slack = vanished + steep * g->slack + silu_size * u->slack + 0x1p-148 * (1 + reached);
    h.flush = steep * g->flush + silu_size * u->flush + 0x1p-125 * (1 + reached);
    h.step = steep * g->step + silu_size * u->step;
    h.step_sq = pow(slope * u->value, 2) * g->step_sq + silu * silu * u->step_sq;
    h.reach = steep * g->reach + SILU_SLOPE * g->magnitude * u->step + silu_size * u->reach;
    h.flushed = steep * g->flushed + silu_size * u->flushed;
    excuse(&h);
    return h;
}

/* A block of activations that are uncertain themselves: nearest floats, and how far off any of them
 * may be. */
struct uncertain {
    float x[Q4_K_BLOCK];
    double off;
};

/* An expert, the pairs that selected it, and what is known of them so far. */
struct group {
    const shape_t *shape;
    const struct moe_ffn_args *args;
    double gamma;
    int64_t expert, n;
    int64_t *pairs;            /* [n], ascending */
    expected_t *gate;          /* [n], of one row */
    expected_t *up;            /* [n] */
    expected_t *hidden;        /* [n][256], of one block */
    struct uncertain *rounded; /* [n], the same */
    expected_t *y;             /* [n][n_columns] */
};

/* out[i] = row r of a matrix [experts, ffn, hidden] times the i-th token's x. */
static void first_layer(const struct group *group, const uint8_t *matrix, int64_t r,
                        expected_t *out)
{
    const shape_t *s = group->shape;
    int64_t blocks = s->hidden / Q4_K_BLOCK;
    const struct block_q4_K *row =
        (const struct block_q4_K *)matrix + (group->expert * s->ffn + r) * blocks;
    memset(out, 0, (size_t)group->n * sizeof(*out));
    for (int64_t b = 0; b < blocks; b++) {
        struct q4_K_expanded w;
        q4_K_expand(&row[b], ASSAY_F32, &w);
        for (int64_t i = 0; i < group->n; i++) {
            const float *x = group->args->x + group->pairs[i] / s->top_k * s->hidden;
            q4_K_expect(&w, x + b * Q4_K_BLOCK, ASSAY_F32, &out[i]);
        }
    }
    for (int64_t i = 0; i < group->n; i++)
        excuse(&out[i]);
}

static void hidden_block(const struct group *group, int64_t b)
{
    for (int64_t j = 0; j < Q4_K_BLOCK; j++) {
        first_layer(group, group->args->gate, b * Q4_K_BLOCK + j, group->gate);
        first_layer(group, group->args->up, b * Q4_K_BLOCK + j, group->up);
        for (int64_t i = 0; i < group->n; i++)
            group->hidden[i * Q4_K_BLOCK + j] =
                silu_times(&group->gate[i], &group->up[i], group->gamma);
    }
}

static struct uncertain uncertain_of(const expected_t h[Q4_K_BLOCK], double gamma)
{
    struct uncertain block = {.off = 0};
    for (int j = 0; j < Q4_K_BLOCK; j++) {
        double value = h[j].value;
        double rounded =
            isnan(value) ? value : fmax(-(double)FLT_MAX, fmin(value, (double)FLT_MAX));
        block.x[j] = (float)rounded;
        block.off = fmax(block.off, deviation(&h[j], gamma));
    }
    return block;
}

/* Adds a block of `down` times uncertain h: what exact h would give, what the errors of h carry,
 * that roundings are of what h came out as, and that in class i8 the block's largest value, hence its
 * step, is uncertain too. */
static void add_down(const struct q4_K_expanded *w, const expected_t h[Q4_K_BLOCK],
                     const struct uncertain *block, double gamma, expected_t *y)
{
    q4_K_expect(w, block->x, ASSAY_F32, y);
    for (int j = 0; j < Q4_K_BLOCK; j++) {
        expected_t error = h[j];
        error.value -= (double)block->x[j];
        carry(&error, w->w[j], y);
        y->magnitude += gamma * w->parts[j] * h[j].magnitude;
    }
    y->step += block->off * w->sum_w;
    y->reach += (1 + 254) * block->off * w->sum_parts;
    y->flushed += (double)ACTIVATION_TINY * w->sum_w;
}

static void second_layer(const struct group *group, int64_t b, const int64_t *columns,
                         int64_t n_columns)
{
    const shape_t *s = group->shape;
    int64_t blocks = s->ffn / Q4_K_BLOCK;
    const struct block_q4_K *down =
        (const struct block_q4_K *)group->args->down + group->expert * s->hidden * blocks;
    for (int64_t i = 0; i < group->n; i++)
        group->rounded[i] = uncertain_of(&group->hidden[i * Q4_K_BLOCK], group->gamma);
    for (int64_t c = 0; c < n_columns; c++) {
        struct q4_K_expanded w;
        q4_K_expand(&down[columns[c] * blocks + b], ASSAY_F32, &w);
        for (int64_t i = 0; i < group->n; i++)
            add_down(&w, &group->hidden[i * Q4_K_BLOCK], &group->rounded[i], group->gamma,
                     &group->y[i * n_columns + c]);
    }
}

/* Adds an expert's results to its tokens, with the weights of their slots. */
static void combine(const struct group *group, const expected_t *weights, int64_t n_columns,
                    expected_t *expected)
{
    for (int64_t i = 0; i < group->n; i++) {
        const expected_t *weight = &weights[group->pairs[i]];
        expected_t *out = &expected[group->pairs[i] / group->shape->top_k * n_columns];
        for (int64_t c = 0; c < n_columns; c++) {
            expected_t *y = &group->y[i * n_columns + c];
            excuse(y);
            carry(y, weight->value, &out[c]);
            double size = y->magnitude + y->step + y->flushed;
            out[c].slack += weight->slack * size + 0x1p-149;
            out[c].flush += (weight->value < 0x1p-126 ? weight->value * size : 0) + 0x1p-125;
            excuse(&out[c]);
        }
    }
}

static bool add_expert(struct group *group, const expected_t *weights, const int64_t *columns,
                       int64_t n_columns, expected_t *expected)
{
    size_t n = (size_t)group->n;
    group->gate = malloc(n * sizeof(*group->gate));
    group->up = malloc(n * sizeof(*group->up));
    group->hidden = malloc(n * Q4_K_BLOCK * sizeof(*group->hidden));
    group->rounded = malloc(n * sizeof(*group->rounded));
    group->y = calloc(n * (size_t)n_columns, sizeof(*group->y));
    bool ok = group->gate && group->up && group->hidden && group->rounded && group->y;
    for (int64_t b = 0; ok && b < group->shape->ffn / Q4_K_BLOCK; b++) {
        hidden_block(group, b);
        second_layer(group, b, columns, n_columns);
    }
    if (ok)
        combine(group, weights, n_columns, expected);
    free(group->gate);
    free(group->up);
    free(group->hidden);
    free(group->rounded);
    free(group->y);
    return ok;
}

/* The experts of every pair, and what is expected of their weights. */
static bool route(const shape_t *s, const float *logits, int32_t *ids, expected_t *weights)
{
    const struct moe_router_topk_softmax_shape router = {s->experts, s->top_k, s->tokens, s->norm};
    float *rounded = malloc((size_t)(s->tokens * s->top_k) * sizeof(*rounded));
    int64_t *slots = malloc((size_t)s->top_k * sizeof(*slots));
    if (rounded && slots) {
        void *tensors[] = {(void *)logits, ids, rounded};
        for (int64_t slot = 0; slot < s->top_k; slot++)
            slots[slot] = slot;
        moe_router_topk_softmax_ref.run(&router, tensors, NULL, NULL, 1);
        moe_router_topk_softmax_op.oracle(&router, tensors, 2, ASSAY_F32, slots, s->top_k, weights);
    }
    bool ok = rounded && slots;
    free(rounded);
    free(slots);
    return ok;
}

bool moe_ffn_oracle(const void *shape, void *const *t, size_t tensor, enum assay_numerics numerics,
                    const int64_t *columns, int64_t n_columns, struct assay_expected *expected)
{
    (void)tensor, (void)numerics;
    const shape_t *s = shape;
    struct moe_ffn_args a = {t[0], t[1], t[2], t[3], t[4], t[5]};
    int64_t pairs = s->tokens * s->top_k;
    struct group group = {.shape = s, .args = &a, .gamma = gamma_of(s)};
    group.pairs = malloc((size_t)pairs * sizeof(*group.pairs));
    int32_t *ids = malloc((size_t)pairs * sizeof(*ids));
    expected_t *weights = malloc((size_t)pairs * sizeof(*weights));
    bool ok = group.pairs && ids && weights && route(s, a.logits, ids, weights);
    memset(expected, 0, (size_t)(s->tokens * n_columns) * sizeof(*expected));
    for (group.expert = 0; ok && group.expert < s->experts; group.expert++) {
        group.n = 0;
        for (int64_t pair = 0; pair < pairs; pair++) {
            if (ids[pair] == group.expert)
                group.pairs[group.n++] = pair;
        }
        ok = group.n == 0 || add_expert(&group, weights, columns, n_columns, expected);
    }
    free(group.pairs);
    free(ids);
    free(weights);
    return ok;
}
