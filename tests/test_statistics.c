/* SPDX-License-Identifier: MIT */
/* harness/statistics.h and harness/random.h against published values. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "harness/random.h"
#include "harness/statistics.h"
#include "tests/cunit_main.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* ---- order statistics ---- */

static void test_sort(void)
{
    double samples[] = {3, -1, 3, 0, -1, 2, 3};
    static const double sorted[] = {-1, -1, 0, 2, 3, 3, 3};
    sort_samples(samples, COUNT(samples));
    for (size_t i = 0; i < COUNT(samples); i++)
        CU_ASSERT_EQUAL(samples[i], sorted[i]);
    double one[] = {5}, infinite[] = {(double)INFINITY, 1, 2};
    sort_samples(one, 1);
    CU_ASSERT_EQUAL(one[0], 5);
    sort_samples(infinite, 3);
    CU_ASSERT_EQUAL(infinite[0], 1);
    CU_ASSERT_EQUAL(infinite[2], (double)INFINITY);
}

/* At fraction*(count - 1), between neighbours. */
static void test_quantile(void)
{
    static const double samples[] = {10, 20, 40, 80, 160}, same[] = {7, 7, 7};
    CU_ASSERT_EQUAL(quantile(samples, 5, 0), 10);
    CU_ASSERT_EQUAL(quantile(samples, 5, 1), 160);
    CU_ASSERT_EQUAL(quantile(samples, 5, 0.5), 40);
    CU_ASSERT_EQUAL(quantile(samples, 5, 0.25), 20);
    CU_ASSERT_EQUAL(quantile(samples, 5, 0.375), 30); /* at 1.5 */
    CU_ASSERT_EQUAL(quantile(samples, 4, 0.5), 30);
    CU_ASSERT_EQUAL(quantile(samples, 4, 0.75), 50); /* at 2.25 */
    CU_ASSERT_EQUAL(quantile(samples, 1, 0.5), 10);
    CU_ASSERT_EQUAL(quantile(samples, 1, 0.99), 10);
    CU_ASSERT_EQUAL(quantile(same, 3, 0.7), 7);
}

/* ---- intervals ---- */

/* All samples are 3: so is every resample's median. */
static void test_blocks_of_equal_samples(void)
{
    static const double same[] = {3, 3, 3, 3, 3, 3, 3};
    static const size_t starts[] = {0, 1, 4, 7};
    struct interval interval;
    CU_ASSERT(blocks_interval(same, starts, 3, 0.95, &interval));
    CU_ASSERT_EQUAL(interval.low, 3);
    CU_ASSERT_EQUAL(interval.high, 3);
    CU_ASSERT_EQUAL(interval.coverage, 0.75);
}

/* One block: the bootstrap of its samples, of whose coverage nothing is claimed. */
static void test_one_block(void)
{
    static const double samples[] = {1, 2, 3};
    static const size_t starts[] = {0, 3};
    struct interval interval;
    CU_ASSERT(blocks_interval(samples, starts, 1, 0.95, &interval));
    CU_ASSERT_EQUAL(interval.coverage, 0);
    CU_ASSERT(interval.low >= 1 && interval.high <= 3);
}

/* Many samples of few levels are as uncertain as the levels are: all but the outermost of 6 blocks
 * would be too narrow, while samples taken for independent would give an interval of one level. */
static void test_blocks_have_levels(void)
{
    double samples[600];
    size_t starts[7], all[] = {0, 600};
    for (size_t i = 0; i < COUNT(samples); i++)
        samples[i] = 10 * (double)(i / 100) + (double)(i % 100) / 100;
    for (size_t b = 0; b < COUNT(starts); b++)
        starts[b] = 100 * b;
    struct interval blocks, one;
    CU_ASSERT(blocks_interval(samples, starts, 6, 0.95, &blocks));
    CU_ASSERT(blocks_interval(samples, all, 1, 0.95, &one));
    CU_ASSERT(blocks.low < 11 && blocks.high > 40);
    CU_ASSERT(one.low > 19 && one.high < 31);
    CU_ASSERT_EQUAL(blocks.coverage, 0.95);
}

/* Of 300 made-up runs with 12 blocks each, about 95 % of the intervals hold the true median; the
 * bootstrap of so few blocks is known to be a little narrow. */
