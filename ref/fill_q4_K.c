/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "ref/fill.h"
#include "ref/q4_K_quantize.h"

/* Blocks in the pool that model weights are drawn from. */
#define POOL 1024

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

/* f16 of every finite class. */
static const uint16_t classes[8] = {
    0x7bff, /* 65504 */
    0x0000, /* zero */
    0x0001, /* smallest subnormal */
    0x3c00, /* 1 */
    0x03ff, /* largest subnormal */
    0x0400, /* smallest normal */
    0x0c01, /* below 2^-10, where d/16 is inexact in f16 */
    0x211f, /* about 0.01 */
};
static const uint16_t nonfinite[4] = {0x7c00, 0xfc00, 0x7e00, 0x7c01};

/* Numbers of pairs of classes, d's + 8 * dmin's. */
enum { ONES = 3 + 8 * 3, ZEROS = 1 + 8 * 1, CLASS_PAIRS = 64 };

/* What the scales, mins and nibbles of an edge block are. */
enum edge_kind { RANDOM, SINGLE, SATURATED, EDGE_KINDS = 4 /* RANDOM twice as often */ };

static void set_nibble(struct block_q4_K *block, int i, int nibble)
{
    block->qs[32 * (i / 64) + i % 32] |= (uint8_t)(i / 32 % 2 == 0 ? nibble : nibble << 4);
}

static void random_bytes(uint8_t *bytes, int count, struct assay_random *random)
{
    for (int i = 0; i < count; i++)
        bytes[i] = (uint8_t)random->bits(random);
}

/* Signs are random. */
static void edge_halves(struct block_q4_K *block, int64_t number, struct assay_random *random)
{
    uint64_t bits = random->bits(random);
    q4_K_set_f16(block->d, (uint16_t)(classes[number % 8] | (bits & 1) << 15));
    q4_K_set_f16(block->dmin, (uint16_t)(classes[number / 8 % 8] | (bits >> 1 & 1) << 15));
}

static void edge_block(struct block_q4_K *block, enum edge_kind kind, int64_t number,
                       struct assay_random *random)
{
    edge_halves(block, number, random);
    memset(block->s, kind == SATURATED ? 0xff : 0, sizeof(block->s));
    memset(block->qs, kind == SATURATED ? 0xff : 0, sizeof(block->qs));
    if (kind == SATURATED)
        return;
    if (kind == SINGLE) { /* a single nibble, its sub-block alone has a scale */
        int i = (int)assay_below(random, Q4_K_BLOCK);
        q4_K_set_scale_min(block, i / 32, 1, 0);
        set_nibble(block, i, assay_below(random, 2) ? 8 : 1);
        return;
    }
    random_bytes(block->s, sizeof(block->s), random);
    random_bytes(block->qs, sizeof(block->qs), random);
}

/* A block whose weights are not all zero. */
static void telling_block(struct block_q4_K *block, struct assay_random *random)
{
    edge_block(block, RANDOM, ONES, random);
}

/* A non-finite d or dmin, by number. */
static void spoil_block(struct block_q4_K *block, int64_t number)
{
    q4_K_set_f16(number / 4 % 2 ? block->d : block->dmin, nonfinite[number % 4]);
}

/* A row of zeros but for one block. */
static void lone_block(int64_t row_blocks, int64_t own, struct block_q4_K *row,
                       struct assay_random *random)
{
    for (int64_t b = 0; b < row_blocks; b++) {
        edge_block(&row[b], RANDOM, ZEROS, random);
        if (b == own)
            telling_block(&row[b], random);
    }
}

/* One block of a row takes its classes and its kind from the row's number, the others' are random.
 * Every fourth row has a single block, so that a large block of activations does not hide others.
 * One row of 16 has a non-finite d or dmin. Row 0, which may be the only one, has no 65504, which
 * could overflow, and starts with weights that are not all zero. */
static void edge_matrix(int64_t rows, int64_t row_blocks, struct block_q4_K *w,
                        struct assay_random *random)
{
    int64_t spoilt = -1;
    for (int64_t r = 0; r < rows; r++, w += row_blocks) {
        int64_t own = r / 4 % row_blocks, turn = r / 4 * 3 + r % 4;
        for (int64_t b = 0; b < row_blocks && r % 4 != 3; b++) {
            int64_t kind = b == own ? turn + turn / 64 : assay_below(random, EDGE_KINDS);
            int64_t number = b == own ? 11 * turn : assay_below(random, CLASS_PAIRS);
            if (r == 0)
                number = b == own ? ONES : (1 + assay_below(random, 7)) * 8 + number % 7 + 1;
            edge_block(&w[b], (enum edge_kind)(kind % EDGE_KINDS), number, random);
        }
        if (r % 4 == 3)
            lone_block(row_blocks, own, w, random);
        if (r % 16 == 0)
            spoilt = r + assay_below(random, 16);
        if (r == spoilt && r > 0)
            spoil_block(&w[assay_below(random, row_blocks)], assay_below(random, 8));
    }
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
    int64_t blocks = rows * (k / Q4_K_BLOCK);
    if (kind == ASSAY_FILL_MODEL)
        return model_weights(blocks, w, random);
    if (kind == ASSAY_FILL_EDGE)
        edge_matrix(rows, k / Q4_K_BLOCK, w, random);
    for (int64_t b = 0; kind == ASSAY_FILL_EXACT && b < blocks; b++)
        exact_block(&w[b], random);
    return true;
}

