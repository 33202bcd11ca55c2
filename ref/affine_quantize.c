/* SPDX-License-Identifier: MIT */
#include "ref/affine_quantize.h"

#include <math.h>
#include <string.h>

#include "ref/op_parts.h"

#define SMALLEST_STEP 1e-7f
#define LIMIT         0x1p100f

typedef struct affine_quantize_shape shape_t;

void affine_quantize_group(int64_t bits, const float *x, struct affine_group *group)
{
    float levels = (float)affine_levels(bits), lo = x[0], hi = x[0];
    for (int i = 1; i < AFFINE_GROUP; i++) {
        lo = x[i] < lo ? x[i] : lo;
        hi = x[i] > hi ? x[i] : hi;
    }
    bool from_lo = fabsf(lo) > fabsf(hi);
    float step = (hi - lo) / levels;
    step = step > SMALLEST_STEP ? step : SMALLEST_STEP;
    float scale = from_lo ? step : -step, edge = from_lo ? lo : hi, bias = 0;
    float q0 = rintf(edge / scale);
    if (q0 != 0) {
        scale = edge / q0;
        bias = edge;
    }
    for (int i = 0; i < AFFINE_GROUP; i++) {
        float code = rintf((x[i] - bias) / scale);
        group->code[i] = (uint8_t)(code <= 0 ? 0 : code >= levels ? levels : code);
    }
    group->scale = assay_f32_to_bf16(scale);
    group->bias = assay_f32_to_bf16(bias);
}

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    (void)prepared, (void)scratch, (void)threads;
    const shape_t *s = shape;
    const struct affine_quantize_args *a = args;
    const char *illegal = assay_illegal(&affine_quantize_op, shape, NULL);
    if (illegal)
        return illegal;
    for (int64_t i = 0; i < s->n; i++) {
        if (!(fabsf(a->x[i]) < LIMIT))
            return "a weight is NaN or not below 2^100 in magnitude";
    }
    for (int64_t g = 0; g < s->n / AFFINE_GROUP; g++) {
        struct affine_group group;
        affine_quantize_group(s->bits, &a->x[g * AFFINE_GROUP], &group);
        affine_set_group(s->bits, g, &group, a->w, a->scales, a->biases);
    }
    return NULL;
}

const struct assay_kernel affine_quantize_ref = {
    .op = "affine_quantize",
    .name = "ref",
    .tier = "ref",
    .numerics = ASSAY_BITS,
    .run = run,
};

static const struct assay_dim dims[] = {
    {"bits", 4, 8, 4, false},
    {"n", AFFINE_GROUP, INT64_MAX, AFFINE_GROUP, false},
};

static int64_t count_x(const void *shape)
{
    return ((const shape_t *)shape)->n;
}

static int64_t words(const void *shape)
{
    return affine_words(((const shape_t *)shape)->bits);
}

static int64_t one(const void *shape)
{
    (void)shape;
    return 1;
}

static int64_t count_groups(const void *shape)
{
    return count_x(shape) / AFFINE_GROUP;
}

static int64_t count_w(const void *shape)
{
    return assay_mul(count_groups(shape), words(shape));
}

static const struct assay_tensor tensors[] = {
    {"x", ASSAY_DTYPE_F32, ASSAY_INPUT, 4, count_x, NULL},
    {"w", ASSAY_DTYPE_U32, ASSAY_OUT_BITS, 4, count_w, words},
    {"scales", ASSAY_DTYPE_U16, ASSAY_OUT_BITS, 2, count_groups, one},
    {"biases", ASSAY_DTYPE_U16, ASSAY_OUT_BITS, 2, count_groups, one},
};

/* exact: points of a grid through zero that bf16 holds, with 0 and `levels` steps from its corner
 * among them. */
static void exact_weights(int64_t bits, float *x, struct assay_random *random)
{
    int64_t levels = affine_levels(bits), corner = assay_below(random, 256) - levels;
    int64_t lowest = assay_below(random, AFFINE_GROUP);
    float step = ldexpf(1, (int)assay_below(random, 8) - 12);
    for (int64_t i = 0; i < AFFINE_GROUP; i++) {
        int64_t code = assay_below(random, levels + 1);
        code = i == lowest ? 0 : i == (lowest + 1) % AFFINE_GROUP ? levels : code;
        x[i] = step * (float)(corner + code);
    }
}

/* edge: zeros, constants, one sign, an outlier, tiny and huge; 28 groups have them all. */
static void edge_weights(int64_t group, float *x, struct assay_random *random)
{
    static const float magnitudes[] = {0.02f, 0, 1e-40f, 4e-8f, 2e-7f, 1e6f, 1e28f};
    float magnitude = magnitudes[group % 7];
    int64_t kind = (group + 3) % 4, outlier = assay_below(random, AFFINE_GROUP);
    for (int64_t i = 0; i < AFFINE_GROUP; i++) {
        float g = (float)random->gaussian(random);
        float value = kind == 0 ? 1 : kind == 1 ? -fabsf(g) : kind == 2 ? 30 + fabsf(g) : g;
        x[i] = magnitude * (kind == 3 && i == outlier ? -5 * value : value);
    }
}

