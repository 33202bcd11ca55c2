/* SPDX-License-Identifier: MIT */
#include "ref/q4_K_quantize.h"

#include <math.h>
#include <string.h>

#include "ref/op_parts.h"

#define LEVELS 15 /* largest nibble */
#define STEPS  20

struct fit {
    float scale, min; /* x ~ scale*L + min, min <= 0 */
    uint8_t level[Q4_K_SUB_BLOCK];
};

static uint8_t nearest_level(float value)
{
    float level = rintf(value);
    return level <= 0 ? 0 : level >= LEVELS ? LEVELS : (uint8_t)level;
}

static float weighted_error(const float *x, const float *w, const struct fit *fit)
{
    float error = 0;
    for (int i = 0; i < Q4_K_SUB_BLOCK; i++) {
        float difference = fit->scale * (float)fit->level[i] + fit->min - x[i];
        error += w[i] * (difference * difference);
    }
    return error;
}

/* The best scale and min for the levels of `fit`; false if there are none. */
static bool solve(const float *x, const float *w, float sum_w, float sum_wx, struct fit *fit)
{
    float sum_l = 0, sum_ll = 0, sum_lx = 0;
    for (int i = 0; i < Q4_K_SUB_BLOCK; i++) {
        float l = (float)fit->level[i];
        sum_l += w[i] * l;
        sum_ll += w[i] * l * l;
        sum_lx += w[i] * l * x[i];
    }
    float determinant = sum_w * sum_ll - sum_l * sum_l;
    if (!(determinant > 0))
        return false;
    fit->scale = (sum_w * sum_lx - sum_wx * sum_l) / determinant;
    fit->min = (sum_ll * sum_wx - sum_l * sum_lx) / determinant;
    if (fit->min > 0) {
        fit->min = 0;
        fit->scale = sum_lx / sum_ll;
    }
    return true;
}

static struct fit fit_sub_block(const float *x)
{
    float w[Q4_K_SUB_BLOCK];
    float sum_sq = 0;
    for (int i = 0; i < Q4_K_SUB_BLOCK; i++)
        sum_sq += x[i] * x[i];
    float sigma = sqrtf(sum_sq / Q4_K_SUB_BLOCK);
    float sum_w = 0, sum_wx = 0, min = x[0], max = x[0];
    for (int i = 0; i < Q4_K_SUB_BLOCK; i++) {
        w[i] = sigma + fabsf(x[i]);
        sum_w += w[i];
        sum_wx += w[i] * x[i];
        min = x[i] < min ? x[i] : min;
        max = x[i] > max ? x[i] : max;
    }
    struct fit best = {.min = min > 0 ? 0 : min};
    if (max == best.min)
        return best;

    float inverse = LEVELS / (max - best.min);
    best.scale = 1 / inverse;
    for (int i = 0; i < Q4_K_SUB_BLOCK; i++)
        best.level[i] = nearest_level(inverse * (x[i] - best.min));
    float best_error = weighted_error(x, w, &best);

    for (int step = 0; step <= STEPS; step++) {
        struct fit trial;
        inverse = (-1.0f + 0.1f * (float)step + LEVELS) / (max - best.min);
        for (int i = 0; i < Q4_K_SUB_BLOCK; i++)
            trial.level[i] = nearest_level(inverse * (x[i] - best.min));
        if (!solve(x, w, sum_w, sum_wx, &trial))
            continue;
        float error = weighted_error(x, w, &trial);
        if (error < best_error) {
            best_error = error;
            best = trial;
        }
    }
    return best;
}

static int six_bits(float value)
{
    float rounded = rintf(value);
    return rounded >= 63 ? 63 : (int)rounded;
}

void q4_K_quantize_block(const float *x, struct block_q4_K *block)
{
    struct fit fits[Q4_K_SUB_BLOCKS];
    float max_scale = 0, max_min = 0;
    for (int j = 0; j < Q4_K_SUB_BLOCKS; j++) {
        fits[j] = fit_sub_block(&x[j * Q4_K_SUB_BLOCK]);
        max_scale = fits[j].scale > max_scale ? fits[j].scale : max_scale;
        max_min = -fits[j].min > max_min ? -fits[j].min : max_min;
    }
    memset(block, 0, sizeof(*block));
    float inverse_scale = max_scale > 0 ? 63.0f / max_scale : 0;
    float inverse_min = max_min > 0 ? 63.0f / max_min : 0;
    for (int j = 0; j < Q4_K_SUB_BLOCKS; j++)
        q4_K_set_scale_min(block, j, six_bits(inverse_scale * fits[j].scale),
                           six_bits(inverse_min * -fits[j].min));
    q4_K_set_f16(block->d, assay_f32_to_f16(max_scale / 63.0f));
    q4_K_set_f16(block->dmin, assay_f32_to_f16(max_min / 63.0f));

    for (int j = 0; j < Q4_K_SUB_BLOCKS; j++) {
        float scale = q4_K_f16(block->d) * (float)q4_K_scale(block, j);
        float min = q4_K_f16(block->dmin) * (float)q4_K_min(block, j);
        for (int i = 0; i < Q4_K_SUB_BLOCK; i++) {
            uint8_t level = fits[j].level[i];
            if (scale != 0)
                level = nearest_level((x[j * Q4_K_SUB_BLOCK + i] + min) / scale);
            block->qs[32 * (j / 2) + i] |= (uint8_t)(j % 2 == 0 ? level : level << 4);
        }
    }
}

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    (void)prepared, (void)scratch, (void)threads;
    const struct q4_K_quantize_shape *s = shape;
    const struct q4_K_quantize_args *a = args;
    const char *illegal = assay_illegal(&q4_K_quantize_op, shape, NULL);
    if (illegal)
        return illegal;
    for (int64_t i = 0; i < s->n; i++) {
        if (!isfinite(a->x[i]))
            return "a weight is not finite";
    }
    struct block_q4_K *blocks = (struct block_q4_K *)a->blocks;
    for (int64_t b = 0; b < s->n / Q4_K_BLOCK; b++)
        q4_K_quantize_block(&a->x[b * Q4_K_BLOCK], &blocks[b]);
    return NULL;
}

