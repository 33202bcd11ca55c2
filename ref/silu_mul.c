/* SPDX-License-Identifier: MIT */
#include "ref/silu_mul.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "ref/op_parts.h"

typedef struct silu_mul_shape shape_t;

static double silu(double gate)
{
    return gate / (1 + exp(-gate));
}

void silu_mul_elements(const float *gate, const float *up, int64_t n, float *out)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)(silu((double)gate[i]) * (double)up[i]);
}

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    (void)prepared, (void)scratch, (void)threads;
    const shape_t *s = shape;
    const struct silu_mul_args *a = args;
    const char *illegal = assay_illegal(&silu_mul_op, shape, NULL);
    if (illegal)
        return illegal;
    silu_mul_elements(a->gate, a->up, s->rows * s->n, a->out);
    return NULL;
}

static int64_t depth(const void *shape)
{
    (void)shape;
    return 1;
}

const struct assay_kernel silu_mul_ref = {
    .op = "silu_mul",
    .name = "ref",
    .tier = "ref",
    .numerics = ASSAY_F32,
    .depth = depth,
    .run = run,
};

static const struct assay_dim dims[] = {
    {"n", 1, INT64_MAX, 1, false},
    {"rows", 1, INT64_MAX, 1, false},
};

static int64_t count(const void *shape)
{
    const shape_t *s = shape;
    return assay_mul(s->rows, s->n);
}

static int64_t columns(const void *shape)
{
    return ((const shape_t *)shape)->n;
}

static const struct assay_tensor tensors[] = {
    {"gate", ASSAY_DTYPE_F32, ASSAY_INPUT, 4, count, NULL},
    {"up", ASSAY_DTYPE_F32, ASSAY_INPUT, 4, count, NULL},
    {"out", ASSAY_DTYPE_F32, ASSAY_OUT_REAL, 4, count, columns},
};

/* From 40 on, 1 + exp(-gate) is 1 in double too, and below -750 exp(-gate) is infinite: silu is
 * gate or -0, and times a small integer it is exact. */
static float exact_gate(struct assay_random *random)
{
    static const float others[] = {0, -0.0f, -751, -1e30f, 0x1p40f, 0x1.8p100f};
    int64_t kind = assay_below(random, 16);
    return kind < 6 ? others[kind] : (float)(40 + assay_below(random, 1 << 12));
}

static float edge_gate(int64_t kind, struct assay_random *random)
{
    static const float values[] = {
        0,       -0.0f,  0x1p-149f, -0x1.8p-127f, 0x1p-126f, -0x1p-126f, -1e-30f, 1e-8f,   16.6f,
        -16.6f,  -87.3f, -87.4f,    -88,          -88.1f,    -88.7f,     -88.73f, -103.9f, -104,
        -104.1f, -746,   -1e10f,    -FLT_MAX,     87.3f,     88,         88.73f,  89,      104,
        746,     1e30f,  FLT_MAX,   INFINITY,     -INFINITY, NAN,        -NAN,
    };
    const int64_t n = sizeof(values) / sizeof(*values);
    if (kind % (n + 6) < n)
        return values[kind % (n + 6)];
    return (float)(assay_below(random, 180001) - 90000) / 1000;
}

static float edge_up(struct assay_random *random)
{
    static const float values[] = {0,      -0.0f,   0x1p-149f, -0x1.8p-128f, 1e-30f,    1e30f,
                                   -1e30f, FLT_MAX, -FLT_MAX,  INFINITY,     -INFINITY, NAN};
    const int64_t n = sizeof(values) / sizeof(*values);
    int64_t kind = assay_below(random, 3 * n);
    return kind < n ? values[kind] : (float)random->gaussian(random);
}

/* Edges lie among ordinary elements, the first of which makes every case telling. */
static void fill_edge(int64_t n, float *gate, float *up, struct assay_random *random)
{
    int64_t kind = assay_below(random, 64);
    for (int64_t i = 0; i < n; i++) {
        bool plain = i == 0 || assay_below(random, 2);
        gate[i] = plain ? (float)(3 * random->gaussian(random)) : edge_gate(kind++, random);
        up[i] = plain ? (float)random->gaussian(random) : edge_up(random);
    }
}

static bool fill(const void *shape, const struct assay_fill *how, void *const *t,
                 struct assay_random *random)
{
    float *gate = t[0], *up = t[1];
    random->start(random, "gate and up");
    if (how->kind == ASSAY_FILL_EDGE) {
        fill_edge(count(shape), gate, up, random);
        return true;
    }
    for (int64_t i = 0; i < count(shape); i++) {
        bool exact = how->kind == ASSAY_FILL_EXACT;
        gate[i] = exact ? exact_gate(random) : (float)(2 * random->heavy_tail(random));
        up[i] = (float)(exact ? 1 + assay_below(random, 1 << 11) : random->gaussian(random));
    }
    if (how->kind == ASSAY_FILL_EXACT)
        gate[0] = 41; /* an only element is not 0 */
    return true;
}

