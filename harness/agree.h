/* SPDX-License-Identifier: MIT */
/* Judges what needs no expected value: which elements are written, and whether attempts agree. */
#ifndef ASSAY_HARNESS_AGREE_H
#define ASSAY_HARNESS_AGREE_H

#include "harness/attempt.h"

/* What the first attempt left unwritten, and what any wrote against the contract. */
bool judge_writes(const struct job *job, struct judgement *judgement, struct error *error);

/* Whether the later attempts wrote what the first wrote. Names the condition that makes the
 * difference, for which it makes attempts anew, if nothing else was found so far. */
bool judge_agreement(const struct job *job, struct judgement *judgement, struct error *error);

/* Whether FLUSHING differs from PLAIN only with the flush bits set; else it is the placement. */
bool flushing_matters(const struct job *job, bool *matters, struct error *error);

/* The op's relations between two attempts. */
void judge_properties(const struct job *job, struct judgement *judgement);

#endif
