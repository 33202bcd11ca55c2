/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ref/fill.h"
#include "ref/moe_ffn.h"
#include "ref/moe_router_topk_softmax.h"
#include "ref/op_parts.h"
#include "ref/q4_K.h"

typedef struct moe_ffn_shape shape_t;

/*
 * Fill `exact`. Rows of gate pick element GATE_ELEMENT of some block of x, which is 8, times 8 or 16:
 * g is 64 or 128, exp(-g) vanishes beside 1 and silu(g) = g. Rows of up pick one element of x, so h
 * is an integer up to 3 in size, or TOP, in units of a power of two; TOP stands in every block of h.
 */
#define TOP_ELEMENT  0
#define GATE_ELEMENT 1
#define TOP          127
#define UNIT         0.125f /* of x */

#define F16_ONE 0x3c00

static void one_hot_row(struct block_q4_K *row, int64_t blocks, int64_t block, int element,
                        int nibble, bool negative)
{
    memset(row, 0, (size_t)blocks * sizeof(*row));
    struct block_q4_K *hot = &row[block];
    q4_K_set_f16(hot->d, (uint16_t)(F16_ONE | negative << 15));
    q4_K_set_scale_min(hot, element / Q4_K_SUB_BLOCK, 1, 0);
    int shift = element / Q4_K_SUB_BLOCK % 2 ? 4 : 0;
    hot->qs[32 * (element / 64) + element % 32] |= (uint8_t)(nibble << shift);
}

/* Units in a row of h times a row of `down`, at most (ref/fill.h); the router's weights, powers of
 * two down to 1/top_k, are finer. */
bool moe_ffn_exact(const void *shape)
{
    const shape_t *s = shape;
    const int64_t block_units = (TOP + (Q4_K_BLOCK - 1) * 3) * 2 * (225 + 63);
    bool power = (s->top_k & (s->top_k - 1)) == 0;
    return (power || !s->norm) && s->ffn / Q4_K_BLOCK * block_units * s->top_k < 1 << 24;
}

static void exact_gate(const shape_t *s, struct block_q4_K *w, struct assay_random *random)
{
    int64_t blocks = s->hidden / Q4_K_BLOCK, scale = 0;
    for (int64_t row = 0; row < s->experts * s->ffn; row++) {
        if (row % Q4_K_BLOCK == 0) /* h of a block has one unit */
            scale = 1 + assay_below(random, 2);
        one_hot_row(&w[row * blocks], blocks, assay_below(random, blocks), GATE_ELEMENT, 8, false);
        for (int64_t b = 0; scale == 2 && b < blocks; b++) {
            if (q4_K_f16(w[row * blocks + b].d) != 0)
                q4_K_set_f16(w[row * blocks + b].d, F16_ONE + 0x400);
        }
    }
}

static void exact_up(const shape_t *s, struct block_q4_K *w, struct assay_random *random)
{
    int64_t blocks = s->hidden / Q4_K_BLOCK, top = 0;
    for (int64_t row = 0; row < s->experts * s->ffn; row++) {
        if (row % Q4_K_BLOCK == 0)
            top = row + assay_below(random, Q4_K_BLOCK);
        int64_t small = assay_below(random, Q4_K_BLOCK - 2) + 2;
        one_hot_row(&w[row * blocks], blocks, assay_below(random, blocks),
                    row == top ? TOP_ELEMENT : (int)small, 1, assay_below(random, 2));
    }
}

static void exact_x(const shape_t *s, float *x, struct assay_random *random)
{
    for (int64_t i = 0; i < s->tokens * s->hidden; i++) {
        int64_t element = i % Q4_K_BLOCK;
        float units = element == TOP_ELEMENT    ? TOP
                      : element == GATE_ELEMENT ? 8 / UNIT
                                                : (float)(assay_below(random, 7) - 3);
        x[i] = units * UNIT;
    }
}

/* Tokens by turns: as the case's routing says, and on fill `edge` ones with ties, -Inf from some
 * expert on, and invalid ones. */
static void edge_logits(const shape_t *s, float *logits, struct assay_random *random)
{
    for (int64_t token = 0; token < s->tokens; token++, logits += s->experts) {
        int64_t e = assay_below(random, s->experts);
        switch (token % 8) {
        case 1: logits[e] = NAN; break;
        case 3:
            for (int64_t i = e + 1; i < s->experts; i++)
                logits[i] = -INFINITY;
            break;
        case 5:
            for (int64_t i = 0; i < s->experts; i++)
                logits[i] = rintf(logits[i]);
            break;
        case 7: logits[e] = INFINITY; break;
        default: break;
        }
    }
}

