/* SPDX-License-Identifier: MIT */
/*
 * q4_K_dequant: y[i] = weight i of a run of block_q4_K (ref/q4_K.h)
 *
 * Shapes    w [n/256] block_q4_K at byte w_offset; y [n] f32. n a positive multiple of 256;
 *           w_offset even.
 * Numerics  bits: those of the formula in ref/q4_K.h, zero's sign included; where the formula gives
 *           NaN, any NaN. d and dmin may be infinite or NaN. No subnormal f32 occurs, so MXCSR's
 *           flush bits do not matter. A weight does not depend on the other blocks.
 * Memory    w aligned to 2 bytes, y to 4; no overlap. Every element of y is written.
 * Errors    An illegal shape is refused before any output is written.
 * Threads   y does not depend on their number.
 * Cost      n flop, which make tables of the 16 weights of each sub-block; n/256*144 bytes read,
 *           4*n written.
 * Source    dequantize_q4_k of ferrum-kernels; llama.cpp's GGUF type Q4_K.
 */
#ifndef ASSAY_REF_Q4_K_DEQUANT_H
#define ASSAY_REF_Q4_K_DEQUANT_H

#include "ref/op.h"

struct q4_K_dequant_shape {
    int64_t n, w_offset;
};

struct q4_K_dequant_args {
    const uint8_t *w;
    float *y;
};

extern const struct assay_op q4_K_dequant_op;
extern const struct assay_kernel q4_K_dequant_ref;

#endif
