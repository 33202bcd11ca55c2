/* SPDX-License-Identifier: MIT */
#include "harness/verdict.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>

const char *const speed_names[SPEEDS] = {"FASTER", "SLOWER", "SAME", "UNCLEAR"};
const struct speed_rule speed_default_rule = {.alpha = 0.01, .negligible = 0.005, .same = 0.02};

/* An interval of log(new / old). */
struct range {
    double low, high;
};

static double percent(double log_ratio)
{
    return 100 * expm1(log_ratio);
}

static enum speed decide(struct range range, const struct speed_rule *rule)
{
    if (range.low > rule->negligible)
        return SPEED_SLOWER;
    if (range.high < -rule->negligible)
        return SPEED_FASTER;
    return range.low >= -rule->same && range.high <= rule->same ? SPEED_SAME : SPEED_UNCLEAR;
}

static struct range around(double centre, double half)
{
    return (struct range){centre - half, centre + half};
}

static void say_unclear(struct range range, const struct speed_rule *rule, const char *unit,
                        struct speed_verdict *v)
{
    double half = (range.high - range.low) / 2;
    if (half > rule->same)
        snprintf(v->reason, sizeof(v->reason),
                 "the interval of +-%.1f %% is wider than +-%.2g %%: more %s", percent(half),
                 percent(rule->same), unit);
    else
        snprintf(v->reason, sizeof(v->reason), "the interval lies across the %.2g %% line",
                 percent(rule->same));
}

static void settle(double centre, struct range range, double alpha, const struct speed_rule *rule,
                   const char *unit, struct speed_verdict *v)
{
    v->speed = decide(range, rule);
    v->ratio = exp(centre);
    v->interval = (struct interval){exp(range.low), exp(range.high), 1 - alpha};
    switch (v->speed) {
    case SPEED_FASTER:
        snprintf(v->reason, sizeof(v->reason), "at least %.1f %% less time", -percent(range.high));
        break;
    case SPEED_SLOWER:
        snprintf(v->reason, sizeof(v->reason), "at least %.1f %% more time", percent(range.low));
        break;
    case SPEED_SAME:
        snprintf(v->reason, sizeof(v->reason), "within %.1f %%",
                 percent(fmax(-range.low, range.high)));
        break;
    default: say_unclear(range, rule, unit, v);
    }
}

/* A verdict that the samples cannot give. */
static struct speed_verdict unknown(double ratio)
{
    return (struct speed_verdict){
        .speed = SPEED_UNCLEAR, .ratio = ratio, .interval = {NAN, NAN, NAN}};
}

static bool enough(size_t n, const char *unit, double centre, struct speed_verdict *v)
{
    *v = unknown(exp(centre));
    if (n >= SPEED_MIN_BLOCKS)
        return true;
    snprintf(v->reason, sizeof(v->reason), "%zu %s: %d are needed at least", n, unit,
             SPEED_MIN_BLOCKS);
    return false;
}

static bool timed(double centre, double half, struct speed_verdict *v)
{
    if (isfinite(centre) && isfinite(half))
        return true;
    *v = unknown(NAN);
    snprintf(v->reason, sizeof(v->reason), "there is a time of zero, or none");
    return false;
}

void speed_judge_paired(const double *log_ratio, const double *aa, size_t n, size_t comparisons,
                        const struct speed_rule *rule, struct speed_verdict *v)
{
    double centre = sample_mean(log_ratio, n), aa_mean = sample_mean(aa, n);
    if (!enough(n, "blocks", centre, v))
        return;
    double alpha = rule->alpha / (double)(comparisons ? comparisons : 1);
    double spread = sample_deviation(log_ratio, n), aa_spread = sample_deviation(aa, n);
    double error = student(alpha, (double)n - 1) / sqrt((double)n);
    double half = error * fmax(spread, aa_spread) + fabs(aa_mean);
    if (!timed(centre, half, v))
        return;
    settle(centre, around(centre, half), alpha, rule, "blocks", v);
    if (v->speed == SPEED_UNCLEAR && decide(around(centre, error * spread), rule) != SPEED_UNCLEAR)
        snprintf(v->reason, sizeof(v->reason), "the A/A arm differs from itself by %.1f %%",
                 percent(fmax(aa_spread, fabs(aa_mean))));
}

/* What Welch's interval is made of: the variance of a mean, and its degrees of freedom. */
struct spread {
    double variance, freedom;
};

/* At least `floor`: the variance of one block. */
static struct spread spread_of(const double *old, size_t n_old, const double *now, size_t n_new,
                               double floor)
{
    double a = fmax(pow(sample_deviation(old, n_old), 2), floor) / (double)n_old;
    double b = fmax(pow(sample_deviation(now, n_new), 2), floor) / (double)n_new;
    double variance = a + b;
    double freedom =
        variance * variance / (a * a / ((double)n_old - 1) + b * b / ((double)n_new - 1));
    return (struct spread){variance, variance > 0 ? freedom : (double)(n_old + n_new - 2)};
}

static double known(double noise)
{
    return isfinite(noise) ? noise : 0;
}

void speed_judge_unpaired(const double *old, size_t n_old, const double *now, size_t n_new,
                          const struct speed_noise *noise, size_t comparisons,
                          const struct speed_rule *rule, struct speed_verdict *v)
{
    double centre = sample_mean(now, n_new) - sample_mean(old, n_old);
    if (!enough(n_old < n_new ? n_old : n_new, noise->unit, centre, v))
        return;
    double alpha = rule->alpha / (double)(comparisons ? comparisons : 1);
    double aa = known(noise->aa), between = known(noise->between), drift = known(noise->drift);
    /* The A/A log-ratio is a difference of two blocks: it has twice the variance of one. */
    struct spread plain = spread_of(old, n_old, now, n_new, 0);
    struct spread s = spread_of(old, n_old, now, n_new, aa * aa / 2);
    double half = student(alpha, s.freedom) * sqrt(s.variance + between * between);
    double plain_half = student(alpha, plain.freedom) * sqrt(plain.variance);
    if (!timed(centre, half, v))
        return;
    struct range still = around(centre, half), range = still;
    range.low -= fmax(drift, 0);
    range.high += fmax(-drift, 0);
    settle(centre, range, alpha, rule, noise->unit, v);
    if (v->speed != SPEED_UNCLEAR)
        return;
    if (decide(still, rule) != SPEED_UNCLEAR)
        snprintf(v->reason, sizeof(v->reason), "the machine's %s moved by %.1f %%",
                 noise->drifted ? noise->drifted : "speed", percent(fabs(drift)));
    else if (decide(around(centre, plain_half), rule) == SPEED_UNCLEAR)
        return;
    else if (aa >= between)
        snprintf(v->reason, sizeof(v->reason), "the A/A arm differs from itself by %.1f %%",
                 percent(aa));
    else
        snprintf(v->reason, sizeof(v->reason), "the runs differ by %.1f %% in all cases",
                 percent(between));
}