static int64_t inner(const void *shape)
{
    (void)shape;
    return 1;
}

/* ref/NUMERICS.md derives it. */
static struct assay_expected expect(float gate_f32, float up_f32)
{
    double gate = (double)gate_f32, up = (double)up_f32, value = silu(gate) * up;
    double size = fabs(value), share = 1 / (1 + exp(gate));
    double scale = 1 + (1 + fabs(gate)) * fabs(up);
    struct assay_expected out = {.value = value, .magnitude = size};
    out.slack = 0x1p-149 * scale + (gate_f32 <= SILU_MUL_LEAST ? size : 0);
    if (share > 0)
        out.slack += 2 * 0x1p-24 * fabs(gate) * share * size;
    out.flush = 0x1p-126 * scale;
    if (fabs(gate) < 0x1p-126 || fabs(up) < 0x1p-126)
        out.flush += size;
    return out;
}

static bool oracle(const void *shape, void *const *t, size_t tensor, enum assay_numerics numerics,
                   const int64_t *column, int64_t n_columns, struct assay_expected *expected)
{
    (void)tensor, (void)numerics;
    const shape_t *s = shape;
    const float *gate = t[0], *up = t[1];
    for (int64_t row = 0; row < s->rows; row++) {
        for (int64_t c = 0; c < n_columns; c++) {
            int64_t i = row * s->n + column[c];
            expected[row * n_columns + c] = expect(gate[i], up[i]);
        }
    }
    return true;
}

static struct assay_cost cost(const void *shape, void *const *t)
{
    (void)t;
    double n = (double)count(shape);
    return (struct assay_cost){.flop = 4 * n, .read_bytes = 8 * n, .written_bytes = 4 * n};
}

/* "negating up negates the output": all bits, infinities and zeros too. */

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
    float *up = other[1];
    assay_copy_inputs(&silu_mul_op, shape, t, other);
    for (int64_t i = 0; i < count(shape); i++)
        up[i] = -up[i];
}

static int64_t broken_negated(const void *shape, void *const *t, const void *other_shape,
                              void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)other_shape, (void)numerics;
    *tensor = 2;
    return assay_first_unequal(t[2], other[2], count(shape), -1);
}

/* "not finite as the contract has it", which the bound, for which any NaN or infinity will do, does
 * not see. The other call, with rows and columns exchanged, must give the same bits. */

static bool reshape_turned(const void *shape, const struct assay_fill *how, void *other)
{
    (void)how;
    const shape_t *s = shape;
    *(shape_t *)other = (shape_t){.n = s->rows, .rows = s->n};
    return true;
}

static void derive_copied(const void *shape, void *const *t, const void *other_shape,
                          void *const *other)
{
    (void)other_shape;
    assay_copy_inputs(&silu_mul_op, shape, t, other);
}

static bool not_finite_as_contracted(float gate, float up, float out)
{
    double silu_of_gate = silu((double)gate), wanted = silu_of_gate * (double)up;
    if (isfinite(wanted) || (isfinite(gate) && isfinite(up)))
        return true; /* or an overflow, which the bound excuses */
    bool vanishes = gate <= SILU_MUL_LEAST || fabsf(gate) < FLT_MIN;
    if (isfinite(gate) && vanishes && isnan(out))
        return true;
    return isnan(wanted) ? isnan(out) : (double)out == wanted;
}

static int64_t broken_turned(const void *shape, void *const *t, const void *other_shape,
                             void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)other_shape, (void)numerics;
    const float *gate = t[0], *up = t[1], *out = t[2];
    *tensor = 2;
    for (int64_t i = 0; i < count(shape); i++) {
        if (!not_finite_as_contracted(gate[i], up[i], out[i]))
            return i;
    }
    return assay_first_unequal(out, other[2], count(shape), 1);
}

static const struct assay_property properties[] = {
    {"negating up negates the output", reshape_same, derive_negated, broken_negated},
    {"NaN and infinities are the formula's, whatever the rows", reshape_turned, derive_copied,
     broken_turned},
};

static size_t locate(const void *shape, void *const *t, size_t tensor, int64_t row, int64_t column,
                     struct assay_coordinate *at)
{
    (void)t, (void)tensor;
    at[0] = (struct assay_coordinate){"row", row};
    at[1] = (struct assay_coordinate){"column", column};
    at[2] = (struct assay_coordinate){"element mod 16", (row * columns(shape) + column) % 16};
    return 3;
}

const struct assay_op silu_mul_op = {
    .name = "silu_mul",
    .n_dims = sizeof(dims) / sizeof(*dims),
    .dims = dims,
    .n_tensors = sizeof(tensors) / sizeof(*tensors),
    .tensors = tensors,
    .fill = fill,
    .inner = inner,
    .oracle = oracle,
    .cost = cost,
    .n_properties = sizeof(properties) / sizeof(*properties),
    .properties = properties,
    .batch_dim = offsetof(shape_t, rows) / sizeof(int64_t),
    .locate = locate,
    .reference = &silu_mul_ref,
};
