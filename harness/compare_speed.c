/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/compare.h"

enum unit { BLOCKS, PASSES, REPORTS };
static const char *const unit_names[] = {"blocks", "passes", "reports"};

/* ---- which timings count ---- */

static bool is_noisy(const struct timed *timed)
{
    return timed->timing->noisy || (timed->report->has_noise && timed->report->noise.too_noisy);
}

/* The timings that are judged by: those that are not noisy, if there are any. */
struct side {
    const struct timed *timed;
    size_t count;
    bool noisy;
};

static struct side side_of(const struct timed *timed, size_t count)
{
    struct side side = {timed, count, true};
    for (size_t i = 0; i < count; i++)
        side.noisy = side.noisy && is_noisy(&timed[i]);
    return side;
}

static bool counts(const struct side *side, size_t i)
{
    return side->noisy || !is_noisy(&side->timed[i]);
}

/* ---- units ---- */

/* Whether block b is the first of its pass. */
static bool begins_pass(const struct report_timing *timing, size_t b)
{
    for (size_t i = 0; i < b; i++) {
        if (timing->blocks[i].pass == timing->blocks[b].pass)
            return false;
    }
    return true;
}

static size_t passes_of(const struct report_timing *timing)
{
    size_t passes = 0;
    for (size_t b = 0; b < timing->n_blocks; b++)
        passes += begins_pass(timing, b);
    return passes;
}

/* What both sides have several of. */
static enum unit unit_of(const struct side *old, const struct side *now)
{
    bool several_reports = false, several_passes = false;
    for (int s = 0; s < 2; s++) {
        const struct side *side = s ? now : old;
        several_reports = several_reports || side->count > 1;
        for (size_t i = 0; i < side->count; i++)
            several_passes = several_passes || passes_of(side->timed[i].timing) > 1;
    }
    return several_passes ? PASSES : several_reports ? REPORTS : BLOCKS;
}

/* Appends the block's samples that were not disturbed; all of a noisy timing. */
static size_t take(const struct report_block *block, bool noisy, double *samples, size_t count)
{
    for (size_t i = 0; i < block->count; i++) {
        if (noisy || !block->disturbed[i])
            samples[count++] = block->ns[i];
    }
    return count;
}

/* The samples that belong together with block b: its own, its pass's or its report's. */
static size_t take_unit(const struct report_timing *timing, enum unit unit, size_t b,
                        double *samples)
{
    size_t count = 0;
    for (size_t i = 0; i < timing->n_blocks; i++) {
        if (unit == REPORTS || i == b ||
            (unit == PASSES && timing->blocks[i].pass == timing->blocks[b].pass))
            count = take(&timing->blocks[i], timing->noisy, samples, count);
    }
    return count;
}

static bool begins_unit(const struct report_timing *timing, enum unit unit, size_t b)
{
    return unit == BLOCKS || b == 0 || (unit == PASSES && begins_pass(timing, b));
}

/* The logs of the units' medians; `logs` has room for every block, `samples` for a timing's. */
static size_t log_medians(const struct side *side, enum unit unit, double *logs, double *samples)
{
    size_t count = 0;
    for (size_t i = 0; i < side->count; i++) {
        const struct report_timing *timing = side->timed[i].timing;
        for (size_t b = 0; counts(side, i) && b < timing->n_blocks; b++) {
            if (!begins_unit(timing, unit, b))
                continue;
            size_t taken = take_unit(timing, unit, b, samples);
            if (taken == 0)
                continue;
            sort_samples(samples, taken);
            logs[count++] = log(quantile(samples, taken, 0.5));
        }
    }
    return count;
}

static void room_of(const struct side *side, size_t *blocks, size_t *samples)
{
    *blocks = 1;
    *samples = 1;
    for (size_t i = 0; i < side->count; i++) {
        const struct report_timing *timing = side->timed[i].timing;
        size_t sum = 0;
        for (size_t b = 0; b < timing->n_blocks; b++)
            sum += timing->blocks[b].count;
        *blocks += timing->n_blocks;
        *samples = sum > *samples ? sum : *samples;
    }
}

/* ---- what the machine did ---- */

static double larger(double a, double b)
{
    return isnan(a) || fabs(b) > fabs(a) ? b : a;
}

/* Mean of log(clock), a timing's being the median of its blocks. */
static double log_clock(const struct side *side)
{
    double sum = 0;
    size_t count = 0;
    for (size_t i = 0; i < side->count; i++) {
        const struct report_timing *timing = side->timed[i].timing;
        for (size_t b = 0; counts(side, i) && b < timing->n_blocks; b++) {
            if (isnan(timing->blocks[b].chain_ghz))
                continue;
            sum += log(timing->blocks[b].chain_ghz);
            count++;
        }
    }
    return count ? sum / (double)count : NAN;
}

