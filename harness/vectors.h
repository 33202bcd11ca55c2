/* SPDX-License-Identifier: MIT */
/*
 * Test vectors for those who do not link assay. cases/VECTORS.md describes the files.
 *
 * Export writes a case's inputs, what is expected and how far a result may be off, as safetensors,
 * and a manifest. Judging outputs that were computed from them believes the manifest's keys only:
 * inputs and expectations are made again, and the exported inputs must be those.
 */
#ifndef ASSAY_HARNESS_VECTORS_H
#define ASSAY_HARNESS_VECTORS_H

#include "harness/check.h"
#include "harness/safetensors.h"

#define VECTORS_VERSION      1
#define VECTORS_MAX_MANIFEST ((size_t)64 << 20)

/* How results that are not a kernel's are judged. */
struct promise {
    uint32_t numerics; /* bits 1 << enum assay_numerics */
    bool twin;         /* the bits of the scalar twin */
    int64_t depth;     /* 0: that of a serial sum */
};

/* Roundings of a serial sum over the inner dimension, and sixteen more for what is around it; of
 * several such sums where one feeds the other. */
int64_t promise_depth(const struct promise *promise, const struct assay_case *item);

/* The class by which a case's outputs are judged: bits, or the first promised that the op knows.
 * False: there is none. */
bool promise_class(const struct promise *promise, const struct assay_case *item,
                   enum assay_numerics *numerics, struct error *error);

/* Refuses a case whose weights are in a file: who has the file needs no copy of it. */
bool vectors_made(const struct assay_case *item, struct error *error);

/* A case's name in files and tensors: its key without spaces and colons; to be freed. */
char *vectors_id(const struct assay_case *item);

/* Of a tensor of the op, for its dtype. */
const char *vectors_dtype(const struct assay_tensor *tensor);

/* "DIR/NAME" and what follows, to be freed. */
char *vectors_path(const char *directory, const char *name, const char *suffix);

/* Writes into a directory that is new, empty or another export's. */
bool vectors_export(const struct cases *cases, const struct promise *promise,
                    const struct check_options *options, const char *directory,
                    void (*progress)(size_t done, size_t count, const char *what),
                    struct error *error);

/* Outputs in a file, for the cases of an exported directory. */
struct given;

/* Appends the cases of the directory. The file must hold nothing but their outputs. NULL:
 * refused. */
struct given *given_open(const char *directory, const char *path, const struct promise *promise,
                         struct cases *cases, struct error *error);
void given_close(struct given *given);

/* For the op of every case a kernel that stands for the file. False: an op does not know the
 * class that was promised. */
bool given_kernels(struct given *given, const struct cases *cases, struct kernels *kernels,
                   struct error *error);

/* Judges what the file has for a case; that a tensor is missing is a failure. False: the exported
 * inputs are not the case's, or a tensor is not of its type and shape. */
bool given_judge(const struct given *given, const struct expectation *expectation,
                 const struct kernel *kernel, struct result *result, struct error *error);

#endif
