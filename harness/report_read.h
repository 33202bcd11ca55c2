/* SPDX-License-Identifier: MIT */
/*
 * Reads what report_write wrote, version 2.
 *
 * Strict: what is here must be there, of its type and in its range, and refer to what is there;
 * every message names file, JSON path and rule. Members that are not here are ignored wherever they
 * stand, since a later writer of version 2 may add some; one that changes or drops any says 3.
 * Figures that the file has as null are NAN, strings NULL, sizes 0.
 */
#ifndef ASSAY_HARNESS_REPORT_READ_H
#define ASSAY_HARNESS_REPORT_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "harness/check.h"
#include "harness/error.h"
#include "harness/statistics.h"

#define REPORT_READS       2 /* the version */
/* 10,000 timings of 40 samples are 46 MB. */
#define REPORT_MAX_BYTES   ((size_t)128 << 20)
#define REPORT_MAX_THREADS (1 << 16)

struct report_context {
    const char *cpu, *machine, *features, *time, *commit, *compiler, *flags;
    const char *governor; /* or NULL */
    int64_t cpus, l1d_bytes, l2_bytes, llc_bytes, memory_bytes;
    double load, steal_share;
};

struct report_dim {
    const char *name;
    int64_t size;
};

struct report_case {
    const char *key, *name, *op;
    const char *source; /* or NULL */
    int64_t seed;
    struct report_dim *shape; /* as the op has them */
    size_t n_dims;
};

/* Tenths of the tolerance, and what is above it. */
enum { REPORT_BINS = 11 };

struct report_result {
    const struct report_case *item;
    const char *kernel, *library, *tier, *numerics;
    enum verdict verdict;
    const char *reason, *explanation; /* or NULL */
    uint64_t output_hash;             /* 0: it did not return */
    int64_t judged, excused, bad;
    double utilisation, utilisation_p99, utilisation_median, nmse, max_ulp, z_mean_square, z_mean;
    bool has_histogram; /* of err / tolerance, in tenths */
    int64_t histogram[REPORT_BINS];
};

struct report_block {
    int64_t pass;
    double chain_ghz;
    size_t count;    /* samples, at least one */
    double *ns;      /* a call's time */
    bool *disturbed; /* of each sample */
};

/* The ceiling that binds. */
struct report_bound {
    const char *name; /* NULL: not known */
    const char *kind; /* "f32", "int8", "read" or "store" */
    double ns, fraction;
};

struct report_timing {
    const struct report_result *result; /* of the case and kernel */
    const char *mode;                   /* "hot", "cold" */
    int64_t threads;
    bool aa; /* the A/A arm: the same kernel once more */
    int64_t calls_per_sample;
    struct report_block *blocks; /* at least one */
    size_t n_blocks;
    int64_t samples, discarded;
    bool noisy;
    double median_ns, mad_ns, minimum_ns, prepare_ns;
    struct interval interval; /* of the median */
    double quantiles_ns[4];   /* 5, 25, 75, 95 % */
    double flop, products, read_bytes, written_bytes;
    struct report_bound ceiling;
};

struct report_point {
    double bytes; /* of a thread */
    double gb_per_s;
};

struct report_curve {
    struct report_point *points;
    size_t count;
};

struct report_level {
    int64_t threads;
    struct report_curve read, store, copy;
    double nt_store_gb_per_s, fork_join_ns;
};

struct report_peak {
    const char *tier;
    int64_t threads;
    double f32_gflops, int8_gops;
};

struct report_ceilings {
    double call_ns;
    struct report_level *levels; /* one for each number of threads */
    size_t n_levels;
    struct report_peak *peaks;
    size_t n_peaks;
};

struct report_noise {
    double chain_ghz_best, chain_ghz_median;
    int64_t samples, disturbed, switched, slowed, gated;
    double steal_share, aa_spread;
    bool too_noisy;
};

struct json_t;

struct report {
    char *path;
    struct json_t *json;  /* the strings are its */
    struct json_t *index; /* what is where */
    bool complete;
    const char *command;
    double elapsed_seconds;
    struct report_context context;
    bool has_ceilings, has_noise;
    struct report_ceilings ceilings;
    struct report_noise noise;
    struct report_case *cases;
    size_t n_cases;
    struct report_result *results; /* of a case and kernel one at most */
    size_t n_results;
    struct report_timing *timings; /* of a result, mode, number of threads and aa one at most */
    size_t n_timings;
};

struct reports {
    struct report *items;
    size_t count;
};

/* Appends a report, or all *.json files of a directory (not below it) in name order, hidden ones
 * excepted; there must be one. A file that is there already is refused: it is no second run. */
bool reports_add(struct reports *reports, const char *path, struct error *error);

/* A comma-separated list of such paths. */
bool reports_add_list(struct reports *reports, const char *list, struct error *error);

void reports_free(struct reports *reports);

/* NULL: not there. */
const struct report_result *report_find_result(const struct report *report, const char *case_key,
                                               const char *kernel);

#endif
