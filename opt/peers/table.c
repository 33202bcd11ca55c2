/* SPDX-License-Identifier: MIT */
#include "opt/peers/engine.h"
#include "opt/peers/kernels.h"

static const struct assay_kernel *const kernels[] = {
    &peer_gemv,        &peer_gemv_packed,        &peer_gemm,        &peer_gemm_packed,
    &peer_gemv_moe_id, &peer_gemv_moe_id_packed, &peer_gemm_moe_id, &peer_gemm_moe_id_packed,
    &peer_moe_ffn,     &peer_moe_ffn_packed,     &peer_dequant,
};

const struct assay_kernels *assay_kernels(void);

__attribute__((visibility("default"))) const struct assay_kernels *assay_kernels(void)
{
    static const struct assay_kernels table = {
        ASSAY_ABI_VERSION, sizeof(kernels) / sizeof(*kernels), ASSAY_PEER_LIBRARY, kernels};
    engine_start();
    return &table;
}
