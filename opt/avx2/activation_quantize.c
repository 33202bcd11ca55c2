/* SPDX-License-Identifier: MIT */
/* activation_quantize: see digits.h. Threads have successive runs of blocks. */
#include "ref/activation_quantize.h"
#include "opt/avx2/digits.h"
#include "opt/avx2/kernels.h"

#define PARALLEL_BLOCKS 64 /* below this, threads cost more than they save */

static void quantize_unit(const struct activation_quantize_shape *s,
                          const struct activation_quantize_args *a, int64_t row, int64_t b)
{
    const int64_t blocks = s->k / ACTIVATION_BLOCK;
    const float *x = a->x + (row * blocks + b) * ACTIVATION_BLOCK;
    struct digit_place to[ACTIVATION_MAX_DIGITS];
    for (int j = 0; j < s->digits; j++) {
        int64_t at = (row * s->digits + j) * blocks + b;
        to[j] = (struct digit_place){a->q + at * ACTIVATION_BLOCK, a->sums + at * 8, a->d + at};
    }
    switch (s->digits) {
    case 1: quantize_digits(x, 1, to); break;
    case 2: quantize_digits(x, 2, to); break;
    default: quantize_digits(x, 3, to); break;
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
    threads = s->rows <= PARALLEL_BLOCKS / blocks ? 1 : threads;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        struct range mine = thread_range(s->rows * blocks);
        for (int64_t i = mine.first; i < mine.last; i++)
            quantize_unit(s, args, i / blocks, i % blocks);
    }
    return NULL;
}

const struct assay_kernel activation_quantize_avx2 = {
    .op = "activation_quantize",
    .name = "avx2",
    .tier = "avx2",
    .numerics = ASSAY_BITS,
    .run = run,
};
