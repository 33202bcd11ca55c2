/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "ref/activation_i8.h"
#include "ref/fill.h"

/* An exact weight is at most 15*15 + 63 units of d, with d at most two units of the sum. */
#define EXACT_WEIGHT (2 * (225 + 63))
#define EXACT_SUM    (1 << 24)

/* Small integers, and one +-127 per block, so that the i8 scale is exactly 2^-3. Rows too long for
 * the exact sum end in zeros. */
static void exact_row(int64_t k, int64_t block, float *x, struct assay_random *random)
{
    int64_t blocks = k / block;
    int64_t budget = EXACT_SUM / EXACT_WEIGHT - 1;
    int64_t small = (budget / blocks - ACTIVATION_I8_MAX) / (block - 1);
    small = small < 1 ? 1 : small > 3 ? 3 : small;
    for (int64_t b = 0; b < blocks; b++) {
        int64_t top = assay_below(random, block);
        bool fits = (b + 1) * (ACTIVATION_I8_MAX + (block - 1) * small) <= budget;
        for (int64_t i = 0; i < block; i++) {
            int64_t value = i == top ? ACTIVATION_I8_MAX : 1 + assay_below(random, small);
            bool negative = assay_below(random, 2);
            x[b * block + i] = fits ? (float)(negative ? -value : value) / 8 : 0;
        }
    }
}

static void model_row(int64_t k, float *x, struct assay_random *random)
{
    /* The same channels are large in every row, as in trained models. */
    for (int64_t i = 0; i < k; i++)
        x[i] = (float)(random->gaussian(random) * (i % 509 == 100 ? 20 : 1));
}

/* Of a block. */
enum edge_kind {
    GAUSSIAN,
    HALF_MAX,
    ABOVE_HALF_MAX, /* 65519: rounds to 65504 in f16 */
    HALF_OVERFLOW,  /* 65520: rounds to infinity */
    LARGE,          /* 1e10 */
    VERY_LARGE,     /* 1e30 */
    SATURATED,
    ONE_HOT,
    ZERO, /* from here on too quiet to make a row telling */
    MINUS_ZERO,
    SUBNORMAL,
    TINY,
    BLOCK_KINDS,
    /* Of a whole row: */
    ALL_SUBNORMAL = BLOCK_KINDS,
    HAS_NAN,
    HAS_INFINITY,
    HAS_MINUS_INFINITY,
};

static void edge_block(enum edge_kind kind, int64_t size, float *x, struct assay_random *random)
{
    static const float large[] = {
        [ABOVE_HALF_MAX] = 65519, [HALF_OVERFLOW] = 65520, [LARGE] = 1e10f, [VERY_LARGE] = 1e30f};
    int64_t hot = assay_below(random, size);
    for (int64_t i = 0; i < size; i++) {
        float g = (float)random->gaussian(random);
        float sign = g < 0 ? -1.0f : 1.0f;
        switch (kind) {
        case ZERO: x[i] = 0; break;
        case MINUS_ZERO: x[i] = -0.0f; break;
        case HALF_MAX: x[i] = sign * 65504; break;
        case SATURATED: x[i] = sign; break;
        case SUBNORMAL:
        case ALL_SUBNORMAL: x[i] = g * 1e-40f; break;
        case TINY: x[i] = g * 1e-30f; break;
        case ONE_HOT: x[i] = i == hot ? g : 0; break;
        case ABOVE_HALF_MAX:
        case HALF_OVERFLOW:
        case LARGE:
        case VERY_LARGE: x[i] = i == hot ? sign * large[kind] : g; break;
        default: x[i] = g; break;
        }
    }
}

/* The kind of a block that the row's number does not decide. In a calm row large values do not hide
 * the others. */
static enum edge_kind other_kind(bool calm, bool loud, struct assay_random *random)
{
    enum edge_kind kind = (enum edge_kind)assay_below(random, loud ? ZERO : BLOCK_KINDS);
    return calm && kind >= HALF_MAX && kind <= VERY_LARGE ? GAUSSIAN : kind;
}

/* `kind` is that of one block, or of the row. */
static void edge_row(enum edge_kind kind, int64_t k, int64_t block, float *x,
                     struct assay_random *random)
{
    int64_t blocks = k / block;
    int64_t own = assay_below(random, blocks);
    bool calm = assay_below(random, 2);
    for (int64_t b = 0; b < blocks; b++) {
        bool loud = b == (own + 1) % blocks; /* never a row of zeros, if it can be helped */
        enum edge_kind other = other_kind(calm, loud, random);
        edge_block(b == own || kind == ALL_SUBNORMAL ? kind : other, block, &x[b * block], random);
    }
    float *spot = &x[assay_below(random, k)];
    switch (kind) {
    case HAS_NAN: *spot = NAN; break;
    case HAS_INFINITY: *spot = INFINITY; break;
    case HAS_MINUS_INFINITY: *spot = -INFINITY; break;
    default: break;
    }
}

/* Kinds by the row's number from a random start, so that 16 rows have them all. Quiet ones stand
 * between loud ones; an only row is not of zeros. */
static void edge_rows(int64_t rows, int64_t k, int64_t block, float *x, struct assay_random *random)
{
    static const enum edge_kind turns[16] = {GAUSSIAN,       ZERO,
                                             HALF_MAX,       HAS_NAN,
                                             ONE_HOT,        SUBNORMAL,
                                             VERY_LARGE,     TINY,
                                             SATURATED,      MINUS_ZERO,
                                             HALF_OVERFLOW,  ALL_SUBNORMAL,
                                             LARGE,          HAS_MINUS_INFINITY,
                                             ABOVE_HALF_MAX, HAS_INFINITY};
    int64_t start = assay_below(random, 16);
    for (int64_t r = 0; r < rows; r++) {
        enum edge_kind kind = turns[(start + r) % 16];
        if (rows == 1 && k == block && (kind == ZERO || kind == MINUS_ZERO))
            kind = GAUSSIAN;
        edge_row(kind, k, block, &x[r * k], random);
    }
}

void fill_activation_blocks(enum assay_fill_kind kind, int64_t rows, int64_t k, int64_t block,
                            float *x, struct assay_random *random)
{
    if (kind == ASSAY_FILL_EDGE) {
        edge_rows(rows, k, block, x, random);
        return;
    }
    for (int64_t r = 0; r < rows; r++) {
        if (kind == ASSAY_FILL_EXACT)
            exact_row(k, block, &x[r * k], random);
        else
            model_row(k, &x[r * k], random);
    }
}

void fill_activations(enum assay_fill_kind kind, int64_t rows, int64_t k, float *x,
                      struct assay_random *random)
{
    fill_activation_blocks(kind, rows, k, ACTIVATION_BLOCK, x, random);
}

bool isolate_activation_blocks(int64_t rows, int64_t k, int64_t block, float *x, int64_t part)
{
    if (part >= k / block)
        return false;
    for (int64_t i = 0; x && i < rows * k; i++) {
        if (i % k / block != part)
            x[i] = 0;
    }
    return true;
}

bool isolate_activations(int64_t rows, int64_t k, float *x, int64_t part)
{
    return isolate_activation_blocks(rows, k, ACTIVATION_BLOCK, x, part);
}
