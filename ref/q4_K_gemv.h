/* SPDX-License-Identifier: MIT */
/*
 * q4_K_gemv: y[r] = sum_k W[r][k] * x[k]
 *
 * Shapes    W [n, k/256] block_q4_K at byte w_offset of `w`; x [k] f32; y [n] f32. n >= 1;
 *           k a positive multiple of 256; w_offset even.
 * Numerics  f32; i8, i16, i24 (twins: ref/q4_K_dot.h). A weight or activation that is not finite
 *           makes the outputs that it enters NaN or infinite, and no others. Where nothing over- or
 *           underflows, 8 times the activations give exactly 8 times the outputs.
 * Memory    w aligned to 2 bytes, x and y to 4. y overlaps nothing. Bytes of `w` before w_offset
 *           are not read. Every element of y is written.
 * Errors    An illegal shape is refused before any output is written.
 * Threads   y does not depend on their number.
 * Cost      2*n*k flop; n*k/256*144 + 4*k bytes read, 4*n written.
 * Source    gemv_f32a_q4kw of ferrum-kernels; llama.cpp's mul_mat with one column.
 */
#ifndef ASSAY_REF_Q4_K_GEMV_H
#define ASSAY_REF_Q4_K_GEMV_H

#include "ref/op.h"

struct q4_K_gemv_shape {
    int64_t n, k, w_offset;
};

struct q4_K_gemv_args {
    const uint8_t *w;
    const float *x;
    float *y;
};

extern const struct assay_op q4_K_gemv_op;
extern const struct assay_kernel q4_K_gemv_ref;    /* sums in double, rounded once */
extern const struct assay_kernel q4_K_gemv_ref_i8; /* the twins of the integer classes */
extern const struct assay_kernel q4_K_gemv_ref_i16;
extern const struct assay_kernel q4_K_gemv_ref_i24;

#endif
