/* SPDX-License-Identifier: MIT */
/*
 * A smaller case that still fails.
 *
 * Greedy: dimension by dimension, that with the most bytes to win first, it tries the minimum, then
 * halves the way between the best value and one that does not fail; then routing `uniform`; again
 * until nothing helps. Optional dimensions that have their default keep it; others also try it, and
 * follow a dimension they are equal to (ne11 = top_k), or keep their distance from the default
 * (a stride). Every step needs fewer bytes or, with as many, uniform routing, fewer dimensions
 * beside their defaults, or a smaller sum of dimensions. Fill, threads and seed stay.
 */
#ifndef ASSAY_HARNESS_SHRINK_H
#define ASSAY_HARNESS_SHRINK_H

#include "harness/case.h"

/* Runs what fails on a legal case, and says whether it still does. False: the harness failed. */
typedef bool shrink_fails(const struct assay_case *item, void *context, bool *fails,
                          struct error *error);

/* Makes `smallest` the one case that was found, with the key that replays it; the failing case
 * itself if none is smaller. Does not ask about the failing case, nor twice about another; asks
 * nothing once `seconds` have passed, but lets a question that was asked take its time. Given the
 * same answers in time, finds the same case. False: the harness failed; then `smallest` is empty. */
bool shrink_case(const struct assay_case *failing, shrink_fails *fails, void *context,
                 double seconds, struct cases *smallest, struct error *error);

/* Asks some times more about the case that was found, at least once and until `seconds` have passed.
 * *steady: whether it failed every time. If it never did, it becomes the failing case. False: the
 * harness failed; then `smallest` is empty. */
bool shrink_confirm(const struct assay_case *failing, shrink_fails *fails, void *context,
                    double seconds, struct cases *smallest, bool *steady, struct error *error);

#endif
