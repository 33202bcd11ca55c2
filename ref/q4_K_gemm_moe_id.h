/* SPDX-License-Identifier: MIT */
/*
 * q4_K_gemm_moe_id: each expert's rows times the activations of the pairs routed to it
 *
 *   for every expert e and i < tpe[e]:
 *       pair = ids[e*stride + i],  token = pair / top_k,  slot = pair % top_k
 *       dst[token, slot, r] = sum_k W[e, r, k] * src1[token, slot % ne11, k]
 *
 * Shapes    W [experts, m, k/256] block_q4_K at byte w_offset of `w`; src1 [tokens, ne11, k] f32;
 *           ids [experts, stride] i32; tpe [experts] i32; grid [3] u32 or NULL;
 *           dst [tokens, top_k, m] f32. k a positive multiple of 256; w_offset even; m >= 1;
 *           ne11 = 1 (a token's row serves its slots: gate, up) or top_k (a row per slot: down);
 *           stride >= tokens*top_k; tokens*top_k < 2^31. Other products may pass 2^31.
 * Dispatch  indirect = 0: grid is NULL, the whole of tpe and ids counts. indirect = 1: the work is
 *           grid = (pair tiles of 32, row tiles of 64, experts) as moe_ids_tpe writes it. The
 *           results have equal bits.
 * Numerics  f32; i8, i16, i24 (twins: ref/q4_K_dot.h); f16: dequantized weights and activations are rounded to
 *           f16, to nearest even, subnormals kept, from 65520 on to infinity; sums in f32. Weights
 *           and activations that are not finite, or become so, make the outputs that they enter NaN
 *           or infinite, and no others. Where nothing over- or underflows, 8 times the activations
 *           give exactly 8 times the outputs.
 * Memory    w aligned to 2 bytes, the others to 4. dst overlaps nothing. Not read: ids at
 *           i >= tpe[e], weights of experts with tpe 0, bytes of `w` before w_offset. Not written:
 *           rows of dst whose pair is in no list. No pair is in two lists.
 * Errors    An illegal shape is refused before any output is written.
 * Threads   dst does not depend on their number. A pair's row of dst depends on its own expert's
 *           weights and its own source row alone: not on the other pairs, the order within a list
 *           or how experts are numbered.
 * Cost      2*m*k flop a pair; weights of experts with tpe > 0, source rows of pairs and lists
 *           read; 4*m bytes a pair written.
 * Source    gemm_q4kw_moe_id of ferrum-kernels, llama.cpp's mul_mat_id.
 */
#ifndef ASSAY_REF_Q4_K_GEMM_MOE_ID_H
#define ASSAY_REF_Q4_K_GEMM_MOE_ID_H

#include "ref/op.h"

struct q4_K_gemm_moe_id_shape {
    int64_t experts, m, k, top_k, ne11, tokens, stride, w_offset, indirect;
};

struct q4_K_gemm_moe_id_args {
    const uint8_t *w;
    const float *src1;
    const int32_t *ids;
    const int32_t *tpe;
    const uint32_t *grid;
    float *dst;
};

extern const struct assay_op q4_K_gemm_moe_id_op;
extern const struct assay_kernel q4_K_gemm_moe_id_ref;    /* sums in double, rounded once */
extern const struct assay_kernel q4_K_gemm_moe_id_ref_i8; /* the twins of the integer classes */
extern const struct assay_kernel q4_K_gemm_moe_id_ref_i16;
extern const struct assay_kernel q4_K_gemm_moe_id_ref_i24;

#endif
