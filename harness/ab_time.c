/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>
#include <time.h>

#include "harness/ab.h"
#include "harness/interrupt.h"
#include "harness/statistics.h"

/* The arms of a mode; contenders are the sides. */
enum { ARM_OLD, ARM_NEW, ARM_AGAIN, ARMS };

/* A block's samples of an arm: about so much time, in so many samples; of a slow call one. A block is
 * worth more than its samples, since layouts differ between blocks. */
#define BLOCK_NS    12e6
#define MIN_SAMPLES 3
#define MAX_SAMPLES 8

/* A block is taken again if more of an arm's samples were disturbed than not, but no more often than
 * this, and not in the second half of the time: a machine that is never calm has an answer too. */
#define MAX_RETAKEN 16

const size_t ab_looks[] = {8, 16, AB_MAX_BLOCKS};
const size_t ab_n_looks = sizeof(ab_looks) / sizeof(*ab_looks);

static struct arm *arm_of(const struct ab_pair *pair, int mode, int arm)
{
    return &pair->blocks.arms[mode * ARMS + arm];
}

static bool is_open(const struct ab_series *series)
{
    return series->wanted && !series->decided;
}

static int samples_of(const struct contender *contender, int mode)
{
    double count = BLOCK_NS / (contender->call_ns[mode] * contender->calls[mode]);
    return contender->slow       ? 1
           : count < MIN_SAMPLES ? MIN_SAMPLES
           : count > MAX_SAMPLES ? MAX_SAMPLES
                                 : (int)count;
}

static void plan_arms(struct ab_pair *pair)
{
    for (int mode = HOT; mode < BENCH_MODES; mode++) {
        for (int a = ARM_OLD; a < ARMS; a++) {
            struct arm *arm = arm_of(pair, mode, a);
            arm->contender = a == ARM_NEW ? AB_NEW : AB_OLD;
            arm->mode = (enum bench_mode)mode;
            arm->off = !is_open(&pair->series[mode]);
            arm->min_count = samples_of(&pair->blocks.contenders[AB_OLD], mode);
        }
    }
}

/* The pair cannot be timed: a side's kernel did not return, or computed something else. */
static void fail_pair(struct ab_pair *pair, int side, enum verdict verdict, enum layer layer,
                      const char *why)
{
    struct result *result = &pair->results[side];
    result->verdict = verdict;
    judge_say(&result->judgement, layer, "%s", why);
    for (int mode = HOT; mode < BENCH_MODES; mode++)
        pair->series[mode] = (struct ab_series){0};
}

/* Whether the child returned, and everything that it computed was right. */
static bool child_was_right(struct ab_pair *pair, const struct sandbox_result *end)
{
    size_t running = pair->blocks.notes->running;
    int side = running == AB_NEW ? AB_NEW : AB_OLD;
    if (end->end == SANDBOX_TIMED_OUT)
        fail_pair(pair, side, TIMEOUT, LAYER_TIME, "did not return when it was timed");
    else if (end->end == SANDBOX_CRASHED)
        fail_pair(pair, side, CRASHED, LAYER_CRASH, "crashed when it was timed");
    for (side = AB_OLD; side < AB_SIDES; side++) {
        const struct contender *contender = &pair->blocks.contenders[side];
        if (contender->wrong[HOT] + contender->wrong[COLD] > 0)
            fail_pair(pair, side, FAIL, LAYER_AGAIN, "computes something else when it is timed");
    }
    return end->end == SANDBOX_RETURNED && pair->series[HOT].wanted + pair->series[COLD].wanted > 0;
}

/* Finds batch sizes, the same for both sides. */
static bool rehearse(struct ab *ab, struct ab_pair *pair, const struct variants *variants,
                     struct error *error)
{
    struct sandbox_result end;
    if (!blocks_make(&pair->blocks, variants, AB_SIDES, BENCH_MODES * ARMS,
                     ab->check.seconds * AB_SIDES, error))
        return false;
    struct contender *sides = pair->blocks.contenders;
    /* Each arm rotates over its own, so that between two calls with a copy all arms' are read. */
    pair->blocks.together = true;
    pair->blocks.files = ab->files[AB_OLD] >= 0 ? ab->files : NULL;
    pair->blocks.n_packed = (variants->n_copies + ARMS - 1) / ARMS;
    for (int side = AB_OLD; side < AB_SIDES; side++) {
        sides[side].result = &pair->results[side];
        sides[side].threads = pair->threads;
    }
    plan_arms(pair);
    if (!blocks_rehearse(&pair->blocks, &end, error))
        return false;
    if (!child_was_right(pair, &end))
        return true;
    for (int mode = HOT; mode < BENCH_MODES; mode++) {
        int calls = sides[AB_OLD].calls[mode];
        calls = calls > sides[AB_NEW].calls[mode] ? calls : sides[AB_NEW].calls[mode];
        sides[AB_OLD].calls[mode] = sides[AB_NEW].calls[mode] = calls;
    }
    plan_arms(pair); /* now that it is known who is slow */
    return true;
}

/* The mean of the middle half, which outliers do not reach. */
static double middle_mean(double *values, int count)
{
    double sum = 0;
    int cut = count / 4;
    sort_samples(values, (size_t)count);
    for (int i = cut; i < count - cut; i++)
        sum += values[i];
    return sum / (count - 2 * cut);
}

/* The log-ratio of two arms in the last block: samples of a round are neighbours in time. */
static double log_ratio(const struct arm *arm, const struct arm *old)
{
    double ratios[BLOCK_MAX_SAMPLES];
    for (int i = 0; i < arm->count; i++)
        ratios[i] = log(arm->ns[i] / old->ns[i]);
    return middle_mean(ratios, arm->count);
}

