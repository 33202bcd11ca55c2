/* SPDX-License-Identifier: MIT */
/*
 * What ggml.c and ik.c do, each for its engine. All else is written against the part of ggml's API
 * that both engines have, and is compiled once against the headers of each.
 */
#ifndef ASSAY_OPT_PEERS_ENGINE_H
#define ASSAY_OPT_PEERS_ENGINE_H

#include <ggml.h>
#if __has_include(<ggml-cpu.h>) /* where ggml declares its plans */
#include <ggml-cpu.h>
#endif
#include <stdbool.h>
#include <stdint.h>

#include "ref/kernel.h"

/* Makes the engine's tables, once and before all else. Starts no threads. */
void engine_start(void);

/* How an engine holds Q4_K weights: as in a GGUF file, or as it rearranges them at load. */
enum layout { NATIVE, PACKED };

/* Matrices [experts, m, k]; experts 0: one that does not belong to experts. */
struct weights {
    int64_t experts, m, k;
};

static inline int64_t weights_bytes(const struct weights *weights)
{
    int64_t matrices = weights->experts == 0 ? 1 : weights->experts, rows, bytes;
    if (__builtin_mul_overflow(matrices, weights->m, &rows) ||
        __builtin_mul_overflow(rows, (int64_t)ggml_row_size(GGML_TYPE_Q4_K, weights->k), &bytes))
        return -1;
    return bytes;
}

/* Why the engine would not rearrange such matrices, or NULL. */
const char *engine_cannot_pack(const struct weights *weights);

/* Rearranges native weights as the engine does at load, into as many bytes. */
void engine_pack(const struct weights *weights, const void *native, void *packed);

/* The tensor of the weights at `data`. */
struct ggml_tensor *engine_weights(struct ggml_context *context, const struct weights *weights,
                                   enum layout layout, const void *data);

struct ggml_cplan engine_plan(struct ggml_cgraph *graph, int threads);
enum ggml_status engine_compute(struct ggml_cgraph *graph, struct ggml_cplan *plan);

/* Blocks of Q4_K to n floats. */
void engine_dequantize(const void *w, float *y, int64_t n);

/* Parts of a layer, as the engine's own model builder makes them. */
struct ggml_tensor *engine_top_k(struct ggml_context *context, struct ggml_tensor *probabilities,
                                 int top_k);
struct ggml_tensor *engine_gate_up(struct ggml_context *context, struct ggml_tensor *gate,
                                   struct ggml_tensor *up, struct ggml_tensor *x,
                                   struct ggml_tensor *ids);
struct ggml_tensor *engine_combine(struct ggml_context *context, struct ggml_tensor *rows,
                                   struct ggml_tensor *weights);

#endif
