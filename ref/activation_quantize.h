/* SPDX-License-Identifier: MIT */
/*
 * activation_quantize: f32 activations to the int8 digits of class i8, i16 or i24
 *
 * digits 1, 2 or 3 chooses the class. ref/activation_i8.h says, per block of 256, what digits,
 * scales and sums are: x[row, i] is about the sum over digits j of d[row, j, i/256] * q[row, j, i].
 * To an int8 kernel the outputs are those of rows * digits tokens.
 *
 * Shapes    x [rows, k] f32; q [rows, digits, k] i8; sums [rows, digits, k/32] i16;
 *           d [rows, digits, k/256] f32. k a positive multiple of 256.
 * Numerics  bits, whatever MXCSR's flush bits are: no result is subnormal, and what a subnormal
 *           activation or product would add rounds to 0. A block does not depend on the others.
 * Memory    x and d aligned to 4 bytes, sums to 2; outputs overlap nothing and are written whole.
 * Errors    An illegal shape is refused before any output is written.
 * Threads   The outputs do not depend on their number.
 * Cost      counted as 2 flop an activation; 4 bytes read, and for each digit 1 + 1/16 + 1/64
 *           written.
 * Source    the activations of llama.cpp's Q8_K dot products, by the rule of this project.
 */
#ifndef ASSAY_REF_ACTIVATION_QUANTIZE_H
#define ASSAY_REF_ACTIVATION_QUANTIZE_H

#include "ref/activation_i8.h"
#include "ref/op.h"

struct activation_quantize_shape {
    int64_t digits, rows, k;
};

struct activation_quantize_args {
    const float *x;
    int8_t *q;
    int16_t *sums;
    float *d;
};

extern const struct assay_op activation_quantize_op;
extern const struct assay_kernel activation_quantize_ref;

#endif
