/* SPDX-License-Identifier: MIT */
/*
 * affine_quantize: f32 weights to affine groups of 64 (ref/affine.h), as MLX's quantizer does
 *
 * Of a group x with smallest element lo and largest hi, all in f32, rounding after each operation
 * (no FMA); levels = 2^bits - 1; rne = round half to even:
 *
 *   step  = max((hi - lo) / levels, 1e-7), negative unless |lo| > |hi|
 *   edge  = lo if |lo| > |hi|, else hi
 *   q0    = rne(edge / step)
 *   scale = edge / q0, bias = edge           if q0 is not 0, so that zero has a code or nearly
 *   scale = step,      bias = 0              if it is
 *   q[i]  = rne((x[i] - bias) / scale), limited to 0 .. levels
 *
 * The codes are chosen with scale and bias in f32; these are then stored rounded to bf16, as MLX
 * does for bf16 weights. A group of equal elements has codes 0 and them as its bias, or, below
 * 5e-8, counts as zero. Before scale and bias are rounded a weight is off by no more than |scale|:
 * half of it, or up to all of it at the end that lies beyond the last code.
 *
 * Shapes    x [n] f32, the rows of a matrix one after the other; w [n*bits/32] u32; scales, biases
 *           [n/64] bf16. bits 4 or 8; n a positive multiple of 64.
 * Numerics  bits, where MXCSR's flush bits are clear. A group does not depend on the others. Where
 *           no step is below 1e-7, a power of two times the weights gives the same codes and that
 *           power of two times the scales and biases.
 * Memory    x and w aligned to 4 bytes, scales and biases to 2; no overlap. Every element of the
 *           outputs is written.
 * Errors    An illegal shape, or an element that is NaN or not below 2^100 in magnitude, is refused
 *           before any output is written: far larger ones would overflow on the way.
 * Threads   The outputs do not depend on their number.
 * Cost      counted as 6*n flop; 4*n bytes read, n*bits/8 + n/64*4 written.
 * Source    MLX's quantize, mode "affine", group_size 64.
 */
#ifndef ASSAY_REF_AFFINE_QUANTIZE_H
#define ASSAY_REF_AFFINE_QUANTIZE_H

#include "ref/affine.h"
#include "ref/op.h"

struct affine_quantize_shape {
    int64_t bits, n;
};

struct affine_quantize_args {
    const float *x;
    uint32_t *w;
    uint16_t *scales, *biases;
};

extern const struct assay_op affine_quantize_op;
extern const struct assay_kernel affine_quantize_ref;

/* One group from x[64], all below 2^100 in magnitude. */
void affine_quantize_group(int64_t bits, const float *x, struct affine_group *group);

#endif