/*
 * Coverage of a run. Block b's (scale, min) pair in sub-block j is number 4095 - (514*j + 1)*b mod
 * 4096: the factor is odd, so 4096 blocks have every pair in every position; the factors differ mod
 * 64, so that at most one scale of a block is 0, and none where b is even; b = 0 has 63 everywhere.
 */
#define PAIRS         4096
#define WALKS         512 /* lowest and highest bit of 256 nibbles */
#define HALVES        65536
#define CHUNK         2048         /* 1024 mantissas, two signs */
#define FINITE_HALVES (31 * CHUNK) /* 31 exponents are finite */

static int pair_number(int64_t b, int j)
{
    return PAIRS - 1 - (int)((514 * j + 1) * (b % PAIRS) % PAIRS);
}

/* Block 2*i + v of the walk sets nibble i alone, to 1 or 8. -1: the block is not on the walk. In
 * PAIRS blocks or more, the walk is on those numbered 4 mod 8, whose scales are not 0. */
static int walk_of(int64_t b, int64_t blocks)
{
    int64_t step = blocks / WALKS < 8 ? blocks / WALKS : 8;
    return b % step == step / 2 && b / step < WALKS ? (int)(b / step) : -1;
}

static uint16_t finite_half(int64_t rank)
{
    return (uint16_t)(rank < 0x7c00 ? rank : rank - 0x7c00 + 0x8000);
}

static uint16_t nonfinite_half(int64_t rank)
{
    return (uint16_t)(rank < 0x400 ? rank + 0x7c00 : rank - 0x400 + 0xfc00);
}

/* All f16 as d and as dmin over b < HALVES; finite ones meet, or they would not show. dmin's
 * exponent and mantissa are scrambled against d's. Below PAIRS both are moderate, |d| from 2^-3 to
 * 2, |dmin| from 2^-7 to 32: every scale, min and nibble shows. */
static void every_half(struct block_q4_K *block, int64_t b)
{
    if (b < FINITE_HALVES) {
        int64_t rank = (b + 0x3000) % FINITE_HALVES;
        int64_t chunk = (5 * (rank / CHUNK) + 5) % 31;
        q4_K_set_f16(block->d, finite_half(rank));
        q4_K_set_f16(block->dmin, finite_half(chunk * CHUNK + rank * 1229 % CHUNK));
    } else {
        int64_t rank = b - FINITE_HALVES;
        q4_K_set_f16(block->d, nonfinite_half(rank));
        q4_K_set_f16(block->dmin, nonfinite_half((rank * 1229 + 1024) % CHUNK));
    }
}

static void covering_block(struct block_q4_K *block, int64_t b, int64_t blocks,
                           struct assay_random *random)
{
    int walk = walk_of(b, blocks);
    memset(block, 0, sizeof(*block));
    if (walk >= 0)
        set_nibble(block, walk / 2, walk % 2 ? 8 : 1);
    else if (b % 64 == 0)
        memset(block->qs, 0xff, sizeof(block->qs));
    else
        random_bytes(block->qs, sizeof(block->qs), random);
    for (int j = 0; j < Q4_K_SUB_BLOCKS; j++) {
        int pair = pair_number(b, j) | (walk >= 0); /* a walk's scale is odd, so it shows */
        q4_K_set_scale_min(block, j, pair % 64, pair / 64);
    }
    if (b < PAIRS ? blocks >= PAIRS : b < HALVES && blocks >= HALVES) {
        every_half(block, b);
    } else {
        edge_halves(block, walk >= 0 ? ONES : 11 * (b / 2), random);
        if (walk < 0 && b % 16 == 12)
            spoil_block(block, b / 16);
    }
}

void fill_q4_K_covering(int64_t blocks, struct block_q4_K *w, struct assay_random *random)
{
    for (int64_t b = 0; b < blocks; b++) {
        if (blocks >= WALKS) {
            covering_block(&w[b], b, blocks, random);
        } else if (b == 0) {
            telling_block(&w[b], random);
        } else {
            edge_block(&w[b], (enum edge_kind)(b % EDGE_KINDS), 11 * b, random);
            if (b % 16 == 12)
                spoil_block(&w[b], b / 16);
        }
    }
}

void fill_prefix(uint8_t *bytes, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        bytes[i] = i % 2 == 0 ? 0x01 : 0x7e; /* 0x7e01, an f16 NaN */
}