static bool same_work(const struct report_timing *a, const struct report_timing *b)
{
    return a->flop == b->flop && a->products == b->products && a->read_bytes == b->read_bytes &&
           a->written_bytes == b->written_bytes;
}

/* Mean of log(the time that the ceiling allows); NAN unless all have the kind and work of `first`,
 * whose ceilings' times are then in proportion to what the machine can do. */
static double log_ceiling(const struct side *side, const struct report_timing *first)
{
    double sum = 0;
    size_t count = 0;
    for (size_t i = 0; i < side->count; i++) {
        const struct report_timing *timing = side->timed[i].timing;
        if (!counts(side, i))
            continue;
        if (!timing->ceiling.kind || !first->ceiling.kind || !same_work(timing, first) ||
            strcmp(timing->ceiling.kind, first->ceiling.kind) != 0)
            return NAN;
        sum += log(timing->ceiling.ns);
        count++;
    }
    return sum / (double)count;
}

static struct speed_noise noise_between(const struct side *old, const struct side *now,
                                        enum unit unit, double aa)
{
    static const char *const kinds[][2] = {{"f32", "f32 peak"},
                                           {"int8", "int8 peak"},
                                           {"read", "read bandwidth"},
                                           {"store", "store bandwidth"}};
    const struct report_timing *first = old->timed[0].timing;
    double ceiling = log_ceiling(now, first) - log_ceiling(old, first);
    double clock = log_clock(old) - log_clock(now);
    struct speed_noise noise = {
        .aa = aa, .drift = larger(ceiling, clock), .drifted = "clock", .unit = unit_names[unit]};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        if (noise.drift == ceiling && strcmp(kinds[i][0], first->ceiling.kind) == 0)
            noise.drifted = kinds[i][1];
    }
    return noise;
}

/* ---- the verdict ---- */

static void distrust(const struct side *side, const char *which, struct speed_verdict *verdict)
{
    const struct report *report = side->timed[0].report;
    verdict->speed = SPEED_UNCLEAR;
    snprintf(verdict->reason, sizeof(verdict->reason), "%s: %s", which,
             report->has_noise && report->noise.too_noisy
                 ? "the machine was too noisy"
                 : "fewer than half of the samples wanted were undisturbed");
}

/* The blocks of a pass are seconds apart, and what else runs on the machine stays for longer: two
 * passes of the same code differ by up to a half on a shared machine, each being sure of itself. */
static void doubt_one_pass(struct speed_verdict *verdict)
{
    if (verdict->speed != SPEED_FASTER && verdict->speed != SPEED_SLOWER)
        return;
    snprintf(verdict->reason, sizeof(verdict->reason),
             "seems %s, but that may be the machine in one pass: bench --rounds 3 or more",
             verdict->speed == SPEED_SLOWER ? "slower" : "faster");
    verdict->speed = SPEED_UNCLEAR;
}

bool compare_speed(const struct timed *old, size_t n_old, const struct timed *now, size_t n_new,
                   double aa, size_t tests, const struct speed_rule *rule, struct comparison *out,
                   struct error *error)
{
    struct side sides[2] = {side_of(old, n_old), side_of(now, n_new)};
    double *logs[2] = {NULL, NULL}, *samples[2] = {NULL, NULL};
    size_t count[2] = {0};
    bool good = true;
    enum unit unit = unit_of(&sides[0], &sides[1]);
    for (int s = 0; s < 2; s++) {
        size_t blocks, room;
        room_of(&sides[s], &blocks, &room);
        logs[s] = calloc(blocks, sizeof(double));
        samples[s] = calloc(room, sizeof(double));
        good = good && logs[s] && samples[s];
        if (good)
            count[s] = log_medians(&sides[s], unit, logs[s], samples[s]);
    }
    if (good) {
        struct speed_noise noise = noise_between(&sides[0], &sides[1], unit, aa);
        speed_judge_unpaired(logs[0], count[0], logs[1], count[1], &noise, tests, rule,
                             &out->speed);
        out->old_ns = count[0] ? exp(sample_mean(logs[0], count[0])) : NAN;
        out->new_ns = count[1] ? exp(sample_mean(logs[1], count[1])) : NAN;
        if (unit == BLOCKS)
            doubt_one_pass(&out->speed);
        for (int s = 0; s < 2; s++) {
            if (sides[s].noisy)
                distrust(&sides[s], s ? "new" : "old", &out->speed);
        }
    }
    for (int s = 0; s < 2; s++) {
        free(logs[s]);
        free(samples[s]);
    }
    return good || fail(error, "out of memory");
}
