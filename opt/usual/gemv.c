/* SPDX-License-Identifier: MIT */
/* q4_K_gemv: the whole matrix to f32, then a gemv over that. Four rows share what is loaded of x. */
#include "ref/q4_K_gemv.h"

#include "opt/usual/usual.h"
#include "ref/q4_K_dequant.h"

typedef struct q4_K_gemv_shape shape_t;
typedef struct q4_K_gemv_args args_t;

#define ROWS 4

/* As wide as the CPU has it, where the compiler can (CMakeLists.txt). */
USUAL_WIDE static void rows_dot(const float *w, const float *x, int64_t k, float *y)
{
    const float *w1 = w + k, *w2 = w1 + k, *w3 = w2 + k;
    float y0 = 0, y1 = 0, y2 = 0, y3 = 0;
#pragma omp simd reduction(+ : y0, y1, y2, y3)
    for (int64_t i = 0; i < k; i++) {
        y0 += w[i] * x[i];
        y1 += w1[i] * x[i];
        y2 += w2[i] * x[i];
        y3 += w3[i] * x[i];
    }
    y[0] = y0;
    y[1] = y1;
    y[2] = y2;
    y[3] = y3;
}

static void row_dot(const float *w, const float *x, int64_t k, float *y)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < k; i++)
        sum += w[i] * x[i];
    *y = sum;
}

static struct q4_K_dequant_shape all_of(const shape_t *s)
{
    return (struct q4_K_dequant_shape){assay_mul(s->n, s->k), s->w_offset};
}

static int64_t scratch_bytes(const void *shape, int threads)
{
    struct q4_K_dequant_shape all = all_of(shape);
    int64_t used = 0;
    usual_take(NULL, &used, all.n, sizeof(float));
    usual_take(NULL, &used, usual_scratch(USUAL_DEQUANT, &all, threads), 1);
    return used;
}

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    (void)prepared;
    const shape_t *s = shape;
    const args_t *a = args;
    const char *illegal = assay_illegal(&q4_K_gemv_op, shape, NULL);
    if (illegal)
        return illegal;
    struct q4_K_dequant_shape all = all_of(s);
    int64_t used = 0;
    float *w = usual_take(scratch, &used, all.n, sizeof(float));
    struct q4_K_dequant_args dequant = {a->w, w};
    illegal =
        usual_parts[USUAL_DEQUANT]->run(&all, &dequant, NULL, (uint8_t *)scratch + used, threads);
    int64_t whole = s->n / ROWS;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (int64_t i = 0; i < whole; i++)
        rows_dot(w + i * ROWS * s->k, a->x, s->k, &a->y[i * ROWS]);
    for (int64_t row = whole * ROWS; row < s->n; row++)
        row_dot(w + row * s->k, a->x, s->k, &a->y[row]);
    return illegal;
}

/* How the compiler orders the sum is its own affair: a serial one, and the weight's rounding. */
static int64_t depth(const void *shape)
{
    return ((const shape_t *)shape)->k + 2;
}

const struct assay_kernel usual_gemv = {
    .op = "q4_K_gemv",
    .name = "dequant-then-gemv",
    .tier = USUAL_TIER,
    .numerics = ASSAY_F32,
    .depth = depth,
    .scratch_bytes = scratch_bytes,
    .run = run,
};
