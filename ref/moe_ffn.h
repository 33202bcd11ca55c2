/* SPDX-License-Identifier: MIT */
/*
 * moe_ffn: the feed-forward layer of a mixture of experts, from router logits to combined output
 *
 *   ids, p   = moe_router_topk_softmax(logits)                  per token
 *   h[s]     = silu(gate[ids[s]] * x) . (up[ids[s]] * x)        per slot s, elementwise product
 *   out      = sum_s p[s] * (down[ids[s]] * h[s])
 *
 * Shapes    logits [tokens, experts] f32; x [tokens, hidden] f32; gate and up [experts, ffn,
 *           hidden/256] block_q4_K; down [experts, hidden, ffn/256] block_q4_K; out [tokens, hidden]
 *           f32. hidden and ffn positive multiples of 256; norm as the router's, 1 by default.
 * Numerics  f32; i8: x per token and h per pair are quantized per 256 (ref/activation_i8.h), the rest
 *           is f32. There is no twin, since exp is not fixed to the bit; a kernel has the bits of its
 *           own tier's parts, called one by one. Experts rank by logit, equal ones by index: unlike
 *           the router, no tie band. A token whose logits have a NaN or +Inf, or nothing finite, gets
 *           zeros. What is not finite stays within its token.
 * Memory    Weights aligned to 2 bytes, the others to 4; out overlaps nothing and is written whole.
 *           Not read: weights of experts that no token selects.
 * Errors    An illegal shape is refused before any output is written.
 * Threads   out does not depend on their number, a token's row not on the other tokens.
 * Cost      6*hidden*ffn flop a pair; weights of selected experts, logits and valid tokens' x read;
 *           out written. What lies between, h say, need not touch memory.
 * Source    The MoE layer of ferrum; llama.cpp's build_moe_ffn.
 */
#ifndef ASSAY_REF_MOE_FFN_H
#define ASSAY_REF_MOE_FFN_H

#include "ref/op.h"

struct moe_ffn_shape {
    int64_t experts, hidden, ffn, top_k, tokens, norm;
};

struct moe_ffn_args {
    const float *logits;
    const float *x;
    const uint8_t *gate;
    const uint8_t *up;
    const uint8_t *down;
    float *out;
};

/* Its tensors. */
enum { MOE_FFN_LOGITS, MOE_FFN_X, MOE_FFN_GATE, MOE_FFN_UP, MOE_FFN_DOWN, MOE_FFN_OUT };

extern const struct assay_op moe_ffn_op;
extern const struct assay_kernel moe_ffn_ref; /* the references of its parts, one by one */
extern const struct assay_kernel moe_ffn_ref_i8;

#endif
