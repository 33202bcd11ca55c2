/* SPDX-License-Identifier: MIT */
/* The kernels of the tier avx2: AVX2, FMA, F16C, BMI2. */
#ifndef ASSAY_OPT_AVX2_KERNELS_H
#define ASSAY_OPT_AVX2_KERNELS_H

#include "ref/kernel.h"

extern const struct assay_kernel q4_K_dequant_avx2;
extern const struct assay_kernel q4_K_gemv_avx2_f32;
extern const struct assay_kernel q4_K_gemv_avx2_i8;
extern const struct assay_kernel q4_K_gemv_avx2_i8_packed;
extern const struct assay_kernel q4_K_gemv_avx2_i16;
extern const struct assay_kernel q4_K_gemv_avx2_i16_packed;
extern const struct assay_kernel q4_K_gemv_avx2_i24;
extern const struct assay_kernel q4_K_gemv_avx2_i24_packed;
extern const struct assay_kernel q4_K_gemm_moe_id_avx2_f32;
extern const struct assay_kernel q4_K_gemm_moe_id_avx2_i8;
extern const struct assay_kernel q4_K_gemm_moe_id_avx2_i8_packed;
extern const struct assay_kernel q4_K_gemm_moe_id_avx2_i16;
extern const struct assay_kernel q4_K_gemm_moe_id_avx2_i16_packed;
extern const struct assay_kernel q4_K_gemm_moe_id_avx2_i24;
extern const struct assay_kernel q4_K_gemm_moe_id_avx2_i24_packed;
extern const struct assay_kernel moe_router_topk_softmax_avx2;
extern const struct assay_kernel moe_ids_tpe_avx2;
extern const struct assay_kernel activation_quantize_avx2;
extern const struct assay_kernel silu_mul_avx2;
extern const struct assay_kernel moe_weighted_sum_avx2;
extern const struct assay_kernel q4_K_gemm_moe_id_avx2_f16;
extern const struct assay_kernel q4_K_gemm_avx2_f32;
extern const struct assay_kernel q4_K_gemm_avx2_i8;
extern const struct assay_kernel q4_K_gemm_avx2_i8_packed;
extern const struct assay_kernel q4_K_gemm_avx2_i16;
extern const struct assay_kernel q4_K_gemm_avx2_i16_packed;
extern const struct assay_kernel q4_K_gemm_avx2_i24;
extern const struct assay_kernel q4_K_gemm_avx2_i24_packed;
extern const struct assay_kernel q4_K_gemv_moe_id_avx2_f32;
extern const struct assay_kernel q4_K_gemv_moe_id_avx2_i8;
extern const struct assay_kernel q4_K_gemv_moe_id_avx2_i8_packed;
extern const struct assay_kernel q4_K_gemv_moe_id_avx2_i16;
extern const struct assay_kernel q4_K_gemv_moe_id_avx2_i16_packed;
extern const struct assay_kernel q4_K_gemv_moe_id_avx2_i24;
extern const struct assay_kernel q4_K_gemv_moe_id_avx2_i24_packed;
extern const struct assay_kernel moe_ffn_avx2_f32;
extern const struct assay_kernel moe_ffn_avx2_i8;
extern const struct assay_kernel moe_ffn_avx2_i8_packed;
extern const struct assay_kernel affine_gemv_avx2; /* selects one of the three */
extern const struct assay_kernel affine_gemv_avx2_v3_4bit;
extern const struct assay_kernel affine_gemv_avx2_fast_4bit;
extern const struct assay_kernel affine_gemv_avx2_v3_8bit;

#endif
