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
 * FLUSHING   MXCSR's FTZ and DAZ are set; inputs, outputs, scratch and prepared memory start at the
 *            least alignment that the contract promises.
 * From FIRST_PROPERTY on, one attempt for each property of the op that says something of the case:
 * the other call of the pair, of which PLAIN is the first.
 * A case too large to copy its inputs has PLAIN and AGAIN only, one call each. Weights of a file are
 * never copied: all attempts read the one mapping, and there are properties only if it is small.
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
};

/* What the child does, in this order: it asks the kernel's functions for all attempts first. The
 * kernel's memory is the child's own, and lasts for one attempt. */
enum stage {
    STAGE_UNSUPPORTED,
    STAGE_DEPTH,
    STAGE_PREPARED_BYTES,
    STAGE_SCRATCH_BYTES,
    STAGE_MEMORY,
    STAGE_PREPARE,
    STAGE_RUN,
    STAGE_SMALL_RUN, /* the call with a smaller batch */
    STAGES
};

/* What the child tells the parent. */
struct child_report {
    enum stage stage; /* the last that it began */
    bool stopped;     /* by `reason` */
    char reason[128]; /* the kernel's words or about its answer; not yet escaped */
    int64_t depth;
    struct needs needs[MAX_ATTEMPTS];
    struct guarded prepared, scratch; /* of the last attempt, to tell what an address is */
    int finished;                     /* attempts */
    int float_state_changed, wrote_beside_memory;
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

/* Asks and makes the attempts in a child process. */
bool job_run(struct job *job, struct sandbox_result *end, struct error *error);

/* An attempt's tensors, in the order of the args struct. */
void attempt_pointers(const struct attempt *attempt, void **pointers);

/* Whether two attempts' outputs differ anywhere but where neither wrote. */
bool attempts_differ(const struct attempt *attempt, const struct attempt *other);

#endif
