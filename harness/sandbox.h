/* SPDX-License-Identifier: MIT */
/* Runs foreign code in a child process: its crash or hang is a result, not the harness's end. */
#ifndef ASSAY_HARNESS_SANDBOX_H
#define ASSAY_HARNESS_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "harness/error.h"

enum sandbox_end {
    SANDBOX_RETURNED,
    SANDBOX_CRASHED,
    SANDBOX_TIMED_OUT,
    SANDBOX_INTERRUPTED /* this process was told to end (harness/interrupt.h) */
};

struct sandbox_result {
    enum sandbox_end end;
    int signal;        /* of a crash, 0 if the child exited by itself */
    int code;          /* si_code of the signal, 0 if unknown */
    uintptr_t address; /* that the crash touched, 0 if unknown */
};

/* Calls work(context) in a forked child with a time limit. What it wrote to SHARED memory is seen
 * here; what it prints goes to standard error. The caller must not have started threads. False: the
 * child could not be started, or not be waited for. */
bool sandbox_run(void (*work)(void *context), void *context, double seconds,
                 struct sandbox_result *result, struct error *error);

/* Sends what is printed to standard error, until it is restored with what this returned; -1 if that
 * cannot be. */
int stdout_divert(void);
void stdout_restore(int saved);

/* From now on, calls work in this process, for a debugger. */
void sandbox_disable(void);

#endif
