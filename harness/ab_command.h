/* SPDX-License-Identifier: MIT */
/* The command `ab`. */
#ifndef ASSAY_HARNESS_AB_COMMAND_H
#define ASSAY_HARNESS_AB_COMMAND_H

#include "harness/options.h"

/* Returns the exit status; with a message in `error` if it is 2. */
int ab_command(const struct options *options, struct error *error);

#endif
