/* SPDX-License-Identifier: MIT */
#include "opt/kernels.h"

#include "ref/activation_quantize.h"
#include "ref/affine_gemv.h"
#include "ref/affine_quantize.h"
#include "ref/moe_ffn.h"
#include "ref/moe_ids_tpe.h"
#include "ref/moe_router_topk_softmax.h"
#include "ref/moe_weighted_sum.h"
#include "ref/q4_K_dequant.h"
#include "ref/q4_K_gemm.h"
#include "ref/q4_K_gemm_moe_id.h"
#include "ref/q4_K_gemv.h"
#include "ref/q4_K_gemv_moe_id.h"
#include "ref/q4_K_quantize.h"
#include "ref/silu_mul.h"

#if ASSAY_TIER_AVX2
#include "opt/avx2/kernels.h"
#endif
#if ASSAY_TIER_AVX512VNNI
#include "opt/avx512vnni/kernels.h"
#endif

static const struct assay_kernel *const own[] = {
    &q4_K_dequant_ref,
    &q4_K_quantize_ref,
    &q4_K_gemv_ref,
    &q4_K_gemv_ref_i8,
    &q4_K_gemv_ref_i16,
    &q4_K_gemv_ref_i24,
    &q4_K_gemm_moe_id_ref,
    &q4_K_gemm_moe_id_ref_i8,
    &q4_K_gemm_moe_id_ref_i16,
    &q4_K_gemm_moe_id_ref_i24,
    &moe_router_topk_softmax_ref,
    &moe_ids_tpe_ref,
    &activation_quantize_ref,
    &silu_mul_ref,
    &moe_weighted_sum_ref,
    &q4_K_gemm_ref,
    &q4_K_gemm_ref_i8,
    &q4_K_gemm_ref_i16,
    &q4_K_gemm_ref_i24,
    &q4_K_gemv_moe_id_ref,
    &q4_K_gemv_moe_id_ref_i8,
    &q4_K_gemv_moe_id_ref_i16,
    &q4_K_gemv_moe_id_ref_i24,
    &moe_ffn_ref,
    &moe_ffn_ref_i8,
    &affine_gemv_ref,
    &affine_quantize_ref,
#if ASSAY_TIER_AVX2
    &q4_K_dequant_avx2,
    &q4_K_gemv_avx2_f32,
    &q4_K_gemv_avx2_i8,
    &q4_K_gemv_avx2_i8_packed,
    &q4_K_gemv_avx2_i16,
    &q4_K_gemv_avx2_i16_packed,
    &q4_K_gemv_avx2_i24,
    &q4_K_gemv_avx2_i24_packed,
    &q4_K_gemm_moe_id_avx2_f32,
    &q4_K_gemm_moe_id_avx2_i8,
    &q4_K_gemm_moe_id_avx2_i8_packed,
    &q4_K_gemm_moe_id_avx2_i16,
    &q4_K_gemm_moe_id_avx2_i16_packed,
    &q4_K_gemm_moe_id_avx2_i24,
    &q4_K_gemm_moe_id_avx2_i24_packed,
    &moe_router_topk_softmax_avx2,
    &moe_ids_tpe_avx2,
    &activation_quantize_avx2,
    &moe_ffn_avx2_f32,
    &moe_ffn_avx2_i8,
    &moe_ffn_avx2_i8_packed,
    &silu_mul_avx2,
    &moe_weighted_sum_avx2,
    &q4_K_gemm_moe_id_avx2_f16,
    &q4_K_gemm_avx2_f32,
    &q4_K_gemm_avx2_i8,
    &q4_K_gemm_avx2_i8_packed,
    &q4_K_gemm_avx2_i16,
    &q4_K_gemm_avx2_i16_packed,
    &q4_K_gemm_avx2_i24,
    &q4_K_gemm_avx2_i24_packed,
    &q4_K_gemv_moe_id_avx2_f32,
    &q4_K_gemv_moe_id_avx2_i8,
    &q4_K_gemv_moe_id_avx2_i8_packed,
    &q4_K_gemv_moe_id_avx2_i16,
    &q4_K_gemv_moe_id_avx2_i16_packed,
    &q4_K_gemv_moe_id_avx2_i24,
    &q4_K_gemv_moe_id_avx2_i24_packed,
    &affine_gemv_avx2,
    &affine_gemv_avx2_v3_4bit,
    &affine_gemv_avx2_fast_4bit,
    &affine_gemv_avx2_v3_8bit,
#endif
#if ASSAY_TIER_AVX512VNNI
    &q4_K_dequant_avx512vnni,
    &q4_K_gemv_avx512vnni_f32,
    &q4_K_gemv_avx512vnni_i8,
    &q4_K_gemv_avx512vnni_i8_packed,
    &q4_K_gemv_avx512vnni_i16,
    &q4_K_gemv_avx512vnni_i16_packed,
    &q4_K_gemv_avx512vnni_i24,
    &q4_K_gemv_avx512vnni_i24_packed,
    &q4_K_gemm_moe_id_avx512vnni_f32,
    &q4_K_gemm_moe_id_avx512vnni_i8,
    &q4_K_gemm_moe_id_avx512vnni_i8_packed,
    &q4_K_gemm_moe_id_avx512vnni_i16,
    &q4_K_gemm_moe_id_avx512vnni_i16_packed,
    &q4_K_gemm_moe_id_avx512vnni_i24,
    &q4_K_gemm_moe_id_avx512vnni_i24_packed,
    &moe_router_topk_softmax_avx512vnni,
    &moe_ids_tpe_avx512vnni,
    &activation_quantize_avx512vnni,
    &moe_ffn_avx512vnni_f32,
    &moe_ffn_avx512vnni_i8,
    &moe_ffn_avx512vnni_i8_packed,
    &silu_mul_avx512vnni,
    &moe_weighted_sum_avx512vnni,
    &q4_K_gemm_moe_id_avx512vnni_f16,
    &q4_K_gemm_avx512vnni_f32,
    &q4_K_gemm_avx512vnni_i8,
    &q4_K_gemm_avx512vnni_i8_packed,
    &q4_K_gemm_avx512vnni_i16,
    &q4_K_gemm_avx512vnni_i16_packed,
    &q4_K_gemm_avx512vnni_i24,
    &q4_K_gemm_avx512vnni_i24_packed,
    &q4_K_gemv_moe_id_avx512vnni_f32,
    &q4_K_gemv_moe_id_avx512vnni_i8,
    &q4_K_gemv_moe_id_avx512vnni_i8_packed,
    &q4_K_gemv_moe_id_avx512vnni_i16,
    &q4_K_gemv_moe_id_avx512vnni_i16_packed,
    &q4_K_gemv_moe_id_avx512vnni_i24,
    &q4_K_gemv_moe_id_avx512vnni_i24_packed,
    &affine_gemv_avx512vnni,
    &affine_gemv_avx512vnni_v3_4bit,
    &affine_gemv_avx512vnni_fast_4bit,
    &affine_gemv_avx512vnni_v3_8bit,
#endif
};

const struct assay_kernels *assay_own_kernels(void)
{
    static const struct assay_kernels table = {
        .abi_version = ASSAY_ABI_VERSION,
        .count = sizeof(own) / sizeof(*own),
        .library = "assay",
        .kernels = own,
    };
    return &table;
}
