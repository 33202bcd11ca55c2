/* SPDX-License-Identifier: MIT */
/* Wrong gemv and moe_id gemm. One plain loop serves all: a gemv is a gemm with one expert, token and
 * slot. `bug` says what it gets wrong. */
#include <math.h>
#include <string.h>

#include "ref/activation_i8.h"
#include "ref/q4_K.h"
#include "ref/q4_K_dot.h"
#include "ref/q4_K_gemm_moe_id.h"
#include "ref/q4_K_gemv.h"
#include "tests/wrong/wrong.h"

enum bug {
    NONE,
    ALL_NAN,
    CONSTANT_ROWS,
    NEXT_ROW,
    X_SHIFTED,
    LANE_DROPPED,
    SUB_BLOCKS_SWAPPED,
    D16_IN_F16,
    LAST_BLOCK_DROPPED,
    NIBBLES_SWAPPED,
    ONE_NIBBLE,
    SCALE_BIT,
    MIN_BIT,
    MIN_ADDED,
    FOUR_PERCENT,
    OFFSET_IGNORED,
    COLUMN_TAIL,
    LAST_ROW_MISSING,
    STALE_ROWS,
    SLOT_IGNORED,
    F16_ACTIVATIONS,
    UNROUTED_ROWS_ZEROED,
    IDS_PAST_TPE,
    STRIDE_IGNORED,
    LAST_TILE_OF_NEIGHBOUR,
    DUPLICATES_DROPPED,
    LIST_ORDER,
    NAN_TO_ZERO,
    FLUSH_SUBNORMALS,
    F32_SLOPPY,
    D_BY_SUBNORMAL,
    W_14_BITS,
    UNSELECTED_TIMES_ZERO,
    /* Other orders of summation, all within the bound; which one depends on what must not matter: */
    ORDER_BY_SIZE,
    ORDER_BY_EXPERT,
    ORDER_BY_LIST,
    ORDER_BY_TOKENS,
    ORDER_BY_DISPATCH,
    ZERO_TO_ONE,
    /* of class i8: */
    NONE_I8,
    PER_32,
    COARSE,
    ZEROS_I8,
    TRUNCATED,
    AMAX_128,
    UNFUSED,
    DESCENDING,
    MINS_UNQUANTIZED,
    SCALE_PER_ROW,
};

typedef struct q4_K_gemm_moe_id_shape shape_t;
typedef struct q4_K_gemm_moe_id_args args_t;

/* f16 to f32 by way of the f32 with the same digits, which may be subnormal. */
static float f16_by_subnormal(const uint8_t half[2])
{
    uint32_t bits = half[0] | (uint32_t)half[1] << 8;
    volatile float magnitude = assay_f32_from_bits((bits & 0x7fff) << 13);
    if ((bits & 0x7c00) == 0x7c00)
        return q4_K_f16(half);
    magnitude = magnitude * 0x1p112f;
    return bits >> 15 ? -magnitude : magnitude;
}

/* Rounded to 14 bits. */
static double shortened(double w)
{
    uint32_t bits = assay_f32_bits((float)w);
    return isfinite(w) ? (double)assay_f32_from_bits((bits + 0x200) & 0xfffffc00u) : w;
}

/* A weight, as the bug sees it; i within the block. */
static double weight(const struct block_q4_K *block, int i, enum bug bug)
{
    int j = i / 32, at = bug == NIBBLES_SWAPPED ? i ^ 32 : i;
    int sub_block = bug == SUB_BLOCKS_SWAPPED ? j ^ 1 : j;
    int scale = q4_K_scale(block, sub_block), min = q4_K_min(block, sub_block);
    int nibble = q4_K_nibble(block, at);
    double d = (double)q4_K_f16(block->d), dmin = (double)q4_K_f16(block->dmin);
    if (bug == SCALE_BIT && j == 5)
        scale &= 31;
    if (bug == MIN_BIT && j == 6)
        min &= ~1;
    if (bug == ONE_NIBBLE && i == 77)
        nibble ^= 1;
    if (bug == D16_IN_F16) {
        d = (double)assay_f16_to_f32(assay_f32_to_f16((float)d / 16));
        nibble *= 16;
    }
    if (bug == D_BY_SUBNORMAL)
        d = (double)f16_by_subnormal(block->d);
    double w = d * scale * nibble + (bug == MIN_ADDED ? dmin : -dmin) * min;
    return bug == W_14_BITS ? shortened(w) : w;
}

