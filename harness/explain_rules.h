/* SPDX-License-Identifier: MIT */
/* Rules that select elements by their coordinates: found in explain.c, worded in explain_say.c. */
#ifndef ASSAY_HARNESS_EXPLAIN_RULES_H
#define ASSAY_HARNESS_EXPLAIN_RULES_H

#include <stdio.h>

#include "harness/explain.h"

enum { MAX_RULES = 3, MAX_VALUES = 3 };

/* "low <= value <= high", of the value modulo `modulus` unless that is 0. */
#define NO_LOW  INT64_MIN
#define NO_HIGH INT64_MAX

struct rule {
    size_t coordinate;
    int64_t modulus, low, high;
    int64_t group; /* low is where the last partial group of so many begins; 0: it is not */
    bool last;     /* selects the largest value of several */
    size_t n_values;
    int64_t values[MAX_VALUES]; /* the only ones between low and high; 0 of them: all */
    size_t selected, bad;
};

/* Elements that fulfil all of its rules. */
struct cluster {
    size_t n_rules; /* 0: none was found */
    struct rule rules[MAX_RULES];
    size_t selected, bad;
    double score;
};

/* How many elements are bad, and what a bad one is called. */
struct amounts {
    const char *adjective;
    size_t count, bad;
};

void say_cluster(FILE *out, const char *const *names, const struct cluster *cluster,
                 const struct amounts *amounts);
/* Of the only bad element, whose coordinates are the rules. */
void say_only(FILE *out, const char *const *names, const struct rule *rules, size_t n_rules,
              const struct amounts *amounts);
void say_no_pattern(FILE *out, const char *const *names, size_t n_names,
                    const struct amounts *amounts);
void say_most(FILE *out, const struct amounts *amounts);

#endif
