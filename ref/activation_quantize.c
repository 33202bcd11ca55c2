/* SPDX-License-Identifier: MIT */
#include "ref/activation_quantize.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "ref/fill.h"
#include "ref/op_parts.h"

typedef struct activation_quantize_shape shape_t;

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    (void)prepared, (void)scratch, (void)threads;
    const shape_t *s = shape;
    const struct activation_quantize_args *a = args;
    const char *illegal = assay_illegal(&activation_quantize_op, shape, NULL);
    if (illegal)
        return illegal;
    int64_t blocks = s->k / ACTIVATION_BLOCK;
    for (int64_t i = 0; i < s->rows * blocks; i++) {
        int64_t row = i / blocks, b = i % blocks;
        struct activation_i8 block[ACTIVATION_MAX_DIGITS];
        activation_quantize_block(&a->x[i * ACTIVATION_BLOCK], (int)s->digits, block);
        for (int64_t j = 0; j < s->digits; j++) {
            int64_t to = (row * s->digits + j) * blocks + b;
            memcpy(&a->q[to * ACTIVATION_BLOCK], block[j].q, sizeof(block[j].q));
            memcpy(&a->sums[to * 8], block[j].sums, sizeof(block[j].sums));
            a->d[to] = block[j].d;
        }
    }
    return NULL;
}

const struct assay_kernel activation_quantize_ref = {
    .op = "activation_quantize",
    .name = "ref",
    .tier = "ref",
    .numerics = ASSAY_BITS,
    .run = run,
};

static const struct assay_dim dims[] = {
    {"digits", 1, ACTIVATION_MAX_DIGITS, 1, false},
    {"rows", 1, INT64_MAX, 1, false},
    {"k", ACTIVATION_BLOCK, INT64_MAX, ACTIVATION_BLOCK, false},
};

static int64_t count_x(const void *shape)
{
    const shape_t *s = shape;
    return assay_mul(s->rows, s->k);
}

static int64_t columns_q(const void *shape)
{
    return ((const shape_t *)shape)->k;
}

static int64_t columns_sums(const void *shape)
{
    return ((const shape_t *)shape)->k / 32;
}

static int64_t columns_d(const void *shape)
{
    return ((const shape_t *)shape)->k / ACTIVATION_BLOCK;
}

/* Of all digits of all rows. */
static int64_t times_tokens(const void *shape, int64_t columns)
{
    const shape_t *s = shape;
    return assay_mul(assay_mul(s->rows, s->digits), columns);
}

static int64_t count_q(const void *shape)
{
    return times_tokens(shape, columns_q(shape));
}

static int64_t count_sums(const void *shape)
{
    return times_tokens(shape, columns_sums(shape));
}

static int64_t count_d(const void *shape)
{
    return times_tokens(shape, columns_d(shape));
}

static const struct assay_tensor tensors[] = {
    {"x", ASSAY_DTYPE_F32, ASSAY_INPUT, 4, count_x, NULL},
    {"q", ASSAY_DTYPE_I8, ASSAY_OUT_BITS, 1, count_q, columns_q},
    {"sums", ASSAY_DTYPE_I16, ASSAY_OUT_BITS, 2, count_sums, columns_sums},
    {"d", ASSAY_DTYPE_F32, ASSAY_OUT_BITS, 4, count_d, columns_d},
};

/* Of a block, by its number from a random start; loud and quiet ones take turns, an only block is
 * loud, which makes it telling. */
enum edge_kind {
    GAUSSIAN,
    TIES,    /* half way between two Q, but for rounding */
    CARRIES, /* where the last digit passes from 127 to -128 */
    TOP,     /* +-amax throughout: the largest digits */
    SPREAD,  /* exponents from the subnormal ones up to amax */
    HUGE_VALUES,
    LEAST_THAT_COUNTS, /* amax is 2^-100 */
    ONE_HOT,
    LOUD_KINDS,
    BELOW_LEAST = LOUD_KINDS,
    SUBNORMAL,
    ZERO,
    MINUS_ZERO,
    HAS_NAN,
    ENDS_IN_NAN,
    HAS_INFINITY,
    ENDS_IN_MINUS_INFINITY,
    EDGE_KINDS
};

/* A Q around which the last digit changes its sign, and in half of the cases the one before too. */
static float carry(int64_t top, struct assay_random *random)
{
    int64_t upper = assay_below(random, top / 256 + 1);
    if (assay_below(random, 2))
        upper = upper / 256 * 256 + (top > ACTIVATION_I16_MAX ? 127 : 0);
    return (float)(256 * upper + 126) + (float)assay_below(random, 17) / 4;
}

