/* SPDX-License-Identifier: MIT */
/*
 * What a page shows of its reports: of every case, kernel, mode and number of threads on a machine
 * the newest figures, and the older ones for the trend. Machines are told apart by CPU and number
 * of threads. Everything refers to the reports, which must outlive it.
 */
#ifndef ASSAY_HARNESS_PAGE_MODEL_H
#define ASSAY_HARNESS_PAGE_MODEL_H

#include "harness/report_read.h"

struct page_kernel {
    const char *label, *name; /* "q4_K_gemv/avx2-i8" and "avx2-i8" */
    const char *op, *library, *tier, *numerics;
    bool reference;
    int colour; /* by tier or, of other libraries, by library */
    int shape;  /* by the rest of its name */
};

struct page_case {
    const char *key, *op, *words; /* words: the key behind the op */
    int64_t tokens;               /* 0: it has no such dimension */
    char *family;                 /* words without the tokens, or NULL */
};

struct page_op {
    const char *name;
    size_t first_case, n_cases, first_kernel, n_kernels;
};

struct page_machine {
    const char *cpu;
    int64_t cpus;
    const struct report *newest, *measured; /* measured: the newest with ceilings, or NULL */
    size_t first_report, n_reports;
};

struct page_report {
    const struct report *report;
    size_t machine;
};

struct page_result {
    const struct report_result *result;
    size_t machine, item, kernel, report;
    bool newest;
};

struct page_timing {
    const struct report_timing *timing;
    size_t machine, item, kernel, report;
    bool newest;
    struct interval speed; /* against the reference in the same report, with its interval */
    double ratio;          /* its middle; NAN: that was not timed */
};

struct page {
    struct page_machine *machines;
    size_t n_machines;
    struct page_report *reports; /* by machine, then by time */
    size_t n_reports;
    struct page_op *ops; /* by name; so are kernels and cases, op by op */
    size_t n_ops;
    struct page_kernel *kernels; /* the reference first, other libraries last */
    size_t n_kernels;
    struct page_case *cases;
    size_t n_cases;
    struct page_result *results; /* by machine, case, kernel, time */
    size_t n_results;
    struct page_timing *timings; /* by machine, case, kernel, mode, threads, time; no A/A arms */
    size_t n_timings;
};

bool page_make(const struct reports *reports, struct page *page, struct error *error);
void page_free(struct page *page);

/* The range of `page->timings` of an op on a machine. */
void page_timings_of(const struct page *page, size_t machine, const struct page_op *op,
                     size_t *first, size_t *end);

#endif
