/* SPDX-License-Identifier: MIT */
#ifndef ASSAY_OPT_KERNELS_H
#define ASSAY_OPT_KERNELS_H

#include "ref/kernel.h"

/* The project's own kernels: the references and every tier that was built in. */
const struct assay_kernels *assay_own_kernels(void);

#endif
