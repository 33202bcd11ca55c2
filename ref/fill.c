/* SPDX-License-Identifier: MIT */
#include "ref/fill.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ref/activation_i8.h"
#include "ref/q4_K_quantize.h"

/* Blocks in the pool that model weights are drawn from. */
#define POOL 1024

/* An exact weight is at most 15*15 + 63 units of d, with d at most two units of the sum. */
#define EXACT_WEIGHT (2 * (225 + 63))
#define EXACT_SUM    (1 << 24)

static void exact_block(struct block_q4_K *block, struct assay_random *random)
{
    static const uint16_t powers[] = {0x2c00, 0x2800, 0xac00, 0xa800}; /* +-2^-4, +-2^-5 */
    memset(block, 0, sizeof(*block));
    uint64_t bits = random->bits(random);
    q4_K_set_f16(block->d, powers[bits & 3]);
    q4_K_set_f16(block->dmin, powers[bits >> 2 & 3]);
    for (int j = 0; j < Q4_K_SUB_BLOCKS; j++) {
        int scale = (int)assay_below(random, 64);
        int largest = scale <= 15 ? 15 : 225 / scale;
        q4_K_set_scale_min(block, j, scale, (int)assay_below(random, 64));
        for (int i = 0; i < Q4_K_SUB_BLOCK; i++) {
            int nibble = (int)assay_below(random, largest + 1);
            block->qs[32 * (j / 2) + i] |= (uint8_t)(j % 2 == 0 ? nibble : nibble << 4);
        }
    }
}

static void model_block(struct block_q4_K *block, struct assay_random *random)
{
    float x[Q4_K_BLOCK];
    int64_t kind = assay_below(random, 4);
    double sigma = 0.01 * (1 + (double)assay_below(random, 4));
    for (int i = 0; i < Q4_K_BLOCK; i++) {
        double value = kind == 0 ? random->heavy_tail(random) : random->gaussian(random);
        if (kind == 1 && i % 64 == 7)
            value *= 8;
        x[i] = (float)(sigma * value);
    }
    q4_K_quantize_block(x, block);
}

/* f16 of every finite class, both signs. */
static uint16_t edge_f16(struct assay_random *random)
{
    static const uint16_t classes[] = {
        0x0000, /* zero */
        0x0001, /* smallest subnormal */
        0x03ff, /* largest subnormal */
        0x0400, /* smallest normal */
        0x0c01, /* below 2^-10, where d/16 is inexact in f16 */
        0x211f, /* about 0.01 */
        0x3c00, /* 1 */
        0x7bff, /* 65504 */
    };
    uint64_t bits = random->bits(random);
    return (uint16_t)(classes[bits & 7] | (bits >> 3 & 1) << 15);
}

/* kind 0: saturated, 1: a single nibble, else random. */
static void edge_block(struct block_q4_K *block, int64_t kind, struct assay_random *random)
{
    q4_K_set_f16(block->d, edge_f16(random));
    q4_K_set_f16(block->dmin, edge_f16(random));
    memset(block->s, kind == 0 ? 0xff : 0, sizeof(block->s));
    memset(block->qs, kind == 0 ? 0xff : 0, sizeof(block->qs));
    if (kind == 1) { /* a single nibble, its sub-block alone has a scale */
        int i = (int)assay_below(random, Q4_K_BLOCK);
        q4_K_set_scale_min(block, i / 32, 1, 0);
        block->qs[32 * (i / 64) + i % 32] = i / 32 % 2 == 0 ? 0x01 : 0x10;
    } else if (kind >= 2) { /* random scales, mins and nibbles */
        for (int i = 0; i < 12; i++)
            block->s[i] = (uint8_t)random->bits(random);
        for (int i = 0; i < 128; i++)
            block->qs[i] = (uint8_t)random->bits(random);
    }
}

static void spoil_block(struct block_q4_K *block, struct assay_random *random)
{
    static const uint16_t nonfinite[] = {0x7c00, 0xfc00, 0x7e00, 0x7c01};
    q4_K_set_f16(assay_below(random, 2) ? block->d : block->dmin,
                 nonfinite[assay_below(random, 4)]);
}

static bool model_weights(int64_t blocks, struct block_q4_K *w, struct assay_random *random)
{
    int64_t pool_size = blocks < POOL ? blocks : POOL;
    struct block_q4_K *pool = malloc((size_t)pool_size * sizeof(*pool));
    if (!pool)
        return false;
    for (int64_t b = 0; b < pool_size; b++)
        model_block(&pool[b], random);
    for (int64_t b = 0; b < blocks; b++)
        w[b] = pool[assay_below(random, pool_size)];
    free(pool);
    return true;
}

