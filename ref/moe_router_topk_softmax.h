/* SPDX-License-Identifier: MIT */
/*
 * moe_router_topk_softmax: the top_k most probable experts of each token, and their weights
 *
 * Per row of logits: p[e] = exp(logit[e] - max) / sum exp(logit - max). ids are the top_k experts
 * by falling p, the smaller index first where logits are equal. weights[slot] = p[ids[slot]] *
 * scale with scale = norm ? 1 / max(sum of the selected p, 2^-14) : 1.
 *
 * Shapes    logits [tokens, experts] f32; ids [tokens, top_k] i32; weights [tokens, top_k] f32.
 *           1 <= top_k <= experts; norm 0 or 1.
 * Numerics  f32. Experts rank by logit, as exact arithmetic would rank their p; distinct logits
 *           whose p differ by at most MOE_ROUTER_TIE_ULP f32 ULPs may come in either order (the
 *           tie band). Subnormal logits and weights are not flushed: MXCSR's flush bits do not
 *           matter.
 * -Inf      among finite logits: p = 0, picked last, by index.
 * Invalid   A row with a NaN or +Inf, or without a finite logit: its ids are -1, its weights +0.
 * Memory    All aligned to 4 bytes; outputs overlap nothing and are written whole.
 * Errors    An illegal shape is refused before any output is written.
 * Threads   The outputs do not depend on their number, a row's neither on the other rows nor on
 *           its place among them.
 * Cost      counted as 1 flop a logit, its comparison: with norm, no exp of an expert that is not
 *           selected is needed. 4 bytes a logit read, 8 a selected expert written.
 * Source    moe_router_topk_softmax of ferrum-kernels, whose top_k stops at 32 and whose invalid
 *           rows write outside their buffers; moeflux's leaves its slots unsorted.
 */
#ifndef ASSAY_REF_MOE_ROUTER_TOPK_SOFTMAX_H
#define ASSAY_REF_MOE_ROUTER_TOPK_SOFTMAX_H

#include "ref/op.h"

#define MOE_ROUTER_TIE_ULP 4
#define MOE_ROUTER_MIN_SUM 0x1p-14f

struct moe_router_topk_softmax_shape {
    int64_t experts, top_k, tokens, norm;
};

struct moe_router_topk_softmax_args {
    const float *logits;
    int32_t *ids;
    float *weights;
};

extern const struct assay_op moe_router_topk_softmax_op;
extern const struct assay_kernel moe_router_topk_softmax_ref; /* in double, rounded once */

#endif
