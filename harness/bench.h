/* SPDX-License-Identifier: MIT */
/*
 * The bench: times kernels that passed the check on a case, all of them interleaved.
 *
 * Hot: every call gets the same buffers. Cold: calls rotate over copies of the weights and over
 * routings drawn anew, such that at least four times the last-level cache is read before anything
 * is read again; only for ops that have weights. A sample is a batch of calls long enough for the
 * clock; each round takes one sample of every kernel and mode in random order. Outputs are compared
 * after every sample with those of an untimed call, and on the case's own data with the outputs
 * that passed the check. Calls of a quarter second or more are timed three times, cold only.
 */
#ifndef ASSAY_HARNESS_BENCH_H
#define ASSAY_HARNESS_BENCH_H

#include "harness/check.h"
#include "harness/statistics.h"

enum { BENCH_MAX_SAMPLES = 400, BENCH_MAX_KERNELS = 64 };

enum bench_mode { HOT, COLD };
extern const char *const bench_mode_names[2];

struct bench_options {
    double seconds; /* per kernel and mode */
    int64_t llc_bytes;
};

/* One kernel on one case in one mode. */
struct timing {
    struct result *result;
    enum bench_mode mode;
    int threads;
    int calls;         /* in a sample */
    int count;         /* samples; 0: not timed in this mode */
    int wrong;         /* samples whose output was not that of the untimed call */
    double prepare_ns; /* NAN: nothing to prepare */
    struct assay_cost cost;
    double ns[BENCH_MAX_SAMPLES]; /* a call's time, sample by sample in the order taken */
    double median, minimum;
    struct interval interval; /* of the median, 95 % */
};

struct timings {
    size_t count;
    struct timing *items;
};

/* Appends timings for all of `results` (of one case) that passed. A kernel that crashes or computes
 * something else when timed becomes a failed result. */
bool bench_case(const struct assay_case *item, struct result *results, size_t n_results,
                const struct check_options *check, const struct bench_options *options,
                struct timings *timings, struct error *error);

void timings_free(struct timings *timings);

#endif
