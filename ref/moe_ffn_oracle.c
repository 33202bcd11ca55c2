/* SPDX-License-Identifier: MIT */
/* The layer in double, and how far the errors of its stages carry. ref/NUMERICS.md derives it. */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "ref/moe_ffn.h"
#include "ref/moe_router_topk_softmax.h"
#include "ref/op_parts.h"
#include "ref/q4_K_dot.h"

/* The largest slope of silu is 1.0998, at 2.4. */
#define SILU_SLOPE 1.1
/* Depths are below 2^12, so gamma is below this. */
#define GAMMA 0x1p-12

typedef struct moe_ffn_shape shape_t;
typedef struct assay_expected expected_t;

/* How far a kernel's value may lie from e's, whatever its class. */
static double deviation(const expected_t *e)
{
    return e->step / 253 + e->flushed + e->slack + e->flush +
           GAMMA * (e->magnitude + e->reach / 253);
}

/* Adds factor times a value and its errors. */
static void carry(const expected_t *from, double factor, expected_t *to)
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

/* An intermediate result that may overflow excuses all that it enters. */
static void excuse(expected_t *e)
{
    if (fmax(e->magnitude, e->reach) > (double)FLT_MAX / 2)
        e->magnitude = INFINITY;
}

/* h = silu(g) * u. The error of g passes through a slope of at most SILU_SLOPE times u; the error
 * of u through silu(g); exp(-g) may be off by its argument's rounding, u*|g|, which weighs
 * 1 - sigmoid(g). */
static expected_t silu_times(const expected_t *g, const expected_t *u)
{
    double sigmoid = 1 / (1 + exp(-g->value));
    double silu = g->value / (1 + exp(-g->value));
    double slope = sigmoid * (1 + g->value * (1 - sigmoid));
    double size = fabs(u->value), reached = size + deviation(u);
    expected_t h = {.value = silu * u->value};
    double own = (1 + (1 - sigmoid) * fabs(g->value)) * fabs(h.value);
    double steep = SILU_SLOPE * reached, silu_size = fabs(silu);
    h.magnitude = SILU_SLOPE * g->magnitude * (size + GAMMA * u->magnitude) +
                  silu_size * u->magnitude + own;
    h.slack = steep * g->slack + silu_size * u->slack + 0x1p-148 * (1 + reached);
    h.flush = steep * g->flush + silu_size * u->flush + 0x1p-125 * (1 + reached);
    h.step = steep * g->step + silu_size * u->step;
    h.step_sq = pow(slope * u->value, 2) * g->step_sq + silu * silu * u->step_sq;
    h.reach = steep * g->reach + SILU_SLOPE * g->magnitude * u->step + silu_size * u->reach;
    h.flushed = steep * g->flushed + silu_size * u->flushed;
    excuse(&h);
    return h;
}

static expected_t dot(const struct block_q4_K *row, const float *x, int64_t k)
{
    expected_t sum = {0};
    for (int64_t b = 0; b < k / Q4_K_BLOCK; b++)
        q4_K_expect(&row[b], &x[b * Q4_K_BLOCK], &sum);
    excuse(&sum);
    return sum;
}

/* Block `b` of the hidden values of one token and expert. */
static void hidden_block(const shape_t *s, const struct moe_ffn_args *a, const float *x,
                         int64_t expert, int64_t b, expected_t h[Q4_K_BLOCK])
{
    int64_t row_blocks = s->hidden / Q4_K_BLOCK;
    int64_t first = (expert * s->ffn + b * Q4_K_BLOCK) * row_blocks;
    for (int64_t j = 0; j < Q4_K_BLOCK; j++) {
        int64_t row = first + j * row_blocks;
        expected_t g = dot((const struct block_q4_K *)a->gate + row, x, s->hidden);
        expected_t u = dot((const struct block_q4_K *)a->up + row, x, s->hidden);
        h[j] = silu_times(&g, &u);
    }
}

/* A block of activations that are uncertain themselves: nearest floats, and how far off the largest
 * of them may be. */
struct uncertain {
    float x[Q4_K_BLOCK], off[Q4_K_BLOCK];
};

