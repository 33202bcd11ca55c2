/* SPDX-License-Identifier: MIT */
/* Products with Q4_K weights: a graph of one mul_mat or mul_mat_id. */
#ifndef ASSAY_OPT_PEERS_PRODUCT_H
#define ASSAY_OPT_PEERS_PRODUCT_H

#include "opt/peers/graph.h"

/* src [tokens, ne11, k] times the matrices that ids [tokens, top_k] name, or times the only one, to
 * dst [tokens, top_k, m]. */
struct product {
    struct weights weights;
    enum layout layout;
    int64_t top_k, ne11, tokens;
    const void *w;
    const float *src;
    const int32_t *ids; /* below 0 or not below `experts`: that row of dst is not wanted */
    float *dst;
};

/* Computes, or only counts what it takes. */
const char *product_run(const struct product *product, int threads, struct space *space);

/* More than the roundings on the longest path: some engine sums one f32 for each 32 weights, over up
 * to 16 lanes, and scales twice. */
static inline int64_t product_depth(int64_t k)
{
    return k / 32 + 24;
}

#endif
