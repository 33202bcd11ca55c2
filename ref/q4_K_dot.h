/* SPDX-License-Identifier: MIT */
/* Dot products of one row of q4_K blocks with one row of activations, as the naive references, the
 * oracle and the scalar twins of the integer classes take them. k is a multiple of 256. */
#ifndef ASSAY_REF_Q4_K_DOT_H
#define ASSAY_REF_Q4_K_DOT_H

#include <stdint.h>

#include "ref/activation_i8.h"
#include "ref/op.h"
#include "ref/q4_K.h"

/* A block's weights as a numerics class takes them, for the oracle. parts: |d*sc*q| + |dmin*m|; in
 * class f16, whose kernels multiply weights rounded to f16, |w|. */
struct q4_K_expanded {
    double w[Q4_K_BLOCK], parts[Q4_K_BLOCK];
    double sum_w, sum_w_sq, sum_parts; /* of |w|, w^2, parts */
};
void q4_K_expand(const struct block_q4_K *block, enum assay_numerics numerics,
                 struct q4_K_expanded *expanded);

/* Adds what block b = 0, 1, ... of a row contributes; `expected` starts zeroed. */
void q4_K_expect(const struct q4_K_expanded *block, const float *x, enum assay_numerics numerics,
                 struct assay_expected *expected);

/*
 * The scalar twins of the integer classes. For each of an activation's digits, from the top, what
 * super-block b = 0, 1, ... of a row adds to the digit's acc, from +0:
 *
 *   isum = sum_j sc[j] * sum_l q[32j+l] * xq[32j+l]      exact in int32: at most 3.1e7
 *   msum = sum_j m[j] * sums[j]                          exact
 *   t    = fma(-dmin, f32(msum), fl(d * f32(isum)))
 *   acc  = fma(t, dx, acc)
 *
 * and the result is the digits' acc, added from the top: acc in class i8, fl(acc[0] + acc[1]) in
 * i16, fl(fl(acc[0] + acc[1]) + acc[2]) in i24. So a digit is a token to all but the last step.
 *
 * dx comes last so that no intermediate result leaves the normal range where the result is in it.
 */
float q4_K_add_i8(const struct block_q4_K *block, const struct activation_i8 *x, float acc);

/* Roundings of an integer class apart from the activations': conversion, product and subtraction of
 * t, one fma per super-block, the dequantized weight's own rounding in the oracle, and the additions
 * of digits. */
static inline int64_t q4_K_twin_depth(int64_t k, int digits)
{
    return k / Q4_K_BLOCK + 4 + digits - 1;
}

#endif
