/* SPDX-License-Identifier: MIT */
/*
 * The bench: times kernels that passed the check on a case, all of them interleaved, in blocks
 * (harness/block.h).
 *
 * Arms are kernels in modes, hot and cold; cold only for ops that have weights. The fastest kernel is
 * timed twice in every mode: how far its two arms are apart is what the machine's noise does. Beside
 * cold arms one only reads as many bytes of weights (harness/plain_read.h). A
 * disturbed sample (harness/noise.h) does not count and is taken again, but not more than once.
 * Calls of a tenth of a second or more are timed three times, cold only.
 */
#ifndef ASSAY_HARNESS_BENCH_H
#define ASSAY_HARNESS_BENCH_H

#include "harness/check.h"
#include "harness/timing.h"

/* Beyond these, `noise` calls the machine too noisy: the A/A arms' spread, the disturbed share. */
#define BENCH_MAX_AA        0.05
#define BENCH_MAX_DISTURBED 0.5

#define BENCH_SECONDS 0.5
#define BENCH_BLOCKS  6 /* so many and 95 % is what an interval of blocks can cover */

struct bench_options {
    double seconds; /* per kernel and mode, of all blocks and passes */
    int blocks, passes;
    int64_t llc_bytes;
    uint32_t features; /* of the CPU that may be used */
};

/* What the probes found, over a run. */
struct bench_noise {
    double chain_ghz, gate; /* the best; 0: none yet */
    int threads;            /* of the gate */
};

/* Which samples were disturbed, by what (several may hold), and how much a kernel differs from
 * itself. */
struct bench_quality {
    int samples, disturbed, switched, slowed, gated, starved;
    double chain_ghz; /* median over blocks */
    double aa_spread; /* of the A/A arms; NAN: there are none */
    bool too_noisy;
};
void bench_judge_noise(const struct timings *timings, struct bench_quality *quality);

/* Appends blocks of timings of all of `results` (of one case) that passed. A kernel that crashes or
 * computes something else when timed becomes a failed result. */
bool bench_case(const struct assay_case *item, struct result *results, size_t n_results,
                const struct check_options *check, const struct bench_options *options, int pass,
                struct bench_noise *noise, struct timings *timings, struct error *error);

#endif
