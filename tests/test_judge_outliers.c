/* SPDX-License-Identifier: MIT */
/* harness/judge.h: single outputs of class i8 that are within the bound, but further off than
 * independent roundings bring them. */
#include <math.h>
#include <stdlib.h>

#include "harness/random.h"
#include "harness/statistics.h"
#include "tests/judging.h"

enum { COLUMNS = 32, MAX_ROWS = 32, MAX_OUTPUTS = COLUMNS * MAX_ROWS };

/* step_sq = 12 * 127^2, hence sigma = 1: an error of e is e standard deviations. The bound is
 * step/254 = 20, and 3u*step = 0.0009. Errors are +-1, so that the mean square is 1. */
struct table {
    struct assay_expected expected[MAX_OUTPUTS];
    float got[MAX_OUTPUTS];
    bool wrong[MAX_OUTPUTS];
    struct judge_input in;
};

static void table_set(struct table *table, int64_t rows)
{
    *table = (struct table){.in = {.numerics = ASSAY_I8,
                                   .statistical = true,
                                   .independent = true,
                                   .activations = (int64_t)1 << 40,
                                   .rows = rows,
                                   .columns = COLUMNS,
                                   .n_columns = COLUMNS,
                                   .judged_columns = first_columns,
                                   .expected = table->expected,
                                   .got = table->got,
                                   .wrong = table->wrong}};
    for (int64_t i = 0; i < rows * COLUMNS; i++) {
        double value = (double)((i % 2 ? -1 : 1) * (1000 + i / COLUMNS));
        table->expected[i] = (struct assay_expected){
            .value = value, .magnitude = 1000, .step = 254 * 20, .step_sq = 12 * 127 * 127};
        table->got[i] = (float)(value + (i / 2 % 2 ? 1 : -1));
    }
}

/* Judged with one output off by so much. */
static struct judgement judge_one(struct table *table, int64_t row, int64_t column, double error)
{
    int64_t i = row * COLUMNS + column;
    float before = table->got[i];
    table->got[i] = (float)(table->expected[i].value + error);
    struct judgement judgement = judge(&table->in);
    table->got[i] = before;
    return judgement;
}

#define ONE "1 of 1024 judged elements of y is off by more than rounding the activations explains"

/* 1024 outputs: t = sqrt(2 * ln(2 * 1024 / 1e-9)) = 7.5297. */
static void test_one_of_many(void)
{
    struct table table;
    table_set(&table, 32);
    for (int sign = -1; sign <= 1; sign += 2) {
        struct judgement right = judge_one(&table, 17, 5, sign * 7.52);
        SAID(right, "");
        CU_ASSERT_EQUAL(right.bad, 0);
        CU_ASSERT(near(right.z_max, 7.52, 1e-4));
        CU_ASSERT(near(right.utilisation, 7.52 / 20, 1e-3));
        struct judgement wrong = judge_one(&table, 17, 5, sign * 7.54);
        SAID(wrong, ONE);
        FOUND(wrong, BIT(OUTLIER)); /* neither the bound nor the mean square */
        CU_ASSERT_EQUAL(wrong.bad, 1);
        CU_ASSERT_TRUE(wrong.utilisation < 1);
        CU_ASSERT_EQUAL(wrong.worst.row, 17);
        CU_ASSERT_EQUAL(wrong.worst.column, 5);
        CU_ASSERT(near(wrong.worst.tolerance, 7.5297 + 3 * 0x1p-24 * 254 * 20, 1e-4));
        for (int i = 0; i < MAX_OUTPUTS; i++)
            CU_ASSERT_EQUAL(table.wrong[i], i == 17 * COLUMNS + 5);
    }
}

/* Fewer outputs have fewer chances: 32 of them t = 7.05. */
static void test_count(void)
{
    struct table table;
    table_set(&table, 1);
    FOUND(judge_one(&table, 0, 5, 7.04), 0);
    FOUND(judge_one(&table, 0, 5, 7.06), BIT(OUTLIER));
}

/* Of two, the one that is further off for its sigma is shown, though the other uses more of its
 * bound. */
static void test_worst(void)
{
    struct table table;
    table_set(&table, 32);
    struct assay_expected *small = &table.expected[3 * COLUMNS + 1];
    small->step_sq /= 100; /* sigma 0.1 */
    table.got[3 * COLUMNS + 1] = (float)(small->value + 2);
    struct judgement judgement = judge_one(&table, 9, 9, 10);
    CU_ASSERT_EQUAL(judgement.bad, 2);
    CU_ASSERT_EQUAL(judgement.worst.row, 3);
    CU_ASSERT_EQUAL(judgement.worst.column, 1);
    CU_ASSERT(near(judgement.z_max, 20, 1e-4));
}

/* Where few terms carry a sum, all of them may well be off by half a step: the bound counts. */
static void test_bound_is_smaller(void)
{
    struct table table;
    table_set(&table, 32);
    table.expected[70].step = 254 * 5;
    FOUND(judge_one(&table, 2, 6, 4.99), 0);
    FOUND(judge_one(&table, 2, 6, 5.01), BIT(BOUND));
}

