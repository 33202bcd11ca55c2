/* SPDX-License-Identifier: MIT */
/*
 * q4_K_gemv_moe_id: for a few tokens, the chosen experts' rows times the activations
 *
 *   for every token and slot with 0 <= e = ids[token, slot] < experts:
 *       dst[token, slot, r] = sum_k W[e, r, k] * src1[token, slot % ne11, k]
 *
 * Shapes    W [experts, m, k/256] block_q4_K at byte w_offset of `w`; src1 [tokens, ne11, k] f32;
 *           ids [tokens, top_k] i32; dst [tokens, top_k, m] f32. k a positive multiple of 256;
 *           w_offset even; m >= 1; ne11 = 1 (a token's row serves its slots: gate, up) or top_k (a
 *           row per slot: down); tokens*top_k < 2^31. Other products may pass 2^31.
 * Numerics  f32; i8, i16, i24 (twins: ref/q4_K_dot.h): in these the bits of moe_ids_tpe and
 *           q4_K_gemm_moe_id. Weights and activations that are not finite make the outputs that they enter NaN or
 *           infinite, and no others. Where nothing over- or underflows, 8 times the activations
 *           give exactly 8 times the outputs.
 * Memory    w aligned to 2 bytes, the others to 4. dst overlaps nothing. Not read: weights of
 *           experts that no id names, bytes of `w` before w_offset. Not written: rows of dst whose
 *           id is below 0 (as the router writes for an invalid row) or not below experts. An expert
 *           may stand in several slots of a token.
 * Errors    An illegal shape is refused before any output is written.
 * Threads   dst does not depend on their number. A pair's row of dst depends on its own expert's
 *           weights and its own source row alone.
 * Cost      2*m*k flop a pair with a valid id; weights of the experts named, source rows of those
 *           pairs and ids read; 4*m bytes such a pair written.
 * Source    gemv_moe_id of ferrum-kernels, llama.cpp's mul_mat_id with few tokens.
 */
#ifndef ASSAY_REF_Q4_K_GEMV_MOE_ID_H
#define ASSAY_REF_Q4_K_GEMV_MOE_ID_H

#include "ref/op.h"

struct q4_K_gemv_moe_id_shape {
    int64_t experts, m, k, top_k, ne11, tokens, w_offset;
};

struct q4_K_gemv_moe_id_args {
    const uint8_t *w;
    const float *src1;
    const int32_t *ids;
    float *dst;
};

extern const struct assay_op q4_K_gemv_moe_id_op;
extern const struct assay_kernel q4_K_gemv_moe_id_ref;    /* sums in double, rounded once */
extern const struct assay_kernel q4_K_gemv_moe_id_ref_i8; /* the twins of the integer classes */
extern const struct assay_kernel q4_K_gemv_moe_id_ref_i16;
extern const struct assay_kernel q4_K_gemv_moe_id_ref_i24;

#endif
