/* SPDX-License-Identifier: MIT */
/* q4_K_dequant: the engine's to_float of its type Q4_K, over a contiguous part for each thread. */
#include "opt/peers/engine.h"
#include "opt/peers/kernels.h"
#include "ref/q4_K.h"
#include "ref/q4_K_dequant.h"

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    (void)prepared, (void)scratch;
    const struct q4_K_dequant_shape *s = shape;
    const struct q4_K_dequant_args *a = args;
    const char *illegal = assay_illegal(&q4_K_dequant_op, shape, NULL);
    if (illegal)
        return illegal;
    const struct block_q4_K *w = (const struct block_q4_K *)(a->w + s->w_offset);
    int64_t blocks = s->n / Q4_K_BLOCK, part = (blocks + threads - 1) / threads;
#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (int64_t start = 0; start < blocks; start += part) {
        int64_t count = blocks - start < part ? blocks - start : part;
        engine_dequantize(&w[start], &a->y[start * Q4_K_BLOCK], count * Q4_K_BLOCK);
    }
    return NULL;
}

const struct assay_kernel peer_dequant = {
    .op = "q4_K_dequant",
    .name = ASSAY_PEER_NATIVE,
    .tier = PEER_TIER,
    .numerics = ASSAY_BITS,
    .run = run,
};
