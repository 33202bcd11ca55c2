/* SPDX-License-Identifier: MIT */
/*
 * block_q4_K: 256 weights in 144 bytes, little-endian.
 *
 *   offset  field       meaning
 *   0       f16 d       scale of the scales
 *   2       f16 dmin    scale of the mins
 *   4       u8 s[12]    eight 6-bit scales sc[j] and eight 6-bit mins m[j]
 *   16      u8 qs[128]  256 nibbles q[i]
 *
 * Sub-block j holds elements 32j .. 32j+31. Element i of sub-block j = i/32 is a nibble of byte
 * qs[32*(j/2) + i%32]: the low one for even j, the high one for odd j. Its value is
 *
 *   w = fl( fl(d*sc[j]) * q - fl(dmin*m[j]) )
 *
 * All products are exact in f32 (11 + 6 + 4 bits), so only the subtraction rounds, and a fused
 * multiply-subtract gives the same bits. d and dmin may be any f16.
 * Source: the format of llama.cpp's GGUF type Q4_K.
 */
#ifndef ASSAY_REF_Q4_K_H
#define ASSAY_REF_Q4_K_H

#include <stdint.h>

#include "ref/f16.h"

#define Q4_K_BLOCK      256 /* weights of a super-block */
#define Q4_K_SUB_BLOCK  32  /* weights that share a scale and a min */
#define Q4_K_SUB_BLOCKS 8

struct block_q4_K {
    uint8_t d[2];
    uint8_t dmin[2];
    uint8_t s[12];
    uint8_t qs[128];
};

#define Q4_K_BLOCK_BYTES 144

static inline float q4_K_f16(const uint8_t half[2])
{
    return assay_f16_to_f32((uint16_t)(half[0] | half[1] << 8));
}

static inline int q4_K_scale(const struct block_q4_K *block, int j)
{
    const uint8_t *s = block->s;
    return j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
}

static inline int q4_K_min(const struct block_q4_K *block, int j)
{
    const uint8_t *s = block->s;
    return j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | (s[j] >> 6) << 4;
}

static inline int q4_K_nibble(const struct block_q4_K *block, int i)
{
    int j = i / Q4_K_SUB_BLOCK;
    int byte = block->qs[32 * (j / 2) + i % 32];
    return j % 2 == 0 ? byte & 15 : byte >> 4;
}

/* Packs scale and min of sub-block j, both 0..63, into s[12], which must be zero there. */
static inline void q4_K_set_scale_min(struct block_q4_K *block, int j, int scale, int min)
{
    uint8_t *s = block->s;
    if (j < 4) {
        s[j] |= (uint8_t)scale;
        s[j + 4] |= (uint8_t)min;
    } else {
        s[j + 4] |= (uint8_t)((scale & 15) | (min & 15) << 4);
        s[j - 4] |= (uint8_t)((scale >> 4) << 6);
        s[j] |= (uint8_t)((min >> 4) << 6);
    }
}

static inline void q4_K_set_f16(uint8_t half[2], uint16_t bits)
{
    half[0] = (uint8_t)bits;
    half[1] = (uint8_t)(bits >> 8);
}

/* The 256 weights of a block. */
static inline void q4_K_weights(const struct block_q4_K *block, float w[Q4_K_BLOCK])
{
    float d = q4_K_f16(block->d);
    float dmin = q4_K_f16(block->dmin);
    for (int i = 0; i < Q4_K_BLOCK; i++) {
        int j = i / Q4_K_SUB_BLOCK;
        float scale = d * (float)q4_K_scale(block, j);
        float min = dmin * (float)q4_K_min(block, j);
        w[i] = scale * (float)q4_K_nibble(block, i) - min;
    }
}

#endif