static struct uncertain uncertain_of(const expected_t h[Q4_K_BLOCK])
{
    struct uncertain block;
    double off = 0;
    for (int j = 0; j < Q4_K_BLOCK; j++) {
        double value = h[j].value;
        double rounded = isnan(value) ? value : fmax(-(double)FLT_MAX, fmin(value, (double)FLT_MAX));
        block.x[j] = (float)rounded;
        off = fmax(off, deviation(&h[j]));
    }
    for (int j = 0; j < Q4_K_BLOCK; j++)
        block.off[j] = (float)fmin(off, (double)FLT_MAX);
    return block;
}

/* Adds a block of `down` times uncertain h: what exact h would give, what the errors of h carry,
 * and that the block's largest value, hence its step, is uncertain too. */
static void add_down(const struct block_q4_K *down, const expected_t h[Q4_K_BLOCK],
                     const struct uncertain *block, expected_t *y)
{
    float w[Q4_K_BLOCK];
    q4_K_weights(down, w);
    q4_K_expect(down, block->x, y);
    for (int j = 0; j < Q4_K_BLOCK; j++) {
        expected_t error = h[j];
        error.value -= (double)block->x[j];
        carry(&error, (double)w[j], y);
    }
    expected_t spread = {0};
    q4_K_expect(down, block->off, &spread);
    y->step += spread.step;
    y->reach += spread.reach;
    y->flushed += spread.flushed;
    if (spread.step > 0)
        y->flushed += spread.step / (double)block->off[0] * (double)ACTIVATION_TINY;
}

static void add_slot(const shape_t *s, const struct moe_ffn_args *a, int64_t token, int64_t expert,
                     const expected_t *weight, const int64_t *columns, int64_t n_columns,
                     expected_t *y, expected_t *out)
{
    int64_t row_blocks = s->ffn / Q4_K_BLOCK;
    for (int64_t c = 0; c < n_columns; c++)
        y[c] = (expected_t){0};
    for (int64_t b = 0; b < row_blocks; b++) {
        expected_t h[Q4_K_BLOCK];
        hidden_block(s, a, &a->x[token * s->hidden], expert, b, h);
        struct uncertain block = uncertain_of(h);
        for (int64_t c = 0; c < n_columns; c++) {
            int64_t row = (expert * s->hidden + columns[c]) * row_blocks;
            add_down((const struct block_q4_K *)a->down + row + b, h, &block, &y[c]);
        }
    }
    for (int64_t c = 0; c < n_columns; c++) {
        excuse(&y[c]);
        carry(&y[c], weight->value, &out[c]);
        double size = y[c].magnitude + y[c].step + y[c].flushed;
        out[c].slack += weight->slack * size + 0x1p-149;
        out[c].flush += (weight->value < 0x1p-126 ? weight->value * size : 0) + 0x1p-125;
    }
}

bool moe_ffn_oracle(const void *shape, void *const *t, size_t tensor, const int64_t *columns,
                    int64_t n_columns, struct assay_expected *expected)
{
    (void)tensor;
    const shape_t *s = shape;
    struct moe_ffn_args a = {t[0], t[1], t[2], t[3], t[4], t[5]};
    const struct moe_router_topk_softmax_shape row = {s->experts, s->top_k, 1, s->norm};
    int32_t *ids = malloc((size_t)s->top_k * sizeof(*ids));
    float *rounded = malloc((size_t)s->top_k * sizeof(*rounded));
    int64_t *slots = malloc((size_t)s->top_k * sizeof(*slots));
    expected_t *weights = malloc((size_t)s->top_k * sizeof(*weights));
    expected_t *y = malloc((size_t)n_columns * sizeof(*y));
    bool ok = ids && rounded && slots && weights && y;
    for (int64_t slot = 0; ok && slot < s->top_k; slot++)
        slots[slot] = slot;
    for (int64_t token = 0; ok && token < s->tokens; token++) {
        expected_t *out = &expected[token * n_columns];
        for (int64_t c = 0; c < n_columns; c++)
            out[c] = (expected_t){0};
        struct moe_router_topk_softmax_args router = {&a.logits[token * s->experts], ids, rounded};
        moe_router_topk_softmax_ref.run(&row, &router, NULL, NULL, 1);
        void *routed[] = {(void *)router.logits, ids, rounded};
        moe_router_topk_softmax_op.oracle(&row, routed, 2, slots, s->top_k, weights);
        for (int64_t slot = 0; slot < s->top_k && ids[slot] >= 0; slot++)
            add_slot(s, &a, token, ids[slot], &weights[slot], columns, n_columns, y, out);
    }
    free(ids);
    free(rounded);
    free(slots);
    free(weights);
    free(y);
    return ok;
}
