/* SPDX-License-Identifier: MIT */
/*
 * silu_mul: out = gate / (1 + exp(-gate)) * up, element by element
 *
 * Shapes    gate, up, out [rows, n] f32.
 * Numerics  f32. The quotient is formed before the product with up. From gate = SILU_MUL_LEAST
 *           down exp(-gate) nears the largest f32, and zero will do for the quotient.
 * Invalid   as the formula has it: gate +Inf gives +Inf * up; -Inf, that is Inf / Inf, gives NaN,
 *           though the limit is 0; NaN gives NaN; an infinite up gives NaN where gate is 0 and an
 *           infinity elsewhere (either where the quotient may vanish: from SILU_MUL_LEAST down and
 *           where gate is subnormal). An element does not depend on the others.
 * Memory    All aligned to 4 bytes; out overlaps nothing and is written whole.
 * Errors    An illegal shape is refused before any output is written.
 * Threads   out does not depend on their number.
 * Cost      counted as 4 flop an element; 8 bytes read and 4 written.
 * Source    silu_mul of ferrum-kernels and moeflux, between gate, up and down of an expert.
 */
#ifndef ASSAY_REF_SILU_MUL_H
#define ASSAY_REF_SILU_MUL_H

#include "ref/op.h"

#define SILU_MUL_LEAST (-88.0f)

struct silu_mul_shape {
    int64_t n, rows;
};

struct silu_mul_args {
    const float *gate, *up;
    float *out;
};

/* n elements; out may be gate or up. */
void silu_mul_elements(const float *gate, const float *up, int64_t n, float *out);

extern const struct assay_op silu_mul_op;
extern const struct assay_kernel silu_mul_ref; /* in double, rounded once */

#endif
