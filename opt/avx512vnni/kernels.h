/* SPDX-License-Identifier: MIT */
/* The kernels of tier avx512vnni: AVX-512 F, BW, DQ, VL, CD, VNNI. */
#ifndef ASSAY_OPT_AVX512VNNI_KERNELS_H
#define ASSAY_OPT_AVX512VNNI_KERNELS_H

#include "ref/kernel.h"

extern const struct assay_kernel q4_K_dequant_avx512vnni;
extern const struct assay_kernel q4_K_gemv_avx512vnni_f32;
extern const struct assay_kernel q4_K_gemv_avx512vnni_i8;
extern const struct assay_kernel q4_K_gemv_avx512vnni_i8_packed;
extern const struct assay_kernel q4_K_gemv_avx512vnni_i16;
extern const struct assay_kernel q4_K_gemv_avx512vnni_i16_packed;
extern const struct assay_kernel q4_K_gemv_avx512vnni_i24;
extern const struct assay_kernel q4_K_gemv_avx512vnni_i24_packed;
extern const struct assay_kernel q4_K_gemm_moe_id_avx512vnni_f32;
extern const struct assay_kernel q4_K_gemm_moe_id_avx512vnni_i8;
extern const struct assay_kernel q4_K_gemm_moe_id_avx512vnni_i8_packed;
extern const struct assay_kernel q4_K_gemm_moe_id_avx512vnni_i16;
extern const struct assay_kernel q4_K_gemm_moe_id_avx512vnni_i16_packed;
extern const struct assay_kernel q4_K_gemm_moe_id_avx512vnni_i24;
extern const struct assay_kernel q4_K_gemm_moe_id_avx512vnni_i24_packed;
extern const struct assay_kernel moe_router_topk_softmax_avx512vnni;
extern const struct assay_kernel moe_ids_tpe_avx512vnni;
extern const struct assay_kernel activation_quantize_avx512vnni;
extern const struct assay_kernel silu_mul_avx512vnni;
extern const struct assay_kernel moe_weighted_sum_avx512vnni;
extern const struct assay_kernel q4_K_gemm_moe_id_avx512vnni_f16;
extern const struct assay_kernel q4_K_gemm_avx512vnni_f32;
extern const struct assay_kernel q4_K_gemm_avx512vnni_i8;
extern const struct assay_kernel q4_K_gemm_avx512vnni_i8_packed;
extern const struct assay_kernel q4_K_gemm_avx512vnni_i16;
extern const struct assay_kernel q4_K_gemm_avx512vnni_i16_packed;
extern const struct assay_kernel q4_K_gemm_avx512vnni_i24;
extern const struct assay_kernel q4_K_gemm_avx512vnni_i24_packed;
extern const struct assay_kernel q4_K_gemv_moe_id_avx512vnni_f32;
extern const struct assay_kernel q4_K_gemv_moe_id_avx512vnni_i8;
extern const struct assay_kernel q4_K_gemv_moe_id_avx512vnni_i8_packed;
extern const struct assay_kernel q4_K_gemv_moe_id_avx512vnni_i16;
extern const struct assay_kernel q4_K_gemv_moe_id_avx512vnni_i16_packed;
extern const struct assay_kernel q4_K_gemv_moe_id_avx512vnni_i24;
extern const struct assay_kernel q4_K_gemv_moe_id_avx512vnni_i24_packed;
extern const struct assay_kernel moe_ffn_avx512vnni_f32;
extern const struct assay_kernel moe_ffn_avx512vnni_i8;
extern const struct assay_kernel moe_ffn_avx512vnni_i8_packed;
extern const struct assay_kernel affine_gemv_avx512vnni; /* selects one of the three */
extern const struct assay_kernel affine_gemv_avx512vnni_v3_4bit;
extern const struct assay_kernel affine_gemv_avx512vnni_fast_4bit;
extern const struct assay_kernel affine_gemv_avx512vnni_v3_8bit;

#endif
