/* SPDX-License-Identifier: MIT */
/*
 * Inputs that several ops share.
 *
 * exact  Small integers times powers of two, such that every partial sum of a dot product of
 *        weights and activations is a multiple of one unit and below 2^24 of them: exact in f32 in
 *        any order, and exact in class i8, whose activation scale is a power of two.
 * model  Weights: draws from a pool of super-blocks that the reference quantizer made of Gaussian
 *        and heavy-tailed rows. Activations: Gaussian with channels 20 times larger.
 * edge   Weights: all classes of f16 for d and dmin, saturated and single-nibble blocks, a
 *        non-finite d or dmin in one row of 16. Activations: zeros of both signs, subnormals,
 *        +-65504 to 1e30, one-hot blocks; NaN or infinity in three rows of 16, not in an only row.
 *        16 rows have every kind of block, and every kind of block has a row of W that is zero
 *        elsewhere if there are enough.
 */
#ifndef ASSAY_REF_FILL_H
#define ASSAY_REF_FILL_H

#include "ref/op.h"
#include "ref/q4_K.h"

/* w: rows x k/256 blocks. False: out of memory. */
bool fill_q4_K(enum assay_fill_kind kind, int64_t rows, int64_t k, struct block_q4_K *w,
               struct assay_random *random);

/* Edge weights of a run of blocks, whose coverage is no matter of luck:
 *   1 block      has weights that are not all zero
 *   512 blocks   each nibble was the only one that is not 0, as 1 and as 8
 *   4096 blocks  each pair of scale and min was in each of the 8 sub-blocks
 *   65536        each f16 was d and was dmin; the finite ones beside a finite one */
void fill_q4_K_covering(int64_t blocks, struct block_q4_K *w, struct assay_random *random);

/* Affine weights (ref/affine.h) of `rows` x `in`. exact: scales of +-2^-4 or 2^-5; model: draws from
 * groups that the reference quantizer made; edge: all classes of bf16, as above, group by group. False:
 * out of memory. */
bool fill_affine(enum assay_fill_kind kind, int64_t bits, int64_t rows, int64_t in, uint32_t *w,
                 uint16_t *scales, uint16_t *biases, struct assay_random *random);

/* x: rows x k f32. */
void fill_activations(enum assay_fill_kind kind, int64_t rows, int64_t k, float *x,
                      struct assay_random *random);

/* The same for weights whose blocks are of `block` elements instead of 256; k is a multiple. */
void fill_activation_blocks(enum assay_fill_kind kind, int64_t rows, int64_t k, int64_t block,
                            float *x, struct assay_random *random);

/* Bytes before a tensor's offset: block headers with d = NaN, so that a read there shows. */
void fill_prefix(uint8_t *bytes, int64_t count);

/* selected: tokens x top_k expert ids, by fill->routing. False: out of memory. */
bool fill_routing(const struct assay_fill *fill, int64_t experts, int64_t tokens, int64_t top_k,
                  int32_t *selected, struct assay_random *random);

/* logits[e] = row e of fill->router times x, in double. */
void router_logits(const struct assay_fill *fill, int64_t experts, const float *x, double *logits);

/* The top_k of the experts with the largest router * x, the first of equals first; NaN counts as
 * -infinity. logits: experts, working memory. */
void route_by_router(const struct assay_fill *fill, int64_t experts, int64_t top_k, const float *x,
                     double *logits, int32_t *selected);

/* Zeroes all of x [rows, k] but block `part` of 256 of each row; false if there is no such block. x
 * may be NULL. */
bool isolate_activations(int64_t rows, int64_t k, float *x, int64_t part);

/* The same for blocks of `block` elements. */
bool isolate_activation_blocks(int64_t rows, int64_t k, int64_t block, float *x, int64_t part);

#endif
