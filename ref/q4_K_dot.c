/* SPDX-License-Identifier: MIT */
#include "ref/q4_K_dot.h"

#include <math.h>

void q4_K_expand(const struct block_q4_K *block, enum assay_numerics numerics,
                 struct q4_K_expanded *expanded)
{
    float w[Q4_K_BLOCK];
    q4_K_weights(block, w);
    double d = fabs((double)q4_K_f16(block->d));
    double dmin = fabs((double)q4_K_f16(block->dmin));
    expanded->sum_w = expanded->sum_w_sq = expanded->sum_parts = 0;
    for (int i = 0; i < Q4_K_BLOCK; i++) {
        int j = i / Q4_K_SUB_BLOCK;
        double wi = w[i];
        double parts = d * q4_K_scale(block, j) * q4_K_nibble(block, i) + dmin * q4_K_min(block, j);
        if (numerics == ASSAY_F16) {
            wi = assay_round_to_f16(w[i]);
            parts = fabs(wi);
        }
        expanded->w[i] = wi;
        expanded->parts[i] = parts;
        expanded->sum_w += fabs(wi);
        expanded->sum_w_sq += wi * wi;
        expanded->sum_parts += parts;
    }
}

/* Products of two f16 are exact in f32, and multiples of 2^-48: nothing underflows. */
static void expect_f16(const struct q4_K_expanded *block, const float *x,
                       struct assay_expected *expected)
{
    for (int i = 0; i < Q4_K_BLOCK; i++) {
        double xi = assay_round_to_f16(x[i]);
        expected->value += block->w[i] * xi;
        expected->magnitude += block->parts[i] * fabs(xi);
    }
}

void q4_K_expect(const struct q4_K_expanded *block, const float *x, enum assay_numerics numerics,
                 struct assay_expected *expected)
{
    if (numerics == ASSAY_F16) {
        expect_f16(block, x, expected);
        return;
    }
    double amax = 0;
    for (int i = 0; i < Q4_K_BLOCK; i++) {
        double xi = x[i], size = fabs(xi), term = block->parts[i] * size;
        expected->value += block->w[i] * xi;
        expected->magnitude += term;
        expected->terms_sq += term * term;
        expected->flush += size < 0x1p-126 ? term : 0;
        amax = size > amax ? size : amax;
    }
    /* A product and a sum may each fall among the subnormals, or be flushed; so may, for
     * each of up to three digits, d*dx of an integer class, which an integer sum below 2^25 then
     * multiplies, and dmin*dx. */
    expected->slack += Q4_K_BLOCK * 0x1p-149;
    expected->flush += Q4_K_BLOCK * 0x1p-125 + 0x1p-99;
    if (amax < (double)ACTIVATION_TINY) {
        expected->flushed += amax * block->sum_w;
    } else {
        expected->step += amax * block->sum_w;
        expected->step_sq += amax * amax * block->sum_w_sq;
        expected->reach += amax * block->sum_parts;
    }
}

float q4_K_add_i8(const struct block_q4_K *block, const struct activation_i8 *x, float acc)
{
    int32_t isum = 0, msum = 0;
    for (int j = 0; j < Q4_K_SUB_BLOCKS; j++) {
        int32_t dot = 0;
        for (int i = 32 * j; i < 32 * j + 32; i++)
            dot += q4_K_nibble(block, i) * x->q[i];
        isum += q4_K_scale(block, j) * dot;
        msum += q4_K_min(block, j) * x->sums[j];
    }
    float t = fmaf(-q4_K_f16(block->dmin), (float)msum, q4_K_f16(block->d) * (float)isum);
    return fmaf(t, x->d, acc);
}
