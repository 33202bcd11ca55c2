/* SPDX-License-Identifier: MIT */
/* The kernels at hand: the project's own, and those of kernel libraries (ref/kernel.h). */
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
    char *label;         /* "q4_K_gemv/avx2-i8"; of a loaded library "q4_K_gemv/LIBRARY:NAME" */
    const char *path;    /* of the shared object as the user gave it; NULL: the project's own */
    const char *missing; /* the CPU feature that it lacks here, or NULL */
    int timeouts;        /* so far in this run */
};

struct kernels {
    size_t count;
    struct kernel *items;
    bool plain; /* labels have no library's name */
};

/* Whether a class can be promised for the op: bits where all outputs are compared so. */
bool op_has_class(const struct assay_op *op, enum assay_numerics numerics);

/* Appends the kernels of the project's own table. Refuses one of another ABI version, or whose
 * kernels name an unknown op, lack a function, promise a
 * class that the op does not have or share a name. `features`: bits of cpu_detect. */
bool kernels_add(struct kernels *kernels, const struct assay_kernels *table, uint32_t features,
                 struct error *error);

/* Loads a shared object and appends its kernels. It is tried in a child process first, so that a
 * constructor that crashes or hangs is an error like the others. It stays loaded. */
bool kernels_open(struct kernels *kernels, const char *path, uint32_t features,
                  struct error *error);

/* The same kernel from a copy of its library that is loaded besides, some pages further. `file` is open
 * on the library. For a child process: what it takes stays taken. NULL: it cannot be. */
const struct assay_kernel *kernel_load_again(int file, const struct kernel *kernel, size_t pages,
                                             struct error *error);

/* Keeps those whose label matches the POSIX extended regular expression; NULL: all. */
bool kernels_select(struct kernels *kernels, const char *regex, struct error *error);

void kernels_free(struct kernels *kernels);

#endif
