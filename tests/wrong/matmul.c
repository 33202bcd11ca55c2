/* SPDX-License-Identifier: MIT */
/* Wrong gemv and moe_id gemm. One plain loop serves all: a gemv is a gemm with one expert, token and
 * slot. `bug` says what it gets wrong. */
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

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
    OVER_READ,
    WRITE_PAST_END,
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
    THREADS_DIFFER,
    SCRATCH_UNINITIALIZED,
    SCRATCH_REMEMBERED,
    ADDRESS_REMEMBERED,
    RACE,
    ALIGNED_LOADS,
    INPUT_WRITTEN,
    HANGS,
    NAN_TO_ZERO,
    FLUSH_SUBNORMALS,
    F32_SLOPPY,
    /* of class i8: */
    NONE_I8,
    TRUNCATED,
    AMAX_128,
    UNFUSED,
    DESCENDING,
    MINS_UNQUANTIZED,
    SCALE_PER_ROW,
};

typedef struct q4_K_gemm_moe_id_shape shape_t;
typedef struct q4_K_gemm_moe_id_args args_t;

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
    return d * scale * nibble + (bug == MIN_ADDED ? dmin : -dmin) * min;
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

static void quantize(const float *x, float amax, struct activation_i8 *out, enum bug bug)
{
    activation_i8_quantize(x, out);
    if (!(out->d > 0) || bug == MINS_UNQUANTIZED)
        return;
    if (bug == TRUNCATED || bug == AMAX_128 || bug == SCALE_PER_ROW) {
        if (bug != SCALE_PER_ROW)
            amax = out->d * 127;
        float steps = bug == AMAX_128 ? 128 : 127;
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

static float dot_i8(const struct block_q4_K *row, const float *x, int64_t k, enum bug bug)
{
    int64_t blocks = k / Q4_K_BLOCK;
    float acc = 0, amax = 0;
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

static float element(const shape_t *s, const args_t *a, int64_t e, int64_t r, const int32_t *list,
                     int32_t i, enum bug bug)
{
    int64_t pair = list[i], token = pair / s->top_k, slot = pair % s->top_k;
    int64_t source = token * s->ne11 + (bug == SLOT_IGNORED ? 0 : slot % s->ne11);
    int64_t offset = bug == OFFSET_IGNORED ? 0 : s->w_offset;
    const struct block_q4_K *w = (const struct block_q4_K *)(a->w + offset);
    const struct block_q4_K *row = w + row_index(s, e, r, i, bug) * (s->k / Q4_K_BLOCK);
    const float *x = &a->src1[source * s->k];
    float value = bug >= NONE_I8 ? dot_i8(row, x, s->k, bug) : dot_f32(row, x, s->k, bug);
    if (bug == ALL_NAN)
        value = NAN;
    if (bug == COLUMN_TAIL && s->m > 16 && r >= s->m / 16 * 16)
        value = -value;
    if (bug == LIST_ORDER) /* carries the running sum of the list along */
        value += i > 0 ? 1e-3f * a->dst[list[i - 1] * s->m + r] : 0;
    return value;
}

/* Leaves a mark in scratch and does not compute again where it finds it: a stale cache. */
static bool remembered(void *scratch)
{
    static const char mark[] = "activations quantized";
    bool found = memcmp(scratch, mark, sizeof(mark)) == 0;
    memcpy(scratch, mark, sizeof(mark));
    return found;
}

/* The outputs of the last call, and the address of its activations: a cache with the wrong key. */
static struct {
    const float *x;
    int64_t count;
    float y[1024];
} last_call;

static bool recall(const args_t *a, int64_t count)
{
    if (last_call.x != a->src1 || last_call.count != count)
        return false;
    memcpy(a->dst, last_call.y, (size_t)count * sizeof(float));
    return true;
}

static void remember(const args_t *a, int64_t count)
{
    if (count > 1024)
        return;
    last_call.x = a->src1;
    last_call.count = count;
    memcpy(last_call.y, a->dst, (size_t)count * sizeof(float));
}

/* Half of the inner dimension's sum for every row, added to dst without a lock. */
struct half {
    const shape_t *s;
    const args_t *a;
    pthread_barrier_t *barrier;
    int64_t first, last; /* super-blocks */
};

static void *add_half(void *context)
{
    const struct half *half = context;
    const shape_t *s = half->s;
    int64_t blocks = s->k / Q4_K_BLOCK;
    const struct block_q4_K *w = (const struct block_q4_K *)(half->a->w + s->w_offset);
    pthread_barrier_wait(half->barrier);
    for (int64_t b = half->first; b < half->last; b++) {
        for (int64_t r = 0; r < s->m; r++) {
            volatile float *y = &half->a->dst[r];
            float part =
                dot_f32(&w[r * blocks + b], &half->a->src1[b * Q4_K_BLOCK], Q4_K_BLOCK, NONE);
            *y = *y + part;
        }
    }
    return NULL;
}

static void race(const shape_t *s, const args_t *a)
{
    pthread_t other;
    pthread_barrier_t barrier;
    int64_t blocks = s->k / Q4_K_BLOCK;
    struct half low = {s, a, &barrier, 0, blocks / 2}, high = {s, a, &barrier, blocks / 2, blocks};
    memset(a->dst, 0, (size_t)s->m * sizeof(float));
    pthread_barrier_init(&barrier, NULL, 2);
    if (pthread_create(&other, NULL, add_half, &low) == 0) {
        add_half(&high);
        pthread_join(other, NULL);
    }
    pthread_barrier_destroy(&barrier);
}

static void misbehave(const shape_t *s, const args_t *a, void *scratch, enum bug bug)
{
    int64_t bytes = s->experts * s->m * (s->k / Q4_K_BLOCK) * Q4_K_BLOCK_BYTES;
    int64_t elements = s->tokens * s->top_k * s->m;
    volatile uint8_t sink;
    if (bug == OVER_READ)
        sink = a->w[s->w_offset + bytes];
    if (bug == WRITE_PAST_END)
        a->dst[elements] = 0;
    if (bug == UNROUTED_ROWS_ZEROED)
        memset(a->dst, 0, (size_t)elements * sizeof(float));
    if (bug == INPUT_WRITTEN)
        *(float *)(uintptr_t)a->src1 = 0;
    if (bug == SCRATCH_UNINITIALIZED)
        a->dst[0] += *(float *)scratch * 1e-30f;
    while (bug == HANGS)
        pause();
    (void)sink;
}

static void gemm(const shape_t *s, const args_t *a, void *scratch, int threads, enum bug bug)
{
    if (bug == SCRATCH_REMEMBERED && remembered(scratch))
        return;
    if (bug == ADDRESS_REMEMBERED && recall(a, s->m))
        return;
    if (bug == RACE && threads > 1) {
        race(s, a);
        return;
    }
    if (bug == ALIGNED_LOADS && (uintptr_t)a->src1 % 16 != 0)
        raise(SIGSEGV); /* what movaps does */
    int64_t stride = bug == STRIDE_IGNORED ? s->tokens * s->top_k : s->stride;
    if (bug == UNROUTED_ROWS_ZEROED)
        misbehave(s, a, scratch, bug);
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
    if (bug == ADDRESS_REMEMBERED)
        remember(a, s->m);
    if (bug == THREADS_DIFFER && threads > 1)
        a->dst[0] = assay_f32_from_bits(assay_f32_bits(a->dst[0]) ^ 1);
    if (bug != UNROUTED_ROWS_ZEROED)
        misbehave(s, a, scratch, bug);
}

static const char *run_gemm(const void *shape, const void *args, void *scratch, int threads,
                            enum bug bug)
{
    const char *illegal = assay_illegal(&q4_K_gemm_moe_id_op, shape, NULL);
    if (!illegal)
        gemm(shape, args, scratch, threads, bug);
    return illegal;
}

static const char *run_gemv(const void *shape, const void *args, void *scratch, int threads,
                            enum bug bug)
{
    const struct q4_K_gemv_shape *s = shape;
    const struct q4_K_gemv_args *a = args;
    const char *illegal = assay_illegal(&q4_K_gemv_op, shape, NULL);
    if (illegal)
        return illegal;
    const int32_t ids[1] = {0}, tpe[1] = {1};
    const shape_t one = {1, s->n, s->k, 1, 1, 1, 1, s->w_offset, 0};
    const args_t as_gemm = {a->w, a->x, ids, tpe, NULL, a->y};
    gemm(&one, &as_gemm, scratch, threads, bug);
    return NULL;
}

static int64_t depth_ref(const void *shape)
{
    (void)shape;
    return 2;
}

static int64_t depth_gemm_i8(const void *shape)
{
    return q4_K_dot_i8_depth(((const shape_t *)shape)->k);
}

static int64_t depth_gemv_i8(const void *shape)
{
    return q4_K_dot_i8_depth(((const struct q4_K_gemv_shape *)shape)->k);
}

static int64_t some_scratch(const void *shape, int threads)
{
    (void)shape, (void)threads;
    return 64;
}

/* RUN(gemv, X) defines run_gemv_X, which calls run_gemv with bug X; F32 and I8 are table entries. */
#define RUN(what, bug)                                                                      \
    static const char *run_##what##_##bug(const void *shape, const void *args,              \
                                          const void *prepared, void *scratch, int threads) \
    {                                                                                       \
        (void)prepared;                                                                     \
        return run_##what(shape, args, scratch, threads, bug);                              \
    }
#define KERNEL(what, op_name, bug, text, class_, twin_, depth_)                      \
    {                                                                                \
        text,                                                                        \
        {                                                                            \
            .op = op_name, .name = "wrong-" #bug, .tier = "ref", .numerics = class_, \
            .twin = twin_, .depth = depth_, .scratch_bytes = some_scratch,           \
            .run = run_##what##_##bug                                                \
        }                                                                            \
    }

#define GEMV_F32(X)                                                             \
    X(NONE, NULL)                                                               \
    X(ALL_NAN, "every output is NaN")                                           \
    X(CONSTANT_ROWS, "row 0's result in every row")                             \
    X(NEXT_ROW, "row n+1's result in row n")                                    \
    X(X_SHIFTED, "x shifted by one")                                            \
    X(LANE_DROPPED, "one of 16 lanes dropped")                                  \
    X(SUB_BLOCKS_SWAPPED, "scales of neighbouring sub-blocks swapped")          \
    X(D16_IN_F16, "d/16 rounded to f16")                                        \
    X(LAST_BLOCK_DROPPED, "last super-block of a row dropped")                  \
    X(NIBBLES_SWAPPED, "low and high nibbles swapped")                          \
    X(ONE_NIBBLE, "lowest bit of one nibble in 256 flipped")                    \
    X(SCALE_BIT, "top bit of one scale lost")                                   \
    X(MIN_BIT, "lowest bit of one min lost")                                    \
    X(MIN_ADDED, "min added instead of subtracted")                             \
    X(FOUR_PERCENT, "result 4 % off")                                           \
    X(OFFSET_IGNORED, "byte offset of the weights ignored")                     \
    X(OVER_READ, "one byte read past the weights")                              \
    X(WRITE_PAST_END, "one element written past y")                             \
    X(COLUMN_TAIL, "rows of the tail wrong for n > 16, n % 16 != 0")            \
    X(LAST_ROW_MISSING, "last row not written")                                 \
    X(THREADS_DIFFER, "last bit depends on the number of threads")              \
    X(SCRATCH_UNINITIALIZED, "scratch read before it is written")               \
    X(SCRATCH_REMEMBERED, "not computed where scratch is from an earlier call") \
    X(ADDRESS_REMEMBERED, "last result given again for the same address of x")  \
    X(RACE, "two threads add to y without a lock")                              \
    X(ALIGNED_LOADS, "x loaded as if it were aligned to 16 bytes")              \
    X(INPUT_WRITTEN, "an input is written")                                     \
    X(HANGS, "never returns")                                                   \
    X(NAN_TO_ZERO, "NaN and infinity taken for 0")                              \
    X(FLUSH_SUBNORMALS, "subnormal activations flushed")                        \
    X(F32_SLOPPY, "partial sums lose 8 bits")

#define GEMM_F32(X)                                                         \
    X(NONE, NULL)                                                           \
    X(STALE_ROWS, "pairs from the 33rd of an expert on not computed")       \
    X(SLOT_IGNORED, "slot 0's row used for all slots")                      \
    X(F16_ACTIVATIONS, "activations rounded to f16")                        \
    X(UNROUTED_ROWS_ZEROED, "rows of pairs in no list zeroed")              \
    X(IDS_PAST_TPE, "one id read past tpe")                                 \
    X(STRIDE_IGNORED, "row stride of ids taken for tokens*top_k")           \
    X(LAST_TILE_OF_NEIGHBOUR, "pairs from the 33rd on use the next expert") \
    X(DUPLICATES_DROPPED, "an expert's second pair of a token dropped")     \
    X(LIST_ORDER, "a pair's result depends on the pair before it")

#define GEMV_I8(X)                                                       \
    X(TRUNCATED, "activations truncated, not rounded")                   \
    X(AMAX_128, "scale amax/128")                                        \
    X(UNFUSED, "products rounded before they are added")                 \
    X(DESCENDING, "super-blocks in descending order")                    \
    X(MINS_UNQUANTIZED, "mins with sums of the unquantized activations") \
    X(SCALE_PER_ROW, "one scale per row instead of per 256")

#define RUN_GEMV(bug, text)   RUN(gemv, bug)
#define RUN_GEMM(bug, text)   RUN(gemm, bug)
#define ENTRY_GEMV(bug, text) KERNEL(gemv, "q4_K_gemv", bug, text, ASSAY_F32, 0, depth_ref),
#define ENTRY_GEMM(bug, text) KERNEL(gemm, "q4_K_gemm_moe_id", bug, text, ASSAY_F32, 0, depth_ref),
#define ENTRY_I8(bug, text)   KERNEL(gemv, "q4_K_gemv", bug, text, ASSAY_I8, 1, depth_gemv_i8),
#define ENTRY_I8_FOREIGN(bug, text) \
    KERNEL(gemm, "q4_K_gemm_moe_id", bug, text, ASSAY_I8, 0, depth_gemm_i8),

GEMV_F32(RUN_GEMV)
GEMM_F32(RUN_GEMM)
GEMV_I8(RUN_GEMV)
RUN(gemm, NONE_I8)
RUN(gemm, TRUNCATED)
RUN(gemm, AMAX_128)

const struct wrong wrong_matmul[] = {
    GEMV_F32(ENTRY_GEMV) GEMM_F32(ENTRY_GEMM) GEMV_I8(ENTRY_I8)
    /* Without the twin, the bound and the statistics alone must see it. */
    ENTRY_I8_FOREIGN(NONE_I8, NULL)
        ENTRY_I8_FOREIGN(TRUNCATED, "activations truncated, no twin promised")
            ENTRY_I8_FOREIGN(AMAX_128, "largest activation saturated, no twin promised")};
const size_t n_wrong_matmul = sizeof(wrong_matmul) / sizeof(*wrong_matmul);
