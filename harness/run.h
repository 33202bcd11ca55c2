/* SPDX-License-Identifier: MIT */
/* One run of `check` or `bench`: what was asked, and all that came of it. */
#ifndef ASSAY_HARNESS_RUN_H
#define ASSAY_HARNESS_RUN_H

#include "harness/bench.h"
#include "harness/case.h"
#include "harness/check.h"
#include "harness/context.h"
#include "harness/library.h"
#include "harness/vectors.h"

/* Which columns of a case's real output were judged. */
struct coverage {
    int64_t columns, n_judged;          /* 0 of 0: the case has bits only */
    int64_t *judged;                    /* NULL if all */
    int64_t margins[ASSAY_MARGIN_BINS]; /* how close the op's choices were; see ref/op.h */
};

struct run {
    /* asked */
    bool bench;
    struct check_options check;
    struct bench_options timing;
    uint32_t features;     /* of the CPU, to be used */
    int max_threads;       /* that ceilings are measured with */
    double shrink_seconds; /* for a kernel's first failure; 0: not at all */
    struct cases cases;
    struct kernels kernels;
    struct given *given; /* outputs computed elsewhere; NULL: kernels are run */
    char *command;       /* the command line */

    /* results */
    struct context context;
    bool has_ceilings; /* benched, and they could be measured */
    struct ceilings ceilings;
    struct bench_noise noise;
    bool complete; /* false: interrupted, and what is there is right */
    struct ticks start, end;
    double elapsed_seconds;
    struct coverage *coverage; /* of every case */
    struct result *results;
    size_t n_results;
    struct timings timings;
};

/* Refuses what cannot be run: nothing selected, a case over the memory budget. */
bool run_validate(const struct run *run, struct error *error);

/* That a case is within the memory budget and the reference's time. */
bool run_affordable(const struct assay_case *item, const struct check_options *options,
                    struct error *error);

/* Tells the caller about progress; may be NULL. */
typedef void run_progress(size_t done, size_t count, const char *what);

bool run_all(struct run *run, run_progress *progress, struct error *error);

/* Cases that a selected kernel computes. */
size_t run_count_cases(const struct run *run);
size_t run_count(const struct run *run, enum verdict verdict);

void run_free(struct run *run);

#endif
