/* SPDX-License-Identifier: MIT */
/* What the CPU and the operating system let a process execute, and what each tier needs of it. */
#ifndef ASSAY_OPT_CPU_H
#define ASSAY_OPT_CPU_H

#include <stddef.h>
#include <stdint.h>

struct cpu_feature {
    const char *name;
    uint32_t bit;
};

struct cpu_tier {
    const char *name;
    uint32_t needs; /* bits of features */
};

extern const struct cpu_feature cpu_features[];
extern const size_t cpu_n_features;
extern const struct cpu_tier cpu_tiers[];
extern const size_t cpu_n_tiers;

/* Bits of the features that both the CPU has and the operating system saves the registers of. */
uint32_t cpu_detect(void);

/* Name of the first feature that the tier needs and `features` lacks, or NULL. A tier that is not
 * in the table needs nothing: its library knows. */
const char *cpu_tier_lacks(const char *tier, uint32_t features);

#endif