static bool fill(const void *shape, const struct assay_fill *how, void *const *t,
                 struct assay_random *random)
{
    const shape_t *s = shape;
    float *x = t[0];
    random->start(random, "x");
    for (int64_t g = 0; g < count_groups(shape); g++, x += AFFINE_GROUP) {
        if (how->kind == ASSAY_FILL_EXACT)
            exact_weights(s->bits, x, random);
        if (how->kind == ASSAY_FILL_EDGE)
            edge_weights(g, x, random);
        for (int64_t i = 0; how->kind == ASSAY_FILL_MODEL && i < AFFINE_GROUP; i++)
            x[i] = (float)(0.02 * random->heavy_tail(random));
    }
    return true;
}

static int64_t inner(const void *shape)
{
    (void)shape;
    return 32; /* operations for a word or scale, about: 6 for a weight */
}

static struct assay_cost cost(const void *shape, void *const *t)
{
    (void)t;
    double n = (double)count_x(shape), bits = (double)((const shape_t *)shape)->bits;
    return (struct assay_cost){
        .flop = 6 * n, .read_bytes = 4 * n, .written_bytes = n * bits / 8 + n / AFFINE_GROUP * 4};
}

/* "a group alone": the last one. */

static bool reshape_alone(const void *shape, const struct assay_fill *how, void *other)
{
    (void)how;
    *(shape_t *)other = (shape_t){((const shape_t *)shape)->bits, AFFINE_GROUP};
    return count_x(shape) > AFFINE_GROUP;
}

static void derive_alone(const void *shape, void *const *t, const void *other_shape,
                         void *const *other)
{
    (void)other_shape;
    memcpy(other[0], (const float *)t[0] + count_x(shape) - AFFINE_GROUP,
           AFFINE_GROUP * sizeof(float));
}

static int64_t broken_alone(const void *shape, void *const *t, const void *other_shape,
                            void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)other_shape, (void)numerics;
    int64_t last = count_groups(shape) - 1, first_word = last * words(shape);
    for (int64_t i = 0; i < words(shape); i++) {
        *tensor = 1;
        if (((const uint32_t *)t[1])[first_word + i] != ((const uint32_t *)other[1])[i])
            return first_word + i;
    }
    for (*tensor = 2; *tensor <= 3; ++*tensor) {
        if (((const uint16_t *)t[*tensor])[last] != *(const uint16_t *)other[*tensor])
            return last;
    }
    return -1;
}

/* "1024 times the weights" and "weights of the other sign", where no step is below 1e-7. */

static bool reshape_tame(const void *shape, const struct assay_fill *how, void *other)
{
    *(shape_t *)other = *(const shape_t *)shape;
    return how->kind != ASSAY_FILL_EDGE;
}

static void derive_times(const void *shape, void *const *t, void *const *other, float factor)
{
    for (int64_t i = 0; i < count_x(shape); i++)
        ((float *)other[0])[i] = factor * ((const float *)t[0])[i];
}

static void derive_scaled(const void *shape, void *const *t, const void *other_shape,
                          void *const *other)
{
    (void)other_shape;
    derive_times(shape, t, other, 1024);
}

static void derive_negated(const void *shape, void *const *t, const void *other_shape,
                           void *const *other)
{
    (void)other_shape;
    derive_times(shape, t, other, -1);
}

/* Whether one end alone is farther from zero: then it is the edge, whatever the sign. */
static bool has_one_edge(const float *x)
{
    float lo = x[0], hi = x[0];
    for (int i = 1; i < AFFINE_GROUP; i++) {
        lo = fminf(lo, x[i]);
        hi = fmaxf(hi, x[i]);
    }
    return lo != -hi;
}

/* The codes are the same, scales and biases `factor` times as large. */
static int64_t first_broken_times(const void *shape, void *const *t, void *const *other,
                                  float factor, size_t *tensor)
{
    for (int64_t i = 0; i < count_w(shape); i++) {
        const float *x = (const float *)t[0] + i / words(shape) * AFFINE_GROUP;
        *tensor = 1;
        if (((const uint32_t *)t[1])[i] != ((const uint32_t *)other[1])[i] && has_one_edge(x))
            return i;
    }
    for (*tensor = 2; *tensor <= 3; ++*tensor) {
        const uint16_t *first = t[*tensor], *second = other[*tensor];
        for (int64_t g = 0; g < count_groups(shape); g++) {
            if (assay_bf16_to_f32(second[g]) != factor * assay_bf16_to_f32(first[g]) &&
                has_one_edge((const float *)t[0] + g * AFFINE_GROUP))
                return g;
        }
    }
    return -1;
}

