/* SPDX-License-Identifier: MIT */
/*
 * Where wrong elements cluster, in one sentence.
 *
 * The rules tried on each coordinate: its value, or its value modulo 2, 4, ... 64, is, is at least,
 * is at most or lies between some numbers; it is one of two or three; or it lies in the last partial
 * group of 2, 4, ... 64. Of each coordinate the best rule about its value and the best about a
 * residue are kept, and up to three of those kept are combined. What holds for 99 % of the wrong
 * elements competes by |wrong and selected| / |wrong or selected|, less a few per cent where it is
 * less simple. The winner must leave out 5 % of all elements, and of those it selects half must be
 * wrong and the share of wrong ones must be twice that among all, or 90 %; of three rules 90 %.
 *
 *   All 1122 wrong elements are in positions in list from 32 on, and every element there is wrong.
 *   All 8 wrong elements are where row % 16 = 15 (8 of the 9 there).
 *   All 40 wrong elements are in expert 3, rows from 64 on, where row % 8 = 7, and every element
 *   there is wrong.
 *   All 21 wrong elements are in rows from 16 on, the last partial group of 16, and every element
 *   there is wrong.
 *   Both wrong elements are in tokens 3 and 9, row 0, and every element there is wrong.
 *   The only wrong element of 51 is in expert 2, row 16 (the last).
 *   The 37 wrong elements of 1000 follow no pattern in expert, token or row.
 *   Nearly every element is wrong (960 of 1000).
 */
#ifndef ASSAY_HARNESS_EXPLAIN_H
#define ASSAY_HARNESS_EXPLAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "harness/error.h"
#include "ref/op.h"

/* A judged element. A coordinate that it does not have is ASSAY_UNSET; of negative ones only the
 * value itself counts, not its residue. */
struct observation {
    int64_t value[ASSAY_MAX_COORDINATES];
    bool bad;
};

/* Writes the sentence, cut to fit; empty if no observation is bad. False: out of memory.
 * `adjective`: what bad elements are, e.g. "wrong" or "unwritten".
 * n_names <= ASSAY_MAX_COORDINATES; of rules equally good, that on the first coordinate is told. */
bool explain(const char *adjective, const char *const *names, size_t n_names,
             const struct observation *observations, size_t count, char *text, size_t size,
             struct error *error);

#endif
