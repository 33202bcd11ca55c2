/* SPDX-License-Identifier: MIT */
/*
 * affine_gemv: y[o] = sum_i W[o][i] * x[i],  W[o][i] = scale*q + bias of affine weights
 *
 * Shapes    w [out_dim, in_dim*bits/32] u32; scales, biases [out_dim, in_dim/64] bf16, as
 *           ref/affine.h says; x [in_dim] f32; y [out_dim] f32. bits 4 or 8; out_dim >= 1; in_dim
 *           a positive multiple of 64.
 * Pipelines Three, with the names that MLX-style engines give them: v3_4bit and v3_8bit take 8 rows
 *           a task and keep x cached, fast_4bit one row. An engine chooses by
 *           affine_gemv_pipeline; each must also be right on every legal shape of its bits.
 * Numerics  f32; scale*q*x and bias*x may be summed apart. A scale, bias or activation that is not
 *           finite makes the outputs that it enters NaN or infinite, and no others. Where nothing
 *           over- or underflows, 8 times the activations give exactly 8 times the outputs, and
 *           scales and biases of the other sign give exactly the outputs of the other sign. Overflow
 *           is excused where a weight, a |scale*x| or (2^bits - 1) * sum |x| passes half of f32's
 *           range, or the terms of the sum do.
 * Memory    w, x and y aligned to 4 bytes, scales and biases to 2. y overlaps nothing. Every input
 *           is read, every element of y is written.
 * Errors    An illegal shape is refused before any output is written; so is the wrong number of bits
 *           by a pipeline.
 * Threads   y does not depend on their number.
 * Cost      2*out_dim*in_dim flop; out_dim*in_dim*bits/8 + out_dim*in_dim/64*4 + 4*in_dim bytes
 *           read, 4*out_dim written.
 * Source    dequant_matvec of moeflux; MLX's quantized_matmul of a vector, mode "affine",
 *           group_size 64.
 */
#ifndef ASSAY_REF_AFFINE_GEMV_H
#define ASSAY_REF_AFFINE_GEMV_H

#include "ref/affine.h"
#include "ref/op.h"

struct affine_gemv_shape {
    int64_t bits, out_dim, in_dim;
};

struct affine_gemv_args {
    const uint32_t *w;
    const uint16_t *scales, *biases;
    const float *x;
    float *y;
};

/* The largest in_dim that the GPU original of v3_4bit has a cache for. */
#define AFFINE_GEMV_V3_4BIT_MAX 4096

enum affine_gemv_pipeline { AFFINE_GEMV_V3_4BIT, AFFINE_GEMV_FAST_4BIT, AFFINE_GEMV_V3_8BIT };

/* The pipeline that an engine takes for a legal shape. */
static inline enum affine_gemv_pipeline affine_gemv_pipeline(const struct affine_gemv_shape *s)
{
    if (s->bits == 8)
        return AFFINE_GEMV_V3_8BIT;
    return s->in_dim <= AFFINE_GEMV_V3_4BIT_MAX ? AFFINE_GEMV_V3_4BIT : AFFINE_GEMV_FAST_4BIT;
}

/* Why a pipeline cannot run a legal shape, or NULL: `unsupported` of its kernels. */
const char *affine_gemv_not_4bit(const void *shape);
const char *affine_gemv_not_8bit(const void *shape);

extern const struct assay_op affine_gemv_op;
extern const struct assay_kernel affine_gemv_ref; /* sums in double, rounded once */

#endif
