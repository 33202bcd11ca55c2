/* SPDX-License-Identifier: MIT */
/*
 * Activations of the integer classes: one, two or three balanced int8 digits each, one scale per
 * 256. Every digit is an activation of its own to an int8 kernel, a virtual token: it has its
 * scale, its digits and their sums.
 *
 * For a block of 256 activations x with amax = max |x|, all in f32, rne = round half to even,
 * top = 127, 32638 or 8355000 for 1, 2 or 3 digits:
 *
 *   step = fl(amax / top),  inv = fl(top / amax)
 *   Q[i] = rne(fl(x[i] * inv)) = sum over digits j of q[j][i] * 256^(digits-1-j)
 *   -128 <= q[j][i] <= 127, the first digit is the largest; one digit is never -128
 *   d[j] = step * 256^(digits-1-j)             exact
 *   sums[j][s] = sum of q[j] over sub-block s  32 elements, |sum| <= 4096
 *
 * The digits exist: n balanced ones make every integer from -128*(256^n-1)/255 to
 * 127*(256^n-1)/255, that is to 127, 32639 or 8355711. |x*inv| rounds to no more than
 * top*(1 + 2^-24)^2 in all, so |Q| <= top + 1 in three digits (2^-23 * 8355000 < 1) and top in
 * fewer: all below. Nor does d overflow: the first is amax / 127.5 at most.
 *
 * amax < 2^-100, zero included: the block counts as zero, d = 0 and q = 0. (top / amax would
 * overflow below 2^-105; amax / top stays a normal number.) A NaN or infinity among them: d = NaN
 * and q = 0, so that every output that reads the block becomes NaN and no other does.
 */
#ifndef ASSAY_REF_ACTIVATION_I8_H
#define ASSAY_REF_ACTIVATION_I8_H

#include <stdint.h>

#define ACTIVATION_BLOCK      256
#define ACTIVATION_MAX_DIGITS 3
#define ACTIVATION_I8_MAX     127
#define ACTIVATION_I16_MAX    32638
#define ACTIVATION_I24_MAX    8355000
#define ACTIVATION_TINY       0x1p-100f

struct activation_i8 {
    float d;
    int16_t sums[8];
    int8_t q[ACTIVATION_BLOCK];
};

/* `top` above. */
static inline float activation_top(int digits)
{
    return digits == 1 ? ACTIVATION_I8_MAX : digits == 2 ? ACTIVATION_I16_MAX : ACTIVATION_I24_MAX;
}

/* x: 256 f32; blocks: one for each digit. The scalar definition; SIMD kernels give the same
 * bits. */
void activation_quantize_block(const float *x, int digits, struct activation_i8 *blocks);

/* Class i8: one digit. */
static inline void activation_i8_quantize(const float *x, struct activation_i8 *block)
{
    activation_quantize_block(x, 1, block);
}

#endif