bool fill_q4_K(enum assay_fill_kind kind, int64_t rows, int64_t k, struct block_q4_K *w,
               struct assay_random *random)
{
    int64_t row_blocks = k / Q4_K_BLOCK;
    if (kind == ASSAY_FILL_MODEL)
        return model_weights(rows * row_blocks, w, random);
    for (int64_t r = 0; r < rows; r++) {
        int64_t spoilt = assay_below(random, 16) == 0 ? assay_below(random, row_blocks) : -1;
        for (int64_t b = 0; b < row_blocks; b++) {
            struct block_q4_K *block = &w[r * row_blocks + b];
            if (kind == ASSAY_FILL_EXACT)
                exact_block(block, random);
            else
                edge_block(block, assay_below(random, 4), random);
            if (kind == ASSAY_FILL_EDGE && b == spoilt)
                spoil_block(block, random);
        }
    }
    if (kind == ASSAY_FILL_EDGE) { /* at least one block whose weights are not all zero */
        edge_block(w, 2, random);
        q4_K_set_f16(w->d, 0x3c00);
        q4_K_set_f16(w->dmin, 0x3800);
    }
    return true;
}

/* Small integers, and one +-127 per block, so that the i8 scale is exactly 2^-3. Rows too long for
 * the exact sum end in zeros. */
static void exact_row(int64_t k, float *x, struct assay_random *random)
{
    int64_t blocks = k / ACTIVATION_BLOCK;
    int64_t budget = EXACT_SUM / EXACT_WEIGHT - 1;
    int64_t small = (budget / blocks - ACTIVATION_I8_MAX) / (ACTIVATION_BLOCK - 1);
    small = small < 1 ? 1 : small > 3 ? 3 : small;
    for (int64_t b = 0; b < blocks; b++) {
        int64_t top = assay_below(random, ACTIVATION_BLOCK);
        bool fits = (b + 1) * (ACTIVATION_I8_MAX + (ACTIVATION_BLOCK - 1) * small) <= budget;
        for (int64_t i = 0; i < ACTIVATION_BLOCK; i++) {
            int64_t value = i == top ? ACTIVATION_I8_MAX : 1 + assay_below(random, small);
            bool negative = assay_below(random, 2);
            x[b * ACTIVATION_BLOCK + i] = fits ? (float)(negative ? -value : value) / 8 : 0;
        }
    }
}

static void model_row(int64_t k, float *x, struct assay_random *random)
{
    /* The same channels are large in every row, as in trained models. */
    for (int64_t i = 0; i < k; i++)
        x[i] = (float)(random->gaussian(random) * (i % 509 == 100 ? 20 : 1));
}

static void edge_row(int64_t k, float *x, struct assay_random *random)
{
    enum { GAUSSIAN, HALF_MAX, HUGE, SATURATED, ONE_HOT, ZERO, MINUS_ZERO, SUBNORMAL, TINY, KINDS };
    static const float huge[] = {65519, 65520, 1e10f, 1e30f};
    bool all_subnormal = assay_below(random, 8) == 0;
    for (int64_t b = 0; b < k / ACTIVATION_BLOCK; b++) {
        int64_t kind = assay_below(random, b == 0 ? ZERO : KINDS); /* never a row of zeros */
        kind = all_subnormal ? SUBNORMAL : kind;
        int64_t hot = assay_below(random, ACTIVATION_BLOCK);
        float large = huge[assay_below(random, 4)];
        for (int64_t i = 0; i < ACTIVATION_BLOCK; i++) {
            float g = (float)random->gaussian(random);
            float sign = g < 0 ? -1.0f : 1.0f;
            float value = g;
            switch (kind) {
            case ZERO: value = 0; break;
            case MINUS_ZERO: value = -0.0f; break;
            case HALF_MAX: value = sign * 65504; break;
            case HUGE: value = i == hot ? sign * large : g; break;
            case SUBNORMAL: value = g * 1e-40f; break;
            case TINY: value = g * 1e-30f; break;
            case ONE_HOT: value = i == hot ? g : 0; break;
            case SATURATED: value = sign; break;
            default: break;
            }
            x[b * ACTIVATION_BLOCK + i] = value;
        }
    }
}

