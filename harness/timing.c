/* SPDX-License-Identifier: MIT */
#include "harness/timing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COVERAGE 0.95

const double timing_quantiles[TIMING_QUANTILES] = {0.05, 0.25, 0.75, 0.95};

struct timing *timings_get(struct timings *timings, struct result *result, enum bench_mode mode,
                           bool aa, struct error *error)
{
    for (size_t i = 0; i < timings->count; i++) {
        struct timing *timing = &timings->items[i];
        if (timing->result == result && timing->mode == mode && timing->aa == aa)
            return timing;
    }
    struct timing *items = realloc(timings->items, (timings->count + 1) * sizeof(*items));
    if (!items) {
        fail(error, "out of memory");
        return NULL;
    }
    timings->items = items;
    items[timings->count] =
        (struct timing){.result = result, .mode = mode, .aa = aa, .plain_read = NAN};
    return &items[timings->count++];
}

static void timing_free(struct timing *timing)
{
    for (size_t b = 0; b < timing->n_blocks; b++) {
        free(timing->blocks[b].ns);
        free(timing->blocks[b].disturbed);
    }
    free(timing->blocks);
}

void timings_drop(struct timings *timings, const struct result *result)
{
    size_t kept = 0;
    for (size_t i = 0; i < timings->count; i++) {
        if (timings->items[i].result == result)
            timing_free(&timings->items[i]);
        else
            timings->items[kept++] = timings->items[i];
    }
    timings->count = kept;
}

void timings_free(struct timings *timings)
{
    for (size_t i = 0; i < timings->count; i++)
        timing_free(&timings->items[i]);
    free(timings->items);
    *timings = (struct timings){0};
}

/* Sorts `samples`. */
static double median_of(double *samples, size_t count)
{
    if (count == 0)
        return NAN;
    sort_samples(samples, count);
    return quantile(samples, count, 0.5);
}

bool timing_add(struct timing *timing, const struct arm *arm, int pass, struct error *error)
{
    size_t count = (size_t)arm->count;
    if (count == 0)
        return true;
    struct timing_block *blocks = realloc(timing->blocks, (timing->n_blocks + 1) * sizeof(*blocks));
    if (!blocks)
        return fail(error, "out of memory");
    timing->blocks = blocks;
    struct timing_block *block = &blocks[timing->n_blocks];
    *block = (struct timing_block){.pass = pass,
                                   .count = arm->count,
                                   .ns = malloc(count * sizeof(*block->ns)),
                                   .disturbed = malloc(count)};
    if (!block->ns || !block->disturbed) {
        free(block->ns);
        free(block->disturbed);
        return fail(error, "out of memory");
    }
    timing->n_blocks++;
    memcpy(block->ns, arm->chain_ghz, count * sizeof(*block->ns));
    block->chain_ghz = median_of(block->ns, count);
    memcpy(block->ns, arm->ns, count * sizeof(*block->ns));
    memcpy(block->disturbed, arm->disturbed, count);
    return true;
}

bool timing_uses(const struct timing *timing, const struct timing_block *block, int sample)
{
    return timing->noisy || !block->disturbed[sample];
}

/* Samples are taken again as often as they are disturbed, but once: if fewer than half are left as
 * many again were disturbed as wanted, and those that were not may be no better. */
static void count_samples(struct timing *timing)
{
    int all = 0, calm = 0;
    for (size_t b = 0; b < timing->n_blocks; b++) {
        const struct timing_block *block = &timing->blocks[b];
        all += block->count;
        for (int i = 0; i < block->count; i++)
            calm += !block->disturbed[i];
    }
    timing->noisy = 4 * calm < all;
    timing->samples = timing->noisy ? all : calm;
    timing->discarded = all - timing->samples;
}

/* Appends what counts of a block. */
static size_t used_samples(const struct timing *timing, const struct timing_block *block,
                           double *samples)
{
    size_t count = 0;
    for (int i = 0; i < block->count; i++) {
        if (timing_uses(timing, block, i))
            samples[count++] = block->ns[i];
    }
    return count;
}

bool timing_summarize(struct timing *timing, struct error *error)
{
    count_samples(timing);
    size_t count = 0, n_blocks = 0;
    double *samples = malloc((size_t)timing->samples * sizeof(*samples));
    size_t *starts = malloc((timing->n_blocks + 1) * sizeof(*starts));
    bool done = samples && starts;
    for (size_t b = 0; done && b < timing->n_blocks; b++) {
        size_t before = count;
        count += used_samples(timing, &timing->blocks[b], samples + count);
        if (count > before)
            starts[n_blocks++] = before;
    }
    if (done) {
        starts[n_blocks] = count;
        done = blocks_interval(samples, starts, n_blocks, COVERAGE, &timing->interval) &&
               median_deviation(samples, count, &timing->deviation);
    }
    if (done) {
        timing->median = median_of(samples, count);
        timing->minimum = samples[0];
        for (int q = 0; q < TIMING_QUANTILES; q++)
            timing->quantiles[q] = quantile(samples, count, timing_quantiles[q]);
    }
    free(samples);
    free(starts);
    return done || fail(error, "out of memory");
}

static double block_median(const struct timing *timing, size_t b)
{
    double samples[BLOCK_MAX_SAMPLES];
    return median_of(samples, used_samples(timing, &timing->blocks[b], samples));
}

double timing_log_ratio(const struct timing *timing, const struct timing *other, size_t block)
{
    return log(block_median(timing, block) / block_median(other, block));
}

const struct timing *timings_twin(const struct timings *timings, const struct timing *aa)
{
    for (size_t i = 0; i < timings->count; i++) {
        const struct timing *other = &timings->items[i];
        if (!other->aa && other->result == aa->result && other->mode == aa->mode)
            return other;
    }
    return NULL;
}

double timings_aa_spread(const struct timings *timings)
{
    double squares = 0;
    size_t count = 0;
    for (size_t i = 0; i < timings->count; i++) {
        const struct timing *aa = &timings->items[i];
        const struct timing *twin = aa->aa ? timings_twin(timings, aa) : NULL;
        for (size_t b = 0; twin && b < aa->n_blocks && b < twin->n_blocks; b++) {
            double ratio = timing_log_ratio(aa, twin, b);
            squares += isfinite(ratio) ? ratio * ratio : 0;
            count += isfinite(ratio);
        }
    }
    return count > 0 ? sqrt(squares / (double)count) : NAN;
}