static double block_ns(const struct arm *arm)
{
    double ns[BLOCK_MAX_SAMPLES];
    memcpy(ns, arm->ns, (size_t)arm->count * sizeof(*ns));
    return middle_mean(ns, arm->count);
}

static bool is_calm(const struct arm *arm)
{
    int disturbed = 0;
    for (int i = 0; i < arm->count; i++)
        disturbed += arm->disturbed[i] != 0;
    return 2 * disturbed <= arm->count;
}

static void count_samples(struct ab *ab, const struct ab_pair *pair, int mode)
{
    for (int a = ARM_OLD; a < ARMS; a++) {
        const struct arm *arm = arm_of(pair, mode, a);
        ab->noise.samples += (size_t)arm->count;
        for (int i = 0; i < arm->count; i++)
            ab->noise.disturbed += arm->disturbed[i] != 0;
    }
}

/* Takes the last block over. */
static void collect(struct ab *ab, struct ab_pair *pair, int mode)
{
    struct ab_series *series = &pair->series[mode];
    const struct arm *old = arm_of(pair, mode, ARM_OLD), *now = arm_of(pair, mode, ARM_NEW),
                     *again = arm_of(pair, mode, ARM_AGAIN);
    count_samples(ab, pair, mode);
    ab->noise.blocks++;
    bool may_retake = series->retaken < MAX_RETAKEN && series->seconds < ab->seconds / 2;
    if (!(is_calm(old) && is_calm(now) && is_calm(again)) && may_retake) {
        series->retaken++;
        ab->noise.discarded++;
        return;
    }
    series->log_ratio[series->count] = log_ratio(now, old);
    series->aa[series->count] = log_ratio(again, old);
    series->ns[AB_OLD][series->count] = block_ns(old);
    series->ns[AB_NEW][series->count++] = block_ns(now);
}

/* Until the look, unless its time is up. */
static bool wants_block(const struct ab *ab, const struct ab_series *series, size_t look)
{
    return is_open(series) && series->count < look && series->seconds < ab->seconds;
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool take_block(struct ab *ab, struct ab_pair *pair, size_t look, struct error *error)
{
    struct sandbox_result end;
    int modes = 0;
    if (!is_open(&pair->series[HOT]) && !is_open(&pair->series[COLD]))
        return true; /* perhaps it was never rehearsed */
    for (int mode = HOT; mode < BENCH_MODES; mode++) {
        bool on = wants_block(ab, &pair->series[mode], look);
        for (int a = ARM_OLD; a < ARMS; a++)
            arm_of(pair, mode, a)->off = !on;
        modes += on;
    }
    if (modes == 0)
        return true;
    double start = seconds_now();
    pair->blocks.notes->chain_ghz = 0; /* a clock that changes between blocks disturbs none */
    if (!blocks_take(&pair->blocks, &end, error))
        return false;
    if (end.end == SANDBOX_INTERRUPTED || !child_was_right(pair, &end))
        return true;
    for (int mode = HOT; mode < BENCH_MODES; mode++) {
        if (arm_of(pair, mode, ARM_OLD)->off)
            continue;
        collect(ab, pair, mode);
        pair->series[mode].seconds += (seconds_now() - start) / modes;
    }
    return true;
}

static bool any_wants(const struct ab *ab, const struct ab_pair *pairs, size_t count, size_t look)
{
    for (size_t p = 0; p < count; p++) {
        for (int mode = HOT; mode < BENCH_MODES; mode++) {
            if (wants_block(ab, &pairs[p].series[mode], look))
                return true;
        }
    }
    return false;
}

static void look_at(const struct ab *ab, struct ab_pair *pair, size_t tests)
{
    for (int mode = HOT; mode < BENCH_MODES; mode++) {
        struct ab_series *series = &pair->series[mode];
        if (!is_open(series))
            continue;
        speed_judge_paired(series->log_ratio, series->aa, series->count, tests, &ab->rule,
                           &series->verdict);
        series->decided = series->verdict.speed != SPEED_UNCLEAR ||
                          series->seconds >= ab->seconds || series->count == AB_MAX_BLOCKS;
    }
}

static bool time_pairs(struct ab *ab, struct ab_pair *pairs, size_t count, size_t tests,
                       struct error *error)
{
    for (size_t l = 0; l < ab_n_looks && !interrupted(); l++) {
        while (any_wants(ab, pairs, count, ab_looks[l]) && !interrupted()) {
            for (size_t p = 0; p < count && !interrupted(); p++) {
                if (!take_block(ab, &pairs[p], ab_looks[l], error))
                    return false;
            }
        }
        for (size_t p = 0; p < count; p++)
            look_at(ab, &pairs[p], tests);
    }
    return true;
}

bool ab_time_case(struct ab *ab, size_t first, size_t count, size_t tests, struct error *error)
{
    struct ab_pair *pairs = &ab->pairs[first];
    struct variants variants = {0};
    bool any = false, done = true;
    for (size_t p = 0; p < count; p++)
        any = any || pairs[p].series[HOT].wanted;
    if (!any)
        return true;
    done = variants_make(&variants, pairs[0].item, ab->llc_bytes, error);
    for (size_t p = 0; done && p < count && !interrupted(); p++) {
        if (pairs[p].series[HOT].wanted)
            done = rehearse(ab, &pairs[p], &variants, error);
    }
    done = done && time_pairs(ab, pairs, count, tests, error);
    for (size_t p = 0; p < count; p++)
        blocks_free(&pairs[p].blocks);
    variants_free(&variants);
    return done;
}