static double activation(const float *x, int64_t k, int64_t at, enum bug bug)
{
    float value = x[bug == X_SHIFTED ? (at + 1) % k : at];
    if (bug == LANE_DROPPED && at % 16 == 15)
        return 0;
    if (bug == F16_ACTIVATIONS)
        value = assay_f16_to_f32(assay_f32_to_f16(value));
    if (bug == FLUSH_SUBNORMALS && fabsf(value) < 0x1p-126f)
        value = 0;
    if (bug == NAN_TO_ZERO && !isfinite(value))
        value = 0;
    return (double)value;
}

static float dot_f32(const struct block_q4_K *row, const float *x, int64_t k, enum bug bug)
{
    int64_t blocks = k / Q4_K_BLOCK - (bug == LAST_BLOCK_DROPPED);
    double sum = 0;
    float sloppy = 0;
    for (int64_t at = 0; at < blocks * Q4_K_BLOCK; at++) {
        double w = weight(&row[at / Q4_K_BLOCK], (int)(at % Q4_K_BLOCK), bug);
        if (bug == NAN_TO_ZERO && !isfinite(w))
            w = 0;
        double product = w * activation(x, k, at, bug);
        sum += product;
        sloppy += (float)product;
        if (at % 64 == 63) /* as if a partial sum had been kept in bf16 now and then */
            sloppy = assay_f32_from_bits(assay_f32_bits(sloppy) & 0xffffff00u);
    }
    if (bug == FOUR_PERCENT)
        sum *= 1.04;
    return bug == F32_SLOPPY ? sloppy : (float)sum;
}

/* The sum in f32, term by term. */
static float dot_serial(const struct block_q4_K *row, const float *x, int64_t k)
{
    float sum = 0;
    for (int64_t at = 0; at < k; at++)
        sum += (float)weight(&row[at / Q4_K_BLOCK], (int)(at % Q4_K_BLOCK), NONE) * x[at];
    return sum;
}

static void quantize(const float *x, float amax, struct activation_i8 *out, enum bug bug)
{
    activation_i8_quantize(x, out);
    if (!(out->d > 0) || bug == MINS_UNQUANTIZED)
        return;
    if (bug == TRUNCATED || bug == AMAX_128 || bug == SCALE_PER_ROW || bug == COARSE) {
        if (bug != SCALE_PER_ROW)
            amax = out->d * 127;
        float steps = bug == AMAX_128 ? 128 : bug == COARSE ? 127 / 1.5f : 127;
        memset(out->sums, 0, sizeof(out->sums));
        out->d = amax / steps;
        for (int i = 0; i < ACTIVATION_BLOCK; i++) {
            float scaled = x[i] * (steps / amax);
            scaled = bug == TRUNCATED ? truncf(scaled) : fminf(127, rintf(scaled));
            out->q[i] = (int8_t)scaled;
            out->sums[i / 32] = (int16_t)(out->sums[i / 32] + out->q[i]);
        }
    }
}

static float add_i8(const struct block_q4_K *block, const struct activation_i8 *xq, const float *x,
                    float acc, enum bug bug)
{
    if (bug != UNFUSED && bug != MINS_UNQUANTIZED)
        return q4_K_add_i8(block, xq, acc);
    int32_t isum = 0;
    float mins = 0;
    for (int i = 0; i < Q4_K_BLOCK; i++) {
        int j = i / 32;
        isum += q4_K_scale(block, j) * q4_K_nibble(block, i) * xq->q[i];
        mins +=
            (float)q4_K_min(block, j) * (bug == MINS_UNQUANTIZED ? x[i] / xq->d : (float)xq->q[i]);
    }
    volatile float product = q4_K_f16(block->d) * (float)isum;
    volatile float minus = q4_K_f16(block->dmin) * mins;
    volatile float t = (product - minus) * xq->d;
    return acc + t;
}

