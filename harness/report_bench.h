/* SPDX-License-Identifier: MIT */
/* The parts of a report that a bench adds; harness/report.h writes it. */
#ifndef ASSAY_HARNESS_REPORT_BENCH_H
#define ASSAY_HARNESS_REPORT_BENCH_H

#include <jansson.h>

#include "harness/run.h"

/* Unknown, and so null, where it is not finite. */
json_t *report_number(double value);

/* NULL: out of memory. */
json_t *report_timing(const struct timing *timing);
json_t *report_noise(const struct run *run);

#endif
