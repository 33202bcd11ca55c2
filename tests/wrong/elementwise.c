/* SPDX-License-Identifier: MIT */
/* Wrong silu_mul, moe_weighted_sum and activation_quantize. A plain loop serves each op; `bug` says
 * what it gets wrong. */
#include <math.h>
#include <string.h>

#include "ref/activation_quantize.h"
#include "ref/f16.h"
#include "ref/moe_weighted_sum.h"
#include "ref/silu_mul.h"
#include "tests/wrong/wrong.h"

enum bug {
    NONE,
    /* silu_mul */
    EXP2,
    SWAPPED,
    UP_IGNORED,
    SIGMOID,
    GELU,
    EXP_OF_GATE,
    CLAMPED,
    LIMIT_ZERO,
    MINUS_INF_INFINITE,
    NAN_TO_ZERO,
    EXP_ROUGH,
    EXP_SLOPPY,
    TO_BF16,
    TO_F16,
    FLUSHED,
    TAIL_MISSING,
    TAIL_OVERWRITTEN,
    TAIL_OVERREAD,
    IN_PLACE,
    THREADS_DIFFER,
    /* moe_weighted_sum */
    MINUS_ONE_COUNTS,
    BEYOND_COUNTS,
    INVALID_TIMES_0,
    STOPS_AT_INVALID,
    DUPLICATES_ONCE,
    LAST_SLOT_DROPPED,
    EIGHT_SLOTS,
    WEIGHTS_SHIFTED,
    FIRST_TOKENS_WEIGHTS,
    RENORMALIZED,
    UNWEIGHTED,
    ADDS_TO_OUT,
    EMPTY_NOT_WRITTEN,
    BF16_SUMS,
    F16_ROWS,
    NAN_SKIPPED,
    LAST_COLUMN_MISSING,
    /* activation_quantize */
    TOP_128,
    NO_HEADROOM,
    TRUNCATES,
    HALF_AWAY,
    DIVIDES,
    D_FROM_INVERSE,
    IN_DOUBLE,
    SIGNED_SCALE,
    UNSIGNED_DIGITS,
    LOWEST_FIRST,
    SUMS_OF_Q,
    SUMS_OF_HALF,
    D_OF_STEP,
    D_PER_ROW,
    NAN_IGNORED,
    NOT_FINITE_IS_ZERO,
    TINY_COUNTS,
    LEAST_IS_ZERO,
    DIGIT_MAJOR,
    LAST_BLOCK_MISSING
};

/* x, or what bf16 keeps of it. The choice is of a mask: gcc 12 makes x of `cut ? masked x : x`. */
static float to_bf16_if(bool cut, float x)
{
    uint32_t mask = cut ? 0xffff0000u : 0xffffffffu;
    return assay_f32_from_bits(assay_f32_bits(x) & mask);
}

/* ---- silu_mul ---- */

static float exp_of(float x, enum bug bug)
{
    if (bug == EXP_ROUGH && fabsf(x) < 80) /* the exponent bits, linear between powers of two */
        return assay_f32_from_bits((uint32_t)((x * 1.44269504f + 127) * 8388608));
    if (bug == EXP2) /* no bug: constant and product are rounded, which the bound allows for */
        return exp2f(x * 1.44269504f);
    return expf(x) * (bug == EXP_SLOPPY ? 1.000002f : 1);
}

static float silu_mul(float gate, float up, enum bug bug)
{
    if (bug == CLAMPED)
        gate = fmaxf(gate, -20);
    if (bug == SIGMOID)
        return 1 / (1 + expf(-gate)) * up;
    if (bug == GELU)
        return gate * 0.5f * (1 + erff(gate * 0.70710678f)) * up;
    if (bug == EXP_OF_GATE)
        return gate * expf(gate) / (1 + expf(gate)) * up;
    if (bug == LIMIT_ZERO && gate == -INFINITY)
        return 0;
    if (bug == MINUS_INF_INFINITE && gate == -INFINITY)
        return gate * up;
    float out = gate / (1 + exp_of(-gate, bug));
    return bug == UP_IGNORED ? out : out * up;
}

