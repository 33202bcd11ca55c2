/* SPDX-License-Identifier: MIT */
/* Wrong affine_gemv and affine_quantize: one plain loop each; `bug` says what it gets wrong. */
#include <math.h>
#include <string.h>

#include "ref/affine_gemv.h"
#include "ref/affine_quantize.h"
#include "tests/wrong/wrong.h"

enum bug {
    NONE,
    CACHE_OVERRUN,
    EARLY_RETURN,
    WRONG_PIPELINE,
    EIGHT_AS_FOUR,
    SIGNED_CODES,
    NIBBLES_REVERSED,
    WORD_REVERSED,
    SCALE_OF_NEIGHBOUR,
    BIAS_OF_NEIGHBOUR,
    SCALE_OF_128,
    BIAS_DROPPED,
    BIAS_ONCE,
    BF16_AS_F16,
    BF16_WEIGHTS,
    BF16_FLUSHED,
    SIGN_LOST,
    BIAS_SUBTRACTED,
    LAST_GROUP_DROPPED,
    ODD_GROUP_DROPPED,
    TOP_BIT_LOST,
    LAST_ROW_MISSING,
    ROW_PAST_END,
    SCALE_PAST_END,
    SUMS_REMEMBERED,
    /* quantizer */
    TRUNCATED,
    UNSHIFTED,
    FROM_LO,
    NO_SMALLEST_STEP,
    STORED_TRUNCATED,
    SIXTEENTHS,
    LAST_GROUP_MISSING,
};

typedef struct affine_gemv_shape shape_t;
typedef struct affine_gemv_args args_t;

#define CACHE 4096 /* floats that the GPU original keeps */

/* The activation as the bug's cache has it; i of row o. */
static double activation(const shape_t *s, const args_t *a, int64_t o, int64_t i, enum bug bug)
{
    int64_t tail = s->out_dim % 8;
    bool wrong_pipeline = bug == WRONG_PIPELINE && s->bits == 4;
    if (((bug == CACHE_OVERRUN && s->bits == 8) || wrong_pipeline) && i >= CACHE)
        return 0;
    /* Of the last task's 8 lanes those without a row left before they had loaded their part. */
    if (bug == EARLY_RETURN && o >= s->out_dim - tail && i % 8 >= tail)
        return 0;
    return (double)a->x[i];
}

static int code(const shape_t *s, const args_t *a, int64_t at, enum bug bug)
{
    int64_t per_word = 32 / s->bits;
    if (bug == EIGHT_AS_FOUR)
        return affine_code(4, a->w, at);
    if (bug == NIBBLES_REVERSED && s->bits == 4)
        at ^= 1;
    if (bug == WORD_REVERSED)
        at += per_word - 1 - 2 * (at % per_word);
    int q = affine_code(s->bits, a->w, at);
    if (bug == SIGNED_CODES && s->bits == 8)
        q = (int8_t)q;
    if (bug == TOP_BIT_LOST && at % AFFINE_GROUP == 63)
        q &= affine_levels(s->bits) >> 1;
    return q;
}

static double bf16(uint16_t half, enum bug bug)
{
    if (bug == BF16_AS_F16)
        return (double)assay_f16_to_f32(half);
    double value = (double)assay_bf16_to_f32(half);
    return bug == BF16_FLUSHED && fabs(value) < 0x1p-126 ? 0 : value;
}

/* The group whose scale or bias the bug takes for group g. */
static int64_t group_of(const shape_t *s, int64_t g, bool neighbour, enum bug bug)
{
    int64_t groups = s->out_dim * (s->in_dim / AFFINE_GROUP);
    if (bug == SCALE_OF_128)
        return g / 2 * 2;
    return neighbour ? (g + 1) % groups : g;
}

static double weight(const shape_t *s, const args_t *a, int64_t at, enum bug bug)
{
    int64_t g = at / AFFINE_GROUP;
    double scale = bf16(a->scales[group_of(s, g, bug == SCALE_OF_NEIGHBOUR, bug)], bug);
    double bias = bf16(a->biases[group_of(s, g, bug == BIAS_OF_NEIGHBOUR, bug)], bug);
    if (bug == SIGN_LOST)
        scale = fabs(scale);
    if (bug == BIAS_DROPPED || (bug == BIAS_ONCE && at % AFFINE_GROUP != 0))
        bias = 0;
    if (bug == BIAS_SUBTRACTED)
        bias = -bias;
    double w = scale * code(s, a, at, bug) + bias;
    return bug == BF16_WEIGHTS ? (double)assay_bf16_to_f32(assay_f32_to_bf16((float)w)) : w;
}

