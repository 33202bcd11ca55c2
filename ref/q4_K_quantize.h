/* SPDX-License-Identifier: MIT */
/*
 * q4_K_quantize: f32 weights to block_q4_K, 256 at a time, as llama.cpp's reference quantizer does
 *
 * All arithmetic is f32, sums run in index order, nothing is contracted to FMA; rne = round half to
 * even. Each sub-block of 32 elements x is first fitted by  x ~ scale*L - min,  0 <= L <= 15,
 * min >= 0, minimizing  sum w*(scale*L - min - x)^2  with  w = sqrt(sum x^2 / 32) + |x|: from a
 * start that spans [min x, max x], 21 steps try other spacings and solve for scale and min. The
 * eight scales and mins are then rounded to 6 bits, d and dmin to f16, and the nibbles chosen anew
 * for the stored values; where d*sc is 0, the first fit's nibbles stay.
 *
 * Shapes    x [n] f32; blocks [n/256] block_q4_K. n a positive multiple of 256.
 * Numerics  bits, where MXCSR's flush bits are clear: subnormal f32 may occur and count. A block
 *           does not depend on the others.
 * Memory    x aligned to 4 bytes, blocks to 2; no overlap. Every byte of blocks is written.
 * Errors    An illegal shape, or a NaN or infinity in x, is refused before any output is written.
 * Threads   The blocks do not depend on their number.
 * Cost      counted as 21 * 10 * n flop; 4*n bytes read, n/256*144 written.
 * Source    llama.cpp's GGUF type Q4_K without importance matrix.
 */
#ifndef ASSAY_REF_Q4_K_QUANTIZE_H
#define ASSAY_REF_Q4_K_QUANTIZE_H

#include "ref/op.h"
#include "ref/q4_K.h"

struct q4_K_quantize_shape {
    int64_t n;
};

struct q4_K_quantize_args {
    const float *x;
    uint8_t *blocks;
};

extern const struct assay_op q4_K_quantize_op;
extern const struct assay_kernel q4_K_quantize_ref;

/* One block from finite x[256]. */
void q4_K_quantize_block(const float *x, struct block_q4_K *block);

#endif
