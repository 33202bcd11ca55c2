/* SPDX-License-Identifier: MIT */
/*
 * The check: runs a kernel on a case in a child process and judges what it wrote.
 *
 * Each kernel runs twice. Run A: one thread; buffers end at an unmapped page; memory that it must
 * write, and scratch and prepared memory, hold poison A. Run B: as many threads as asked for, at
 * least two; buffers begin at an unmapped page; poison B. Inputs are read-only; what the contract
 * says is not read is full of NaN. The runs must give equal bits, leave the canaries and MXCSR as
 * they were, and write what the contract says and nothing else.
 */
#ifndef ASSAY_HARNESS_CHECK_H
#define ASSAY_HARNESS_CHECK_H

#include "harness/case.h"
#include "harness/judge.h"
#include "harness/library.h"
#include "harness/memory.h"

enum verdict { PASS, FAIL, CRASHED, TIMEOUT, MISTRUSTED, SKIPPED, VERDICTS };

extern const char *const verdict_names[VERDICTS];

struct check_options {
    int threads;          /* 0: as many as there are CPUs */
    double seconds;       /* time limit of a kernel on a case */
    int64_t memory_bytes; /* budget of a case's tensors */
    int64_t max_oracle;   /* multiply-adds that the oracle may spend on a case */
    int64_t max_ref;      /* multiply-adds beyond which the ref tier is skipped */
};

struct result {
    const struct assay_case *item;
    const struct kernel *kernel;
    enum verdict verdict;
    struct judgement judgement; /* its reason says why it is not PASS */
    uint64_t output_hash;       /* of run A's outputs, if it returned */
};

/* What is right for a case; made once, for all kernels. */
struct expectation {
    const struct assay_case *item;
    struct tensors inputs;      /* filled and spoilt, ending at unmapped pages */
    struct tensors inputs_b;    /* the same, beginning at them; empty for large cases */
    struct tensors reference;   /* ASSAY_OUT_BITS outputs of the reference over poison A */
    struct tensors reference_b; /* and over poison B: tells what it does not write */
    int64_t n_columns;          /* of ASSAY_OUT_REAL tensors: those judged */
    int64_t *columns;
    int64_t rows;                    /* of the ASSAY_OUT_REAL tensor, 0 if there is none */
    size_t real;                     /* its index */
    struct assay_expected *expected; /* [rows][n_columns] */
    float *twin;                     /* of class i8, or NULL */
};

/* `twins`: whether a kernel that promises the twin's bits will be judged. */
bool expectation_make(struct expectation *expectation, const struct assay_case *item, bool twins,
                      const struct check_options *options, struct error *error);
void expectation_free(struct expectation *expectation);

/* False: the harness itself failed. */
bool check_kernel(const struct expectation *expectation, const struct kernel *kernel,
                  const struct check_options *options, struct result *result, struct error *error);

/* Multiply-adds of a case. */
double case_work(const struct assay_case *item);

/* Hash of all outputs; what was not written counts as the poison that it held. */
uint64_t outputs_hash(const struct assay_op *op, const struct tensors *outputs);

int threads_of(const struct assay_case *item, const struct check_options *options);

#endif
