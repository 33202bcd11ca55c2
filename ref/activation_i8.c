/* SPDX-License-Identifier: MIT */
#include "ref/activation_i8.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

void activation_i8_quantize(const float *x, struct activation_i8 *block)
{
    float amax = 0;
    bool finite = true;
    for (int i = 0; i < ACTIVATION_BLOCK; i++) {
        finite = finite && isfinite(x[i]);
        amax = fabsf(x[i]) > amax ? fabsf(x[i]) : amax;
    }
    memset(block, 0, sizeof(*block));
    if (!finite) {
        block->d = NAN;
        return;
    }
    if (amax < ACTIVATION_TINY)
        return;
    block->d = amax / ACTIVATION_I8_MAX;
    float inv = ACTIVATION_I8_MAX / amax;
    for (int i = 0; i < ACTIVATION_BLOCK; i++) {
        block->q[i] = (int8_t)rintf(x[i] * inv);
        block->sums[i / 32] = (int16_t)(block->sums[i / 32] + block->q[i]);
    }
}
