/* SPDX-License-Identifier: MIT */
/* moe_weighted_sum: see moe_weighted_sum.h. A unit of work is a piece of a token's columns, so that
 * a single token keeps several threads busy. */
#include "opt/avx512vnni/moe_weighted_sum.h"

#include <omp.h>

#include "opt/avx512vnni/kernels.h"
#include "opt/avx512vnni/tier.h"

#define UNIT_COLUMNS 1024
#define THREAD_TERMS 32768 /* fewer than this are not worth a thread */

static void sum_unit(const struct moe_weighted_sum_shape *s, const struct moe_weighted_sum_args *a,
                     int64_t token, int64_t first)
{
    int64_t pair = token * s->top_k;
    weighted_sum(s, a->ids + pair, a->weights + pair, a->rows + pair * s->m, first,
                 min_i64(first + UNIT_COLUMNS, s->m), a->out + token * s->m);
}

void avx512vnni_moe_sum(const struct moe_weighted_sum_shape *s,
                        const struct moe_weighted_sum_args *a, int rank, int team)
{
    int64_t pieces = ceil_div(s->m, UNIT_COLUMNS), units = s->tokens * pieces;
    int64_t last = share_start(units, rank + 1, team);
    for (int64_t unit = share_start(units, rank, team); unit < last; unit++)
        sum_unit(s, a, unit / pieces, unit % pieces * UNIT_COLUMNS);
}

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    (void)prepared, (void)scratch;
    const struct moe_weighted_sum_shape *s = shape;
    const char *illegal = assay_illegal(&moe_weighted_sum_op, shape, NULL);
    if (illegal)
        return illegal;
    int team = (int)min_i64(threads, ceil_div(s->tokens * s->top_k * s->m, THREAD_TERMS));
#pragma omp parallel num_threads(team) if (team > 1)
    avx512vnni_moe_sum(s, args, omp_get_thread_num(), omp_get_num_threads());
    return NULL;
}

/* One fused step a slot. */
static int64_t depth(const void *shape)
{
    return ((const struct moe_weighted_sum_shape *)shape)->top_k;
}

const struct assay_kernel moe_weighted_sum_avx512vnni = {
    .op = "moe_weighted_sum",
    .name = "avx512vnni",
    .tier = "avx512vnni",
    .numerics = ASSAY_F32,
    .depth = depth,
    .run = run,
};
