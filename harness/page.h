/* SPDX-License-Identifier: MIT */
/* The command `assay report`: a page of reports, or one of its plots. */
#ifndef ASSAY_HARNESS_PAGE_H
#define ASSAY_HARNESS_PAGE_H

#include "harness/error.h"

/* Returns the exit status; argv[0] is the command. */
int report_command(int argc, char **argv, struct error *error);

#endif
