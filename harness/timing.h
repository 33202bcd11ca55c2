/* SPDX-License-Identifier: MIT */
/* What was measured of a kernel in a mode: blocks of samples, and what they say together. */
#ifndef ASSAY_HARNESS_TIMING_H
#define ASSAY_HARNESS_TIMING_H

#include "harness/block.h"
#include "harness/ceilings.h"
#include "harness/statistics.h"

/* The samples of a block, disturbed ones among them. */
struct timing_block {
    int pass;         /* of the run over all cases, from 0 on */
    double chain_ghz; /* median */
    int count;
    double *ns;         /* of a call, in the order taken */
    uint8_t *disturbed; /* by what: NOISE_ bits */
};

enum { TIMING_QUANTILES = 4 };
extern const double timing_quantiles[TIMING_QUANTILES];

/* One kernel on one case in one mode. */
struct timing {
    struct result *result;
    enum bench_mode mode;
    bool aa; /* a kernel that is timed twice: once more, as an arm of its own */
    int threads;
    int calls;         /* in a sample */
    double prepare_ns; /* NAN: nothing to prepare */
    struct assay_cost cost;
    size_t n_blocks;
    struct timing_block *blocks;
    /* of the samples used: */
    int samples, discarded;
    bool noisy; /* too many were disturbed, and all are used */
    double median, minimum, deviation, quantiles[TIMING_QUANTILES];
    struct interval interval; /* of the median, 95 % */
    double plain_read; /* GB/s of plain reads in the same rounds, for cold ones; NAN: unknown */
    bool has_ceiling;
    struct binding ceiling;
};

struct timings {
    size_t count;
    struct timing *items;
};

/* The timing of a result's mode, appended if it is not there; NULL: out of memory. */
struct timing *timings_get(struct timings *timings, struct result *result, enum bench_mode mode,
                           bool aa, struct error *error);

/* The timing that an A/A timing repeats, or NULL. */
const struct timing *timings_twin(const struct timings *timings, const struct timing *aa);

/* Drops those of a result, whose kernel turned out to be wrong. */
void timings_drop(struct timings *timings, const struct result *result);

/* Appends what an arm measured in a block. */
bool timing_add(struct timing *timing, const struct arm *arm, int pass, struct error *error);

/* Whether a sample counts: it was not disturbed, or the timing is noisy. */
bool timing_uses(const struct timing *timing, const struct timing_block *block, int sample);

/* From the blocks, of which there is one at least, to the summary. */
bool timing_summarize(struct timing *timing, struct error *error);

/* Log-ratio of a block's median over that of another timing's block in the same child; NAN if one
 * of them has no sample that counts. */
double timing_log_ratio(const struct timing *timing, const struct timing *other, size_t block);

/* The standard deviation of all A/A arms' block log-ratios about 0; NAN: there are none. */
double timings_aa_spread(const struct timings *timings);

void timings_free(struct timings *timings);

#endif
