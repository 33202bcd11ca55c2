/* SPDX-License-Identifier: MIT */
/* What a crash was, as far as the signal and the address tell. */
#ifndef ASSAY_HARNESS_CRASH_H
#define ASSAY_HARNESS_CRASH_H

#include "harness/attempt.h"

/* When the child crashed or hung: ", with 2 threads"; empty in the first attempt. */
void crash_when(const struct job *job, char *text, size_t size);

/* "Segmentation fault in run: 3 bytes past the end of ids". */
void crash_say(const struct job *job, const struct sandbox_result *end, const char *function,
               char *text, size_t size);

#endif