static float row(const shape_t *s, const args_t *a, int64_t o, enum bug bug)
{
    int64_t in = s->in_dim;
    double sum = 0;
    if (bug == LAST_GROUP_DROPPED)
        in -= AFFINE_GROUP;
    if (bug == ODD_GROUP_DROPPED)
        in -= in % (2 * AFFINE_GROUP);
    for (int64_t i = 0; i < in; i++)
        sum += weight(s, a, o * s->in_dim + i, bug) * activation(s, a, o, i, bug);
    return (float)sum;
}

static const char *run_gemv(const void *shape, const void *args, void *scratch, enum bug bug)
{
    static const char mark[] = "group sums";
    const shape_t *s = shape;
    const args_t *a = args;
    const char *illegal = assay_illegal(&affine_gemv_op, shape, NULL);
    if (illegal)
        return illegal;
    if (bug == SUMS_REMEMBERED && memcmp(scratch, mark, sizeof(mark)) == 0)
        return NULL;
    memcpy(scratch, mark, sizeof(mark));
    for (int64_t o = 0; o < s->out_dim - (bug == LAST_ROW_MISSING); o++)
        a->y[o] = row(s, a, o, bug);
    if (bug == ROW_PAST_END)
        a->y[s->out_dim] = 0;
    volatile uint16_t sink = 0;
    if (bug == SCALE_PAST_END)
        sink = a->scales[s->out_dim * (s->in_dim / AFFINE_GROUP)];
    (void)sink;
    return NULL;
}

/* The quantizer's formula once more, as its header says it, with the bug in its place. */
static void quantize_group(int64_t bits, const float *x, struct affine_group *group, enum bug bug)
{
    float levels = (float)affine_levels(bits) + (bug == SIXTEENTHS), lo = x[0], hi = x[0];
    for (int i = 0; i < AFFINE_GROUP; i++) {
        lo = fminf(lo, x[i]);
        hi = fmaxf(hi, x[i]);
    }
    bool from_lo = fabsf(lo) > fabsf(hi) || bug == FROM_LO;
    float step = (hi - lo) / levels, edge = from_lo ? lo : hi, bias = 0;
    if (!(step > 1e-7f) && bug != NO_SMALLEST_STEP)
        step = 1e-7f;
    float scale = from_lo ? step : -step, q0 = rintf(edge / scale);
    if (q0 != 0) {
        scale = bug == UNSHIFTED ? scale : edge / q0;
        bias = edge;
    }
    for (int i = 0; i < AFFINE_GROUP; i++) {
        float q = (x[i] - bias) / scale;
        q = bug == TRUNCATED ? truncf(q) : rintf(q);
        group->code[i] = (uint8_t)fmaxf(0, fminf(q, (float)affine_levels(bits)));
    }
    group->scale = assay_f32_to_bf16(scale);
    group->bias = assay_f32_to_bf16(bias);
    if (bug == STORED_TRUNCATED)
        group->scale = (uint16_t)(assay_f32_bits(scale) >> 16);
}

static const char *run_quantize(const void *shape, const void *args, void *scratch, enum bug bug)
{
    (void)scratch;
    const struct affine_quantize_shape *s = shape;
    const struct affine_quantize_args *a = args;
    const char *illegal = assay_illegal(&affine_quantize_op, shape, NULL);
    int64_t groups = s->n / AFFINE_GROUP - (bug == LAST_GROUP_MISSING);
    for (int64_t g = 0; !illegal && g < groups; g++) {
        struct affine_group group;
        quantize_group(s->bits, &a->x[g * AFFINE_GROUP], &group, bug);
        affine_set_group(s->bits, g, &group, a->w, a->scales, a->biases);
    }
    return illegal;
}

static int64_t depth(const void *shape)
{
    (void)shape;
    return 2;
}