void fill_activations(enum assay_fill_kind kind, int64_t rows, int64_t k, float *x,
                      struct assay_random *random)
{
    for (int64_t r = 0; r < rows; r++, x += k) {
        if (kind == ASSAY_FILL_EXACT) {
            exact_row(k, x, random);
        } else if (kind == ASSAY_FILL_MODEL) {
            model_row(k, x, random);
        } else {
            edge_row(k, x, random);
            bool spoilt = assay_below(random, 8) == 0;
            float value = assay_below(random, 3) == 0   ? NAN
                          : assay_below(random, 2) == 0 ? INFINITY
                                                        : -INFINITY;
            int64_t where = assay_below(random, k);
            if (rows > 1 && spoilt)
                x[where] = value;
        }
    }
}

void fill_prefix(uint8_t *bytes, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        bytes[i] = i % 2 == 0 ? 0x01 : 0x7e; /* 0x7e01, an f16 NaN */
}

/* Experts of one token, distinct, drawn with probability proportional to weight: the top_k largest
 * of log(u) / weight with u uniform (Efraimidis and Spirakis, 2006). */
static void draw_distinct(const double *weight, double *key, int64_t experts, int64_t top_k,
                          int32_t *selected, struct assay_random *random)
{
    for (int64_t e = 0; e < experts; e++) {
        double uniform = (double)((random->bits(random) >> 11) + 1) * 0x1p-53;
        key[e] = log(uniform) / weight[e];
    }
    for (int64_t slot = 0; slot < top_k; slot++) {
        int64_t best = -1;
        for (int64_t e = 0; e < experts; e++) {
            if (!isnan(key[e]) && (best < 0 || key[e] > key[best]))
                best = e;
        }
        selected[slot] = (int32_t)best;
        key[best] = NAN;
    }
}

static void shuffle(int32_t *values, int64_t count, struct assay_random *random)
{
    for (int64_t i = count - 1; i > 0; i--) {
        int64_t j = assay_below(random, i + 1);
        int32_t value = values[i];
        values[i] = values[j];
        values[j] = value;
    }
}

static void route_tile_edges(int64_t experts, int64_t pairs, int32_t *selected,
                             struct assay_random *random)
{
    static const int counts[] = {31, 32, 33, 64, 65, 1, 0, 15, 16, 17, 2, 3, 4, 5, 6, 7, 8, 9};
    const int64_t n = sizeof(counts) / sizeof(*counts);
    int64_t pair = 0;
    for (int64_t e = 0; e < experts && pair < pairs; e++) {
        int64_t count = e == experts - 1 ? pairs : counts[e % n];
        for (; count > 0 && pair < pairs; count--)
            selected[pair++] = (int32_t)e;
    }
    shuffle(selected, pairs, random);
}

static int32_t invalid_id(int64_t experts, struct assay_random *random)
{
    switch (assay_below(random, 4)) {
    case 0: return -1;
    case 1: return (int32_t)experts;
    case 2: return INT32_MIN;
    default: return INT32_MAX;
    }
}

bool fill_routing(const struct assay_fill *fill, int64_t experts, int64_t tokens, int64_t top_k,
                  int32_t *selected, struct assay_random *random)
{
    int64_t pairs = tokens * top_k;
    enum assay_routing routing = fill->routing;
    if (routing == ASSAY_ROUTE_TILE_EDGES) {
        route_tile_edges(experts, pairs, selected, random);
        return true;
    }
    if (routing == ASSAY_ROUTE_ONE_EXPERT || routing == ASSAY_ROUTE_DUPLICATES) {
        for (int64_t pair = 0; pair < pairs; pair++) {
            bool one = routing == ASSAY_ROUTE_ONE_EXPERT;
            bool repeat = pair % top_k != 0 && assay_below(random, 2);
            selected[pair] = one      ? (int32_t)(experts / 2)
                             : repeat ? selected[pair - 1]
                                      : (int32_t)assay_below(random, experts);
        }
        return true;
    }
    double *weight = malloc(2 * (size_t)experts * sizeof(*weight));
    if (!weight)
        return false;
    for (int64_t e = 0; e < experts; e++)
        weight[e] = routing == ASSAY_ROUTE_ZIPF ? pow((double)(e + 1), -fill->zipf) : 1;
    for (int64_t token = 0; token < tokens; token++)
        draw_distinct(weight, weight + experts, experts, top_k, &selected[token * top_k], random);
    free(weight);
    for (int64_t pair = 0; routing == ASSAY_ROUTE_INVALID && pair < pairs; pair++) {
        if (assay_below(random, 4) == 0)
            selected[pair] = invalid_id(experts, random);
    }
    return true;
}