static float edge_value(enum edge_kind kind, int64_t top, float amax, struct assay_random *random)
{
    float g = (float)random->gaussian(random), sign = g < 0 ? -1.0f : 1.0f;
    float step = amax / (float)top;
    int64_t n = assay_below(random, 127);
    switch (kind) {
    case TIES: return sign * ((float)n + 0.5f) * step;
    case CARRIES: return sign * fminf(carry(top, random) * step, amax);
    case TOP: return sign;
    case SPREAD: return sign * ldexpf(1 + (float)n / 128, -(int)assay_below(random, 149) - 1);
    case HUGE_VALUES: return sign * FLT_MAX / (float)(n + 1);
    case LEAST_THAT_COUNTS: return sign * ldexpf((float)n, -107);
    case SUBNORMAL: return g * 1e-40f;
    case BELOW_LEAST: return sign * 0x1.fffffep-101f;
    case ONE_HOT:
    case ZERO: return 0;
    case MINUS_ZERO: return -0.0f;
    default: return g;
    }
}

static void edge_block(enum edge_kind kind, int digits, float *x, struct assay_random *random)
{
    float amax = 1 + (float)assay_below(random, 1000) / 1000;
    for (int i = 0; i < ACTIVATION_BLOCK; i++)
        x[i] = edge_value(kind, (int64_t)activation_top(digits), amax, random);
    float *spot = &x[assay_below(random, ACTIVATION_BLOCK)], *end = &x[ACTIVATION_BLOCK - 1];
    switch (kind) {
    case TIES:
    case CARRIES:
    case SPREAD: *spot = amax; break;
    case ONE_HOT: *spot = -amax; break;
    case LEAST_THAT_COUNTS: *spot = -0x1p-100f; break;
    case HAS_NAN: *spot = NAN; break;
    case ENDS_IN_NAN: *end = assay_f32_from_bits(0xff800001); break; /* next to -Inf */
    case HAS_INFINITY: *spot = INFINITY; break;
    case ENDS_IN_MINUS_INFINITY: *end = -INFINITY; break;
    default: break;
    }
}

static bool fill(const void *shape, const struct assay_fill *how, void *const *t,
                 struct assay_random *random)
{
    const shape_t *s = shape;
    float *x = t[0];
    random->start(random, "x");
    if (how->kind != ASSAY_FILL_EDGE) {
        fill_activations(how->kind, s->rows, s->k, x, random);
        return true;
    }
    int64_t start = assay_below(random, EDGE_KINDS), blocks = count_x(s) / ACTIVATION_BLOCK;
    for (int64_t b = 0; b < blocks; b++) {
        int64_t turn = (start + b) % EDGE_KINDS;
        int64_t quiet = blocks > 1 && turn % 2 ? LOUD_KINDS : 0;
        edge_block((enum edge_kind)(quiet + turn / 2), (int)s->digits, &x[b * ACTIVATION_BLOCK],
                   random);
    }
    return true;
}

static int64_t inner(const void *shape)
{
    (void)shape;
    return 1;
}

static struct assay_cost cost(const void *shape, void *const *t)
{
    (void)t;
    double n = (double)count_x(shape), q = (double)count_q(shape);
    return (struct assay_cost){
        .flop = 2 * n, .read_bytes = 4 * n, .written_bytes = q + q / 16 + q / 64};
}

/* "a row alone": the last one. */

static bool reshape_alone(const void *shape, const struct assay_fill *how, void *other)
{
    (void)how;
    *(shape_t *)other = *(const shape_t *)shape;
    ((shape_t *)other)->rows = 1;
    return ((const shape_t *)shape)->rows > 1;
}

static void derive_alone(const void *shape, void *const *t, const void *other_shape,
                         void *const *other)
{
    (void)other_shape;
    const shape_t *s = shape;
    memcpy(other[0], (const float *)t[0] + (s->rows - 1) * s->k, (size_t)s->k * sizeof(float));
}

static int64_t broken_alone(const void *shape, void *const *t, const void *other_shape,
                            void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)numerics;
    *tensor = 1;
    int64_t n = count_q(other_shape), start = count_q(shape) - n;
    for (int64_t i = 0; i < n; i++) {
        if (((const int8_t *)t[1])[start + i] != ((const int8_t *)other[1])[i])
            return start + i;
    }
    *tensor = 3;
    start = count_d(shape) - count_d(other_shape);
    int64_t b = assay_first_unequal((const float *)t[3] + start, other[3], count_d(other_shape), 1);
    return b < 0 ? -1 : start + b;
}

/* "the digits rebuild the activations", to half a step and 3 roundings, and negated ones the
 * negative; the sums are those of the digits. None of it needs the reference. */

