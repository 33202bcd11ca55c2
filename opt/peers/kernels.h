/* SPDX-License-Identifier: MIT */
/* The kernels of an engine's library. CMake defines its name, and how its layouts are called. */
#ifndef ASSAY_OPT_PEERS_KERNELS_H
#define ASSAY_OPT_PEERS_KERNELS_H

#include "ref/kernel.h"

#ifndef ASSAY_PEER_LIBRARY
#error "ASSAY_PEER_LIBRARY, ASSAY_PEER_NATIVE and ASSAY_PEER_PACKED must be defined"
#endif

/* A tier that assay does not know: the engine was built for this machine, or it will say so. */
#define PEER_TIER "native"

extern const struct assay_kernel peer_gemv, peer_gemv_packed;
extern const struct assay_kernel peer_gemm, peer_gemm_packed;
extern const struct assay_kernel peer_gemv_moe_id, peer_gemv_moe_id_packed;
extern const struct assay_kernel peer_gemm_moe_id, peer_gemm_moe_id_packed;
extern const struct assay_kernel peer_moe_ffn, peer_moe_ffn_packed;
extern const struct assay_kernel peer_dequant;

#endif
