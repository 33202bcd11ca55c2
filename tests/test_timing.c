/* SPDX-License-Identifier: MIT */
/* harness/timing.h: what blocks of samples say together, on numbers made up. */
#include <math.h>
#include <string.h>

#include "harness/noise.h"
#include "harness/timing.h"
#include "tests/cunit_main.h"

static struct error error;

/* Adds a block of samples first, first + step, ...; the last `disturbed` of them were. */
static void add(struct timing *timing, int pass, int count, double first, double step,
                int disturbed)
{
    static struct arm arm;
    arm.count = count;
    for (int i = 0; i < count; i++) {
        arm.ns[i] = first + step * i;
        arm.chain_ghz[i] = 3 + i;
        arm.disturbed[i] = i >= count - disturbed ? NOISE_SWITCHED : 0;
    }
    CU_ASSERT(timing_add(timing, &arm, pass, &error));
}

static struct timing *timing_of(struct timings *timings, struct result *result, bool aa)
{
    return timings_get(timings, result, HOT, aa, &error);
}

static uint32_t disturbed_by(double ms, int64_t switches, double cpu_share, double ghz)
{
    const struct noise_usual usual = {.chain_ghz = 3.5, .gate = NAN, .cpu_share = 1};
    const struct noise noise = {.wall_ns = ms * 1e6,
                                .cpu_ns = 2 * cpu_share * ms * 1e6,
                                .switches = switches,
                                .chain_ghz = ghz,
                                .gate = NAN,
                                .threads = 2};
    return noise_disturbed(&noise, &usual);
}

/* A switch tells in a short sample; in a long one it takes several, or lost CPU time. */
static void test_what_disturbs(void)
{
    CU_ASSERT_EQUAL(disturbed_by(1, 0, 1, 3.5), 0);
    CU_ASSERT_EQUAL(disturbed_by(1, 1, 1, 3.5), NOISE_SWITCHED);
    CU_ASSERT_EQUAL(disturbed_by(11, 2, 1, 3.5), 0);
    CU_ASSERT_EQUAL(disturbed_by(11, 3, 1, 3.5), NOISE_SWITCHED);
    CU_ASSERT_EQUAL(disturbed_by(11, 1, 0.8, 3.5), NOISE_STARVED);
    CU_ASSERT_EQUAL(disturbed_by(11, 0, 1, 3), NOISE_SLOWED);
}

/* Two threads that get one core: less than nine tenths of what they got before. */
static void test_gated(void)
{
    const struct noise_usual usual = {.chain_ghz = 3.5, .gate = 2, .cpu_share = 1};
    struct noise noise = {
        .wall_ns = 1e6, .cpu_ns = 2e6, .chain_ghz = 3.5, .gate = 1.85, .threads = 2};
    CU_ASSERT_EQUAL(noise_disturbed(&noise, &usual), 0);
    noise.gate = 1.7;
    CU_ASSERT_EQUAL(noise_disturbed(&noise, &usual), NOISE_GATED);
}

static void test_samples_are_kept(void)
{
    static struct result result;
    struct timings timings = {0};
    struct timing *timing = timing_of(&timings, &result, false);
    add(timing, 0, 3, 10, 1, 1);
    add(timing, 1, 2, 20, 1, 0);
    CU_ASSERT_EQUAL(timing->n_blocks, 2);
    CU_ASSERT_EQUAL(timing->blocks[0].count, 3);
    CU_ASSERT_EQUAL(timing->blocks[0].ns[2], 12);
    CU_ASSERT_EQUAL(timing->blocks[0].disturbed[1], 0);
    CU_ASSERT_EQUAL(timing->blocks[0].disturbed[2], NOISE_SWITCHED);
    CU_ASSERT_EQUAL(timing->blocks[0].chain_ghz, 4);
    CU_ASSERT_EQUAL(timing->blocks[1].pass, 1);
    CU_ASSERT_PTR_EQUAL(timing, timing_of(&timings, &result, false));
    CU_ASSERT_PTR_NOT_EQUAL(timing, timing_of(&timings, &result, true));
    timings_free(&timings);
}