static void test_blocks_coverage(void)
{
    struct random random;
    size_t starts[13], held = 0, runs = 300;
    double samples[12 * 8];
    CU_ASSERT_FATAL(random_open(&random, 7));
    for (size_t b = 0; b < COUNT(starts); b++)
        starts[b] = 8 * b;
    for (size_t run = 0; run < runs; run++) {
        double level = 0;
        for (size_t i = 0; i < COUNT(samples); i++) {
            if (i % 8 == 0)
                level = random.source.gaussian(&random.source);
            samples[i] = level + random.source.gaussian(&random.source);
        }
        struct interval interval;
        CU_ASSERT_FATAL(blocks_interval(samples, starts, 12, 0.95, &interval));
        held += interval.low <= 0 && interval.high >= 0;
    }
    random_close(&random);
    CU_ASSERT(held > 0.89 * (double)runs && held < 0.99 * (double)runs);
}

static void test_median_deviation(void)
{
    static const double samples[] = {9, 1, 4, 2, 30}; /* 4 away by 5, 3, 0, 2, 26 */
    double deviation;
    CU_ASSERT(median_deviation(samples, COUNT(samples), &deviation));
    CU_ASSERT_EQUAL(deviation, 3);
    CU_ASSERT(median_deviation(samples, 1, &deviation));
    CU_ASSERT_EQUAL(deviation, 0);
}

/* Printed tables of chi-square, three decimals. */
static void test_mean_square_interval(void)
{
    static const struct {
        double freedom, alpha, low, high;
    } table[] = {{1, 0.05, 0.000982, 5.024},
                 {5, 0.10, 1.145, 11.070},
                 {10, 0.05, 3.247, 20.483},
                 {30, 0.01, 13.787, 53.672},
                 {100, 0.05, 74.222, 129.561}};
    for (size_t i = 0; i < COUNT(table); i++) {
        struct interval interval = mean_square_interval(table[i].freedom, table[i].alpha);
        CU_ASSERT_DOUBLE_EQUAL(interval.low * table[i].freedom, table[i].low, 6e-4);
        CU_ASSERT_DOUBLE_EQUAL(interval.high * table[i].freedom, table[i].high, 6e-4);
        CU_ASSERT_DOUBLE_EQUAL(interval.coverage, 1 - table[i].alpha, 1e-15);
    }
}

/* Many degrees of freedom, and the tails that the judge uses: quantiles / freedom, computed apart
 * with 30 digits from the incomplete gamma function. Beyond 1000 an approximation may stand in. */
static void test_large_mean_square_interval(void)
{
    static const struct {
        double freedom, alpha, low, high, off;
    } table[] = {{1000, 0.05, 0.914257154, 1.089530913, 1e-8},
                 {2000, 0.05, 0.938973018, 1.062921151, 1e-6},
                 {999, 1e-9, 0.750399510, 1.298038395, 1e-8},
                 {1001, 1e-9, 0.750625769, 1.297715443, 2e-4}};
    for (size_t i = 0; i < COUNT(table); i++) {
        struct interval interval = mean_square_interval(table[i].freedom, table[i].alpha);
        CU_ASSERT_DOUBLE_EQUAL(interval.low, table[i].low, table[i].off);
        CU_ASSERT_DOUBLE_EQUAL(interval.high, table[i].high, table[i].off);
        CU_ASSERT_DOUBLE_EQUAL(interval.coverage, 1 - table[i].alpha, 1e-15);
    }
}

/* Printed tables of Student's t for count - 1 degrees of freedom, three decimals. */
static void test_mean_interval(void)
{
    static const struct {
        size_t count;
        double alpha, t;
    } table[] = {{2, 0.05, 12.706}, {3, 0.10, 2.920},  {5, 0.05, 2.776},   {10, 0.05, 2.262},
                 {10, 0.01, 3.250}, {31, 0.01, 2.750}, {121, 0.05, 1.980}, {8, 0.001, 5.408}};
    for (size_t i = 0; i < COUNT(table); i++) {
        double deviation = 3 * sqrt((double)table[i].count);
        struct interval interval = mean_interval(table[i].count, deviation, table[i].alpha);
        CU_ASSERT_DOUBLE_EQUAL(interval.high / 3, table[i].t, 6e-4);
        CU_ASSERT_EQUAL(interval.low, -interval.high);
        CU_ASSERT_DOUBLE_EQUAL(interval.coverage, 1 - table[i].alpha, 1e-15);
    }
    CU_ASSERT_EQUAL(mean_interval(8, 0, 1e-9).high, 0);
}