/* Lifts the experts that the routing selects above all others. */
static bool route(const shape_t *s, const struct assay_fill *how, float *logits,
                  struct assay_random *random)
{
    int64_t pairs = s->tokens * s->top_k;
    int32_t *selected = malloc((size_t)pairs * sizeof(*selected));
    bool ok = selected && fill_routing(how, s->experts, s->tokens, s->top_k, selected, random);
    for (int64_t pair = 0; ok && pair < pairs; pair++) {
        float *row = &logits[pair / s->top_k * s->experts];
        int32_t e = selected[pair];
        if (e < 0 || e >= s->experts)
            row[assay_below(random, s->experts)] = NAN;
        else if (row[e] < 20)
            row[e] += 40;
    }
    free(selected);
    return ok;
}

static void fill_x(const shape_t *s, const struct assay_fill *how, float *x,
                   struct assay_random *random)
{
    random->start(random, "x");
    if (how->kind == ASSAY_FILL_EXACT)
        exact_x(s, x, random);
    else
        fill_activations(how->kind, s->tokens, s->hidden, x, random);
}

/* As a model's router has them for x, which t[] need not have. */
static bool real_logits(const shape_t *s, const struct assay_fill *how, float *logits,
                        struct assay_random *random)
{
    float *x = malloc((size_t)(s->tokens * s->hidden) * sizeof(*x));
    double *row = malloc((size_t)s->experts * sizeof(*row));
    if (x && row)
        fill_x(s, how, x, random);
    for (int64_t token = 0; x && row && token < s->tokens; token++) {
        router_logits(how, s->experts, &x[token * s->hidden], row);
        for (int64_t e = 0; e < s->experts; e++)
            logits[token * s->experts + e] = (float)row[e];
    }
    bool made = x && row;
    free(x);
    free(row);
    return made;
}

static bool fill_logits(const shape_t *s, const struct assay_fill *how, float *logits,
                        struct assay_random *random)
{
    if (how->routing == ASSAY_ROUTE_ROUTER && how->kind == ASSAY_FILL_MODEL)
        return real_logits(s, how, logits, random);
    const struct moe_router_topk_softmax_shape router = {s->experts, s->top_k, s->tokens, s->norm};
    struct assay_fill plain = *how;
    if (how->kind == ASSAY_FILL_EDGE)
        plain.kind = ASSAY_FILL_MODEL;
    if (!moe_router_topk_softmax_fill(&router, &plain, (void *[]){logits}, random))
        return false;
    random->start(random, "routing");
    if (how->kind != ASSAY_FILL_EXACT && !route(s, how, logits, random))
        return false;
    if (how->kind == ASSAY_FILL_EDGE)
        edge_logits(s, logits, random);
    return true;
}

/* One of gate, up and down. Edge values stand in `down` and x; products of two would overflow. */
static bool fill_weights(const shape_t *s, const struct assay_fill *how, const char *name,
                         size_t tensor, void *w, struct assay_random *random)
{
    bool down = tensor == MOE_FFN_DOWN;
    enum assay_fill_kind kind = how->kind;
    random->start(random, name);
    if (kind == ASSAY_FILL_EXACT && !down) {
        (tensor == MOE_FFN_GATE ? exact_gate : exact_up)(s, w, random);
        return true;
    }
    if (kind == ASSAY_FILL_EDGE && !down)
        kind = ASSAY_FILL_MODEL;
    int64_t rows = s->experts * (down ? s->hidden : s->ffn);
    if (!fill_q4_K(kind, rows, down ? s->ffn : s->hidden, w, random))
        return false;
    if (how->kind == ASSAY_FILL_EDGE && tensor == MOE_FFN_GATE && s->experts > 1)
        q4_K_set_f16(((struct block_q4_K *)w)->d, 0x7e00);
    return true;
}

bool moe_ffn_fill(const void *shape, const struct assay_fill *how, void *const *t,
                  struct assay_random *random)
{
    const shape_t *s = shape;
    static const char *const names[] = {[MOE_FFN_GATE] = "gate", "up", "down"};
    if (t[MOE_FFN_LOGITS] && !fill_logits(s, how, t[MOE_FFN_LOGITS], random))
        return false;
    if (t[MOE_FFN_X])
        fill_x(s, how, t[MOE_FFN_X], random);
    for (size_t i = MOE_FFN_GATE; i <= MOE_FFN_DOWN; i++) {
        if (t[i] && !fill_weights(s, how, names[i], i, t[i], random))
            return false;
    }
    return true;
}
