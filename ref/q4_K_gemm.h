/* SPDX-License-Identifier: MIT */
/*
 * q4_K_gemm: dst[t][r] = sum_k W[r][k] * src[t][k]
 *
 * Shapes    W [m, k/256] block_q4_K at byte w_offset of `w`; src [tokens, k] f32;
 *           dst [tokens, m] f32. m, tokens >= 1; k a positive multiple of 256; w_offset even.
 * Numerics  f32; i8, i16, i24 (twins: ref/q4_K_dot.h). Weights and activations that are not finite make the
 *           outputs that they enter NaN or infinite, and no others. Where nothing over- or
 *           underflows, 8 times the activations give exactly 8 times the outputs.
 * Memory    w aligned to 2 bytes, src and dst to 4. dst overlaps nothing. Bytes of `w` before
 *           w_offset are not read. Every element of dst is written.
 * Errors    An illegal shape is refused before any output is written.
 * Threads   dst does not depend on their number. A token's row depends on W and its own row of src
 *           alone: not on the other tokens or where it stands among them.
 * Cost      2*m*k flop a token; W and src read, 4*m bytes a token written.
 * Source    gemm_q4kw of ferrum-kernels, llama.cpp's mul_mat; the dense layers beside the experts.
 */
#ifndef ASSAY_REF_Q4_K_GEMM_H
#define ASSAY_REF_Q4_K_GEMM_H

#include "ref/op.h"

struct q4_K_gemm_shape {
    int64_t m, k, tokens, w_offset;
};

struct q4_K_gemm_args {
    const uint8_t *w;
    const float *src;
    float *dst;
};

extern const struct assay_op q4_K_gemm_op;
extern const struct assay_kernel q4_K_gemm_ref;    /* sums in double, rounded once */
extern const struct assay_kernel q4_K_gemm_ref_i8; /* the twins of the integer classes */
extern const struct assay_kernel q4_K_gemm_ref_i16;
extern const struct assay_kernel q4_K_gemm_ref_i24;

#endif
