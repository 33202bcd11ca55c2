/* SPDX-License-Identifier: MIT */
/* The kernels at hand, from the project's own table and from others of the same layout. */
#ifndef ASSAY_HARNESS_LIBRARY_H
#define ASSAY_HARNESS_LIBRARY_H

#include <stddef.h>
#include <stdint.h>

#include "harness/error.h"
#include "ref/op.h"

struct kernel {
    const struct assay_kernel *abi;
    const struct assay_op *op;
    const char *library;
    char *label;         /* "q4_K_gemv/avx2-i8" */
    const char *missing; /* the CPU feature that it lacks here, or NULL */
};

struct kernels {
    size_t count;
    struct kernel *items;
};

/* Appends the kernels of a table. Refuses one of another ABI version, or whose kernels name an
 * unknown op, lack a function or share a name. `features`: bits of cpu_detect. */
bool kernels_add(struct kernels *kernels, const struct assay_kernels *table, uint32_t features,
                 struct error *error);

/* Keeps those whose label matches the POSIX extended regular expression; NULL: all. */
bool kernels_select(struct kernels *kernels, const char *regex, struct error *error);

void kernels_free(struct kernels *kernels);

#endif
