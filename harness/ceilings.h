/* SPDX-License-Identifier: MIT */
/*
 * What this machine can do at most, and which of it limits a kernel.
 *
 * A ceiling is the best of many short samples, which are spread over the whole measurement since a
 * shared machine has bad seconds. It is a rate that was seen, so a time below what it allows means
 * that the work was counted wrongly, or that the machine has become better: measure again.
 */
#ifndef ASSAY_HARNESS_CEILINGS_H
#define ASSAY_HARNESS_CEILINGS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "harness/context.h"
#include "harness/error.h"
#include "ref/op.h"

enum { CEILINGS_MAX_TEAMS = 16, CEILINGS_MAX_SIZES = 24, CEILINGS_MAX_PEAKS = 128 };

#define CEILINGS_SECONDS 4.0 /* enough for a measurement */

enum stream { STREAM_READ, STREAM_STORE, STREAM_COPY, STREAMS };
extern const char *const stream_names[STREAMS];

/* Of so many threads together. Unknown is NAN, here and below. */
struct team_ceilings {
    int threads;
    size_t n_sizes;
    double bytes[CEILINGS_MAX_SIZES]; /* that each thread goes over, ascending; a copy's: both */
    double gb_per_s[STREAMS][CEILINGS_MAX_SIZES]; /* a copy's: read and written */
    double nt_store_gb_per_s;                     /* at the largest size */
    double fork_join_ns;                          /* an empty parallel region; NAN for one thread */
};

struct tier_peak {
    const char *tier;
    int threads;
    double f32_gflops, int8_gops;
};

struct ceilings {
    double call_ns; /* a call of a kernel that does nothing */
    size_t n_teams, n_peaks;
    struct team_ceilings teams[CEILINGS_MAX_TEAMS]; /* ascending threads */
    struct tier_peak peaks[CEILINGS_MAX_PEAKS];
    /* How well a measurement repeats itself: the relative difference between its two halves that 9
     * of 10 ceilings keep within. */
    double repeatability;
};

/* Measures for about `seconds`, in a forked child, with up to max_threads threads and the tiers that
 * `features` allows. `ceilings` is all 0 or has been measured with the same limits: then it keeps
 * the better of both. */
bool ceilings_measure(struct ceilings *ceilings, const struct context *context, uint32_t features,
                      int max_threads, double seconds, struct error *error);

/* What a call has to do, and where. */
struct work {
    struct assay_cost cost;
    int digits; /* int8 digits of an activation in the kernel's class; 0: it computes in f32 */
    bool cold;  /* the weights come from memory */
    const char *tier;
    int threads;
};

/* The ceiling that binds: of all the times that the work takes at least, the longest. */
struct binding {
    const char *kind; /* "f32", "int8", "read" or "store" */
    char name[64];    /* "int8 dot, avx512vnni", "read, 512 KiB a thread" */
    double ns;
};

/* False: unknown. A time of `binding.ns` / time above this is not possible. */
#define CEILINGS_OVER 1.03
bool ceilings_bind(const struct ceilings *ceilings, const struct work *work,
                   struct binding *binding);

/* A small table. */
void ceilings_print(const struct ceilings *ceilings, const struct context *context, FILE *out);

/* NULL: out of memory. */
struct json_t *ceilings_json(const struct ceilings *ceilings);

#endif
