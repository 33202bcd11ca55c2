/* SPDX-License-Identifier: MIT */
/* Which columns of a large case are judged. */
#include <string.h>

#include "harness/check.h"
#include "tests/cunit_main.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

enum { K = 256, ENOUGH = 1 << 20 };

/* Made with so many multiply-adds for the oracle; both are to be freed. */
static void make(const char *key, int64_t max_oracle, struct cases *cases, struct expectation *x)
{
    const struct check_options options = {
        .threads = 1, .memory_bytes = 1 << 30, .max_oracle = max_oracle};
    struct error error = {""};
    CU_ASSERT_TRUE_FATAL(cases_from_key(key, cases, &error));
    CU_ASSERT_TRUE_FATAL(expectation_make(x, &cases->items[0], 0, &options, &error));
}

static bool is_judged(const struct expectation *x, int64_t column)
{
    int64_t i = 0;
    while (i < x->n_columns && x->columns[i] != column)
        i++;
    return i < x->n_columns;
}

static void check_ascending(const struct expectation *x, int64_t columns)
{
    for (int64_t i = 0; i < x->n_columns; i++) {
        CU_ASSERT_TRUE(x->columns[i] > (i > 0 ? x->columns[i - 1] : -1));
        CU_ASSERT_TRUE(x->columns[i] < columns);
    }
}

static void test_all(void)
{
    struct cases cases = {0};
    struct expectation x = {0};
    make("q4_K_gemv n=1000 k=256 fill=exact seed=1", ENOUGH, &cases, &x);
    CU_ASSERT_EQUAL(x.n_columns, 1000);
    check_ascending(&x, 1000);
    expectation_free(&x);
    cases_free(&cases);
}

/* The ends and the edges of tiles are always among them. */
static void test_sample(void)
{
    static const int64_t edges[] = {0, 1, 15, 16, 63, 64, 983, 998, 999};
    struct cases cases = {0}, others = {0};
    struct expectation x = {0}, other = {0};
    make("q4_K_gemv n=1000 k=256 fill=exact seed=1", 30 * K, &cases, &x);
    make("q4_K_gemv n=1000 k=256 fill=exact seed=2", 30 * K, &others, &other);
    CU_ASSERT_EQUAL(x.n_columns, 30);
    check_ascending(&x, 1000);
    for (size_t i = 0; i < COUNT(edges); i++)
        CU_ASSERT_TRUE(is_judged(&x, edges[i]));
    CU_ASSERT_TRUE(memcmp(x.columns, other.columns, 30 * sizeof(*x.columns)) != 0);
    expectation_free(&x);
    expectation_free(&other);
    cases_free(&cases);
    cases_free(&others);
}

/* A sample has 16 columns at least, and a column in it only once. */
static void test_few(void)
{
    struct cases cases = {0};
    struct expectation x = {0};
    make("q4_K_gemv n=17 k=256 fill=exact seed=1", 1, &cases, &x);
    CU_ASSERT_EQUAL(x.n_columns, 16);
    check_ascending(&x, 17);
    CU_ASSERT_TRUE(is_judged(&x, 0) && is_judged(&x, 15) && is_judged(&x, 16));
    expectation_free(&x);
    cases_free(&cases);
}

static CU_TestInfo columns[] = {
    {"all", test_all},
    {"a sample", test_sample},
    {"a few", test_few},
    CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
    {"judged columns", NULL, NULL, NULL, NULL, columns},
    CU_SUITE_INFO_NULL,
};

int main(void)
{
    return cunit_main(suites);
}
