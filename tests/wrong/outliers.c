/* SPDX-License-Identifier: MIT */
/* Kernels of classes i8 and i16, none of which promises the twin: right but for single outputs among many, and
 * these within the bound. Their errors are too few to move the mean square. */
#include <math.h>

#include "ref/activation_i8.h"
#include "ref/f16.h"
#include "ref/q4_K.h"
#include "ref/q4_K_dot.h"
#include "ref/q4_K_gemm_moe_id.h"
#include "ref/q4_K_gemv.h"
#include "tests/wrong/wrong.h"

/* Standard deviations of what rounding the activations does to an output, as far as the bound
 * allows; 8 times the activations give exactly 8 times as much. */
#define DEVIATIONS(digits) ((digits) == 1 ? 9 : 12) /* more, beside what f32 sums may be off */
#define OF_BOUND           0.9

static float fault(const struct block_q4_K *row, const float *x, int64_t k, int digits)
{
    double top = (double)activation_top(digits);
    double step = 0, step_sq = 0;
    for (int64_t b = 0; b < k / Q4_K_BLOCK; b++) {
        float w[Q4_K_BLOCK];
        double amax = 0, sum = 0, sum_sq = 0;
        q4_K_weights(&row[b], w);
        for (int i = 0; i < Q4_K_BLOCK; i++) {
            amax = fmax(amax, fabs((double)x[b * Q4_K_BLOCK + i]));
            sum += fabs((double)w[i]);
            sum_sq += (double)w[i] * (double)w[i];
        }
        amax = amax < (double)ACTIVATION_TINY ? 0 : amax;
        step += amax * sum;
        step_sq += amax * amax * sum_sq;
    }
    return (float)fmin(DEVIATIONS(digits) * sqrt(step_sq / 12) / top, OF_BOUND * step / (2 * top));
}

/* One in eight rows of activations, whatever power of two they are scaled by. */
static bool chosen(const float *x)
{
    return (assay_f32_bits(x[0]) & 7) == 3;
}

static const struct block_q4_K *row_of(const uint8_t *w, int64_t offset, int64_t row, int64_t k)
{
    return (const struct block_q4_K *)(w + offset) + row * (k / Q4_K_BLOCK);
}

static const char *spoil_row(const struct assay_kernel *right, int digits, const void *shape,
                             const void *args)
{
    const struct q4_K_gemv_shape *s = shape;
    const struct q4_K_gemv_args *a = args;
    const char *refusal = right->run(shape, args, NULL, NULL, 1);
    if (!refusal && s->n > 256)
        a->y[200] += fault(row_of(a->w, s->w_offset, 200, s->k), a->x, s->k, digits);
    return refusal;
}

static const char *run_gemv(const void *shape, const void *args, const void *prepared,
                            void *scratch, int threads)
{
    (void)prepared, (void)scratch, (void)threads;
    return spoil_row(&q4_K_gemv_ref_i8, 1, shape, args);
}

static const char *run_gemv_i16(const void *shape, const void *args, const void *prepared,
                                void *scratch, int threads)
{
    (void)prepared, (void)scratch, (void)threads;
    return spoil_row(&q4_K_gemv_ref_i16, 2, shape, args);
}

static const char *run_gemm(const void *shape, const void *args, const void *prepared,
                            void *scratch, int threads)
{
    const struct q4_K_gemm_moe_id_shape *s = shape;
    const struct q4_K_gemm_moe_id_args *a = args;
    const char *refusal = q4_K_gemm_moe_id_ref_i8.run(shape, args, prepared, scratch, threads);
    for (int64_t e = 0; !refusal && s->m >= 128 && e < s->experts; e++) {
        const struct block_q4_K *row = row_of(a->w, s->w_offset, e * s->m + 77, s->k);
        for (int64_t i = 0; i < a->tpe[e]; i++) {
            int64_t pair = a->ids[e * s->stride + i];
            int64_t source = pair / s->top_k * s->ne11 + pair % s->top_k % s->ne11;
            const float *x = &a->src1[source * s->k];
            if (chosen(x))
                a->dst[pair * s->m + 77] += fault(row, x, s->k, 1);
        }
    }
    return refusal;
}

static int64_t depth_gemv(const void *shape)
{
    return q4_K_twin_depth(((const struct q4_K_gemv_shape *)shape)->k, 1) + 2;
}

static int64_t depth_gemv_i16(const void *shape)
{
    return q4_K_gemv_ref_i16.depth(shape) + 2;
}

static int64_t depth_gemm(const void *shape)
{
    return q4_K_twin_depth(((const struct q4_K_gemm_moe_id_shape *)shape)->k, 1) + 2;
}

#define KERNEL(what, op_, class_, text)                 \
    {                                                   \
        .bug = text, .only = ONLY(OUTLIER), .kernel = { \
            .op = op_,                                  \
            .name = "wrong-outlier-" #what,             \
            .tier = "ref",                              \
            .numerics = class_,                         \
            .depth = depth_##what,                      \
            .run = run_##what                           \
        }                                               \
    }

const struct wrong wrong_outliers[] = {
    KERNEL(gemv, "q4_K_gemv", ASSAY_I8, "one row of many off by nine deviations of its rounding"),
    KERNEL(gemv_i16, "q4_K_gemv", ASSAY_I16, "one row of class i16 off by twelve deviations"),
    KERNEL(gemm, "q4_K_gemm_moe_id", ASSAY_I8,
           "a row off by nine deviations for one token in eight"),
};
const size_t n_wrong_outliers = sizeof(wrong_outliers) / sizeof(*wrong_outliers);
