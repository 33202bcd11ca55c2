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

static struct range around(double centre, double half)
{
    return (struct range){centre - half, centre + half};
}

static double percent(double log_ratio)
{
    return 100 * expm1(log_ratio);
}

/* What is found out: the standard error of `centre` with its degrees of freedom, and by how much the
 * interval is wider on its low and its high side for other reasons. */
struct estimate {
    double centre, error, freedom, low, high;
};

static struct range range_of(const struct estimate *e, double alpha)
{
    double half = e->error > 0 ? student(alpha, e->freedom) * e->error : 0;
    struct range range = around(e->centre, half);
    return (struct range){range.low - e->low, range.high + e->high};
}

struct ranges {
    struct range alone, among_all;
    double alpha, alpha_of_all;
};

static struct ranges ranges_of(const struct estimate *e, size_t comparisons,
                               const struct speed_rule *rule)
{
    double divided = rule->alpha / (double)(comparisons ? comparisons : 1);
    return (struct ranges){range_of(e, rule->alpha), range_of(e, divided), rule->alpha, divided};
}

static enum speed change(struct range range, const struct speed_rule *rule)
{
    return range.low > rule->negligible     ? SPEED_SLOWER
           : range.high < -rule->negligible ? SPEED_FASTER
                                            : SPEED_UNCLEAR;
}

static enum speed decide(const struct ranges *ranges, const struct speed_rule *rule)
{
    enum speed speed = change(ranges->among_all, rule);
    bool same = ranges->alone.low >= -rule->same && ranges->alone.high <= rule->same;
    return speed == SPEED_UNCLEAR && same ? SPEED_SAME : speed;
}

static void say_unclear(const struct ranges *ranges, size_t comparisons,
                        const struct speed_rule *rule, const char *unit, struct speed_verdict *v)
{
    enum speed seems = change(ranges->alone, rule);
    double half = (ranges->alone.high - ranges->alone.low) / 2;
    if (seems != SPEED_UNCLEAR)
        snprintf(v->reason, sizeof(v->reason),
                 "seems %s, but one of %zu comparisons may by chance: more %s",
                 seems == SPEED_SLOWER ? "slower" : "faster", comparisons, unit);
    else if (half > rule->same)
        snprintf(v->reason, sizeof(v->reason),
                 "the interval of +-%.1f %% is wider than +-%.2g %%: more %s", percent(half),
                 percent(rule->same), unit);
    else
        snprintf(v->reason, sizeof(v->reason), "the interval lies across the %.2g %% line",
                 percent(rule->same));
}

static void settle(const struct estimate *e, size_t comparisons, const struct speed_rule *rule,
                   const char *unit, struct speed_verdict *v)
{
    struct ranges ranges = ranges_of(e, comparisons, rule);
    v->speed = decide(&ranges, rule);
    bool changed = v->speed == SPEED_FASTER || v->speed == SPEED_SLOWER;
    bool among_all =
        changed || (v->speed == SPEED_UNCLEAR && change(ranges.alone, rule) != SPEED_UNCLEAR);
    struct range range = among_all ? ranges.among_all : ranges.alone;
    v->ratio = exp(e->centre);
    v->interval = (struct interval){exp(range.low), exp(range.high),
                                    1 - (among_all ? ranges.alpha_of_all : ranges.alpha)};
    if (changed)
        snprintf(v->reason, sizeof(v->reason), "at least %.1f %% %s time",
                 v->speed == SPEED_SLOWER ? percent(range.low) : -percent(range.high),
                 v->speed == SPEED_SLOWER ? "more" : "less");
    else if (v->speed == SPEED_SAME)
        snprintf(v->reason, sizeof(v->reason), "within %.1f %%",
                 percent(fmax(-range.low, range.high)));
    else
        say_unclear(&ranges, comparisons, rule, unit, v);
}

static enum speed decision(const struct estimate *e, size_t comparisons,
                           const struct speed_rule *rule)
{
    struct ranges ranges = ranges_of(e, comparisons, rule);
    return decide(&ranges, rule);
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
    snprintf(v->reason, sizeof(v->reason), "%zu of the %d %s that are needed", n, SPEED_MIN_BLOCKS,
             unit);
    return false;
}

static bool timed(const struct estimate *e, struct speed_verdict *v)
{
    if (isfinite(e->centre) && isfinite(e->error) && isfinite(e->low) && isfinite(e->high))
        return true;
    *v = unknown(NAN);
    snprintf(v->reason, sizeof(v->reason), "there is a time of zero, or none");
    return false;
}

void speed_judge_paired(const double *log_ratio, const double *aa, size_t n, size_t comparisons,
                        const struct speed_rule *rule, struct speed_verdict *v)
{
    double centre = sample_mean(log_ratio, n), aa_mean = fabs(sample_mean(aa, n));
    if (!enough(n, "blocks", centre, v))
        return;
    double root = sqrt((double)n), freedom = (double)n - 1;
    double spread = sample_deviation(log_ratio, n), aa_spread = sample_deviation(aa, n);
    const struct estimate plain = {centre, spread / root, freedom, 0, 0};
    const struct estimate e = {centre, fmax(spread, aa_spread) / root, freedom, aa_mean, aa_mean};
    if (!timed(&e, v))
        return;
    settle(&e, comparisons, rule, "blocks", v);
    if (v->speed == SPEED_UNCLEAR && decision(&plain, comparisons, rule) != SPEED_UNCLEAR)
        snprintf(v->reason, sizeof(v->reason), "the A/A arm differs from itself by %.1f %%",
                 percent(fmax(aa_spread, aa_mean)));
}

/* Welch's, of blocks whose variance is `floor` at least, and of runs that differ by `between`. */
static struct estimate welch(const double *old, size_t n_old, const double *now, size_t n_new,
                             double floor, double between)
{
    double a = fmax(pow(sample_deviation(old, n_old), 2), floor) / (double)n_old;
    double b = fmax(pow(sample_deviation(now, n_new), 2), floor) / (double)n_new;
    double sum = a + b;
    double freedom = sum * sum / (a * a / ((double)n_old - 1) + b * b / ((double)n_new - 1));
    return (struct estimate){sample_mean(now, n_new) - sample_mean(old, n_old),
                             sqrt(sum + between * between), sum > 0 ? freedom : 1, 0, 0};
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
    double aa = known(noise->aa), between = known(noise->between), drift = known(noise->drift);
    /* The A/A log-ratio is a difference of two blocks: it has twice the variance of one. */
    const struct estimate plain = welch(old, n_old, now, n_new, 0, 0);
    const struct estimate still = welch(old, n_old, now, n_new, aa * aa / 2, between);
    struct estimate e = still;
    e.low = fmax(drift, 0);
    e.high = fmax(-drift, 0);
    if (!timed(&e, v))
        return;
    settle(&e, comparisons, rule, noise->unit, v);
    if (v->speed != SPEED_UNCLEAR)
        return;
    if (decision(&still, comparisons, rule) != SPEED_UNCLEAR) {
        if (fabs(drift) > rule->negligible)
            snprintf(v->reason, sizeof(v->reason), "the machine's %s moved by %.1f %%",
                     noise->drifted ? noise->drifted : "speed", percent(fabs(drift)));
    } else if (decision(&plain, comparisons, rule) != SPEED_UNCLEAR) {
        if (aa >= between)
            snprintf(v->reason, sizeof(v->reason), "the A/A arm differs from itself by %.1f %%",
                     percent(aa));
        else
            snprintf(v->reason, sizeof(v->reason), "the runs differ by %.1f %% in all cases",
                     percent(between));
    }
}
