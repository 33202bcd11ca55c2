/* SPDX-License-Identifier: MIT */
/*
 * Two builds of a kernel library against each other, in one process.
 *
 * Kernels of the same op and name are a pair. Both are checked; pairs that pass are timed in blocks
 * (harness/block.h) with three arms in each mode: old, new, and old again. A block gives the log-ratio
 * of the medians new / old, and of old again / old, the A/A arm, which shows what the machine does
 * to identical code. Blocks of a case's pairs take turns, so that those of one pair see more of the
 * machine's moods. After 8, 16 and 32 blocks a verdict is looked for (harness/verdict.h); with one,
 * or when its time is up, a pair is done.
 */
#ifndef ASSAY_HARNESS_AB_H
#define ASSAY_HARNESS_AB_H

#include "harness/block.h"
#include "harness/compare_output.h"

enum { AB_OLD, AB_NEW, AB_SIDES };
enum { AB_MAX_BLOCKS = 32 };

/* What was measured of a pair in a mode. */
struct ab_series {
    bool wanted; /* is timed in this mode */
    bool decided;
    size_t count; /* blocks that count */
    double log_ratio[AB_MAX_BLOCKS], aa[AB_MAX_BLOCKS];
    double ns[AB_SIDES][AB_MAX_BLOCKS];
    size_t retaken; /* blocks in which too much was disturbed */
    double seconds; /* that its blocks took */
    struct speed_verdict verdict;
};

struct ab_pair {
    const struct assay_case *item;
    int threads;
    struct result results[AB_SIDES];
    struct ab_series series[BENCH_MODES];
    struct blocks blocks; /* while its case is timed */
};

/* How the machine behaved. */
struct ab_noise {
    size_t samples, disturbed, blocks, discarded;
};

struct ab {
    /* asked */
    struct kernels kernels[AB_SIDES]; /* plain */
    int files[AB_SIDES]; /* open on their libraries; -1: their code is not loaded anew */
    bool any_tier;       /* also kernels of tier ref where their op has others */
    struct cases cases;
    struct check_options check;
    double seconds; /* at most, of a pair in a mode */
    int64_t llc_bytes;
    struct speed_rule rule;

    /* results */
    struct ab_pair *pairs; /* those of a case stand together */
    size_t n_pairs;
    struct ab_noise noise;
    bool complete;
};

/* Tells the caller about progress; may be NULL. */
typedef void ab_progress(size_t done, size_t count, const char *what);

bool ab_run(struct ab *ab, ab_progress *progress, struct error *error);

/* The blocks and verdicts of a case's pairs, of which `first` is the first. `tests` is what alpha is
 * divided by. */
bool ab_time_case(struct ab *ab, size_t first, size_t count, size_t tests, struct error *error);

/* Looks that are taken at a pair's blocks. */
extern const size_t ab_looks[];
extern const size_t ab_n_looks;

/* Verdicts that are asked for, times looks. */
size_t ab_tests(const struct ab *ab);

/* Kernels of the other side that this one has no counterpart of are not in any pair. */
const struct kernel *ab_counterpart(const struct ab *ab, int side, const struct kernel *kernel);

void ab_free(struct ab *ab);

#endif
