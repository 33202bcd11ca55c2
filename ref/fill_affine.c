/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "ref/affine_quantize.h"
#include "ref/fill.h"

/* Groups in the pool that model weights are drawn from. */
#define POOL 1024

static int sign_bit(struct assay_random *random)
{
    return (int)assay_below(random, 2) << 15;
}

static void random_codes(int64_t bits, struct affine_group *group, struct assay_random *random)
{
    for (int i = 0; i < AFFINE_GROUP; i++)
        group->code[i] = (uint8_t)assay_below(random, affine_levels(bits) + 1);
}

/* In units of 2^-5: codes times scale at most 2*255, bias at most 63, as the activations' exact fill
 * allows. */
static void exact_group(int64_t bits, struct affine_group *group, struct assay_random *random)
{
    float bias = (float)assay_below(random, 64) / 32;
    random_codes(bits, group, random);
    group->scale = (uint16_t)(assay_f32_to_bf16(assay_below(random, 2) ? 0x1p-4f : 0x1p-5f) |
                              sign_bit(random));
    group->bias = (uint16_t)(assay_f32_to_bf16(bias) | sign_bit(random));
}

static void model_group(int64_t bits, struct affine_group *group, struct assay_random *random)
{
    float x[AFFINE_GROUP];
    bool heavy = assay_below(random, 4) == 0;
    double sigma = 0.01 * (1 + (double)assay_below(random, 4));
    for (int i = 0; i < AFFINE_GROUP; i++)
        x[i] = (float)(sigma * (heavy ? random->heavy_tail(random) : random->gaussian(random)));
    affine_quantize_group(bits, x, group);
}

/* bf16 of every finite class, for scales and for biases; no code makes them cancel exactly but where
 * both are tiny. */
static const uint16_t classes[2][8] = {
    {
        0x5f80, /* 2^64 */
        0x0000, /* zero */
        0x0001, /* smallest subnormal */
        0x3f80, /* 1 */
        0x007f, /* largest subnormal */
        0x0080, /* smallest normal */
        0x0da2, /* about 1e-30 */
        0x3c1f, /* about 0.0097 */
    },
    {
        0x5f80, 0x0000, 0x0001, 0x3f40, /* 0.75 */
        0x007f, 0x0080, 0x0da2, 0x3c55, /* about 0.013 */
    },
};
static const uint16_t nonfinite[4] = {0x7f80, 0xff80, 0x7fc0, 0x7f81};

/* Numbers of pairs of classes, scale's + 8 * bias's. */
enum {
    ONES = 3 + 8 * 3,
    ZEROS = 1 + 8 * 1,
    SUBNORMALS = 4 + 8 * 4,
    SUBNORMAL_BIAS = 1 + 8 * 4,
    CLASS_PAIRS = 64
};

/* What the codes of an edge group are. */
enum edge_kind { RANDOM, SINGLE, SATURATED, EDGE_KINDS = 4 /* RANDOM twice as often */ };

static void edge_group(int64_t bits, enum edge_kind kind, int64_t number,
                       struct affine_group *group, struct assay_random *random)
{
    int64_t hot = assay_below(random, AFFINE_GROUP), bit = assay_below(random, bits);
    random_codes(bits, group, random);
    for (int64_t i = 0; i < AFFINE_GROUP && kind == SINGLE; i++)
        group->code[i] = (uint8_t)(i == hot ? 1 << bit : 0);
    for (int64_t i = 0; i < AFFINE_GROUP && kind == SATURATED; i++)
        group->code[i] = (uint8_t)affine_levels(bits);
    group->scale = (uint16_t)(classes[0][number % 8] | sign_bit(random));
    group->bias = (uint16_t)(classes[1][number / 8 % 8] | sign_bit(random));
}

static void spoil_group(struct affine_group *group, int64_t number)
{
    if (number / 4 % 2)
        group->scale = nonfinite[number % 4];
    else
        group->bias = nonfinite[number % 4];
}

/* One group of a row takes its classes and kind from the row's number, the others' are random. Every
 * fourth row has a single group that is not zero, or is subnormal, so that large ones hide nothing. One row of 16
 * has a scale or bias that is not finite. Row 0, which may be the only one, has no 2^64, which
 * could overflow, and starts with weights that are not all zero. */
static void edge_matrix(int64_t bits, int64_t rows, int64_t row_groups, uint32_t *w,
                        uint16_t *scales, uint16_t *biases, struct assay_random *random)
{
    static const int64_t telling[4] = {ONES, SUBNORMALS, ONES, SUBNORMAL_BIAS}; /* by fourth row */
    int64_t spoilt = -1;
    for (int64_t r = 0; r < rows; r++) {
        int64_t own = r / 4 % row_groups, turn = r / 4 * 3 + r % 4, bad = -1;
        bool lone = r % 4 == 3;
        if (r % 16 == 0)
            spoilt = r + assay_below(random, 16);
        if (r == spoilt && r > 0)
            bad = assay_below(random, row_groups);
        for (int64_t g = 0; g < row_groups; g++) {
            struct affine_group group;
            int64_t kind = g == own ? turn + turn / 64 : assay_below(random, EDGE_KINDS);
            int64_t number = g == own ? 11 * turn : assay_below(random, CLASS_PAIRS);
            if (r == 0)
                number = (1 + assay_below(random, 7)) * 8 + number % 7 + 1;
            if (lone || (r == 0 && g == own))
                number = g == own ? telling[r / 4 % 4] : ZEROS;
            edge_group(bits, lone ? RANDOM : (enum edge_kind)(kind % EDGE_KINDS), number, &group,
                       random);
            if (g == bad)
                spoil_group(&group, assay_below(random, 8));
            affine_set_group(bits, r * row_groups + g, &group, w, scales, biases);
        }
    }
}

static bool model_weights(int64_t bits, int64_t groups, uint32_t *w, uint16_t *scales,
                          uint16_t *biases, struct assay_random *random)
{
    int64_t pool_size = groups < POOL ? groups : POOL;
    struct affine_group *pool = malloc((size_t)pool_size * sizeof(*pool));
    if (!pool)
        return false;
    for (int64_t g = 0; g < pool_size; g++)
        model_group(bits, &pool[g], random);
    for (int64_t g = 0; g < groups; g++)
        affine_set_group(bits, g, &pool[assay_below(random, pool_size)], w, scales, biases);
    free(pool);
    return true;
}

bool fill_affine(enum assay_fill_kind kind, int64_t bits, int64_t rows, int64_t in, uint32_t *w,
                 uint16_t *scales, uint16_t *biases, struct assay_random *random)
{
    int64_t groups = rows * (in / AFFINE_GROUP);
    if (kind == ASSAY_FILL_MODEL)
        return model_weights(bits, groups, w, scales, biases, random);
    if (kind == ASSAY_FILL_EDGE)
        edge_matrix(bits, rows, in / AFFINE_GROUP, w, scales, biases, random);
    for (int64_t g = 0; kind == ASSAY_FILL_EXACT && g < groups; g++) {
        struct affine_group group;
        exact_group(bits, &group, random);
        affine_set_group(bits, g, &group, w, scales, biases);
    }
    return true;
}
