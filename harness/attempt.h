/* SPDX-License-Identifier: MIT */
/*
 * The attempts that a check makes with one kernel on one case, all in one child process.
 *
 * PLAIN      One thread; buffers end at an unmapped page; poison A in whatever the kernel must write
 *            or must not depend on.
 * AGAIN      Several threads; buffers begin at an unmapped page; poison B. A call is made
 *            while the first input is zeroed at the same addresses, then the case's own, then
 *            one with about half the batch on the same scratch and prepared memory, then the first
 *            again over fresh poison.
 * FLUSHING   MXCSR's FTZ and DAZ are set; inputs and outputs start at the least alignment that the
 *            contract promises.
 * From FIRST_PROPERTY on, one attempt for each property of the op that says something of the case:
 * the other call of the pair, of which PLAIN is the first.
 * A case too large to copy its inputs has PLAIN and AGAIN only, one call each.
 */
#ifndef ASSAY_HARNESS_ATTEMPT_H
#define ASSAY_HARNESS_ATTEMPT_H

#include "harness/check.h"
#include "harness/sandbox.h"

enum attempt_index { PLAIN, AGAIN, FLUSHING, FIRST_PROPERTY };
enum { MAX_ATTEMPTS = FIRST_PROPERTY + 8 };

struct attempt {
    const struct assay_property *property; /* NULL: the case's own call */
    int64_t shape[ASSAY_MAX_DIMS];
    int threads;
    enum poison poison;
    const struct tensors *inputs;
    struct tensors own_inputs; /* of a property */
    struct tensors outputs;    /* SHARED */
    struct guarded prepared, scratch;
};

/* What the child tells the parent. */
struct child_report {
    int finished;      /* attempts */
    int first_differs; /* AGAIN's first call, on fresh memory, already differs from PLAIN */
    int float_state_changed;
    char refusal[128];
};

struct job {
    const struct expectation *expectation;
    const struct assay_kernel *kernel;
    int64_t depth; /* of the kernel; 0: class bits */
    size_t count;
    struct attempt attempts[MAX_ATTEMPTS];
    struct tensors small_outputs; /* PRIVATE, of the smaller call */
    struct guarded report_memory;
    struct child_report *report; /* SHARED */
};

/* On failure, too, job_free is due. */
bool job_make(struct job *job, const struct expectation *expectation,
              const struct assay_kernel *kernel, int threads, struct error *error);
void job_free(struct job *job);

/* Makes the attempts in a child process. */
bool job_run(struct job *job, double seconds, struct sandbox_result *end, struct error *error);

/* An attempt's tensors, in the order of the args struct. */
void attempt_pointers(const struct attempt *attempt, void **pointers);

/* "3 bytes past the end of ids", from the address that a crash touched. */
void job_locate(const struct job *job, uintptr_t address, char *text, size_t size);

#endif
