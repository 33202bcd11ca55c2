/* SPDX-License-Identifier: MIT */
/*
 * moe_weighted_sum: out[token] = sum of weights[token, slot] * rows[token, slot], slots from 0 up
 *
 * A slot whose id is no expert, -1 or experts say, contributes nothing, as moe_ids_tpe drops it and
 * the gemm leaves its row as it was: neither its weight nor its row is read. A token without a
 * valid slot gets zeros.
 *
 * Shapes    ids [tokens, top_k] i32; weights [tokens, top_k] f32; rows [tokens, top_k, m] f32;
 *           out [tokens, m] f32. An expert may stand in several slots; each counts.
 * Numerics  f32. A NaN or infinity in a valid slot makes the outputs that it enters not finite, and
 *           no others.
 * Memory    All aligned to 4 bytes; out overlaps nothing and is written whole.
 * Errors    An illegal shape is refused before any output is written.
 * Threads   out does not depend on their number, a token's row neither on the other tokens nor on
 *           its place among them.
 * Cost      2*m flop a valid slot; its 4*m bytes, all ids and 4 bytes a valid slot's weight read,
 *           4*m written a token.
 * Source    weighted_sum of ferrum-kernels and moeflux, which ends an expert layer.
 */
#ifndef ASSAY_REF_MOE_WEIGHTED_SUM_H
#define ASSAY_REF_MOE_WEIGHTED_SUM_H

#include "ref/op.h"

struct moe_weighted_sum_shape {
    int64_t experts, top_k, tokens, m;
};

struct moe_weighted_sum_args {
    const int32_t *ids;
    const float *weights, *rows;
    float *out;
};

/* One token: ids and weights [top_k], rows [top_k, m], out [m]. */
void moe_weighted_sum_token(const struct moe_weighted_sum_shape *shape, const int32_t *ids,
                            const float *weights, const float *rows, float *out);

extern const struct assay_op moe_weighted_sum_op;
extern const struct assay_kernel moe_weighted_sum_ref; /* in double, rounded once */

#endif
