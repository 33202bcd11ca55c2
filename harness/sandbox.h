/* SPDX-License-Identifier: MIT */
/* Runs foreign code in a child process: its crash or hang is a result, not the harness's end. */
#ifndef ASSAY_HARNESS_SANDBOX_H
#define ASSAY_HARNESS_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "harness/error.h"

enum sandbox_end { SANDBOX_RETURNED, SANDBOX_CRASHED, SANDBOX_TIMED_OUT };

struct sandbox_result {
    enum sandbox_end end;
    int signal;        /* of a crash, 0 if the child exited by itself */
    int code;          /* si_code of the signal, 0 if unknown */
    uintptr_t address; /* that the crash touched, 0 if unknown */
};

/* Calls work(context) in a forked child with a time limit. What it wrote to SHARED memory is seen
 * here. The caller must not have started threads. False: the child could not be started. */
bool sandbox_run(void (*work)(void *context), void *context, double seconds,
                 struct sandbox_result *result, struct error *error);

/* From now on, calls work in this process, for a debugger. */
void sandbox_disable(void);

#endif
