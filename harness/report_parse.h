/* SPDX-License-Identifier: MIT */
/* What the files of the report reader share. */
#ifndef ASSAY_HARNESS_REPORT_PARSE_H
#define ASSAY_HARNESS_REPORT_PARSE_H

#include "harness/fields.h"
#include "harness/report_read.h"

#define FIELDS(table) table, sizeof(table) / sizeof(*(table))

/* Reads the root's "cases" and "results"; then "timings", which refer to them; "ceilings", which may
 * be null. What was read by the time of a failure is report_free's. */
bool report_parse_results(const struct site *site, const json_t *root, struct report *report);
bool report_parse_timings(const struct site *site, const json_t *root, struct report *report);
bool report_parse_ceilings(const struct site *site, const json_t *root, struct report *report);

void report_free_ceilings(struct report_ceilings *ceilings);

/* Notes that `index` stands under the words (of which the last may be NULL); refuses a second one,
 * which `what` names. -1: not there. */
bool report_index(const struct site *site, json_t *names, const char *const words[3], size_t index,
                  const char *what);
int64_t report_index_of(const json_t *names, const char *const words[3]);

#endif
