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

const struct assay_layer_weights assay_layer_weights[] = {
    {"gate", "ffn_gate_exps.weight"},
    {"up", "ffn_up_exps.weight"},
    {"down", "ffn_down_exps.weight"},
};
const size_t assay_n_layer_weights = sizeof(assay_layer_weights) / sizeof(*assay_layer_weights);

const struct assay_layer_call assay_layer_calls[] = {
    {"q4_K_gemv_moe_id", 1, 1},
    {"q4_K_gemm_moe_id", 2, INT64_MAX},
    {"q4_K_gemm", 2, INT64_MAX},
};
const size_t assay_n_layer_calls = sizeof(assay_layer_calls) / sizeof(*assay_layer_calls);
