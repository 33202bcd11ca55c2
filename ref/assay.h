/* SPDX-License-Identifier: MIT */
/* All that a kernel library includes: the ABI, and every op's contract with its structs. */
#ifndef ASSAY_REF_ASSAY_H
#define ASSAY_REF_ASSAY_H

#include "ref/activation_quantize.h"
#include "ref/kernel.h"
#include "ref/moe_ids_tpe.h"
#include "ref/moe_router_topk_softmax.h"
#include "ref/moe_weighted_sum.h"
#include "ref/q4_K.h"
#include "ref/q4_K_dequant.h"
#include "ref/q4_K_gemm.h"
#include "ref/q4_K_gemm_moe_id.h"
#include "ref/q4_K_gemv.h"
#include "ref/q4_K_gemv_moe_id.h"
#include "ref/q4_K_quantize.h"
#include "ref/silu_mul.h"

#endif