static void test_disturbed_samples_do_not_count(void)
{
    static struct result result;
    struct timings timings = {0};
    struct timing *timing = timing_of(&timings, &result, false);
    for (int b = 0; b < 5; b++)
        add(timing, 0, 10, 100, 100, 5); /* calm: 100 .. 500 */
    CU_ASSERT(timing_summarize(timing, &error));
    CU_ASSERT_EQUAL(timing->samples, 25);
    CU_ASSERT_EQUAL(timing->discarded, 25);
    CU_ASSERT_FALSE(timing->noisy);
    CU_ASSERT_EQUAL(timing->median, 300);
    CU_ASSERT_EQUAL(timing->minimum, 100);
    CU_ASSERT_EQUAL(timing->deviation, 100);
    CU_ASSERT_EQUAL(timing->quantiles[1], 200);
    CU_ASSERT_EQUAL(timing->quantiles[2], 400);
    CU_ASSERT(timing->interval.low <= 300 && timing->interval.high >= 300);
    CU_ASSERT(timing->interval.low >= 100 && timing->interval.high <= 500);
    timings_free(&timings);
}

/* As many samples again were taken and disturbed, and more: what is left is no better. */
static void test_noisy(void)
{
    static struct result result;
    struct timings timings = {0};
    struct timing *timing = timing_of(&timings, &result, false);
    add(timing, 0, 10, 1, 1, 8);
    add(timing, 0, 10, 1, 1, 8);
    CU_ASSERT(timing_summarize(timing, &error));
    CU_ASSERT(timing->noisy);
    CU_ASSERT_EQUAL(timing->samples, 20);
    CU_ASSERT_EQUAL(timing->discarded, 0);
    CU_ASSERT_EQUAL(timing->median, 5.5);
    timings_free(&timings);
}

/* A block without a calm sample says nothing; the others do. */
static void test_block_without_calm_sample(void)
{
    static struct result result;
    struct timings timings = {0};
    struct timing *timing = timing_of(&timings, &result, false);
    add(timing, 0, 4, 1000, 0, 4);
    add(timing, 0, 4, 10, 0, 0);
    add(timing, 0, 4, 12, 0, 0);
    CU_ASSERT(timing_summarize(timing, &error));
    CU_ASSERT_EQUAL(timing->samples, 8);
    CU_ASSERT_EQUAL(timing->median, 11);
    CU_ASSERT_EQUAL(timing->interval.coverage, 0.5); /* of two blocks */
    timings_free(&timings);
}

/* Root mean square of the blocks' log-ratios: of 2 and 1/2 it is log 2. */
static void test_aa_spread(void)
{
    static struct result result, other;
    struct timings timings = {0};
    CU_ASSERT(isnan(timings_aa_spread(&timings)));
    struct timing *timing = timing_of(&timings, &result, false);
    add(timing, 0, 3, 10, 0, 0);
    add(timing, 0, 3, 10, 0, 0);
    timing = timing_of(&timings, &other, false);
    add(timing, 0, 3, 77, 0, 0);
    CU_ASSERT(isnan(timings_aa_spread(&timings)));
    timing = timing_of(&timings, &result, true);
    add(timing, 0, 3, 20, 0, 0);
    add(timing, 0, 3, 5, 0, 0);
    CU_ASSERT_PTR_EQUAL(timings_twin(&timings, timing), timing_of(&timings, &result, false));
    CU_ASSERT_DOUBLE_EQUAL(timings_aa_spread(&timings), log(2), 1e-12);
    timings_drop(&timings, &other);
    CU_ASSERT_EQUAL(timings.count, 2);
    timings_drop(&timings, &result);
    CU_ASSERT_EQUAL(timings.count, 0);
    timings_free(&timings);
}

static CU_TestInfo tests[] = {
    {"what disturbs", test_what_disturbs},
    {"gated", test_gated},
    {"samples are kept", test_samples_are_kept},
    {"disturbed samples do not count", test_disturbed_samples_do_not_count},
    {"noisy", test_noisy},
    {"block without calm sample", test_block_without_calm_sample},
    {"A/A spread", test_aa_spread},
    CU_TEST_INFO_NULL};
static CU_SuiteInfo suites[] = {{"timing", NULL, NULL, NULL, NULL, tests}, CU_SUITE_INFO_NULL};

int main(void)
{
    return cunit_main(suites);
}