/* What the bound allows beside the roundings of activations is allowed here, too. */
static void test_other_errors(void)
{
    struct table table;
    table_set(&table, 32);
    table.expected[70].slack = 3;
    table.expected[70].flush = 2;
    FOUND(judge_one(&table, 2, 6, 10.5), 0);
    FOUND(judge_one(&table, 2, 6, 10.6), BIT(OUTLIER));
    table.in.flushing = true;
    FOUND(judge_one(&table, 2, 6, 12.5), 0);
    FOUND(judge_one(&table, 2, 6, 12.6), BIT(OUTLIER));
}

static void test_where_it_counts(void)
{
    struct table table;
    table_set(&table, 32);
    table.in.statistical = false; /* weights of a file */
    FOUND(judge_one(&table, 2, 6, 10), BIT(OUTLIER));
    table.in.independent = false;
    struct judgement dependent = judge_one(&table, 2, 6, 10);
    FOUND(dependent, 0);
    CU_ASSERT_TRUE(isnan(dependent.z_max));
    table.in.independent = true;
    table.in.numerics = ASSAY_F32;
    for (int i = 0; i < MAX_OUTPUTS; i++)
        table.expected[i].slack = 20;
    struct judgement f32 = judge_one(&table, 2, 6, 10);
    FOUND(f32, 0);
    CU_ASSERT_TRUE(isnan(f32.z_max));
}

/* Rows that repeat an earlier one are no new evidence for the mean, but may be wrong. */
static void test_repeated_row(void)
{
    struct table table;
    table_set(&table, 32);
    for (int i = 0; i < COLUMNS; i++) {
        table.expected[COLUMNS + i] = table.expected[i];
        table.got[COLUMNS + i] = table.got[i];
    }
    FOUND(judge_one(&table, 1, 6, 10), BIT(OUTLIER));
}

static void test_beside_others(void)
{
    struct table table;
    table_set(&table, 32);
    table.in.statistical = false;
    FOUND(judge_one(&table, 2, 6, 20.1), BIT(BOUND)); /* not said twice */
    float twin[MAX_OUTPUTS];
    memcpy(twin, table.got, sizeof(twin));
    table.in.twin = twin;
    struct judgement both = judge_one(&table, 2, 6, 10);
    FOUND(both, BIT(TWIN) | BIT(OUTLIER));
    CU_ASSERT_EQUAL(both.bad, 1);
    CU_ASSERT_EQUAL(both.worst.expected, table.expected[70].value);
}

/* ---- the model ---- */

/* Errors of rounding normal numbers of `spread` steps to integers, times weights of which the first
 * is the largest: no sum of `terms` of them is beyond sqrt(2 * ln(2 * sums / alpha)) deviations of
 * uniform errors, and about as many as there may be are beyond what alpha = 1/2 allows: at most. */
static void check_rounding(double spread, int terms, double first)
{
    enum { SUMS = 20000 };
    struct random random;
    CU_ASSERT_TRUE_FATAL(random_open(&random, 11));
    random.source.start(&random.source, "x");
    double rare = rare_deviation(SUMS, 1e-9), half = rare_deviation(SUMS, 0.5);
    int beyond = 0, seldom = 0;
    for (int n = 0; n < SUMS; n++) {
        double sum = 0, w_sq = 0;
        for (int i = 0; i < terms; i++) {
            double v = spread * random.source.gaussian(&random.source);
            double w = i == 0 ? first : 1;
            sum += w * (rint(v) - v);
            w_sq += w * w;
        }
        double z = fabs(sum) / sqrt(w_sq / 12);
        beyond += z > rare;
        seldom += z > half;
    }
    CU_ASSERT_EQUAL(beyond, 0);
    CU_ASSERT_TRUE(seldom <= 3);
    random_close(&random);
}

static void test_rounding(void)
{
    static const double spreads[] = {0.01, 0.1, 0.2, 0.3, 0.5, 1, 6, 45};
    for (size_t i = 0; i < COUNT(spreads); i++) {
        check_rounding(spreads[i], 1, 1);
        check_rounding(spreads[i], 40, 1);
        check_rounding(spreads[i], 40, 10);
    }
}

static CU_TestInfo outliers[] = {
    {"one of many", test_one_of_many},
    {"count", test_count},
    {"worst", test_worst},
    {"smaller bound", test_bound_is_smaller},
    {"other errors", test_other_errors},
    {"where it counts", test_where_it_counts},
    {"repeated row", test_repeated_row},
    {"beside others", test_beside_others},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo model[] = {
    {"rounding", test_rounding},
    CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
    {"outliers", NULL, NULL, NULL, NULL, outliers},
    {"model", NULL, NULL, NULL, NULL, model},
    CU_SUITE_INFO_NULL,
};

int main(void)
{
    return cunit_main(suites);
}