/* By another rule than the class's: a scale per 32 activations, whose steps are finer. */
static float dot_per_32(const struct block_q4_K *row, const float *x, int64_t k)
{
    float acc = 0;
    for (int64_t at = 0; at < k; at += 32) {
        const struct block_q4_K *block = &row[at / Q4_K_BLOCK];
        int j = (int)(at % Q4_K_BLOCK / 32);
        int32_t sum = 0, dot = 0;
        float amax = 0;
        bool finite = true;
        for (int i = 0; i < 32; i++) {
            finite = finite && isfinite(x[at + i]);
            amax = fmaxf(amax, fabsf(x[at + i]));
        }
        bool tiny = amax < 0x1p-120f;
        for (int i = 0; i < 32 && finite; i++) {
            int32_t q = tiny ? 0 : (int32_t)rintf(x[at + i] * (127 / amax));
            sum += q;
            dot += q * q4_K_nibble(block, 32 * j + i);
        }
        float positive = q4_K_f16(block->d) * (float)(q4_K_scale(block, j) * dot);
        float negative = q4_K_f16(block->dmin) * (float)(q4_K_min(block, j) * sum);
        acc += (positive - negative) * (!finite ? NAN : tiny ? 0 : amax / 127);
    }
    return acc;
}

static float dot_i8(const struct block_q4_K *row, const float *x, int64_t k, enum bug bug)
{
    int64_t blocks = k / Q4_K_BLOCK;
    float acc = 0, amax = 0;
    if (bug == PER_32)
        return dot_per_32(row, x, k);
    for (int64_t i = 0; i < k; i++)
        amax = fmaxf(amax, fabsf(x[i]));
    for (int64_t i = 0; i < blocks; i++) {
        int64_t b = bug == DESCENDING ? blocks - 1 - i : i;
        struct activation_i8 xq;
        quantize(&x[b * Q4_K_BLOCK], amax, &xq, bug);
        acc = add_i8(&row[b], &xq, &x[b * Q4_K_BLOCK], acc, bug);
    }
    return acc;
}

/* The weight row that the bug takes for row r of expert e. */
static int64_t row_index(const shape_t *s, int64_t e, int64_t r, int32_t i, enum bug bug)
{
    int64_t rows = s->experts * s->m, row = e * s->m + r;
    if (bug == CONSTANT_ROWS)
        row = e * s->m;
    if (bug == NEXT_ROW)
        row = (row + 1) % rows;
    if (bug == LAST_TILE_OF_NEIGHBOUR && i >= 32)
        row = (row + s->m) % rows;
    return row;
}

static bool pair_skipped(const shape_t *s, const args_t *a, const int32_t *list, int32_t i,
                         enum bug bug)
{
    (void)a;
    if (bug == STALE_ROWS)
        return i >= 32;
    if (bug == DUPLICATES_DROPPED)
        return i > 0 && list[i] / s->top_k == list[i - 1] / s->top_k;
    return false;
}

/* Whether the bug sums this pair's rows term by term. */
static bool serial(const shape_t *s, const args_t *a, int64_t e, const int32_t *list, int32_t i,
                   const float *x, enum bug bug)
{
    switch (bug) {
    case ORDER_BY_SIZE: return fabsf(x[0]) > 0.5f;
    case ORDER_BY_EXPERT: return e % 2;
    case ORDER_BY_LIST: return i + 1 < a->tpe[e] && list[i] > list[i + 1];
    case ORDER_BY_TOKENS: return s->tokens == 1;
    case ORDER_BY_DISPATCH: return s->indirect;
    default: return false;
    }
}

static bool all_zero(const float *x, int64_t k)
{
    int64_t i = 0;
    while (i < k && assay_f32_bits(x[i]) << 1 == 0)
        i++;
    return i == k;
}

/* As if all experts were computed and those that were not selected weighed 0. */
static float unselected_times_zero(const shape_t *s, const args_t *a, const struct block_q4_K *w)
{
    double sum = 0;
    for (int64_t e = 0; e < s->experts; e++)
        sum += a->tpe[e] ? 0 : weight(&w[e * s->m * (s->k / Q4_K_BLOCK)], 0, NONE);
    return (float)(0 * sum);
}

