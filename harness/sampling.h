/* SPDX-License-Identifier: MIT */
/* What the child that takes a block of samples does with an arm: its memory, its calls, a sample. */
#ifndef ASSAY_HARNESS_SAMPLING_H
#define ASSAY_HARNESS_SAMPLING_H

#include "harness/block.h"
#include "harness/random.h"

/* What an arm has for itself. */
enum { RECENT = 31 };
struct own {
    const struct assay_kernel *abi;
    struct tensors outputs;
    struct guarded scratch;
    struct guarded *prepared;
    int n_copies; /* of prepared; 0: the kernel packs nothing */
    unsigned next_copy;
    int last_variant;
    double cpu_share[RECENT]; /* of the last samples */
    int n_shares;
};

struct sampling {
    struct blocks *blocks;
    struct own *own; /* [n_arms] */
    struct random random;
    uint64_t layout; /* a number of the offsets that are handed out */
    int next_variant;
};

struct contender *sampling_contender(const struct sampling *sampling, size_t arm);

/* Gives an arm its memory; packed weights of so many copies. own_free is due on failure too. */
bool sampling_equip(struct sampling *sampling, size_t arm, int n_copies, struct error *error);
void own_free(struct own *own);

/* Packs the weights of every copy. */
void sampling_prepare(struct sampling *sampling, size_t arm);

/* Everything of a hot arm anew, laid out as `layout` says. */
bool sampling_renew(struct sampling *sampling, size_t arm, struct error *error);

/* Calls untimed, over poison, and verifies; returns the call's time. */
double sampling_try(struct sampling *sampling, size_t arm, int variant);

struct sample {
    double ns; /* of a call */
    double chain_ghz;
    uint8_t disturbed;
};

enum { SAMPLING_MAX_TOGETHER = 4 };

/* Times a batch of calls of each of the arms, their laps taking turns; hot ones are taken alone. Then
 * verifies the outputs of the last calls, or of one more call each if others of the batch may have
 * left theirs. */
void sampling_take(struct sampling *sampling, const size_t *arms, size_t count,
                   struct sample *samples);

#endif
