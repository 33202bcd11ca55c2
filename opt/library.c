/* SPDX-License-Identifier: MIT */
/* The project's own kernels as a kernel library, for engines and for other builds of assay. */
#include "opt/kernels.h"

__attribute__((visibility("default"))) const struct assay_kernels *assay_kernels(void);

const struct assay_kernels *assay_kernels(void)
{
    return assay_own_kernels();
}
