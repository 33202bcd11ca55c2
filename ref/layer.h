/* SPDX-License-Identifier: MIT */
/*
 * How a layer of a mixture-of-experts model lies in a GGUF file: the names that llama.cpp gives its
 * tensors, and how a call's dimensions follow from where a tensor stands in the layer.
 *
 *   blk.N.ffn_gate_inp.weight    [hidden, experts]     the router
 *   blk.N.ffn_gate_exps.weight   [hidden, m, experts]  the token's activations serve all its slots
 *   blk.N.ffn_up_exps.weight     [hidden, m, experts]  the same
 *   blk.N.ffn_down_exps.weight   [m, hidden, experts]  each slot has activations of its own
 *   <architecture>.expert_used_count                   top_k
 */
#ifndef ASSAY_REF_LAYER_H
#define ASSAY_REF_LAYER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ASSAY_LAYER_PREFIX "blk.%lld."
#define ASSAY_LAYER_ROUTER "ffn_gate_inp.weight"
#define ASSAY_LAYER_TOP_K  "expert_used_count"

/* A dimension that an op's shape may have and that a tensor of the layer does not give. */
struct assay_layer_dim {
    const char *tensor; /* its name after the prefix; NULL: of any */
    const char *dim;
    enum { ASSAY_LAYER_IS_TOKENS, ASSAY_LAYER_IS_TOP_K } value;
};

extern const struct assay_layer_dim assay_layer_dims[];
extern const size_t assay_n_layer_dims;

/* Which tensor of the layer an op means that takes several, by the name of the op's own. */
struct assay_layer_weights {
    const char *name, *tensor;
};

extern const struct assay_layer_weights assay_layer_weights[];
extern const size_t assay_n_layer_weights;

/* For how many tokens an engine calls an op; one that is not here, for any number. */
struct assay_layer_call {
    const char *op;
    int64_t min_tokens, max_tokens;
};

extern const struct assay_layer_call assay_layer_calls[];
extern const size_t assay_n_layer_calls;

#endif
