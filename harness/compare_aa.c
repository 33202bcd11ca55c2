/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/compare.h"

/* The median of |x|, x normal, is this part of its standard deviation. */
#define MEDIAN_OF_ABSOLUTE 0.6745

/* The arm that an A/A arm repeats, which stands before or after it among the case's timings. */
static const struct report_timing *twin_of(const struct report *report, size_t arm)
{
    const struct report_timing *again = &report->timings[arm];
    for (size_t i = 0; i < report->n_timings; i++) {
        /* From the arm on, downwards and then from the end. */
        const struct report_timing *other =
            &report->timings[(arm + report->n_timings - i) % report->n_timings];
        if (!other->aa && other->result == again->result && other->threads == again->threads &&
            strcmp(other->mode, again->mode) == 0)
            return other;
    }
    return NULL;
}

/* The log of the median of the samples that were not disturbed; NAN: there are none. */
static double log_median(const struct report_block *block, double *samples)
{
    size_t count = 0;
    for (size_t i = 0; i < block->count; i++) {
        if (!block->disturbed[i])
            samples[count++] = block->ns[i];
    }
    if (count == 0)
        return NAN;
    sort_samples(samples, count);
    return log(quantile(samples, count, 0.5));
}

struct room {
    size_t blocks, samples; /* of all A/A arms; of the largest block */
};

static struct room room_of(const struct report *report)
{
    struct room room = {1, 1};
    for (size_t i = 0; i < report->n_timings; i++) {
        const struct report_timing *timing = &report->timings[i];
        room.blocks += timing->aa ? timing->n_blocks : 0;
        for (size_t b = 0; b < timing->n_blocks; b++) {
            if (timing->blocks[b].count > room.samples)
                room.samples = timing->blocks[b].count;
        }
    }
    return room;
}

static double spread_of(const struct report *report, double *ratios, double *samples)
{
    size_t count = 0;
    for (size_t i = 0; i < report->n_timings; i++) {
        const struct report_timing *again = &report->timings[i];
        const struct report_timing *twin = again->aa ? twin_of(report, i) : NULL;
        for (size_t b = 0; twin && b < again->n_blocks && b < twin->n_blocks; b++) {
            double ratio = log_median(&again->blocks[b], samples);
            ratio = fabs(ratio - log_median(&twin->blocks[b], samples));
            if (!isnan(ratio))
                ratios[count++] = ratio;
        }
    }
    if (count < SPEED_MIN_BLOCKS)
        return report->has_noise ? report->noise.aa_spread : NAN;
    sort_samples(ratios, count);
    return quantile(ratios, count, 0.5) / MEDIAN_OF_ABSOLUTE;
}

bool compare_aa_spread(const struct reports *old, const struct reports *now, double *spread,
                       struct error *error)
{
    *spread = NAN;
    for (size_t i = 0; i < old->count + now->count; i++) {
        const struct report *report = i < old->count ? &old->items[i] : &now->items[i - old->count];
        if (report->has_noise && report->noise.too_noisy)
            continue; /* it is left out anyway */
        struct room room = room_of(report);
        double *ratios = calloc(room.blocks, sizeof(*ratios));
        double *samples = calloc(room.samples, sizeof(*samples));
        bool good = ratios && samples;
        if (good)
            *spread = fmax(*spread, spread_of(report, ratios, samples));
        free(ratios);
        free(samples);
        if (!good)
            return fail(error, "out of memory");
    }
    return true;
}
