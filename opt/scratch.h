/* SPDX-License-Identifier: MIT */
#ifndef ASSAY_OPT_SCRATCH_H
#define ASSAY_OPT_SCRATCH_H

#include "ref/op.h"

/* Bytes of n elements in scratch, whole cache lines; -1 on overflow. */
static inline int64_t line_bytes(int64_t n, int64_t element_bytes)
{
    int64_t bytes = assay_add(assay_mul(n, element_bytes), ASSAY_BUFFER_ALIGN - 1);
    return bytes < 0 ? -1 : bytes / ASSAY_BUFFER_ALIGN * ASSAY_BUFFER_ALIGN;
}

#endif