static float stored(float out, int threads, enum bug bug)
{
    if (bug == NAN_TO_ZERO && isnan(out))
        return 0;
    if (bug == FLUSHED && fabsf(out) < 0x1p-126f)
        return copysignf(0, out);
    if (bug == THREADS_DIFFER && threads > 1)
        return assay_f32_from_bits(assay_f32_bits(out) ^ 1);
    if (bug == TO_F16)
        out = assay_f16_to_f32(assay_f32_to_f16(out));
    return to_bf16_if(bug == TO_BF16, out);
}

static const char *run_silu_mul(const void *shape, const void *args, int threads, enum bug bug)
{
    const struct silu_mul_args *a = args;
    const struct silu_mul_shape *s = shape;
    int64_t n = s->n * s->rows, written = bug == TAIL_MISSING ? n / 8 * 8 : n;
    float *out = bug == IN_PLACE ? (float *)(uintptr_t)a->gate : a->out;
    volatile float beyond = bug == TAIL_OVERREAD ? a->gate[(n + 7) / 8 * 8 - 1] : 0;
    (void)beyond;
    for (int64_t i = 0; i < written; i++) {
        float gate = bug == SWAPPED ? a->up[i] : a->gate[i];
        out[i] = stored(silu_mul(gate, bug == SWAPPED ? a->gate[i] : a->up[i], bug), threads, bug);
    }
    for (int64_t i = n; bug == TAIL_OVERWRITTEN && i % 8 != 0; i++)
        out[i] = 0;
    return NULL;
}

/* ---- moe_weighted_sum ---- */

static bool counts(const struct moe_weighted_sum_shape *s, const int32_t *ids, int64_t slot,
                   enum bug bug)
{
    int32_t id = ids[slot];
    bool counts = id >= 0 && id < s->experts;
    for (int64_t before = 0; before < slot; before++) {
        bool invalid = ids[before] < 0 || ids[before] >= s->experts;
        if ((bug == DUPLICATES_ONCE && ids[before] == id) || (bug == STOPS_AT_INVALID && invalid))
            return false;
    }
    if ((bug == LAST_SLOT_DROPPED && slot == s->top_k - 1) || (bug == EIGHT_SLOTS && slot >= 8))
        return false;
    return counts || bug == INVALID_TIMES_0 || (bug == MINUS_ONE_COUNTS && id == -1) ||
           (bug == BEYOND_COUNTS && id == s->experts);
}

static float weight_of(const struct moe_weighted_sum_shape *s,
                       const struct moe_weighted_sum_args *a, int64_t token, int64_t slot,
                       enum bug bug)
{
    const float *weights = &a->weights[token * s->top_k];
    float sum = 0;
    for (int64_t i = 0; bug == RENORMALIZED && i < s->top_k; i++)
        sum += counts(s, &a->ids[token * s->top_k], i, bug) ? weights[i] : 0;
    switch (bug) {
    case WEIGHTS_SHIFTED: return weights[(slot + 1) % s->top_k];
    case FIRST_TOKENS_WEIGHTS: return a->weights[slot];
    case RENORMALIZED: return weights[slot] / sum;
    case INVALID_TIMES_0:
        return counts(s, &a->ids[token * s->top_k], slot, NONE) ? weights[slot] : 0;
    case UNWEIGHTED: return 1 / (float)s->top_k;
    default: return weights[slot];
    }
}

static float add_term(float sum, float weight, float value, enum bug bug)
{
    if (bug == NAN_SKIPPED && !isfinite(value))
        return sum;
    if (bug == F16_ROWS)
        value = assay_f16_to_f32(assay_f32_to_f16(value));
    sum += weight * value;
    return to_bf16_if(bug == BF16_SUMS, sum);
}

