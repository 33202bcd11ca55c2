/* SPDX-License-Identifier: MIT */
/*
 * The attempts that a check makes with one kernel on one case, all in one child process.
 *
 * PLAIN      One thread; buffers end at an unmapped page; poison A in outputs, B in scratch and
 *            prepared memory.
 * AGAIN      Several threads; buffers begin at an unmapped page; the poisons swapped. A call is made
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
    enum poison poison; /* of the outputs; scratch and prepared memory hold the other */
    const struct tensors *inputs;
    struct tensors own_inputs; /* of a property */
    struct tensors outputs;    /* SHARED */
    struct guarded prepared, scratch;
};

/* What the child does when it crashes or hangs. */
enum stage { IN_CALL, IN_PREPARE, IN_ZEROED_CALL, IN_SMALL_CALL };

/* What the child tells the parent. */
struct child_report {
    int finished; /* attempts */
    int stage;    /* of the next attempt */
    int float_state_changed;
    char refusal[128];
};

/* A condition that a later attempt adds to the first, and that can be left out to see whether it is
 * the one that matters. */
enum condition {
    NO_CONDITION,
    THREADS,
    USED_SCRATCH,
    ZEROED_INPUT,
    SMALL_CALL,
    OTHER_POISON,
    FLUSH
};

struct job {
    enum condition without;
    const struct expectation *expectation;
    const struct assay_kernel *kernel;
    const struct check_options *options;
    size_t count;
    struct attempt attempts[MAX_ATTEMPTS];
    struct tensors small_outputs; /* PRIVATE, of the smaller call */
    struct guarded report_memory;
    struct child_report *report; /* SHARED */
};

/* On failure, too, job_free is due. */
bool job_make(struct job *job, const struct expectation *expectation,
              const struct assay_kernel *kernel, const struct check_options *options,
              struct error *error);
void job_free(struct job *job);

/* Makes the attempts in a child process. */
bool job_run(struct job *job, struct sandbox_result *end, struct error *error);

/* An attempt's tensors, in the order of the args struct. */
void attempt_pointers(const struct attempt *attempt, void **pointers);

/* Fills outputs, scratch and prepared memory with poison. */
void attempt_poison(const struct attempt *attempt);

/* Whether two attempts' outputs differ anywhere but where neither wrote. */
bool attempts_differ(const struct attempt *attempt, const struct attempt *other);

#endif
