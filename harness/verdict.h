/* SPDX-License-Identifier: MIT */
/*
 * Whether a kernel became faster or slower, from the blocks it was timed in. Times are compared as
 * log(new / old), so that a ratio and its inverse are equally far from 1.
 *
 *   FASTER, SLOWER  the interval at alpha / comparisons excludes all within `negligible` of 1
 *   SAME            the interval at alpha lies within `same` of 1
 *   UNCLEAR         else, and the reason says what stands in the way
 *
 * Intervals are Student's t over blocks. The division (Bonferroni's) is for finding changes: over all
 * of a run's comparisons, some verdict FASTER or SLOWER is wrong with probability alpha at most. SAME
 * finds none; of a kernel that did change by `same` it is said with probability alpha / 2 at most.
 * No interval is narrower than what the A/A arm, the same code timed twice, shows of the machine.
 */
#ifndef ASSAY_HARNESS_VERDICT_H
#define ASSAY_HARNESS_VERDICT_H

#include <stddef.h>

#include "harness/statistics.h"

/* Two blocks have a spread by chance alone. */
enum { SPEED_MIN_BLOCKS = 3 };

enum speed { SPEED_FASTER, SPEED_SLOWER, SPEED_SAME, SPEED_UNCLEAR, SPEEDS };
extern const char *const speed_names[SPEEDS];

struct speed_rule {
    double alpha;      /* of the whole family of comparisons */
    double negligible; /* log-ratio that nobody cares about */
    double same;       /* log-ratio within which it is the SAME */
};
extern const struct speed_rule speed_default_rule;

struct speed_verdict {
    enum speed speed;
    double ratio;             /* of the times, new / old; NAN: not known */
    struct interval interval; /* the one that decided, or that the reason speaks of */
    char reason[160];
};

/* Paired: n blocks, each with log(new / old) and the log-ratio of its A/A arm, log(old again / old).
 * The larger of both spreads counts, and the interval is widened by the A/A arm's mean. Who looks at
 * the data several times, to stop early, counts as many comparisons for each. */
void speed_judge_paired(const double *log_ratio, const double *aa, size_t n, size_t comparisons,
                        const struct speed_rule *rule, struct speed_verdict *verdict);

/* What is known of the noise between two runs. 0 or NAN: nothing. */
struct speed_noise {
    double aa;           /* standard deviation of a block's A/A log-ratio */
    double between;      /* standard deviation of log(new / old) between whole runs */
    double drift;        /* log-ratio by which a ceiling's time moved from old to new */
    const char *drifted; /* that ceiling, e.g. "int8 peak"; NULL: none */
    const char *unit;    /* what the sides have: "blocks", "passes", "reports" */
};

/* Unpaired: logs of each side's medians (Welch). Drift widens the interval on the side that it
 * explains: a machine that became 4 % slower cannot show that a kernel did. */
void speed_judge_unpaired(const double *old, size_t n_old, const double *now, size_t n_new,
                          const struct speed_noise *noise, size_t comparisons,
                          const struct speed_rule *rule, struct speed_verdict *verdict);

#endif