static const char *run_weighted_sum(const void *shape, const void *args, int threads, enum bug bug)
{
    (void)threads;
    const struct moe_weighted_sum_shape *s = shape;
    const struct moe_weighted_sum_args *a = args;
    for (int64_t token = 0; token < s->tokens; token++) {
        const int32_t *ids = &a->ids[token * s->top_k];
        int64_t valid = 0;
        for (int64_t slot = 0; slot < s->top_k; slot++)
            valid += counts(s, ids, slot, NONE);
        if (bug == EMPTY_NOT_WRITTEN && valid == 0)
            continue;
        for (int64_t i = 0; i < s->m - (bug == LAST_COLUMN_MISSING && s->m % 8 == 1); i++) {
            float *out = &a->out[token * s->m + i], sum = bug == ADDS_TO_OUT ? *out : 0;
            for (int64_t slot = 0; slot < s->top_k; slot++) {
                float value = a->rows[(token * s->top_k + slot) * s->m + i];
                if (counts(s, ids, slot, bug))
                    sum = add_term(sum, weight_of(s, a, token, slot, bug), value, bug);
            }
            *out = sum;
        }
    }
    return NULL;
}

/* ---- activation_quantize ---- */

struct block {
    int32_t q[256];
    float d;
};

static int32_t round_q(float x, float amax, float top, enum bug bug)
{
    float scaled = bug == DIVIDES ? x / (amax / top) : x * (top / amax);
    switch (bug) {
    case TRUNCATES: return (int32_t)scaled;
    case HALF_AWAY: return (int32_t)roundf(scaled);
    case IN_DOUBLE: return (int32_t)rint((double)x * (double)top / (double)amax);
    case TOP_128: return (int32_t)fminf(rintf(scaled), top - 1);
    case NAN_IGNORED: return isnan(x) ? 0 : (int32_t)rintf(scaled);
    default: return (int32_t)rintf(scaled);
    }
}

static float top_of(int64_t digits, enum bug bug)
{
    static const float tops[] = {127, 32638, 8355000}, full[] = {127, 32767, 8388607};
    return bug == NO_HEADROOM ? full[digits - 1] : tops[digits - 1] + (bug == TOP_128);
}

/* The whole Q of a block, and the step in d. The row's amax is for D_PER_ROW. */
static struct block quantize(const float *x, int64_t digits, float row_amax, enum bug bug)
{
    struct block out = {.d = 0};
    float amax = 0, top = top_of(digits, bug), largest = 0;
    bool finite = true;
    for (int i = 0; i < 256; i++) {
        finite = finite && (isfinite(x[i]) || (bug == NAN_IGNORED && isnan(x[i])));
        if (fabsf(x[i]) > amax)
            largest = x[i];
        amax = fmaxf(amax, fabsf(x[i]));
    }
    if (!finite) {
        out.d = bug == NOT_FINITE_IS_ZERO ? 0 : NAN;
        return out;
    }
    if (bug == D_PER_ROW && isfinite(row_amax))
        amax = row_amax;
    bool tiny = bug == TINY_COUNTS ? amax == 0 : amax < 0x1p-100f;
    if (tiny || (bug == LEAST_IS_ZERO && amax == 0x1p-100f))
        return out;
    out.d = bug == D_FROM_INVERSE ? 1 / (top / amax) : amax / top;
    for (int i = 0; i < 256; i++)
        out.q[i] = round_q(x[i], amax, top, bug);
    if (bug == SIGNED_SCALE && largest > 0) {
        out.d = -out.d;
        for (int i = 0; i < 256; i++)
            out.q[i] = -out.q[i];
    }
    return out;
}

/* Digit j of q, from the top. */
static int32_t digit_of(int32_t q, int64_t j, int64_t digits, enum bug bug)
{
    for (int64_t last = digits - 1; last > j; last--)
        q = bug == UNSIGNED_DIGITS ? q >> 8 : (int32_t)floor((q + 128) / 256.0);
    return j == 0                   ? q
           : bug == UNSIGNED_DIGITS ? (q & 255)
                                    : q - 256 * (int32_t)floor((q + 128) / 256.0);
}

/* What one virtual token, `to`, gets of a block that begins at element `at` of its row. */
static void put_digit(const struct block *block, const struct activation_quantize_shape *s,
                      const struct activation_quantize_args *a, int64_t j, int64_t to, int64_t at,
                      enum bug bug)
{
    int64_t digit = bug == LOWEST_FIRST ? s->digits - 1 - j : j;
    for (int sub = 0; sub < 8; sub++) {
        int32_t sum = 0;
        for (int i = 32 * sub; i < 32 * sub + 32; i++) {
            int8_t q = (int8_t)digit_of(block->q[i], digit, s->digits, bug);
            a->q[to * s->k + at + i] = q;
            if (bug != SUMS_OF_HALF || i % 32 < 16)
                sum += bug == SUMS_OF_Q ? block->q[i] : q;
        }
        a->sums[(to * s->k + at) / 32 + sub] = (int16_t)sum;
    }
    int64_t power = bug == D_OF_STEP ? 0 : s->digits - 1 - digit;
    a->d[(to * s->k + at) / 256] = ldexpf(block->d, (int)(8 * power));
}

