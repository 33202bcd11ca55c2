/* SPDX-License-Identifier: MIT */
/*
 * Affine weights: codes of 4 or 8 bits, and for each 64 of them a bf16 scale and a bf16 bias.
 *
 *   w[i] = scale[i/64] * q[i] + bias[i/64]
 *
 * The codes fill u32 words from the low bits up: element i of 4-bit codes is bits 4*(i%8) and up of
 * word i/8, of 8-bit codes bits 8*(i%4) and up of word i/4. Rows are multiples of 64 long, so that a
 * matrix is a run of groups. Scale and bias may be any bf16; the scale may be negative. Both are
 * exact in f32, and so is scale*q (8 + 8 bits) unless it leaves f32's range.
 * Source: MLX's quantization mode "affine" with group_size 64.
 */
#ifndef ASSAY_REF_AFFINE_H
#define ASSAY_REF_AFFINE_H

#include <stdint.h>

#include "ref/bf16.h"

#define AFFINE_GROUP 64 /* weights that share a scale and a bias */

/* A group, unpacked. */
struct affine_group {
    uint8_t code[AFFINE_GROUP];
    uint16_t scale, bias;
};

/* u32 words of a group. */
static inline int64_t affine_words(int64_t bits)
{
    return AFFINE_GROUP * bits / 32;
}

/* The largest code. */
static inline int affine_levels(int64_t bits)
{
    return (1 << bits) - 1;
}

static inline int affine_code(int64_t bits, const uint32_t *w, int64_t i)
{
    int64_t per_word = 32 / bits;
    return (int)(w[i / per_word] >> (i % per_word * bits)) & affine_levels(bits);
}

/* Writes group g of a run. */
static inline void affine_set_group(int64_t bits, int64_t g, const struct affine_group *group,
                                    uint32_t *w, uint16_t *scales, uint16_t *biases)
{
    int64_t per_word = 32 / bits;
    w += g * affine_words(bits);
    for (int64_t word = 0; word < affine_words(bits); word++) {
        w[word] = 0;
        for (int64_t i = 0; i < per_word; i++)
            w[word] |= (uint32_t)group->code[word * per_word + i] << (i * bits);
    }
    scales[g] = group->scale;
    biases[g] = group->bias;
}

#endif
