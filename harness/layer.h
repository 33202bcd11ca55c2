/* SPDX-License-Identifier: MIT */
/* The cases of one layer of a model file, as ref/layer.h says where its tensors are. */
#ifndef ASSAY_HARNESS_LAYER_H
#define ASSAY_HARNESS_LAYER_H

#include "harness/case.h"

enum { LAYER_TOKENS_MAX = 16 };

/* Which layer, and the numbers of tokens to try. */
struct model_layer {
    int64_t index;
    size_t n_tokens;
    int64_t tokens[LAYER_TOKENS_MAX];
};

/* Is told of each tensor of the layer that no case uses, or that an op cannot use, and why. */
typedef void layer_skipped(const struct gguf_tensor *tensor, const char *why);

/* Appends a case for every op that can use a tensor of the layer, and every number of tokens. */
bool layer_cases(const struct gguf *gguf, const struct model_layer *layer, struct cases *cases,
                 layer_skipped *skipped, struct error *error);

#endif