static int64_t broken_scaled(const void *shape, void *const *t, const void *other_shape,
                             void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)other_shape, (void)numerics;
    return first_broken_times(shape, t, other, 1024, tensor);
}

static int64_t broken_negated(const void *shape, void *const *t, const void *other_shape,
                              void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)other_shape, (void)numerics;
    return first_broken_times(shape, t, other, -1, tensor);
}

/* "what was quantized": the other call's weights are what the first's stand for. Only a grid comes
 * back as it was, and is then quantized as before; on fill exact the weights are on one. */

static bool reshape_grid(const void *shape, const struct assay_fill *how, void *other)
{
    *(shape_t *)other = *(const shape_t *)shape;
    return how->kind == ASSAY_FILL_EXACT;
}

static void derive_again(const void *shape, void *const *t, const void *other_shape,
                         void *const *other)
{
    (void)other_shape;
    const shape_t *s = shape;
    for (int64_t g = 0; g < count_groups(shape); g++) {
        struct affine_group group;
        affine_quantize_group(s->bits, (const float *)t[0] + g * AFFINE_GROUP, &group);
        float scale = assay_bf16_to_f32(group.scale), bias = assay_bf16_to_f32(group.bias);
        for (int64_t i = 0; i < AFFINE_GROUP; i++)
            ((float *)other[0])[g * AFFINE_GROUP + i] = scale * (float)group.code[i] + bias;
    }
}

static int64_t broken_again(const void *shape, void *const *t, const void *other_shape,
                            void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)other_shape, (void)numerics;
    *tensor = 1;
    for (int64_t i = 0; i < count_x(shape); i++) {
        if (((const float *)t[0])[i] != ((const float *)other[0])[i])
            return i / AFFINE_GROUP * words(shape);
    }
    return first_broken_times(shape, t, other, 1, tensor);
}

/* "within a step": before scale and bias were rounded by 2^-8 each, and some f32 roundings. */

static bool reshape_same(const void *shape, const struct assay_fill *how, void *other)
{
    (void)how;
    *(shape_t *)other = *(const shape_t *)shape;
    return true;
}

static int64_t broken_step(const void *shape, void *const *t, const void *other_shape,
                           void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)other, (void)other_shape, (void)numerics;
    const shape_t *s = shape;
    *tensor = 1;
    for (int64_t i = 0; i < s->n; i++) {
        double scale = (double)assay_bf16_to_f32(((const uint16_t *)t[2])[i / AFFINE_GROUP]);
        double bias = (double)assay_bf16_to_f32(((const uint16_t *)t[3])[i / AFFINE_GROUP]);
        double value = scale * affine_code(s->bits, t[1], i) + bias;
        double allowed = fabs(scale) * (1 + affine_levels(s->bits) * 0x1p-8) + fabs(bias) * 0x1p-8;
        if (!(fabs(value - (double)((const float *)t[0])[i]) <= allowed * (1 + 0x1p-7)))
            return i / AFFINE_GROUP * words(shape);
    }
    return -1;
}

static void derive_same(const void *shape, void *const *t, const void *other_shape,
                        void *const *other)
{
    (void)other_shape;
    derive_times(shape, t, other, 1);
}

static const struct assay_property properties[] = {
    {"a group alone gives the same as in the run", reshape_alone, derive_alone, broken_alone},
    {"1024 times the weights gives the same codes", reshape_tame, derive_scaled, broken_scaled},
    {"weights of the other sign give the same codes", reshape_tame, derive_negated, broken_negated},
    {"a grid comes back, and again", reshape_grid, derive_again, broken_again},
    {"a weight comes back within a step", reshape_same, derive_same, broken_step},
};

static size_t locate(const void *shape, void *const *t, size_t tensor, int64_t row, int64_t column,
                     struct assay_coordinate *at)
{
    (void)shape, (void)t;
    at[0] = (struct assay_coordinate){"group", row};
    at[1] = (struct assay_coordinate){"word of the group", column};
    return tensor == 1 ? 2 : 1;
}

const struct assay_op affine_quantize_op = {
    .name = "affine_quantize",
    .n_dims = sizeof(dims) / sizeof(*dims),
    .dims = dims,
    .n_tensors = sizeof(tensors) / sizeof(*tensors),
    .tensors = tensors,
    .fill = fill,
    .inner = inner,
    .cost = cost,
    .n_properties = sizeof(properties) / sizeof(*properties),
    .properties = properties,
    .locate = locate,
    .reference = &affine_quantize_ref,
};