/* ---- randomness ---- */

/* splitmix64's outputs from state 0. hash_mix is its output function, that of state n*golden. */
static const uint64_t from_0[] = {0xe220a8397b1dcdaf, 0x6e789e6aa1b965f4, 0x06c45d188009454f};
static const uint64_t from_1234567[] = {6457827717110365317u, 3203168211198807973u,
                                        9817491932198370423u, 4593380528125082431u,
                                        16408922859458223821u};

static void test_hash_mix(void)
{
    uint64_t golden = 0x9e3779b97f4a7c15;
    CU_ASSERT_EQUAL(hash_mix(0), 0);
    for (uint64_t i = 0; i < COUNT(from_0); i++)
        CU_ASSERT_EQUAL(hash_mix((i + 1) * golden), from_0[i]);
    for (uint64_t i = 0; i < COUNT(from_1234567); i++)
        CU_ASSERT_EQUAL(hash_mix(1234567 + (i + 1) * golden), from_1234567[i]);
}

/* The stream "" begins at state hash_mix(seed): 0 for the seed 0, and 1234567 for the second seed,
 * at which the inverse of hash_mix, computed apart, has 1234567. */
static void test_splitmix(void)
{
    struct random random;
    CU_ASSERT_TRUE_FATAL(random_open(&random, 0));
    for (size_t i = 0; i < COUNT(from_0); i++)
        CU_ASSERT_EQUAL(random.source.bits(&random.source), from_0[i]);
    random_close(&random);
    CU_ASSERT_TRUE_FATAL(random_open(&random, 0x4373fdbf155465a3));
    for (size_t i = 0; i < COUNT(from_1234567); i++)
        CU_ASSERT_EQUAL(random.source.bits(&random.source), from_1234567[i]);
    random_close(&random);
}

/* What a stream yields first, which must not depend on what was drawn before. */
static uint64_t first_bits(uint64_t seed, const char *stream)
{
    static int drawn;
    struct random random;
    CU_ASSERT_TRUE_FATAL(random_open(&random, seed));
    drawn++;
    for (int i = 0; i < drawn; i++)
        random.source.bits(&random.source);
    random.source.start(&random.source, stream);
    uint64_t bits = random.source.bits(&random.source);
    random_close(&random);
    return bits;
}

static void test_streams(void)
{
    uint64_t x = first_bits(1, "x");
    CU_ASSERT_EQUAL(first_bits(1, "x"), x);
    CU_ASSERT_NOT_EQUAL(first_bits(1, "w"), x);
    CU_ASSERT_NOT_EQUAL(first_bits(1, ""), x);
    CU_ASSERT_NOT_EQUAL(first_bits(1, "xx"), x);
    CU_ASSERT_NOT_EQUAL(first_bits(2, "x"), x);
    CU_ASSERT_NOT_EQUAL(first_bits(2, "w"), first_bits(1, "w"));
    CU_ASSERT_NOT_EQUAL(first_bits(1, "abcdefgh1"), first_bits(1, "abcdefgh2"));
    CU_ASSERT_NOT_EQUAL(first_bits(1, "1abcdefgh"), first_bits(1, "2abcdefgh"));
}

static void test_hashes(void)
{
    CU_ASSERT_EQUAL(hash_bytes("", 0, 5), 5);
    CU_ASSERT_EQUAL(hash_text("seventeen letters", 9), hash_bytes("seventeen letters", 17, 9));
    CU_ASSERT_NOT_EQUAL(hash_text("ab", 0), hash_text("ba", 0));
    CU_ASSERT_NOT_EQUAL(hash_text("ab", 0), hash_text("ab", 1));
    CU_ASSERT_NOT_EQUAL(hash_bytes("\0", 1, 0), hash_bytes("\0\0", 2, 0));
    char zeros[17] = {0};
    CU_ASSERT_NOT_EQUAL(hash_bytes(zeros, 16, 0), hash_bytes(zeros, 8, 0));
    CU_ASSERT_NOT_EQUAL(hash_bytes(zeros, 17, 0), hash_bytes(zeros, 16, 0));
}

enum { DRAWS = 200000 };

/* Moments of |x| <= limit, and the shares of |x| beyond two quantiles. */
struct moments {
    double mean, mean_abs, mean_square, beyond_low, beyond_high;
};

