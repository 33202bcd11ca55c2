/* SPDX-License-Identifier: MIT */
/* Loops that do one thing as fast as a tier can, to find out what this machine's best is. A loop
 * cannot be optimized away; its caller times it. */
#ifndef ASSAY_OPT_PROBES_H
#define ASSAY_OPT_PROBES_H

#include <stddef.h>
#include <stdint.h>

/* Sizes of memory are multiples of this, and so are addresses. */
#define PROBE_BYTES 1024

/* C without a tier, which always runs. */
#define PROBES_PORTABLE "portable"

struct probes {
    const char *tier; /* as in cpu_tiers, or PROBES_PORTABLE */

    /* Multiply-adds of f32, and of int8 into int32 with exact sums for weights of up to 4 bits, in
     * registers, as many as take about `cycles`. They return how many operations they did; a
     * multiply-add is two. */
    double (*f32)(double cycles);
    double (*int8)(double cycles);

    /* So many passes over memory. */
    void (*read)(const void *from, size_t bytes, int64_t passes);
    void (*store)(void *to, size_t bytes, int64_t passes);
    void (*nt_store)(void *to, size_t bytes, int64_t passes); /* past the caches; NULL: cannot */
    void (*copy)(void *to, const void *from, size_t bytes, int64_t passes);
};

/* The portable ones first, then those of the tiers that were built, narrow to wide. */
extern const struct probes *const probes[];
extern const size_t n_probes;

#endif