const struct assay_kernel q4_K_quantize_ref = {
    .op = "q4_K_quantize",
    .name = "ref",
    .tier = "ref",
    .numerics = ASSAY_BITS,
    .run = run,
};

static const struct assay_dim dims[] = {
    {"n", Q4_K_BLOCK, INT64_MAX, Q4_K_BLOCK, false},
};

static int64_t count_x(const void *shape)
{
    return ((const struct q4_K_quantize_shape *)shape)->n;
}

static int64_t count_blocks(const void *shape)
{
    return assay_mul(count_x(shape) / Q4_K_BLOCK, Q4_K_BLOCK_BYTES);
}

static int64_t block_bytes(const void *shape)
{
    (void)shape;
    return Q4_K_BLOCK_BYTES;
}

static const struct assay_tensor tensors[] = {
    {"x", ASSAY_DTYPE_F32, ASSAY_INPUT, 4, count_x, NULL},
    {"blocks", ASSAY_DTYPE_U8, ASSAY_OUT_BITS, 2, count_blocks, block_bytes},
};

/* edge: zeros, constants, one sign, an outlier, tiny and huge values; 28 blocks have them all. */
static void edge_weights(int64_t block, float *x, struct assay_random *random)
{
    static const float magnitudes[] = {0.02f, 0, 1e-38f, 1e-30f, 1, 1e6f, 1e7f};
    float magnitude = magnitudes[block % 7];
    int64_t shape = (block + 3) % 4;
    int64_t outlier = assay_below(random, Q4_K_BLOCK);
    for (int64_t i = 0; i < Q4_K_BLOCK; i++) {
        float g = (float)random->gaussian(random);
        float value = shape == 0 ? 1 : shape == 1 ? -fabsf(g) : shape == 2 ? fabsf(g) : g;
        x[i] = magnitude * (shape == 3 && i == outlier ? 1000 * value : value);
    }
}

static bool fill(const void *shape, const struct assay_fill *how, void *const *t,
                 struct assay_random *random)
{
    float *x = t[0];
    random->start(random, "x");
    for (int64_t b = 0; b < count_x(shape) / Q4_K_BLOCK; b++, x += Q4_K_BLOCK) {
        if (how->kind == ASSAY_FILL_EDGE) {
            edge_weights(b, x, random);
            continue;
        }
        for (int64_t i = 0; i < Q4_K_BLOCK; i++) {
            bool exact = how->kind == ASSAY_FILL_EXACT;
            x[i] =
                exact ? (float)assay_below(random, 16) : (float)(0.02 * random->heavy_tail(random));
        }
    }
    return true;
}

static int64_t inner(const void *shape)
{
    (void)shape;
    return STEPS * 10;
}

static struct assay_cost cost(const void *shape, void *const *t)
{
    (void)t;
    double n = (double)count_x(shape);
    return (struct assay_cost){.flop = (STEPS + 1) * 10 * n,
                               .read_bytes = 4 * n,
                               .written_bytes = n / Q4_K_BLOCK * Q4_K_BLOCK_BYTES};
}

/* "a block alone": the last one. */

static bool reshape_alone(const void *shape, const struct assay_fill *how, void *other)
{
    (void)how;
    *(struct q4_K_quantize_shape *)other = (struct q4_K_quantize_shape){Q4_K_BLOCK};
    return count_x(shape) > Q4_K_BLOCK;
}

static void derive_alone(const void *shape, void *const *t, const void *other_shape,
                         void *const *other)
{
    (void)other_shape;
    memcpy(other[0], (const float *)t[0] + count_x(shape) - Q4_K_BLOCK, Q4_K_BLOCK * sizeof(float));
}

static int64_t broken_alone(const void *shape, void *const *t, const void *other_shape,
                            void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)other_shape, (void)numerics;
    *tensor = 1;
    int64_t start = count_blocks(shape) - Q4_K_BLOCK_BYTES;
    const uint8_t *first = (const uint8_t *)t[1] + start, *alone = other[1];
    for (int64_t i = 0; i < Q4_K_BLOCK_BYTES; i++) {
        if (first[i] != alone[i])
            return start + i;
    }
    return -1;
}

static const struct assay_property properties[] = {
    {"a block alone gives the same bytes as in the run", reshape_alone, derive_alone, broken_alone},
};

static size_t locate(const void *shape, void *const *t, size_t tensor, int64_t row, int64_t column,
                     struct assay_coordinate *at)
{
    (void)shape, (void)t, (void)tensor;
    at[0] = (struct assay_coordinate){"block", row};
    at[1] = (struct assay_coordinate){"byte of the block", column};
    return 2;
}

const struct assay_op q4_K_quantize_op = {
    .name = "q4_K_quantize",
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
    .reference = &q4_K_quantize_ref,
};
