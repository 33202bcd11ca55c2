/* SPDX-License-Identifier: MIT */
/* The machine, the build and the moment that figures were taken on. */
#ifndef ASSAY_HARNESS_CONTEXT_H
#define ASSAY_HARNESS_CONTEXT_H

#include <stdint.h>

#include "harness/error.h"

struct context {
    char cpu[128];
    char machine[128]; /* kernel, release, architecture */
    int cpus;
    int64_t l1d_bytes, l2_bytes, llc_bytes; /* of one cache; 0: unknown */
    int llcs;                               /* last-level caches; at least 1 */
    int64_t memory_bytes;
    char governor[32]; /* empty: the machine does not say */
    double load;       /* average of the last minute; negative: unknown */
    char features[256];
    char time[32]; /* UTC, ISO 8601 */
};

/* Clock ticks of /proc/stat since boot, for steal time. */
struct ticks {
    double total, steal;
};

bool context_read(struct context *context, uint32_t features, struct error *error);
struct ticks ticks_now(void);

/* Share of the time between that the hypervisor gave to others; negative: unknown. */
double steal_share(struct ticks from, struct ticks to);

extern const char build_commit[];   /* "0123abc", with "-dirty" if the tree was; "unknown" */
extern const char build_compiler[]; /* "GNU 12.2.0" */
extern const char build_compiler_path[];
extern const char build_generator[]; /* CMake's: "Ninja" */
extern const char build_source[];    /* the source tree */
extern const char build_flags[];

#endif
