/* SPDX-License-Identifier: MIT */
/* Wrong gemm of the classes of several digits, i16 and i24. A plain loop over tokens and rows; `bug`
 * says what it gets wrong. */
#include <math.h>
#include <string.h>

#include "ref/q4_K_dot.h"
#include "ref/q4_K_gemm.h"
#include "tests/wrong/wrong.h"

enum bug {
    NONE,
    FOREIGN, /* the same, which promises the maths alone */
    LOW_DIGIT_DROPPED,
    FOREIGN_LOW_DIGIT_DROPPED,
    TOP_SCALE,
    FULL_RANGE,
    LOW_SIGN_LOST,
    CARRY_LOST,
    TRUNCATED,
    COARSE,
    SUMS_OF_TOP,
    FROM_BOTTOM,
    DIGITS_INTERLEAVED,
    TOP_FROM_I8,
};

static float top_of(int digits, enum bug bug)
{
    if (bug == FULL_RANGE)
        return digits == 2 ? 0x1p15f - 1 : 0x1p23f - 1;
    return bug == COARSE ? rintf(activation_top(digits) / 1.5f) : activation_top(digits);
}

/* Takes the last digit off *q. */
static int8_t take_digit(int32_t *q, enum bug bug)
{
    int32_t digit = ((*q + 128) & 255) - 128;
    *q = (*q - (bug == CARRY_LOST && digit < 0 ? digit + 256 : digit)) / 256;
    return (int8_t)digit;
}

static void add_up(struct activation_i8 *block)
{
    memset(block->sums, 0, sizeof(block->sums));
    for (int i = 0; i < ACTIVATION_BLOCK; i++)
        block->sums[i / 32] = (int16_t)(block->sums[i / 32] + block->q[i]);
}

static void quantize(const float *x, int digits, enum bug bug, struct activation_i8 *blocks)
{
    struct activation_i8 *last = &blocks[digits - 1];
    activation_quantize_block(x, digits, blocks);
    if (!(last->d > 0))
        return;
    float amax = 0, top = top_of(digits, bug);
    for (int i = 0; i < ACTIVATION_BLOCK; i++)
        amax = fmaxf(amax, fabsf(x[i]));
    for (int i = 0; i < ACTIVATION_BLOCK; i++) {
        float scaled = x[i] * (top / amax);
        int32_t q = (int32_t)(bug == TRUNCATED ? truncf(scaled) : rintf(scaled));
        for (int j = digits - 1; j > 0; j--)
            blocks[j].q[i] = take_digit(&q, bug);
        blocks[0].q[i] = (int8_t)(uint8_t)q;
        if (bug == LOW_SIGN_LOST)
            last->q[i] = (int8_t)(last->q[i] < 0 ? ~last->q[i] : last->q[i]);
    }
    for (int j = 0; j < digits; j++) {
        add_up(&blocks[j]);
        blocks[j].d = amax / top * ldexpf(1, 8 * (digits - 1 - j));
    }
    if (bug == LOW_DIGIT_DROPPED || bug == FOREIGN_LOW_DIGIT_DROPPED)
        memset(last, 0, sizeof(*last));
    if (bug == TOP_SCALE)
        blocks[0].d = blocks[1].d;
    if (bug == TOP_FROM_I8)
        blocks[0].d = amax / 127;
    if (bug == SUMS_OF_TOP)
        memcpy(last->sums, blocks[0].sums, sizeof(last->sums));
}

static float dot(const struct block_q4_K *row, const float *x, int64_t k, int digits, enum bug bug)
{
    float acc[ACTIVATION_MAX_DIGITS] = {0};
    for (int64_t b = 0; b < k / Q4_K_BLOCK; b++) {
        struct activation_i8 blocks[ACTIVATION_MAX_DIGITS];
        quantize(&x[b * Q4_K_BLOCK], digits, bug, blocks);
        for (int j = 0; j < digits; j++) {
            float *to = &acc[bug == DIGITS_INTERLEAVED ? 0 : j];
            *to = q4_K_add_i8(&row[b], &blocks[j], *to);
        }
    }
    if (bug == FROM_BOTTOM)
        return acc[0] + (acc[1] + acc[2]);
    return acc[0] + acc[1] + acc[2];
}

static const char *run(const void *shape, const void *args, int digits, enum bug bug)
{
    const struct q4_K_gemm_shape *s = shape;
    const struct q4_K_gemm_args *a = args;
    const char *illegal = assay_illegal(&q4_K_gemm_op, shape, NULL);
    if (illegal)
        return illegal;
    const struct block_q4_K *w = (const struct block_q4_K *)(a->w + s->w_offset);
    for (int64_t i = 0; i < s->tokens * s->m; i++)
        a->dst[i] =
            dot(w + i % s->m * (s->k / Q4_K_BLOCK), &a->src[i / s->m * s->k], s->k, digits, bug);
    return NULL;
}

