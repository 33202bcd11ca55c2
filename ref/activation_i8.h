/* SPDX-License-Identifier: MIT */
/*
 * Activations of the integer class i8: one int8 digit each, one scale per 256.
 *
 * For a block of 256 activations x with amax = max |x|, all in f32, rne = round half to even:
 *
 *   d    = fl(amax / 127),  inv = fl(127 / amax)
 *   q[i] = rne(fl(x[i] * inv))               -127 <= q <= 127
 *   sums[j] = sum of q over sub-block j      32 elements, |sum| <= 4064
 *
 * amax < 2^-100, zero included: the block counts as zero, d = 0 and q = 0. (127 / amax would
 * overflow below 3.7e-37; 2^-100 leaves room for finer digits and keeps d a normal number.)
 * A NaN or infinity among them: d = NaN and q = 0, so that every output that reads the block
 * becomes NaN and no other does.
 */
#ifndef ASSAY_REF_ACTIVATION_I8_H
#define ASSAY_REF_ACTIVATION_I8_H

#include <stdint.h>

#define ACTIVATION_BLOCK  256
#define ACTIVATION_I8_MAX 127
#define ACTIVATION_TINY   0x1p-100f

struct activation_i8 {
    float d;
    int16_t sums[8];
    int8_t q[ACTIVATION_BLOCK];
};

/* x: 256 f32. The scalar definition; SIMD kernels give the same bits. */
void activation_i8_quantize(const float *x, struct activation_i8 *block);

#endif