static float element(const shape_t *s, const args_t *a, int64_t e, int64_t r, const int32_t *list,
                     int32_t i, enum bug bug)
{
    int64_t pair = list[i], token = pair / s->top_k, slot = pair % s->top_k;
    int64_t source = token * s->ne11 + (bug == SLOT_IGNORED ? 0 : slot % s->ne11);
    int64_t offset = bug == OFFSET_IGNORED ? 0 : s->w_offset;
    const struct block_q4_K *w = (const struct block_q4_K *)(a->w + offset);
    const struct block_q4_K *row = w + row_index(s, e, r, i, bug) * (s->k / Q4_K_BLOCK);
    const float *x = &a->src1[source * s->k];
    float value = bug >= NONE_I8                     ? dot_i8(row, x, s->k, bug)
                  : serial(s, a, e, list, i, x, bug) ? dot_serial(row, x, s->k)
                                                     : dot_f32(row, x, s->k, bug);
    if (bug == ALL_NAN)
        value = NAN;
    if (bug == ZEROS_I8)
        value = 0;
    if (bug == ZERO_TO_ONE && all_zero(a->src1, s->tokens * s->ne11 * s->k))
        value = 1;
    if (bug == UNSELECTED_TIMES_ZERO && s->tokens == 1 && s->stride == s->top_k)
        value += unselected_times_zero(s, a, w);
    if (bug == COLUMN_TAIL && s->m > 16 && r >= s->m / 16 * 16)
        value = -value;
    if (bug == LIST_ORDER) /* carries the running sum of the list along */
        value += i > 0 ? 1e-3f * a->dst[list[i - 1] * s->m + r] : 0;
    return value;
}

static void gemm(const shape_t *s, const args_t *a, enum bug bug)
{
    int64_t stride = bug == STRIDE_IGNORED ? s->tokens * s->top_k : s->stride;
    if (bug == UNROUTED_ROWS_ZEROED)
        memset(a->dst, 0, (size_t)(s->tokens * s->top_k * s->m) * sizeof(float));
    for (int64_t e = 0; e < s->experts; e++) {
        const int32_t *list = &a->ids[e * stride];
        int32_t count = a->tpe[e] + (bug == IDS_PAST_TPE && a->tpe[e] < stride);
        for (int32_t i = 0; i < count; i++) {
            if (pair_skipped(s, a, list, i, bug))
                continue;
            int64_t rows = s->m - (bug == LAST_ROW_MISSING);
            for (int64_t r = 0; r < rows; r++)
                a->dst[list[i] * s->m + r] = element(s, a, e, r, list, i, bug);
        }
    }
}

static const char *run_gemm(const void *shape, const void *args, enum bug bug)
{
    const char *illegal = assay_illegal(&q4_K_gemm_moe_id_op, shape, NULL);
    if (!illegal)
        gemm(shape, args, bug);
    return illegal;
}

static const char *run_gemv(const void *shape, const void *args, enum bug bug)
{
    const struct q4_K_gemv_shape *s = shape;
    const struct q4_K_gemv_args *a = args;
    const char *illegal = assay_illegal(&q4_K_gemv_op, shape, NULL);
    if (illegal)
        return illegal;
    const int32_t ids[1] = {0}, tpe[1] = {1};
    const shape_t one = {1, s->n, s->k, 1, 1, 1, 1, s->w_offset, 0};
    const args_t as_gemm = {a->w, a->x, ids, tpe, NULL, a->y};
    gemm(&one, &as_gemm, bug);
    return NULL;
}

#define K_GEMM(shape) (((const shape_t *)(shape))->k)
#define K_GEMV(shape) (((const struct q4_K_gemv_shape *)(shape))->k)

/* DEPTH(gemv, K_GEMV) defines what a gemv of each kind declares. */
#define DEPTH(what, k_of)                                   \
    static int64_t depth_##what##_double(const void *shape) \
    {                                                       \
        (void)shape;                                        \
        return 2;                                           \
    }                                                       \
    static int64_t depth_##what##_serial(const void *shape) \
    {                                                       \
        return k_of(shape) + 1024;                          \
    }                                                       \
    static int64_t depth_##what##_i8(const void *shape)     \
    {                                                       \
        return q4_K_twin_depth(k_of(shape), 1);             \
    }                                                       \
    static int64_t depth_##what##_per_32(const void *shape) \
    {                                                       \
        return k_of(shape) / 32 + 8;                        \
    }
DEPTH(gemm, K_GEMM)
DEPTH(gemv, K_GEMV)

