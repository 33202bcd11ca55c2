/* SPDX-License-Identifier: MIT */
/* silu_mul: see silu_mul.h. Threads have successive runs of elements, whatever the rows. */
#include "opt/avx2/silu_mul.h"
#include "opt/avx2/kernels.h"

#define PARALLEL_ELEMENTS 16384 /* below this, threads cost more than they save */

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    (void)prepared, (void)scratch;
    const struct silu_mul_shape *s = shape;
    const struct silu_mul_args *a = args;
    const char *illegal = assay_illegal(&silu_mul_op, shape, NULL);
    if (illegal)
        return illegal;
    int64_t n = s->rows * s->n;
    threads = n < PARALLEL_ELEMENTS ? 1 : threads;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        struct range mine = thread_range(n);
        silu_mul(a->gate + mine.first, a->up + mine.first, mine.last - mine.first,
                 a->out + mine.first);
    }
    return NULL;
}

static int64_t depth(const void *shape)
{
    (void)shape;
    return SILU_MUL_DEPTH;
}

const struct assay_kernel silu_mul_avx2 = {
    .op = "silu_mul",
    .name = "avx2",
    .tier = "avx2",
    .numerics = ASSAY_F32,
    .depth = depth,
    .run = run,
};
