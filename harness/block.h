/* SPDX-License-Identifier: MIT */
/*
 * Blocks of samples. A block is a child process of its own, with outputs, scratch and packed
 * weights that were allocated anew, in random order and at random offsets into pages and cache
 * lines: what a layout does to a kernel differs from block to block, and is seen as their spread. In
 * a block, every round takes one sample of every arm, in random order. A sample is a batch of
 * calls that is long enough for the clock.
 *
 * Hot: every call gets the same buffers. Cold: calls rotate over the variants (harness/variants.h).
 * Outputs are compared after every sample with those of an untimed call, and on the case's own data
 * with the outputs that passed the check.
 */
#ifndef ASSAY_HARNESS_BLOCK_H
#define ASSAY_HARNESS_BLOCK_H

#include "harness/check.h"
#include "harness/sandbox.h"
#include "harness/variants.h"

enum { BLOCK_MAX_SAMPLES = 400, BLOCK_MAX_CONTENDERS = 64 };

enum bench_mode { HOT, COLD, BENCH_MODES };
extern const char *const bench_mode_names[BENCH_MODES];

/* A kernel that is timed, and what the rehearsal found of it. */
struct contender {
    struct result *result; /* of its check */
    int threads;
    bool slow;                   /* a call takes a tenth of a second or more */
    int calls[BENCH_MODES];      /* in a sample */
    double call_ns[BENCH_MODES]; /* roughly; 0: not rehearsed in this mode */
    int wrong[BENCH_MODES];      /* samples whose output was not that of the untimed call, so far */
    double prepare_ns;           /* NAN: nothing to prepare */
};

/* A contender in a mode with memory of its own, and what the last block measured. */
struct arm {
    size_t contender;
    enum bench_mode mode;
    bool off;      /* takes no samples */
    int min_count; /* samples at least */
    double budget_ns;
    int count;
    double ns[BLOCK_MAX_SAMPLES]; /* of a call, in the order taken */
    double chain_ghz[BLOCK_MAX_SAMPLES];
    uint8_t disturbed[BLOCK_MAX_SAMPLES]; /* by what: NOISE_ bits; 0: not */
};

/* What a child says beside its samples. */
struct block_notes {
    size_t running; /* the contender that was called last, or how many there are at the end */
    double chain_ghz, gate; /* the best so far; 0: unknown */
    struct error error;     /* the harness's own, e.g. out of memory */
};

/* Memory that is SHARED with the children. */
struct blocks {
    const struct variants *variants;
    double seconds; /* time limit of a child */
    int n_packed;   /* copies of packed weights that a cold arm rotates over */
    /* For arms that are compared with each other: cold ones take turns call by call, all take as many
     * samples, min_count, and disturbed samples are not taken again. */
    bool together;
    /* Open on the contenders' libraries, each of which every arm loads anew: machine code has a layout
     * too. NULL: the code that is loaded is called. */
    const int *files;
    struct contender *contenders;
    size_t n_contenders;
    struct arm *arms;
    size_t n_arms;
    struct block_notes *notes;
    uint64_t *first; /* [contender][variant]: hash of the first call's outputs */
    struct guarded memory;
};

/* Contenders and arms start zeroed; blocks_free is due on failure too. */
bool blocks_make(struct blocks *blocks, const struct variants *variants, size_t n_contenders,
                 size_t n_arms, double seconds, struct error *error);
void blocks_free(struct blocks *blocks);

/* Calls every contender of an arm that is not off on all variants, unless it is slow, and sizes
 * its batches. `end` says how the child ended: unless SANDBOX_RETURNED, notes->running is to blame. */
bool blocks_rehearse(struct blocks *blocks, struct sandbox_result *end, struct error *error);

/* Takes a block of samples of the arms that are not off. */
bool blocks_take(struct blocks *blocks, struct sandbox_result *end, struct error *error);

#endif
