/* SPDX-License-Identifier: MIT */
#include "harness/statistics.h"

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_rng.h>
#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdlib.h>

void sort_samples(double *samples, size_t count)
{
    gsl_sort(samples, 1, count);
}

double quantile(const double *sorted, size_t count, double fraction)
{
    return gsl_stats_quantile_from_sorted_data(sorted, 1, count, fraction);
}

double sample_mean(const double *samples, size_t count)
{
    return gsl_stats_mean(samples, 1, count);
}

double sample_deviation(const double *samples, size_t count)
{
    return count > 1 ? gsl_stats_sd(samples, 1, count) : 0;
}

double student(double alpha, double freedom)
{
    return gsl_cdf_tdist_Qinv(alpha / 2, freedom);
}

/* Its quantiles' own error is then a twentieth of the distribution's standard deviation. */
#define RESAMPLES 1000

/* The median of one resample. */
static double resample(gsl_rng *random, const double *samples, const size_t *starts,
                       size_t n_blocks, double *drawn)
{
    size_t count = 0;
    for (size_t i = 0; i < n_blocks; i++) {
        size_t b = gsl_rng_uniform_int(random, n_blocks), size = starts[b + 1] - starts[b];
        for (size_t k = 0; k < size; k++)
            drawn[count++] = samples[starts[b] + gsl_rng_uniform_int(random, size)];
    }
    return gsl_stats_median(drawn, 1, count);
}

bool blocks_interval(const double *samples, const size_t *starts, size_t n_blocks, double coverage,
                     struct interval *interval)
{
    size_t largest = 0;
    for (size_t b = 0; b < n_blocks; b++)
        largest = starts[b + 1] - starts[b] > largest ? starts[b + 1] - starts[b] : largest;
    double medians[RESAMPLES];
    double *drawn = malloc(n_blocks * largest * sizeof(*drawn));
    gsl_rng *random = gsl_rng_alloc(gsl_rng_taus2); /* its default seed: the same samples give the
                                                       same interval */
    bool made = drawn && random;
    for (size_t i = 0; made && i < RESAMPLES; i++)
        medians[i] = resample(random, samples, starts, n_blocks, drawn);
    if (made) {
        sort_samples(medians, RESAMPLES);
        *interval = (struct interval){
            quantile(medians, RESAMPLES, (1 - coverage) / 2),
            quantile(medians, RESAMPLES, (1 + coverage) / 2),
            fmin(coverage, 1 - pow(2, 1 - (double)n_blocks)),
        };
    }
    if (random)
        gsl_rng_free(random);
    free(drawn);
    return made;
}

bool median_deviation(const double *samples, size_t count, double *deviation)
{
    double *work = malloc(count * sizeof(*work));
    if (work)
        *deviation = gsl_stats_mad0(samples, 1, count, work);
    free(work);
    return work != NULL;
}

/* Beyond this, GSL's inverse does not always converge, and the cube-root approximation of Wilson
 * and Hilferty (1931) is within 2e-4 of it, even at an alpha of 1e-9. */
#define MAX_EXACT_FREEDOM 1000

struct interval mean_square_interval(double freedom, double alpha)
{
    if (freedom > MAX_EXACT_FREEDOM) {
        double part = 2 / (9 * freedom);
        double half = gsl_cdf_ugaussian_Qinv(alpha / 2) * sqrt(part);
        return (struct interval){pow(1 - part - half, 3), pow(1 - part + half, 3), 1 - alpha};
    }
    return (struct interval){
        gsl_cdf_chisq_Pinv(alpha / 2, freedom) / freedom,
        gsl_cdf_chisq_Qinv(alpha / 2, freedom) / freedom,
        1 - alpha,
    };
}

struct interval mean_interval(size_t count, double deviation, double alpha)
{
    double half = student(alpha, (double)count - 1) * deviation / sqrt((double)count);
    return (struct interval){-half, half, 1 - alpha};
}

double rare_deviation(double count, double alpha)
{
    return sqrt(2 * log(2 * count / alpha));
}