static const char *run_quantize(const void *shape, const void *args, int threads, enum bug bug)
{
    (void)threads;
    const struct activation_quantize_shape *s = shape;
    const struct activation_quantize_args *a = args;
    for (int64_t row = 0; row < s->rows; row++) {
        const float *x = &a->x[row * s->k];
        float row_amax = 0;
        for (int64_t i = 0; i < s->k; i++)
            row_amax = fmaxf(row_amax, fabsf(x[i]));
        int64_t end = s->k - (bug == LAST_BLOCK_MISSING && s->k > 256 ? 256 : 0);
        for (int64_t at = 0; at < end; at += 256) {
            struct block block = quantize(x + at, s->digits, row_amax, bug);
            for (int64_t j = 0; j < s->digits; j++) {
                int64_t to = bug == DIGIT_MAJOR ? j * s->rows + row : row * s->digits + j;
                put_digit(&block, s, a, j, to, at, bug);
            }
        }
    }
    return NULL;
}

/* ---- the kernels ---- */

static int64_t depth_silu_mul(const void *shape)
{
    (void)shape;
    return 5; /* expf within 2, and three more */
}

static int64_t depth_weighted_sum(const void *shape)
{
    return ((const struct moe_weighted_sum_shape *)shape)->top_k + 1;
}

#define RUN(op, bug)                                                                               \
    static const char *run_##op##_##bug(const void *shape, const void *args, const void *prepared, \
                                        void *scratch, int threads)                                \
    {                                                                                              \
        (void)prepared, (void)scratch;                                                             \
        return run_##op(shape, args, threads, bug);                                                \
    }