static int64_t some_scratch(const void *shape, int threads)
{
    (void)shape, (void)threads;
    return 64;
}

/* X(bug, text) of each bug; a control has no text. */
#define GEMV(X)                                                             \
    X(NONE, NULL)                                                           \
    X(CACHE_OVERRUN, "8 bits: in_dim above 4096 overruns a cache of x")     \
    X(EARLY_RETURN, "lanes without a row return before they have cached x") \
    X(WRONG_PIPELINE, "v3_4bit and its cache taken above in_dim 4096")      \
    X(EIGHT_AS_FOUR, "8-bit codes decoded as 4-bit")                        \
    X(SIGNED_CODES, "8-bit codes taken as signed")                          \
    X(NIBBLES_REVERSED, "high nibble of a byte first")                      \
    X(WORD_REVERSED, "codes of a word from the high bits down")             \
    X(SCALE_OF_NEIGHBOUR, "scale of the next group")                        \
    X(BIAS_OF_NEIGHBOUR, "bias of the next group")                          \
    X(SCALE_OF_128, "scale and bias per 128")                               \
    X(BIAS_DROPPED, "bias dropped")                                         \
    X(BIAS_ONCE, "bias added once per group, not for each activation")      \
    X(BF16_AS_F16, "bf16 scale and bias read as f16")                       \
    X(BF16_WEIGHTS, "dequantized weights rounded to bf16")                  \
    X(BF16_FLUSHED, "subnormal scales and biases flushed")                  \
    X(SIGN_LOST, "sign of the scale lost")                                  \
    X(BIAS_SUBTRACTED, "bias subtracted instead of added")                  \
    X(LAST_GROUP_DROPPED, "last group of a row dropped")                    \
    X(ODD_GROUP_DROPPED, "last group dropped where their number is odd")    \
    X(TOP_BIT_LOST, "top bit of a group's last code lost")                  \
    X(LAST_ROW_MISSING, "last row not written")                             \
    X(ROW_PAST_END, "one element written past y")                           \
    X(SCALE_PAST_END, "one scale read past the last")                       \
    X(SUMS_REMEMBERED, "not computed where scratch is from an earlier call")

#define QUANTIZE(X)                                           \
    X(NONE, NULL)                                             \
    X(TRUNCATED, "codes truncated, not rounded")              \
    X(UNSHIFTED, "step not adjusted to give zero a code")     \
    X(FROM_LO, "smallest element always the edge")            \
    X(NO_SMALLEST_STEP, "steps below 1e-7, or 0")             \
    X(STORED_TRUNCATED, "scale cut off to bf16, not rounded") \
    X(SIXTEENTHS, "step of range / 2^bits")                   \
    X(LAST_GROUP_MISSING, "last group not written")

#define RUN(what, bug)                                                                      \
    static const char *run_##what##_##bug(const void *shape, const void *args,              \
                                          const void *prepared, void *scratch, int threads) \
    {                                                                                       \
        (void)prepared, (void)threads;                                                      \
        return run_##what(shape, args, scratch, bug);                                       \
    }
#define KERNEL(what, which, text, class_)  \
    {                                      \
        .bug = text, .kernel = {           \
            .op = "affine_" #what,         \
            .name = "wrong-" #which,       \
            .tier = "ref",                 \
            .numerics = class_,            \
            .depth = depth,                \
            .scratch_bytes = some_scratch, \
            .run = run_##what##_##which    \
        }                                  \
    }
#define RUN_GEMV(bug, text)       RUN(gemv, bug)
#define RUN_QUANTIZE(bug, text)   RUN(quantize, bug)
#define ENTRY_GEMV(bug, text)     KERNEL(gemv, bug, text, ASSAY_F32),
#define ENTRY_QUANTIZE(bug, text) KERNEL(quantize, bug, text, ASSAY_BITS),

GEMV(RUN_GEMV)
QUANTIZE(RUN_QUANTIZE)

const struct wrong wrong_affine[] = {GEMV(ENTRY_GEMV) QUANTIZE(ENTRY_QUANTIZE)};
const size_t n_wrong_affine = sizeof(wrong_affine) / sizeof(*wrong_affine);
