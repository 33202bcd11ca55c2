/* SPDX-License-Identifier: MIT */
/*
 * An engine's graph for one call, made in the caller's scratch and thrown away. Tensors point to the
 * call's buffers; what lies between nodes and the engine's work buffer come from scratch too. How
 * much that takes is found by making the same graph over a space that is only counted.
 */
#ifndef ASSAY_OPT_PEERS_GRAPH_H
#define ASSAY_OPT_PEERS_GRAPH_H

#include "opt/peers/engine.h"

/* Scratch, taken from its start; with base NULL it is only counted. */
struct space {
    uint8_t *base;
    int64_t used; /* -1: the sizes overflow */
};

/* The next count * bytes, aligned to ASSAY_BUFFER_ALIGN; NULL if the space is only counted. */
void *space_take(struct space *space, int64_t count, int64_t bytes);

/* A context for a graph of at most so many tensors, views included. NULL if the engine has none
 * left. */
struct ggml_context *graph_open(struct space *space, int tensors);

/* An input. */
struct ggml_tensor *graph_f32(struct ggml_context *context, int64_t ne0, int64_t ne1, int64_t ne2,
                              const float *data);
struct ggml_tensor *graph_i32(struct ggml_context *context, int64_t ne0, int64_t ne1,
                              const int32_t *data);

/* Computes `result` into `out`, or only counts, and frees the context. Returns NULL, or why it did
 * not. */
const char *graph_compute(struct ggml_context *context, int tensors, struct ggml_tensor *result,
                          float *out, int threads, struct space *space);

#endif