static bool reshape_same(const void *shape, const struct assay_fill *how, void *other)
{
    (void)how;
    *(shape_t *)other = *(const shape_t *)shape;
    return true;
}

static void derive_negated(const void *shape, void *const *t, const void *other_shape,
                           void *const *other)
{
    (void)other_shape;
    for (int64_t i = 0; i < count_x(shape); i++)
        ((float *)other[0])[i] = -((const float *)t[0])[i];
}

/* Element i of a block whose first digit's begin at `first` of q. */
static int32_t rebuilt(const shape_t *s, const int8_t *q, int64_t first, int64_t i)
{
    int32_t value = 0;
    for (int64_t j = 0; j < s->digits; j++)
        value = 256 * value + q[first + j * s->k + i];
    return value;
}

static bool rebuilds(const shape_t *s, const float *x, const int8_t *q, const int8_t *negated,
                     int64_t first, double step)
{
    double amax = 0, top = (double)activation_top((int)s->digits);
    bool finite = true;
    for (int i = 0; i < ACTIVATION_BLOCK; i++) {
        finite = finite && isfinite(x[i]);
        amax = fmax(amax, fabs((double)x[i]));
    }
    if (!finite)
        return isnan(step);
    double allowed = amax < 0x1p-100 ? amax : amax / (2 * top) + 3 * 0x1p-24 * amax;
    for (int i = 0; i < ACTIVATION_BLOCK; i++) {
        int32_t value = rebuilt(s, q, first, i);
        if (!(fabs(step * value - (double)x[i]) <= allowed) ||
            rebuilt(s, negated, first, i) != -value)
            return false;
    }
    return true;
}

static int64_t wrong_sum(const shape_t *s, const int8_t *q, const int16_t *sums)
{
    for (int64_t i = 0; i < count_sums(s); i++) {
        int32_t sum = 0;
        for (int l = 0; l < 32; l++)
            sum += q[32 * i + l];
        if (sum != sums[i])
            return i;
    }
    return -1;
}

static int64_t broken_rebuilt(const void *shape, void *const *t, const void *other_shape,
                              void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)other_shape, (void)numerics;
    const shape_t *s = shape;
    const float *x = t[0], *d = t[3];
    int64_t blocks = s->k / ACTIVATION_BLOCK;
    *tensor = 1;
    for (int64_t row = 0; row < s->rows; row++) {
        for (int64_t b = 0; b < blocks; b++) {
            int64_t at = row * s->k + b * ACTIVATION_BLOCK;
            int64_t first = row * s->digits * s->k + b * ACTIVATION_BLOCK;
            double step = (double)d[((row + 1) * s->digits - 1) * blocks + b];
            if (!rebuilds(s, &x[at], t[1], other[1], first, step))
                return first;
        }
    }
    *tensor = 2;
    return wrong_sum(s, t[1], t[2]);
}

static const struct assay_property properties[] = {
    {"a row alone gives the same bits as in the batch", reshape_alone, derive_alone, broken_alone},
    {"digits rebuild the activations, negated ones the negative, and add up to their sums",
     reshape_same, derive_negated, broken_rebuilt},
};

static size_t locate(const void *shape, void *const *t, size_t tensor, int64_t row, int64_t column,
                     struct assay_coordinate *at)
{
    (void)t;
    const shape_t *s = shape;
    int64_t element = tensor == 1 ? column : column * (tensor == 2 ? 32 : ACTIVATION_BLOCK);
    at[0] = (struct assay_coordinate){"row", row / s->digits};
    at[1] = (struct assay_coordinate){"digit", row % s->digits};
    at[2] = (struct assay_coordinate){"block", element / ACTIVATION_BLOCK};
    at[3] = (struct assay_coordinate){"sub-block", element % ACTIVATION_BLOCK / 32};
    at[4] = (struct assay_coordinate){"element of the block", element % ACTIVATION_BLOCK};
    return tensor == 1 ? 5 : tensor == 2 ? 4 : 3;
}

const struct assay_op activation_quantize_op = {
    .name = "activation_quantize",
    .n_dims = sizeof(dims) / sizeof(*dims),
    .dims = dims,
    .n_tensors = sizeof(tensors) / sizeof(*tensors),
    .tensors = tensors,
    .fill = fill,
    .inner = inner,
    .cost = cost,
    .n_properties = sizeof(properties) / sizeof(*properties),
    .properties = properties,
    .batch_dim = offsetof(shape_t, rows) / sizeof(int64_t),
    .any_mxcsr = true,
    .locate = locate,
    .reference = &activation_quantize_ref,
};
