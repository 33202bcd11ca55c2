/* SPDX-License-Identifier: MIT */
/*
 * Cases: op + shape + routing + fill + seed, all that is needed to make the same inputs again.
 *
 * Weights may come from a GGUF file instead of the fill; then all of the file's tensor is used.
 *
 * A case file is JSON; cases/schema.json describes it for editors. In it, every array under
 * `shape`, `routing`, `fill` and `threads` is an axis, crossed with the others; the arrays of `zip`
 * advance together. Anything unknown, of the wrong type or illegal is refused with file, path and
 * rule.
 */
#ifndef ASSAY_HARNESS_CASE_H
#define ASSAY_HARNESS_CASE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "harness/error.h"
#include "harness/gguf.h"
#include "ref/op.h"

enum {
    CASE_FILE_MAX_BYTES = 4 << 20,
    CASES_MAX = 100000, /* of all files together, after expansion */
    CASE_THREADS_MAX = 1024,
    CASE_NAME_MAX = 64,
};

/* A tensor of a file. */
struct case_tensor {
    char name[GGUF_NAME_MAX + 1];
    int64_t offset, bytes;
};

/* Where a case takes its weights from. */
struct case_weights {
    char file[512];                               /* as it is opened */
    struct case_tensor tensors[ASSAY_MAX_STORED]; /* as the op's `stored` has them */
    struct case_tensor router;                    /* without a name: another routing */
};

struct assay_case {
    char *name;
    char *key; /* one line, e.g. "q4_K_gemv n=4096 k=4096 fill=model seed=1" */
    const struct assay_op *op;
    int64_t shape[ASSAY_MAX_DIMS];
    struct assay_fill fill;       /* but for the router's matrix, which is in the file */
    struct case_weights *weights; /* NULL: made by the fill */
    int threads;                  /* 0: as the command line says */
    uint64_t seed;
    int64_t isolated; /* 1 + the only block of the inner dimension with activations; 0: all */
    size_t n_tags;
    char **tags;
    char *source; /* the file's "source", or NULL */
    char *where;  /* file and JSON path, e.g. "cases/smoke/q4_K_gemv.json: cases[2]" */
};

struct cases {
    size_t count;
    struct assay_case *items;
};

/* Appends the cases of a file, or of all *.json files below a directory, in name order (but not of
 * schema.json, nor of hidden files). No two cases may have the same key. A failure leaves `cases`
 * as it was; so do failures of the functions below. */
bool cases_load(const char *path, struct cases *cases, struct error *error);

/* Appends the one case that a key names. The order of what follows the op does not matter. */
bool cases_from_key(const char *key, struct cases *cases, struct error *error);

/* Writes a name as a key has it: what a key or a shell could take for something else is %XX. */
void print_escaped(FILE *out, const char *text);
/* Writes " weights=..." as a key has it, with the op->n_stored tensors of that name. */
void print_weights(FILE *out, const struct assay_op *op, const char *file,
                   const char *const *tensors);

/* Keeps the cases whose name or key matches the POSIX extended regular expression (NULL: all) and
 * that have the tag (NULL: all); then, of those, every shard_count-th from shard_index on. */
bool cases_select(struct cases *cases, const char *regex, const char *tag, size_t shard_index,
                  size_t shard_count, struct error *error);

/* Gives every case this seed, at most 2^53, and the key that goes with it. Of cases that differed
 * in nothing else, the first stays. */
bool cases_set_seed(struct cases *cases, uint64_t seed, struct error *error);

void cases_free(struct cases *cases);

/* Bytes of a shape's tensors; -1 if their sum or a part of it overflows. */
int64_t shape_bytes(const struct assay_op *op, const void *shape);

/* The same of a case: of weights in a file, only the tensors themselves. */
int64_t case_bytes(const struct assay_case *item);

/* Bytes before a case's weights in their file that the shape counts as theirs; and those of the
 * weights in a file. */
int64_t case_prefix_bytes(const struct assay_case *item);
int64_t case_stored_bytes(const struct assay_case *item);

/* Whether a case's weights decide this dimension of its shape. */
bool case_ties(const struct assay_case *item, size_t dim);

/* Hash of what the inputs depend on: the key without `threads`. */
uint64_t case_hash(const struct assay_case *item);

#endif
