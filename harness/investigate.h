/* SPDX-License-Identifier: MIT */
/* What is worth more runs of a failing kernel: a smaller case that fails too, whether every run
 * fails, and which k blocks are wrong. */
#ifndef ASSAY_HARNESS_INVESTIGATE_H
#define ASSAY_HARNESS_INVESTIGATE_H

#include "harness/check.h"

/* Sets result->smallest and adds to the explanation. Starts no check once `seconds` have passed, but
 * for the one that confirms the smaller case. */
bool investigate(struct result *result, const struct check_options *options, double seconds,
                 struct error *error);

#endif
