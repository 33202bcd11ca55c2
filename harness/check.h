/* SPDX-License-Identifier: MIT */
/*
 * The check: makes a kernel's attempts on a case (harness/attempt.h) in a child process, and judges
 * what they wrote.
 *
 * Inputs are read-only, and what the contract says is not read is full of NaN. All attempts at the
 * case must give equal bits (with FTZ and DAZ set: bits or bound, as the contract promises), leave
 * canaries and MXCSR as they were, and write what the contract says and nothing else; and the op's
 * properties must hold.
 */
#ifndef ASSAY_HARNESS_CHECK_H
#define ASSAY_HARNESS_CHECK_H

#include "harness/case.h"
#include "harness/judge.h"
#include "harness/library.h"
#include "harness/memory.h"

/* Roundings beyond which a bound says nothing: 2^20 of them allow 6 % of the magnitude. */
#define CHECK_MAX_DEPTH (1 << 20)

enum verdict { PASS, FAIL, CRASHED, TIMEOUT, MISTRUSTED, SKIPPED, VERDICTS };

extern const char *const verdict_names[VERDICTS];

struct check_options {
    int threads;          /* 0: as many as there are CPUs */
    double seconds;       /* time limit of a kernel on a case */
    int64_t memory_bytes; /* budget of a case's tensors, and of a kernel's own memory with them */
    int64_t max_oracle;   /* multiply-adds that the oracle may spend on a case */
    int64_t max_ref;      /* multiply-adds beyond which the ref tier is skipped */
    bool terse;           /* the verdict is wanted, not where and when a kernel fails */
};

/* The memory that a kernel asks for. */
struct needs {
    int64_t prepared_bytes, scratch_bytes;
};

struct result {
    const struct assay_case *item;
    const struct kernel *kernel;
    enum verdict verdict;
    struct judgement judgement; /* its reason says why it is not PASS */
    char *smallest;             /* key of the smallest failing case found, or NULL */
    uint64_t output_hash;       /* of run A's outputs, if it returned */
    struct needs needs;         /* of the case, if it returned */
};

/* What is right for a case; made once, for all kernels. */
struct expectation {
    const struct assay_case *item;
    struct tensors inputs[3]; /* filled and spoilt, in the placements of the first three attempts */
    bool has_copies;          /* false: the case is large, and only the first are there */
    bool copies_weights;      /* small enough for more weights than one; a file's are not copied */
    bool has_small;           /* a call with about half the batch, and the same weights */
    int64_t small_shape[ASSAY_MAX_DIMS];
    struct tensors small_inputs;
    struct tensors reference;   /* ASSAY_OUT_BITS outputs of the reference over poison A */
    struct tensors reference_b; /* and over poison B: tells what it does not write */
    int64_t n_columns;          /* of the ASSAY_OUT_REAL tensor: those judged */
    int64_t *columns;
    int64_t rows;                      /* of the ASSAY_OUT_REAL tensor, 0 if there is none */
    size_t real;                       /* its index */
    struct assay_expected *expected;   /* [rows][n_columns] */
    struct assay_expected *rounded;    /* of class f16, or NULL */
    float *twin[ASSAY_NUMERICS_COUNT]; /* of each integer class, or NULL */
};

/* What is made only if a kernel will be judged by it: bits 1 << class, of class f16, which has an
 * oracle of its own, and of the classes whose twin is promised. */
unsigned expectation_needs(const struct assay_kernel *kernel);

/* Of a kernel's class: expected or rounded. */
const struct assay_expected *expected_of(const struct expectation *expectation,
                                         const struct assay_kernel *kernel);

bool expectation_make(struct expectation *expectation, const struct assay_case *item,
                      unsigned needs, const struct check_options *options, struct error *error);
void expectation_free(struct expectation *expectation);

/* The fill leaves no room for rounding: tolerance 0. */
bool case_exact(const struct assay_case *item);

/* Whether the contract says that an element of an output is not written. */
bool expectation_untouched(const struct expectation *expectation, size_t tensor, int64_t element);

/* False: the harness itself failed. */
bool check_kernel(const struct expectation *expectation, const struct kernel *kernel,
                  const struct check_options *options, struct result *result, struct error *error);

/* Judges outputs that were computed elsewhere; `kernel` says by which class. Elements that the
 * contract leaves alone must be those of x->reference. */
bool check_outputs(const struct expectation *expectation, const struct kernel *kernel,
                   int64_t depth, const struct tensors *outputs, struct result *result,
                   struct error *error);

/* Multiply-adds of a case. */
double case_work(const struct assay_case *item);

/* Hash of all outputs; what was not written counts as the poison that it held. */
uint64_t outputs_hash(const struct assay_op *op, const struct tensors *outputs);

int threads_of(const struct assay_case *item, const struct check_options *options);

#endif
