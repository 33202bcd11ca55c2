/* SPDX-License-Identifier: MIT */
/* harness/verdict.h: the rules on blocks made by hand, and error rates on simulated ones. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/random.h"
#include "harness/verdict.h"
#include "tests/cunit_main.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

enum { MAX_BLOCKS = 32 };

static const struct speed_noise quiet = {.unit = "blocks"};

static struct speed_verdict paired(const double *x, const double *aa, size_t n, size_t comparisons)
{
    struct speed_verdict v;
    speed_judge_paired(x, aa, n, comparisons, &speed_default_rule, &v);
    return v;
}

static struct speed_verdict unpaired(const double *old, size_t n_old, const double *now,
                                     size_t n_new, const struct speed_noise *noise)
{
    struct speed_verdict v;
    speed_judge_unpaired(old, n_old, now, n_new, noise, 1, &speed_default_rule, &v);
    return v;
}

/* ---- by hand ---- */

static const double none[MAX_BLOCKS];

static void test_paired_interval(void)
{
    /* Mean 0.03, standard deviation 0.01; Student's t at 0.01, four degrees of freedom: 4.604. */
    static const double x[] = {0.02, 0.02, 0.03, 0.04, 0.04};
    struct speed_verdict v = paired(x, none, 5, 1);
    CU_ASSERT_EQUAL(v.speed, SPEED_SLOWER);
    CU_ASSERT_DOUBLE_EQUAL(v.ratio, exp(0.03), 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(log(v.interval.low), 0.03 - 4.6041 * 0.01 / sqrt(5), 1e-6);
    CU_ASSERT_DOUBLE_EQUAL(log(v.interval.high), 0.03 + 4.6041 * 0.01 / sqrt(5), 1e-6);
    CU_ASSERT_DOUBLE_EQUAL(v.interval.coverage, 0.99, 1e-12);
    CU_ASSERT_STRING_EQUAL(v.reason, "at least 0.9 % more time");
    double faster[5];
    for (size_t i = 0; i < 5; i++)
        faster[i] = -x[i];
    v = paired(faster, none, 5, 1);
    CU_ASSERT_EQUAL(v.speed, SPEED_FASTER);
    CU_ASSERT_STRING_EQUAL(v.reason, "at least 0.9 % less time");
}

/* The same blocks among a hundred comparisons, t at 0.0001: 15.54. */
static void test_many_comparisons(void)
{
    static const double x[] = {0.02, 0.02, 0.03, 0.04, 0.04};
    struct speed_verdict v = paired(x, none, 5, 100);
    CU_ASSERT_EQUAL(v.speed, SPEED_UNCLEAR);
    CU_ASSERT_DOUBLE_EQUAL(v.interval.coverage, 0.9999, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(log(v.interval.low), 0.03 - 15.5441 * 0.01 / sqrt(5), 1e-5);
    CU_ASSERT_STRING_EQUAL(v.reason,
                           "seems slower, but one of 100 comparisons may by chance: more blocks");
}

static void test_same_and_lines(void)
{
    static const double same[] = {0.001, -0.001, 0.002, -0.002, 0.001, 0};
    static const double across[] = {0.009, 0.016, 0.004, 0.018, 0.011, 0.013};
    static const double small[] = {0.009, 0.0091, 0.009, 0.0089, 0.009, 0.0091};
    static const double trifle[] = {0.004, 0.0041, 0.004, 0.0039, 0.004, 0.0041};
    struct speed_verdict v = paired(same, none, 6, 1);
    CU_ASSERT_EQUAL(v.speed, SPEED_SAME);
    CU_ASSERT_STRING_EQUAL(v.reason, "within 0.3 %");
    v = paired(across, none, 6, 1);
    CU_ASSERT_EQUAL(v.speed, SPEED_UNCLEAR);
    CU_ASSERT_STRING_EQUAL(v.reason, "the interval lies across the 2 % line");
    CU_ASSERT_EQUAL(paired(small, none, 6, 1).speed, SPEED_SLOWER); /* small, but beyond doubt */
    CU_ASSERT_EQUAL(paired(trifle, none, 6, 1).speed, SPEED_SAME);  /* so is this: negligible */
}

/* SAME is not divided by the number of comparisons, and says so. */
static void test_same_among_many(void)
{
    static const double same[] = {0.004, -0.004, 0.003, -0.003, 0.004, 0};
    struct speed_verdict one = paired(same, none, 6, 1), many = paired(same, none, 6, 1000);
    CU_ASSERT_EQUAL(one.speed, SPEED_SAME);
    CU_ASSERT_EQUAL(many.speed, SPEED_SAME);
    CU_ASSERT_EQUAL(many.interval.high, one.interval.high);
    CU_ASSERT_DOUBLE_EQUAL(many.interval.coverage, 0.99, 1e-12);
    static const double wide[] = {0.03, -0.03, 0.02, -0.02, 0.03, 0};
    struct speed_verdict v = paired(wide, none, 6, 1000);
    CU_ASSERT_EQUAL(v.speed, SPEED_UNCLEAR);
    CU_ASSERT_DOUBLE_EQUAL(v.interval.coverage, 0.99, 1e-12);
    CU_ASSERT_STRING_EQUAL(v.reason, "the interval of +-4.4 % is wider than +-2 %: more blocks");
}

/* What the A/A arm shows, the other arm may show too. */
static void test_aa(void)
{
    static const double x[] = {0.029, 0.03, 0.031, 0.03, 0.03, 0.03};
    static const double spread[] = {0.03, -0.03, 0.02, -0.02, 0.025, -0.025};
    static const double shifted[] = {0.03, 0.03, 0.03, 0.03, 0.03, 0.03};
    CU_ASSERT_EQUAL(paired(x, none, 6, 1).speed, SPEED_SLOWER);
    struct speed_verdict v = paired(x, spread, 6, 1);
    CU_ASSERT_EQUAL(v.speed, SPEED_UNCLEAR);
    CU_ASSERT_STRING_EQUAL(v.reason, "the A/A arm differs from itself by 2.8 %");
    v = paired(x, shifted, 6, 1);
    CU_ASSERT_EQUAL(v.speed, SPEED_UNCLEAR);
    CU_ASSERT_STRING_EQUAL(v.reason, "the A/A arm differs from itself by 3.0 %");
    CU_ASSERT_EQUAL(paired(none, shifted, 6, 1).speed, SPEED_UNCLEAR);
}

static void test_few_and_senseless(void)
{
    static const double x[] = {0.5, 0.5, 0.5}, nan[] = {0.1, (double)NAN, 0.1, 0.1};
    static const double infinite[] = {0.1, (double)INFINITY, 0.1, 0.1};
    struct speed_verdict v = paired(x, none, 2, 1);
    CU_ASSERT_EQUAL(v.speed, SPEED_UNCLEAR);
    CU_ASSERT_DOUBLE_EQUAL(v.ratio, exp(0.5), 1e-12);
    CU_ASSERT_TRUE(isnan(v.interval.low) && isnan(v.interval.high));
    CU_ASSERT_STRING_EQUAL(v.reason, "2 of the 3 blocks that are needed");
    CU_ASSERT_EQUAL(paired(x, none, 0, 1).speed, SPEED_UNCLEAR);
    CU_ASSERT_EQUAL(paired(x, none, 3, 0).speed, SPEED_SLOWER);
    CU_ASSERT_EQUAL(paired(nan, none, 4, 1).speed, SPEED_UNCLEAR);
    CU_ASSERT_EQUAL(paired(none, nan, 4, 1).speed, SPEED_UNCLEAR);
    v = paired(infinite, none, 4, 1);
    CU_ASSERT_EQUAL(v.speed, SPEED_UNCLEAR);
    CU_ASSERT_STRING_EQUAL(v.reason, "there is a time of zero, or none");
    v = unpaired(x, 3, x, 2, &(struct speed_noise){.unit = "reports"});
    CU_ASSERT_EQUAL(v.speed, SPEED_UNCLEAR);
    CU_ASSERT_STRING_EQUAL(v.reason, "2 of the 3 reports that are needed");
    CU_ASSERT_EQUAL(unpaired(nan, 4, x, 3, &quiet).speed, SPEED_UNCLEAR);
    CU_ASSERT_EQUAL(unpaired(x, 3, x, 3, &quiet).speed, SPEED_SAME);
}

/* Welch's: variances 1e-4/5 and 4e-4/4, so by his formula 4.19 degrees of freedom for
 * (2e-5, 1e-4). */
static void test_welch(void)
{
    static const double old[] = {7 - 0.01, 7 - 0.01, 7, 7.01, 7.01};
    double now[4], a = 2e-5, b = 1e-4, step = 0.02 * sqrt(3.0 / 4);
    for (size_t i = 0; i < 4; i++)
        now[i] = 7.2 + (i % 2 ? step : -step);
    struct speed_verdict v = unpaired(old, 5, now, 4, &quiet);
    double freedom = (a + b) * (a + b) / (a * a / 4 + b * b / 3);
    CU_ASSERT_DOUBLE_EQUAL(freedom, 4.1942, 1e-4);
    double half = (log(v.interval.high) - log(v.interval.low)) / 2;
    CU_ASSERT_DOUBLE_EQUAL(log(v.ratio), 0.2, 1e-12);
    /* Between the t of 4 and of 5 degrees of freedom. */
    CU_ASSERT_TRUE(half < 4.6041 * sqrt(a + b) && half > 4.0321 * sqrt(a + b));
    CU_ASSERT_DOUBLE_EQUAL(half, student(0.01, freedom) * sqrt(a + b), 1e-12);
    CU_ASSERT_EQUAL(v.speed, SPEED_SLOWER);
}

static void test_unpaired_noise(void)
{
    static const double old[] = {7, 7.001, 6.999, 7, 7}, now[] = {7.03, 7.031, 7.029, 7.03, 7.03};
    struct speed_noise noise = quiet;
    CU_ASSERT_EQUAL(unpaired(old, 5, now, 5, &noise).speed, SPEED_SLOWER);
    noise = (struct speed_noise){.unit = "blocks", .aa = NAN, .drift = NAN, .between = NAN};
    CU_ASSERT_EQUAL(unpaired(old, 5, now, 5, &noise).speed, SPEED_SLOWER);

    noise = (struct speed_noise){.unit = "blocks", .drift = 0.04, .drifted = "int8 peak"};
    struct speed_verdict v = unpaired(old, 5, now, 5, &noise);
    CU_ASSERT_EQUAL(v.speed, SPEED_UNCLEAR);
    CU_ASSERT_STRING_EQUAL(v.reason, "the machine's int8 peak moved by 4.1 %");
    CU_ASSERT_DOUBLE_EQUAL(log(v.interval.high / v.interval.low),
                           2 * (log(v.interval.high) - 0.03) + 0.04, 1e-9);
    noise.drift = -0.04; /* a faster machine does not explain a slower kernel */
    CU_ASSERT_EQUAL(unpaired(old, 5, now, 5, &noise).speed, SPEED_SLOWER);
    CU_ASSERT_EQUAL(unpaired(now, 5, old, 5, &noise).speed, SPEED_UNCLEAR);
    noise.drift = 0.04;
    CU_ASSERT_EQUAL(unpaired(now, 5, old, 5, &noise).speed, SPEED_FASTER);

    noise = (struct speed_noise){.unit = "blocks", .aa = 0.03};
    v = unpaired(old, 5, now, 5, &noise);
    CU_ASSERT_EQUAL(v.speed, SPEED_UNCLEAR);
    CU_ASSERT_STRING_EQUAL(v.reason, "the A/A arm differs from itself by 3.0 %");
    /* Each of ten blocks has half the variance of the A/A log-ratio; t of 8 at 0.01: 3.3554. */
    double half = (log(v.interval.high) - log(v.interval.low)) / 2;
    CU_ASSERT_DOUBLE_EQUAL(half, 3.3554 * sqrt(2 * (0.03 * 0.03 / 2) / 5), 1e-5);
    noise = (struct speed_noise){.unit = "blocks", .between = 0.03};
    v = unpaired(old, 5, now, 5, &noise);
    CU_ASSERT_EQUAL(v.speed, SPEED_UNCLEAR);
    CU_ASSERT_STRING_EQUAL(v.reason, "the runs differ by 3.0 % in all cases");
}

/* ---- simulated ---- */

/* A block's noise: normal; heavy-tailed (Student's t of four degrees of freedom); or normal with a
 * neighbour that makes an eighth of the blocks slower by ten times the noise. */
enum noise_kind { NORMAL, HEAVY, NEIGHBOUR, KINDS };

static double draw(struct assay_random *random, enum noise_kind kind)
{
    double x = kind == HEAVY ? random->heavy_tail(random) / sqrt(2) : random->gaussian(random);
    return kind == NEIGHBOUR && assay_below(random, 8) == 0 ? x + 10 : x;
}

struct setting {
    enum noise_kind kind;
    bool paired;
    size_t blocks, comparisons;
    double sigma, shift;
};

struct rates {
    double faster, slower, same;
};

/* Log-times of arms old, new and old again, each with its own noise. */
static struct speed_verdict simulate(struct assay_random *random, const struct setting *s,
                                     const struct speed_rule *rule)
{
    double old[MAX_BLOCKS], now[MAX_BLOCKS], ratio[MAX_BLOCKS], aa[MAX_BLOCKS];
    struct speed_verdict v;
    for (size_t i = 0; i < s->blocks; i++) {
        old[i] = 9 + s->sigma * draw(random, s->kind);
        now[i] = 9 + s->sigma * draw(random, s->kind) + s->shift;
        ratio[i] = now[i] - old[i];
        aa[i] = 9 + s->sigma * draw(random, s->kind) - old[i];
    }
    if (s->paired)
        speed_judge_paired(ratio, aa, s->blocks, s->comparisons, rule, &v);
    else
        speed_judge_unpaired(old, s->blocks, now, s->blocks, &quiet, s->comparisons, rule, &v);
    return v;
}

static struct rates rates_of(const struct setting *s, const struct speed_rule *rule, int trials)
{
    struct random random;
    struct rates rates = {0};
    CU_ASSERT_TRUE_FATAL(random_open(&random, 20));
    for (int i = 0; i < trials; i++) {
        enum speed speed = simulate(&random.source, s, rule).speed;
        rates.faster += (speed == SPEED_FASTER) / (double)trials;
        rates.slower += (speed == SPEED_SLOWER) / (double)trials;
        rates.same += (speed == SPEED_SAME) / (double)trials;
    }
    random_close(&random);
    return rates;
}

/* With nothing negligible, normal noise and no A/A arm the false verdicts are as many as alpha
 * says: not fewer, which would be intervals too wide. */
static void test_calibrated(void)
{
    const struct speed_rule strict = {.alpha = 0.05, .negligible = 0, .same = 0.02};
    for (size_t n = 3; n <= 24; n *= 2) {
        const struct setting s = {NORMAL, false, n, 1, 0.01, 0};
        struct rates rates = rates_of(&s, &strict, 20000);
        double lowest = n == 3 ? 0.03 : 0.04; /* Welch's is a little wide for three blocks */
        CU_ASSERT_TRUE(rates.faster + rates.slower < 0.055); /* standard deviation 0.0015 */
        CU_ASSERT_TRUE(rates.faster + rates.slower > lowest);
        CU_ASSERT_TRUE(fabs(rates.faster - rates.slower) < 0.008);
    }
}

/* Equal code: false verdicts in at most alpha of all families, whatever the noise. */
static void test_false_verdicts(void)
{
    static const double sigmas[] = {0.002, 0.01, 0.05, 0.3};
    const struct speed_rule strict = {.alpha = 0.01, .negligible = 0, .same = 0.02};
    for (int kind = 0; kind < KINDS; kind++) {
        for (size_t i = 0; i < COUNT(sigmas); i++) {
            for (size_t n = 4; n <= MAX_BLOCKS; n *= 2) {
                for (int p = 0; p < 2; p++) {
                    const struct setting s = {(enum noise_kind)kind, p == 1, n, 1, sigmas[i], 0};
                    struct rates rates = rates_of(&s, &strict, 4000);
                    /* Three standard deviations above it. */
                    CU_ASSERT_TRUE(rates.faster + rates.slower <= 0.01 + 0.0047);
                }
            }
        }
    }
}

/* 40 comparisons with three looks each: one false verdict in a family at most in 100. */
static void test_false_verdicts_of_a_family(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        for (size_t n = 8; n <= MAX_BLOCKS; n *= 2) {
            const struct setting s = {(enum noise_kind)kind, true, n, 120, 0.01, 0};
            struct rates rates = rates_of(&s, &speed_default_rule, 20000);
            CU_ASSERT_TRUE(rates.faster + rates.slower <= 0.0004);
        }
    }
}

/* A true 3 % among 40 comparisons and three looks: seen in all but few, never the wrong way. */
static void test_power(void)
{
    static const struct {
        struct setting setting;
        double least;
    } wanted[] = {
        {{NORMAL, true, 8, 120, 0.0025, 0.03}, 0.95},
        {{NORMAL, true, 16, 120, 0.007, 0.03}, 0.9},
        {{NORMAL, true, 32, 120, 0.012, 0.03}, 0.9},
        {{HEAVY, true, 16, 120, 0.006, 0.03}, 0.9},
        {{NEIGHBOUR, true, 32, 120, 0.002, 0.03}, 0.85},
        {{NORMAL, false, 5, 40, 0.003, 0.03}, 0.9},
        {{NORMAL, false, 15, 40, 0.007, 0.03}, 0.9},
    };
    for (size_t i = 0; i < COUNT(wanted); i++) {
        struct setting s = wanted[i].setting;
        struct rates rates = rates_of(&s, &speed_default_rule, 2000);
        CU_ASSERT_TRUE(rates.slower >= wanted[i].least);
        CU_ASSERT_EQUAL(rates.faster, 0);
        s.shift = -s.shift;
        CU_ASSERT_TRUE(rates_of(&s, &speed_default_rule, 2000).faster >= wanted[i].least);
        s.shift = 0; /* and equal code is then the SAME */
        CU_ASSERT_TRUE(rates_of(&s, &speed_default_rule, 2000).same >= 0.5);
    }
}

/* A kernel that changed by all that SAME allows is called so in alpha / 2 of cases at most. */
static void test_false_same(void)
{
    static const double sigmas[] = {0.0005, 0.002, 0.006};
    for (size_t i = 0; i < COUNT(sigmas); i++) {
        for (int p = 0; p < 2; p++) {
            const struct setting s = {NORMAL, p == 1, 8, 1000, sigmas[i], 0.02};
            CU_ASSERT_TRUE(rates_of(&s, &speed_default_rule, 10000).same <= 0.005 + 0.002);
        }
    }
}

static void test_deterministic(void)
{
    const struct setting s = {HEAVY, true, 8, 3, 0.01, 0.01};
    struct rates a = rates_of(&s, &speed_default_rule, 500);
    struct rates b = rates_of(&s, &speed_default_rule, 500);
    CU_ASSERT_TRUE(a.slower == b.slower && a.faster == b.faster && a.same == b.same);
}

static CU_TestInfo by_hand[] = {
    {"paired interval", test_paired_interval},
    {"many comparisons", test_many_comparisons},
    {"same, and lines", test_same_and_lines},
    {"same among many", test_same_among_many},
    {"A/A arm", test_aa},
    {"few and senseless", test_few_and_senseless},
    {"Welch", test_welch},
    {"noise of unpaired runs", test_unpaired_noise},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo simulated[] = {
    {"calibrated", test_calibrated},
    {"false verdicts", test_false_verdicts},
    {"false verdicts of a family", test_false_verdicts_of_a_family},
    {"power", test_power},
    {"false same", test_false_same},
    {"deterministic", test_deterministic},
    CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
    {"verdicts by hand", NULL, NULL, NULL, NULL, by_hand},
    {"verdicts on simulated blocks", NULL, NULL, NULL, NULL, simulated},
    CU_SUITE_INFO_NULL,
};

int main(void)
{
    return cunit_main(suites);
}
