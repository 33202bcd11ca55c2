/* SPDX-License-Identifier: MIT */
#include "ref/activation_i8.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* The digit of lowest value. */
static int32_t last_digit(int32_t q)
{
    return ((q + 128) & 255) - 128;
}

void activation_quantize_block(const float *x, int digits, struct activation_i8 *blocks)
{
    float amax = 0;
    bool finite = true;
    for (int i = 0; i < ACTIVATION_BLOCK; i++) {
        finite = finite && isfinite(x[i]);
        amax = fabsf(x[i]) > amax ? fabsf(x[i]) : amax;
    }
    memset(blocks, 0, (size_t)digits * sizeof(*blocks));
    for (int j = 0; j < digits && !finite; j++)
        blocks[j].d = NAN;
    if (!finite || amax < ACTIVATION_TINY)
        return;
    float step = amax / activation_top(digits), inv = activation_top(digits) / amax;
    for (int j = 0; j < digits; j++)
        blocks[j].d = ldexpf(step, 8 * (digits - 1 - j));
    for (int i = 0; i < ACTIVATION_BLOCK; i++) {
        int32_t q = (int32_t)rintf(x[i] * inv);
        for (int j = digits - 1; j >= 0; j--) {
            int32_t digit = last_digit(q);
            blocks[j].q[i] = (int8_t)digit;
            blocks[j].sums[i / 32] = (int16_t)(blocks[j].sums[i / 32] + digit);
            q = (q - digit) / 256;
        }
    }
}
