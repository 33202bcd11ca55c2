/* SPDX-License-Identifier: MIT */
/* silu_mul: see silu_mul.h. Threads have successive runs of elements, whatever the rows. */
#include "opt/avx512vnni/silu_mul.h"

#include <omp.h>

#include "opt/avx512vnni/kernels.h"

#define THREAD_ELEMENTS 16384 /* fewer than this are not worth a thread */

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
    int team = (int)min_i64(threads, ceil_div(n, THREAD_ELEMENTS));
#pragma omp parallel num_threads(team) if (team > 1)
    {
        int rank = omp_get_thread_num(), of = omp_get_num_threads();
        int64_t first = share_start(n, rank, of), last = share_start(n, rank + 1, of);
        silu_mul(a->gate + first, a->up + first, last - first, a->out + first);
    }
    return NULL;
}

static int64_t depth(const void *shape)
{
    (void)shape;
    return SILU_MUL_DEPTH;
}

const struct assay_kernel silu_mul_avx512vnni = {
    .op = "silu_mul",
    .name = "avx512vnni",
    .tier = "avx512vnni",
    .numerics = ASSAY_F32,
    .depth = depth,
    .run = run,
};