/* RUN(gemv, X) defines run_gemv_X, which calls run_gemv with bug X; F32 and I8 are table entries. */
#define RUN(what, bug_name)                                                                      \
    static const char *run_##what##_##bug_name(const void *shape, const void *args,              \
                                               const void *prepared, void *scratch, int threads) \
    {                                                                                            \
        (void)prepared, (void)scratch, (void)threads;                                            \
        return run_##what(shape, args, bug_name);                                                \
    }
#define KERNEL(what, op_name, bug_name, text, only_, class_, twin_, kind) \
    {.bug = text,                                                         \
     .only = only_,                                                       \
     .kernel = {.op = op_name,                                            \
                .name = "wrong-" #bug_name,                               \
                .tier = "ref",                                            \
                .numerics = class_,                                       \
                .twin = twin_,                                            \
                .depth = depth_##what##_##kind,                           \
                .run = run_##what##_##bug_name}},

/* X(what, bug, which layers alone may see it, the bug in words) */
#define DOUBLE(X)                                                                    \
    X(gemv, NONE, 0, NULL)                                                           \
    X(gemv, ALL_NAN, 0, "every output is NaN")                                       \
    X(gemv, CONSTANT_ROWS, 0, "row 0's result in every row")                         \
    X(gemv, NEXT_ROW, 0, "row n+1's result in row n")                                \
    X(gemv, X_SHIFTED, 0, "x shifted by one")                                        \
    X(gemv, LANE_DROPPED, 0, "one of 16 lanes dropped")                              \
    X(gemv, SUB_BLOCKS_SWAPPED, 0, "scales of neighbouring sub-blocks swapped")      \
    X(gemv, D16_IN_F16, 0, "d/16 rounded to f16")                                    \
    X(gemv, LAST_BLOCK_DROPPED, 0, "last super-block of a row dropped")              \
    X(gemv, NIBBLES_SWAPPED, 0, "low and high nibbles swapped")                      \
    X(gemv, ONE_NIBBLE, 0, "lowest bit of one nibble in 256 flipped")                \
    X(gemv, SCALE_BIT, 0, "top bit of one scale lost")                               \
    X(gemv, MIN_BIT, 0, "lowest bit of one min lost")                                \
    X(gemv, MIN_ADDED, 0, "min added instead of subtracted")                         \
    X(gemv, FOUR_PERCENT, 0, "result 4 % off")                                       \
    X(gemv, OFFSET_IGNORED, 0, "byte offset of the weights ignored")                 \
    X(gemv, COLUMN_TAIL, 0, "rows of the tail wrong for n > 16, n % 16 != 0")        \
    X(gemv, LAST_ROW_MISSING, 0, "last row not written")                             \
    X(gemv, NAN_TO_ZERO, ONLY(NONFINITE), "NaN and infinity taken for 0")            \
    X(gemm, FLUSH_SUBNORMALS, ONLY(BOUND), "subnormal activations flushed")          \
    X(gemv, F32_SLOPPY, 0, "partial sums lose 8 bits")                               \
    X(gemv, D_BY_SUBNORMAL, ONLY(FLUSHING), "f16 to f32 by way of subnormals")       \
    X(gemm, NONE, 0, NULL)                                                           \
    X(gemm, STALE_ROWS, 0, "pairs from the 33rd of an expert on not computed")       \
    X(gemm, SLOT_IGNORED, 0, "slot 0's row used for all slots")                      \
    X(gemm, F16_ACTIVATIONS, 0, "activations rounded to f16")                        \
    X(gemm, UNROUTED_ROWS_ZEROED, ONLY(WRITES), "rows of pairs in no list zeroed")   \
    X(gemm, IDS_PAST_TPE, ONLY(CRASH), "one id read past tpe")                       \
    X(gemm, STRIDE_IGNORED, ONLY(CRASH), "row stride of ids taken for tokens*top_k") \
    X(gemm, LAST_TILE_OF_NEIGHBOUR, 0, "pairs from the 33rd on use the next expert") \
    X(gemm, DUPLICATES_DROPPED, 0, "an expert's second pair of a token dropped")     \
    X(gemm, LIST_ORDER, 0, "a pair's result depends on the pair before it")          \
    X(gemm, UNSELECTED_TIMES_ZERO, ONLY(BOUND) | ONLY(PROPERTY),                     \
      "experts that were not selected are read and weighed 0")                       \
    X(gemv, ZERO_TO_ONE, ONLY(PROPERTY), "1 where all of x is zero")                 \
    X(gemm, ZERO_TO_ONE, ONLY(PROPERTY), "1 where all activations are zero")

#define SERIAL(X)                                                                         \
    X(gemv, W_14_BITS, ONLY(STATISTICS), "weights in 14 bits, and a depth to hide it")    \
    X(gemv, ORDER_BY_SIZE, ONLY(PROPERTY), "x above 1/2 is summed in another order")      \
    X(gemm, ORDER_BY_SIZE, ONLY(PROPERTY), "activations above 1/2 in another order")      \
    X(gemm, ORDER_BY_EXPERT, ONLY(PROPERTY), "odd experts sum in another order")          \
    X(gemm, ORDER_BY_LIST, ONLY(PROPERTY), "lists that fall are summed in another order") \
    X(gemm, ORDER_BY_TOKENS, ONLY(PROPERTY), "one token is summed in another order")      \
    X(gemm, ORDER_BY_DISPATCH, ONLY(PROPERTY), "indirect calls sum in another order")

#define TWIN_I8(X)                                                                \
    X(gemv, TRUNCATED, 0, "activations truncated, not rounded")                   \
    X(gemv, AMAX_128, 0, "scale amax/128")                                        \
    X(gemv, UNFUSED, ONLY(TWIN), "products rounded before they are added")        \
    X(gemv, DESCENDING, ONLY(TWIN), "super-blocks in descending order")           \
    X(gemv, MINS_UNQUANTIZED, 0, "mins with sums of the unquantized activations") \
    X(gemv, SCALE_PER_ROW, 0, "one scale per row instead of per 256")

/* Without the twin, the bound and the statistics alone must see it. */
#define FOREIGN_I8(X)                                                                \
    X(gemm, NONE_I8, 0, NULL)                                                        \
    X(gemm, TRUNCATED, 0, "activations truncated, no twin promised")                 \
    X(gemm, AMAX_128, ONLY(BOUND), "largest activation saturated, no twin promised") \
    X(gemm, COARSE, 0, "steps 1.5 times as large, no twin promised")                 \
    X(gemv, COARSE, 0, "steps 1.5 times as large, no twin promised")                 \
    X(gemv, ZEROS_I8, 0, "every output is 0, no twin promised")

#define FOREIGN_PER_32(X)    \
    X(gemv, PER_32, 0, NULL) \
    X(gemm, PER_32, 0, NULL)

#define OP_gemv                        "q4_K_gemv"
#define OP_gemm                        "q4_K_gemm_moe_id"
#define RUN_ANY(what, bug, only, text) RUN(what, bug)
#define ENTRY_DOUBLE(what, bug, only, text) \
    KERNEL(what, OP_##what, bug, text, only, ASSAY_F32, 0, double)
#define ENTRY_SERIAL(what, bug, only, text) \
    KERNEL(what, OP_##what, bug, text, only, ASSAY_F32, 0, serial)
#define ENTRY_TWIN(what, bug, only, text) KERNEL(what, OP_##what, bug, text, only, ASSAY_I8, 1, i8)
#define ENTRY_FOREIGN(what, bug, only, text) \
    KERNEL(what, OP_##what, bug, text, only, ASSAY_I8, 0, i8)
#define ENTRY_PER_32(what, bug, only, text) \
    KERNEL(what, OP_##what, bug, text, only, ASSAY_I8, 0, per_32)

DOUBLE(RUN_ANY)
SERIAL(RUN_ANY)
TWIN_I8(RUN_ANY)
FOREIGN_I8(RUN_ANY)
FOREIGN_PER_32(RUN_ANY)

const struct wrong wrong_matmul[] = {DOUBLE(ENTRY_DOUBLE) SERIAL(ENTRY_SERIAL) TWIN_I8(ENTRY_TWIN)
                                         FOREIGN_I8(ENTRY_FOREIGN) FOREIGN_PER_32(ENTRY_PER_32)};
const size_t n_wrong_matmul = sizeof(wrong_matmul) / sizeof(*wrong_matmul);
