/* SPDX-License-Identifier: MIT */
#include "opt/moe_ffn.h"

#include "opt/avx512vnni/kernels.h"
#include "opt/avx512vnni/silu_mul.h"
#include "opt/avx512vnni/tier.h"

MOE_FFN_KERNELS(avx512vnni)