static struct moments draw(bool heavy, double low, double high)
{
    struct random random;
    struct moments m = {0};
    CU_ASSERT_TRUE_FATAL(random_open(&random, 42));
    random.source.start(&random.source, "moments");
    for (int i = 0; i < DRAWS; i++) {
        struct assay_random *source = &random.source;
        double x = heavy ? source->heavy_tail(source) : source->gaussian(source);
        m.mean += x / DRAWS;
        m.mean_abs += fabs(x) / DRAWS;
        m.mean_square += x * x / DRAWS;
        m.beyond_low += (fabs(x) > low) / (double)DRAWS;
        m.beyond_high += (fabs(x) > high) / (double)DRAWS;
    }
    random_close(&random);
    return m;
}

/* Standard errors: 0.0022 for the mean, 0.0014, 0.0032 and, for the shares, 0.0005 and 0.0002. */
static void test_gaussian(void)
{
    struct moments m = draw(false, 1.95996, 2.57583);
    CU_ASSERT_DOUBLE_EQUAL(m.mean, 0, 0.011);
    CU_ASSERT_DOUBLE_EQUAL(m.mean_abs, 0.797885, 0.007); /* sqrt(2/pi) */
    CU_ASSERT_DOUBLE_EQUAL(m.mean_square, 1, 0.016);
    CU_ASSERT_DOUBLE_EQUAL(m.beyond_low, 0.05, 0.0025);
    CU_ASSERT_DOUBLE_EQUAL(m.beyond_high, 0.01, 0.001);
}

/* Student's t with 4 degrees of freedom: E|x| = 1, variance 2 (estimated badly: the fourth moment
 * is infinite), 5 % beyond 2.776 and 1 % beyond 4.604. */
static void test_heavy_tail(void)
{
    struct moments m = draw(true, 2.77645, 4.60409);
    CU_ASSERT_DOUBLE_EQUAL(m.mean, 0, 0.016);
    CU_ASSERT_DOUBLE_EQUAL(m.mean_abs, 1, 0.012);
    CU_ASSERT_DOUBLE_EQUAL(m.mean_square, 2, 0.2);
    CU_ASSERT_DOUBLE_EQUAL(m.beyond_low, 0.05, 0.0025);
    CU_ASSERT_DOUBLE_EQUAL(m.beyond_high, 0.01, 0.001);
}

static void test_below(void)
{
    struct random random;
    int count[7] = {0};
    CU_ASSERT_TRUE_FATAL(random_open(&random, 3));
    for (int i = 0; i < 7000; i++) {
        int64_t value = assay_below(&random.source, 7);
        CU_ASSERT_TRUE_FATAL(value >= 0 && value < 7);
        count[value]++;
    }
    for (int i = 0; i < 7; i++)
        CU_ASSERT_DOUBLE_EQUAL(count[i], 1000, 150); /* standard deviation 29 */
    CU_ASSERT_EQUAL(assay_below(&random.source, 1), 0);
    random_close(&random);
}

/* 2 * count * exp(-z^2/2) = alpha. */
static void test_rare_deviation(void)
{
    CU_ASSERT_DOUBLE_EQUAL(rare_deviation(1, 2 * exp(-8)), 4, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(rare_deviation(1000, 2000 * exp(-32)), 8, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(rare_deviation(1024, 1e-9), 7.52966, 1e-5);
}

static CU_TestInfo orders[] = {
    {"sort", test_sort},
    {"quantile", test_quantile},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo intervals[] = {
    {"blocks of equal samples", test_blocks_of_equal_samples},
    {"one block", test_one_block},
    {"blocks have levels", test_blocks_have_levels},
    {"coverage of blocks", test_blocks_coverage},
    {"median deviation", test_median_deviation},
    {"mean square", test_mean_square_interval},
    {"mean square of many", test_large_mean_square_interval},
    {"mean", test_mean_interval},
    {"rare deviation", test_rare_deviation},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo randoms[] = {
    {"hash_mix", test_hash_mix}, {"splitmix64", test_splitmix},
    {"streams", test_streams},   {"hashes", test_hashes},
    {"gaussian", test_gaussian}, {"heavy tail", test_heavy_tail},
    {"below", test_below},       CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
    {"order statistics", NULL, NULL, NULL, NULL, orders},
    {"intervals", NULL, NULL, NULL, NULL, intervals},
    {"randomness", NULL, NULL, NULL, NULL, randoms},
    CU_SUITE_INFO_NULL,
};

int main(void)
{
    return cunit_main(suites);
}