static int64_t depth_i16(const void *shape)
{
    return q4_K_twin_depth(((const struct q4_K_gemm_shape *)shape)->k, 2);
}

static int64_t depth_i24(const void *shape)
{
    return q4_K_twin_depth(((const struct q4_K_gemm_shape *)shape)->k, 3);
}

/* X(class, digits, bug, twin, which layers alone may see it, the bug in words) */
#define DIGITS(X)                                                                                \
    X(i16, 2, NONE, 1, 0, NULL)                                                                  \
    X(i24, 3, NONE, 1, 0, NULL)                                                                  \
    X(i16, 2, FOREIGN, 0, 0, NULL)                                                               \
    X(i24, 3, FOREIGN, 0, 0, NULL)                                                               \
    X(i16, 2, LOW_DIGIT_DROPPED, 1, 0, "last of two digits dropped")                             \
    X(i24, 3, LOW_DIGIT_DROPPED, 1, 0, "last of three digits dropped")                           \
    X(i16, 2, FOREIGN_LOW_DIGIT_DROPPED, 0, 0, "last of two digits dropped, no twin promised")   \
    X(i24, 3, FOREIGN_LOW_DIGIT_DROPPED, 0, 0, "last of three digits dropped, no twin promised") \
    X(i16, 2, TOP_SCALE, 0, 0, "scale of the first of two digits 256 times too small")           \
    X(i24, 3, TOP_SCALE, 0, 0, "scale of the first of three digits 256 times too small")         \
    X(i16, 2, FULL_RANGE, 0, 0, "steps of amax/32767: the first of two digits overflows")        \
    X(i24, 3, FULL_RANGE, 0, 0, "steps of amax/8388607: the first of three digits overflows")    \
    X(i16, 2, LOW_SIGN_LOST, 0, 0, "sign of the last of two digits lost")                        \
    X(i24, 3, LOW_SIGN_LOST, 0, 0, "sign of the last of three digits lost")                      \
    X(i16, 2, CARRY_LOST, 0, 0, "no carry from a negative last of two digits")                   \
    X(i24, 3, CARRY_LOST, 0, 0, "no carry from negative digits, of three")                       \
    X(i16, 2, TRUNCATED, 0, ONLY(STATISTICS) | ONLY(BOUND) | ONLY(OUTLIER),                      \
      "truncated to two digits")                                                                 \
    X(i16, 2, COARSE, 0, ONLY(STATISTICS) | ONLY(BOUND) | ONLY(OUTLIER),                         \
      "two digits, steps 1.5 times as large")                                                    \
    X(i16, 2, SUMS_OF_TOP, 0, 0, "mins of the second digit with the sums of the first")          \
    X(i24, 3, SUMS_OF_TOP, 0, 0, "mins of the third digit with the sums of the first")           \
    X(i24, 3, FROM_BOTTOM, 1, ONLY(TWIN), "digits added from the bottom")                        \
    X(i16, 2, DIGITS_INTERLEAVED, 1, ONLY(TWIN), "one sum for both digits")                      \
    X(i24, 3, DIGITS_INTERLEAVED, 1, ONLY(TWIN), "one sum for all three digits")                 \
    X(i16, 2, TOP_FROM_I8, 0, 0, "first of two digits with the scale of class i8")               \
    X(i24, 3, TOP_FROM_I8, 0, 0, "first of three digits with the scale of class i8")

#define NUMERICS_i16 ASSAY_I16
#define NUMERICS_i24 ASSAY_I24

#define RUN(class, digits, which, twin_, only_, text)                                          \
    static const char *run_##class##_##which(const void *shape, const void *args,              \
                                             const void *prepared, void *scratch, int threads) \
    {                                                                                          \
        (void)prepared, (void)scratch, (void)threads;                                          \
        return run(shape, args, digits, which);                                                \
    }
#define ENTRY(class, digits, which, twin_, only_, text) \
    {.bug = text,                                       \
     .only = only_,                                     \
     .kernel = {.op = "q4_K_gemm",                      \
                .name = "wrong-" #class "-" #which,     \
                .tier = "ref",                          \
                .numerics = NUMERICS_##class,           \
                .twin = twin_,                          \
                .depth = depth_##class,                 \
                .run = run_##class##_##which}},

DIGITS(RUN)

const struct wrong wrong_digits[] = {DIGITS(ENTRY)};
const size_t n_wrong_digits = sizeof(wrong_digits) / sizeof(*wrong_digits);
