/* SPDX-License-Identifier: MIT */
#include "opt/moe_ffn.h"

#include "opt/avx2/kernels.h"
#include "opt/avx2/silu_mul.h"
#include "opt/avx2/tier.h"

MOE_FFN_KERNELS(avx2)
