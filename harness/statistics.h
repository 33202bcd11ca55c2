/* SPDX-License-Identifier: MIT */
/* The statistics of verdicts and timings. Samples are as many as `count` says, at least one; for
 * quantiles they are sorted. */
#ifndef ASSAY_HARNESS_STATISTICS_H
#define ASSAY_HARNESS_STATISTICS_H

#include <stdbool.h>
#include <stddef.h>

void sort_samples(double *samples, size_t count);

/* Linear interpolation between order statistics; 0 <= fraction <= 1. */
double quantile(const double *sorted, size_t count, double fraction);

double sample_mean(const double *samples, size_t count);

/* The standard deviation of what the samples are drawn from; 0 of one sample. */
double sample_deviation(const double *samples, size_t count);

/* What Student's t exceeds on either side with probability alpha; the degrees of freedom may be a
 * fraction. */
double student(double alpha, double freedom);

struct interval {
    double low, high;
    double coverage; /* the probability that it holds the true value */
};

/* Samples of several blocks: block b's are samples[starts[b]] to samples[starts[b + 1] - 1]; each has
 * some. A confidence interval of the median of them all by the bootstrap: blocks are drawn with
 * replacement, then samples within them, since those of a block have more in common. A few blocks
 * cannot cover more than their range does, 1 - 2^(1 - n_blocks), and the interval says so. False:
 * out of memory. */
bool blocks_interval(const double *samples, const size_t *starts, size_t n_blocks, double coverage,
                     struct interval *interval);

/* Median of the distances from the median; false: out of memory. */
bool median_deviation(const double *samples, size_t count, double *deviation);

/* Where the mean of the squares of `freedom` standard normal numbers lies, but for probability
 * alpha (half of it on each side). */
struct interval mean_square_interval(double freedom, double alpha);

/* Where the mean of `count` numbers of zero mean and the given standard deviation, estimated from
 * them, lies, but for probability alpha. count >= 2. */
struct interval mean_interval(size_t count, double deviation, double alpha);

/* What the size of none of `count` numbers exceeds, but for probability alpha, if their tails are
 * within exp(-z^2/2) each; they may depend on each other. */
double rare_deviation(double count, double alpha);

#endif
