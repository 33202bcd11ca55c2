/* SPDX-License-Identifier: MIT */
/*
 * Compares two reports, or two sets of them: case by case, kernel by kernel, mode and number of
 * threads.
 *
 * What counts as one measurement of a kernel: a report, if either side has several; a pass, if a
 * report has several; a block, if there is just one pass on both sides, and then no verdict is
 * FASTER or SLOWER: what a shared machine does outlasts a pass. Samples that were disturbed
 * are left out, and so are timings marked noisy and reports of a machine that was too noisy; where
 * nothing else is left, the verdict is UNCLEAR.
 */
#ifndef ASSAY_HARNESS_COMPARE_H
#define ASSAY_HARNESS_COMPARE_H

#include "harness/compare_output.h"
#include "harness/report_read.h"

struct compare_options {
    struct speed_rule rule;
    bool any_machine; /* different machines are noted, not refused */
};

/* Refuses reports of different machines, and such that have no case and kernel in common. The
 * comparisons refer to the reports; they are due to be freed after success only. */
bool compare_reports(const struct reports *old, const struct reports *now,
                     const struct compare_options *options, struct comparisons *comparisons,
                     struct error *error);
void compare_free(struct comparisons *comparisons);

/* `assay compare ...`; returns the exit status, with a message if it is 2. */
int compare_command(int argc, char **argv, struct error *error);

/* ---- parts ---- */

/* One timing of a kernel on a case in a mode with so many threads. */
struct timed {
    const struct report *report;
    const struct report_timing *timing;
};

/* Sets times and speed of `out` from such timings of both sides, one of each report that has it.
 * `aa`: what compare_aa_spread says. */
bool compare_speed(const struct timed *old, size_t n_old, const struct timed *now, size_t n_new,
                   double aa, size_t tests, const struct speed_rule *rule, struct comparison *out,
                   struct error *error);

/* How far equal code is from itself in a block: the standard deviation of the log-ratios of A/A arms
 * to the arms that they repeat, estimated by the median, since some blocks are bad; the larger of
 * both sides'. Without such arms it is what the reports say, NAN if they do not. False: out of
 * memory. */
bool compare_aa_spread(const struct reports *old, const struct reports *now, double *spread,
                       struct error *error);

/* Lines that a reader of the comparison should know, to be freed one by one. */
struct notes {
    char **lines;
    size_t count;
};

/* What differs between the machines and builds of the reports, and which of them are noisy or
 * incomplete. Refuses different machines unless `any_machine`. */
bool compare_contexts(const struct reports *old, const struct reports *now, bool any_machine,
                      struct notes *notes, struct error *error);
void notes_free(struct notes *notes);

#endif
