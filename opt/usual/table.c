/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "opt/cpu.h"
#include "opt/kernels.h"
#include "opt/usual/usual.h"

const struct assay_kernel *usual_parts[USUAL_PARTS];

static const struct {
    const char *op;
    enum assay_numerics numerics;
} wanted[USUAL_PARTS] = {
    [USUAL_DEQUANT] = {"q4_K_dequant", ASSAY_BITS},
    [USUAL_GEMV] = {"q4_K_gemv", ASSAY_I8},
    [USUAL_ROUTER] = {"moe_router_topk_softmax", ASSAY_F32},
    [USUAL_LISTS] = {"moe_ids_tpe", ASSAY_BITS},
    [USUAL_PRODUCT] = {"q4_K_gemm_moe_id", ASSAY_I8},
    [USUAL_SILU] = {"silu_mul", ASSAY_F32},
    [USUAL_SUM] = {"moe_weighted_sum", ASSAY_F32},
};

/* The table has the references first and the fastest last, tier by tier; within a tier, what packs
 * its weights comes after what does not. */
static const struct assay_kernel *fastest(enum usual_part part)
{
    const struct assay_kernels *own = assay_own_kernels();
    uint32_t features = cpu_detect(), i = own->count;
    while (i-- > 0) {
        const struct assay_kernel *kernel = own->kernels[i];
        if (strcmp(kernel->op, wanted[part].op) == 0 && kernel->numerics == wanted[part].numerics &&
            !kernel->unsupported && !cpu_tier_lacks(kernel->tier, features))
            break;
    }
    return own->kernels[i];
}

static const struct assay_kernel *const kernels[] = {
    &usual_gemv,
    &usual_gemm_moe_id,
    &usual_moe_ffn,
#ifdef ASSAY_USUAL_CXX
    &usual_router,
#endif
};

const struct assay_kernels *assay_kernels(void);

__attribute__((visibility("default"))) const struct assay_kernels *assay_kernels(void)
{
    static const struct assay_kernels table = {
        ASSAY_ABI_VERSION, sizeof(kernels) / sizeof(*kernels), "usual", kernels};
    for (int part = 0; part < USUAL_PARTS; part++)
        usual_parts[part] = fastest((enum usual_part)part);
    return &table;
}