#define KERNEL(op_name, stem, which, text, class_, depth_) \
    {.bug = text,                                          \
     .kernel = {.op = op_name,                             \
                .name = "wrong-" #which,                   \
                .tier = "ref",                             \
                .numerics = class_,                        \
                .depth = depth_,                           \
                .run = run_##stem##_##which}},
#define SILU(X)                                                    \
    X(silu_mul, NONE, NULL)                                        \
    X(silu_mul, EXP2, NULL)                                        \
    X(silu_mul, SWAPPED, "gate and up exchanged")                  \
    X(silu_mul, UP_IGNORED, "up not multiplied")                   \
    X(silu_mul, SIGMOID, "the sigmoid instead of silu")            \
    X(silu_mul, GELU, "gelu instead of silu")                      \
    X(silu_mul, EXP_OF_GATE, "Inf / Inf for large gates")          \
    X(silu_mul, CLAMPED, "gate clamped at -20")                    \
    X(silu_mul, LIMIT_ZERO, "gate -Inf gives the limit, 0")        \
    X(silu_mul, MINUS_INF_INFINITE, "gate -Inf gives an infinity") \
    X(silu_mul, NAN_TO_ZERO, "NaN becomes 0")                      \
    X(silu_mul, EXP_ROUGH, "exp by its exponent bits")             \
    X(silu_mul, EXP_SLOPPY, "exp off by 2e-6")                     \
    X(silu_mul, TO_BF16, "output rounded to bf16")                 \
    X(silu_mul, TO_F16, "output rounded to f16")                   \
    X(silu_mul, FLUSHED, "subnormal outputs flushed")              \
    X(silu_mul, TAIL_MISSING, "tail of 8 not computed")            \
    X(silu_mul, TAIL_OVERWRITTEN, "tail of 8 written whole")       \
    X(silu_mul, TAIL_OVERREAD, "tail of 8 read whole")             \
    X(silu_mul, IN_PLACE, "result put over gate")                  \
    X(silu_mul, THREADS_DIFFER, "last bit depends on threads")
#define SUM(X)                                                                   \
    X(weighted_sum, NONE, NULL)                                                  \
    X(weighted_sum, MINUS_ONE_COUNTS, "a slot with id -1 added")                 \
    X(weighted_sum, BEYOND_COUNTS, "a slot with id `experts` added")             \
    X(weighted_sum, INVALID_TIMES_0, "the row of an invalid slot times 0 added") \
    X(weighted_sum, STOPS_AT_INVALID, "slots after an invalid one dropped")      \
    X(weighted_sum, DUPLICATES_ONCE, "an expert's second slot dropped")          \
    X(weighted_sum, LAST_SLOT_DROPPED, "last slot dropped")                      \
    X(weighted_sum, EIGHT_SLOTS, "top_k clamped to 8")                           \
    X(weighted_sum, WEIGHTS_SHIFTED, "weights of the next slot")                 \
    X(weighted_sum, FIRST_TOKENS_WEIGHTS, "weights of token 0")                  \
    X(weighted_sum, RENORMALIZED, "weights divided by their sum")                \
    X(weighted_sum, UNWEIGHTED, "mean of the rows")                              \
    X(weighted_sum, ADDS_TO_OUT, "added to what out held")                       \
    X(weighted_sum, EMPTY_NOT_WRITTEN, "tokens without a slot not written")      \
    X(weighted_sum, BF16_SUMS, "sums kept in bf16")                              \
    X(weighted_sum, F16_ROWS, "rows rounded to f16")                             \
    X(weighted_sum, NAN_SKIPPED, "NaN and infinities left out")                  \
    X(weighted_sum, LAST_COLUMN_MISSING, "a column past 8n not written")
#define QUANTIZE(X)                                                    \
    X(quantize, NONE, NULL)                                            \
    X(quantize, TOP_128, "one step more, saturated")                   \
    X(quantize, NO_HEADROOM, "top digit wraps")                        \
    X(quantize, TRUNCATES, "digits truncated")                         \
    X(quantize, HALF_AWAY, "halves rounded away from 0")               \
    X(quantize, DIVIDES, "x / step instead of x * inv")                \
    X(quantize, D_FROM_INVERSE, "d is 1 / inv")                        \
    X(quantize, IN_DOUBLE, "rounded from double")                      \
    X(quantize, SIGNED_SCALE, "d has the sign of the largest")         \
    X(quantize, UNSIGNED_DIGITS, "lower digits 0 to 255")              \
    X(quantize, LOWEST_FIRST, "digits from the bottom")                \
    X(quantize, SUMS_OF_Q, "sums of all digits together")              \
    X(quantize, SUMS_OF_HALF, "sums of half a sub-block")              \
    X(quantize, D_OF_STEP, "every digit with the last one's scale")    \
    X(quantize, D_PER_ROW, "one scale for a row")                      \
    X(quantize, NAN_IGNORED, "NaN counts as 0")                        \
    X(quantize, NOT_FINITE_IS_ZERO, "a block with NaN counts as zero") \
    X(quantize, TINY_COUNTS, "blocks below 2^-100 not zero")           \
    X(quantize, LEAST_IS_ZERO, "a block of 2^-100 is zero")            \
    X(quantize, DIGIT_MAJOR, "layout [digits, rows, k]")               \
    X(quantize, LAST_BLOCK_MISSING, "last block not written")

#define RUN_OF(stem, bug, text) RUN(stem, bug)
SILU(RUN_OF)
SUM(RUN_OF)
QUANTIZE(RUN_OF)

#define SILU_KERNEL(stem, bug, text) KERNEL("silu_mul", stem, bug, text, ASSAY_F32, depth_silu_mul)
#define SUM_KERNEL(stem, bug, text) \
    KERNEL("moe_weighted_sum", stem, bug, text, ASSAY_F32, depth_weighted_sum)
#define QUANTIZE_KERNEL(stem, bug, text) \
    KERNEL("activation_quantize", stem, bug, text, ASSAY_BITS, NULL)

const struct wrong wrong_elementwise[] = {SILU(SILU_KERNEL) SUM(SUM_KERNEL)
                                              QUANTIZE(QUANTIZE_KERNEL)};
const size_t n_wrong_elementwise = sizeof(wrong_elementwise) / sizeof(*wrong_elementwise);
