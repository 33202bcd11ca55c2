/* SPDX-License-Identifier: MIT */
/* A run as JSON. Figures that are not known are null. */
#ifndef ASSAY_HARNESS_REPORT_H
#define ASSAY_HARNESS_REPORT_H

#include "harness/run.h"

#define REPORT_VERSION 2

/* Whether a report could be written there, before the time is spent. */
bool report_writable(const char *path, struct error *error);

/* Writes beside the path and renames: the file is whole or as it was. */
bool report_write(const struct run *run, const char *path, struct error *error);

#endif
