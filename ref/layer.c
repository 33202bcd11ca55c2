/* SPDX-License-Identifier: MIT */
#include "ref/layer.h"

const struct assay_layer_dim assay_layer_dims[] = {
    {NULL, "tokens", ASSAY_LAYER_IS_TOKENS},
    {"ffn_gate_exps.weight", "top_k", ASSAY_LAYER_IS_TOP_K},
    {"ffn_up_exps.weight", "top_k", ASSAY_LAYER_IS_TOP_K},
    {"ffn_down_exps.weight", "top_k", ASSAY_LAYER_IS_TOP_K},
    {"ffn_down_exps.weight", "ne11", ASSAY_LAYER_IS_TOP_K},
};
const size_t assay_n_layer_dims = sizeof(assay_layer_dims) / sizeof(*assay_layer_dims);
