/* SPDX-License-Identifier: MIT */
#include "ref/q4_K_dot.h"

#include <math.h>

void q4_K_expect(const struct block_q4_K *block, const float *x, struct assay_expected *expected)
{
    float w[Q4_K_BLOCK];
    q4_K_weights(block, w);
    double d = fabs((double)q4_K_f16(block->d));
    double dmin = fabs((double)q4_K_f16(block->dmin));
    double amax = 0, sum_w = 0, sum_w_sq = 0, sum_parts = 0;
    for (int j = 0; j < Q4_K_SUB_BLOCKS; j++) {
        double scale = d * q4_K_scale(block, j);
        double min = dmin * q4_K_min(block, j);
        for (int i = 32 * j; i < 32 * j + 32; i++) {
            double parts = scale * q4_K_nibble(block, i) + min;
            double wi = w[i], xi = x[i], size = fabs(xi);
            expected->value += wi * xi;
            expected->magnitude += parts * size;
            expected->flush += size < 0x1p-126 ? parts * size : 0;
            amax = size > amax ? size : amax;
            sum_w += fabs(wi);
            sum_w_sq += wi * wi;
            sum_parts += parts;
        }
    }
    /* A product and a sum may each fall among the subnormals, or be flushed; so may d*dx of an
     * integer class, which an integer sum below 2^25 then multiplies, and dmin*dx. */
    expected->slack += Q4_K_BLOCK * 0x1p-149;
    expected->flush += Q4_K_BLOCK * 0x1p-125 + 0x1p-100;
    if (amax < (double)ACTIVATION_TINY) {
        expected->flushed += amax * sum_w;
    } else {
        expected->step += amax * sum_w;
        expected->step_sq += amax * amax * sum_w_sq;
        expected->reach += amax * sum_parts;
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
