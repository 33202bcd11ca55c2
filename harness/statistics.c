/* SPDX-License-Identifier: MIT */
#include "harness/statistics.h"

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>

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

struct interval median_interval(const double *sorted, size_t count, double coverage)
{
    /* [sorted[r], sorted[count-1-r]] misses the median if at most r samples lie on one side of it.
     */
    size_t rank = 0;
    double missed = 2 * gsl_cdf_binomial_P(0, 0.5, (unsigned)count);
    while (2 * (rank + 1) < count) {
        double next = 2 * gsl_cdf_binomial_P((unsigned)rank + 1, 0.5, (unsigned)count);
        if (next > 1 - coverage)
            break;
        missed = next;
        rank++;
    }
    return (struct interval){sorted[rank], sorted[count - 1 - rank], fmax(0, 1 - missed)};
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
