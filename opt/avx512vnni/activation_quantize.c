/* SPDX-License-Identifier: MIT */
/* activation_quantize: see digits.h. Threads have successive runs of blocks. */
#include "ref/activation_quantize.h"

#include <omp.h>

#include "opt/avx512vnni/digits.h"
#include "opt/avx512vnni/kernels.h"

#define THREAD_BLOCKS 64 /* fewer than this are not worth a thread */
#define GROUP         4  /* blocks whose reductions overlap */

static void quantize_unit(const struct activation_quantize_shape *s,
                          const struct activation_quantize_args *a, int64_t unit, uint32_t largest)
{
    const int64_t blocks = s->k / ACTIVATION_BLOCK, row = unit / blocks, b = unit % blocks;
    const float *x = a->x + unit * ACTIVATION_BLOCK;
    struct digit_place to[ACTIVATION_MAX_DIGITS];
    for (int j = 0; j < s->digits; j++) {
        int64_t at = (row * s->digits + j) * blocks + b;
        to[j] =
            (struct digit_place){a->q + at * ACTIVATION_BLOCK, a->sums + at * 8, a->d + at, NULL};
    }
    switch (s->digits) {
    case 1: quantize_scaled(x, largest, 1, true, to); break;
    case 2: quantize_scaled(x, largest, 2, true, to); break;
    default: quantize_scaled(x, largest, 3, true, to); break;
    }
}

static void quantize_units(const struct activation_quantize_shape *s,
                           const struct activation_quantize_args *a, int64_t first, int64_t last)
{
    for (int64_t at = first; at < last; at += GROUP) {
        uint32_t largest[GROUP];
        int64_t end = min_i64(at + GROUP, last);
        for (int64_t i = at; i < end; i++)
            largest[i - at] = largest_magnitude(a->x + i * ACTIVATION_BLOCK);
        for (int64_t i = at; i < end; i++)
            quantize_unit(s, a, i, largest[i - at]);
    }
}

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    (void)prepared, (void)scratch;
    const struct activation_quantize_shape *s = shape;
    const char *illegal = assay_illegal(&activation_quantize_op, shape, NULL);
    if (illegal)
        return illegal;
    const int64_t blocks = s->k / ACTIVATION_BLOCK;
    int team = (int)min_i64(threads, ceil_div(s->rows * blocks, THREAD_BLOCKS));
#pragma omp parallel num_threads(team) if (team > 1)
    {
        int rank = omp_get_thread_num(), of = omp_get_num_threads();
        quantize_units(s, args, share_start(s->rows * blocks, rank, of),
                       share_start(s->rows * blocks, rank + 1, of));
    }
    return NULL;
}

const struct assay_kernel activation_quantize_avx512vnni = {
    .op = "activation_quantize",
    .name = "avx512vnni",
    .tier = "avx512vnni",
    .numerics = ASSAY_BITS,
    .run = run,
};
