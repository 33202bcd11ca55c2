/* SPDX-License-Identifier: MIT */
/* harness/explain.h on elements whose pattern is known. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness/explain.h"
#include "tests/cunit_main.h"

enum { EXPERT, TOKEN, ROW, COORDINATES };

static const char *const names[] = {"expert", "token", "row"};

typedef bool is_wrong(const int64_t *at);

/* What is said of experts x tokens x rows elements, of which some are wrong. */
static const char *said_of(int64_t experts, int64_t tokens, int64_t rows, is_wrong *wrong)
{
    static char text[256];
    size_t count = (size_t)(experts * tokens * rows), i = 0;
    struct observation *all = calloc(count, sizeof(*all));
    struct error error = {""};
    CU_ASSERT_PTR_NOT_NULL_FATAL(all);
    for (int64_t e = 0; e < experts; e++) {
        for (int64_t t = 0; t < tokens; t++) {
            for (int64_t r = 0; r < rows; r++, i++) {
                all[i] = (struct observation){.value = {e, t, r}};
                all[i].bad = wrong(all[i].value);
            }
        }
    }
    strcpy(text, "left as it was");
    CU_ASSERT_TRUE(explain("wrong", names, COORDINATES, all, count, text, sizeof(text), &error));
    CU_ASSERT_STRING_EQUAL(error.text, "");
    free(all);
    return text;
}

#define EXPLAINS(experts, tokens, rows, wrong, sentence) \
    check_said(said_of(experts, tokens, rows, wrong), sentence, __LINE__)

static void check_said(const char *said, const char *wanted, unsigned line)
{
    bool equal = strcmp(said, wanted) == 0;
    CU_assertImplementation(equal, line, wanted, __FILE__, "", CU_FALSE);
    if (!equal)
        printf("\n  said \"%s\"\n", said);
}

/* Whether a draw of this probability succeeds; the same for the same element. */
static bool chance(const int64_t *at, double probability)
{
    uint64_t x = (uint64_t)(at[EXPERT] << 40 ^ at[TOKEN] << 20 ^ at[ROW]) + 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    x ^= x >> 31;
    return (double)(x >> 11) * 0x1p-53 < probability;
}

static bool never(const int64_t *at)
{
    (void)at;
    return false;
}

static bool always(const int64_t *at)
{
    (void)at;
    return true;
}

static bool most(const int64_t *at)
{
    return at[ROW] > 0;
}

static bool one(const int64_t *at)
{
    return at[EXPERT] == 2 && at[TOKEN] == 0 && at[ROW] == 16;
}

static bool two(const int64_t *at)
{
    return at[EXPERT] == 1 && at[TOKEN] == 3 && at[ROW] / 2 == 5;
}

static void test_amounts(void)
{
    EXPLAINS(3, 4, 5, never, "");
    EXPLAINS(3, 4, 5, always, "Every element is wrong (60 of 60).");
    EXPLAINS(1, 1, 1, always, "Every element is wrong (1 of 1).");
    EXPLAINS(2, 5, 20, most, "Nearly every element is wrong (190 of 200).");
    EXPLAINS(4, 1, 17, one,
             "The only wrong element of 68 is in expert 2, token 0, row 16 (the last).");
}

static bool row_5(const int64_t *at)
{
    return at[ROW] == 5;
}

static bool row_16(const int64_t *at)
{
    return at[ROW] == 16;
}

static bool row_16_but_one(const int64_t *at)
{
    return at[ROW] == 16 && !(at[EXPERT] == 2 && at[TOKEN] == 2);
}

static void test_value(void)
{
    EXPLAINS(3, 3, 17, row_5,
             "All 9 wrong elements are in row 5, and every element there is wrong.");
    EXPLAINS(3, 3, 17, row_16,
             "All 9 wrong elements are in row 16 (the last), and every element there is wrong.");
    EXPLAINS(3, 3, 17, row_16_but_one,
             "All 8 wrong elements are in row 16 (the last) (8 of the 9 there).");
    EXPLAINS(2, 1, 9, row_5, "Both wrong elements are in row 5, and every element there is wrong.");
}

static bool from_32(const int64_t *at)
{
    return at[TOKEN] >= 32;
}

static bool up_to_5(const int64_t *at)
{
    return at[ROW] <= 5;
}

static bool from_10_to_17(const int64_t *at)
{
    return at[ROW] >= 10 && at[ROW] <= 17;
}

static bool from_32_and_a_few(const int64_t *at)
{
    return at[TOKEN] >= 32 || (at[TOKEN] == 3 && at[ROW] == 3);
}

static bool half_from_32(const int64_t *at)
{
    return at[TOKEN] >= 32 && chance(at, 0.75);
}

static void test_range(void)
{
    EXPLAINS(2, 65, 17, from_32,
             "All 1122 wrong elements are in tokens from 32 on, and every element there is wrong.");
    EXPLAINS(2, 65, 17, from_32_and_a_few,
             "1122 of the 1124 wrong elements are in tokens from 32 on, and every element there is "
             "wrong.");
    EXPLAINS(1, 64, 4, half_from_32,
             "All 103 wrong elements are in tokens from 32 on (103 of the 128 there).");
    EXPLAINS(3, 2, 40, up_to_5,
             "All 36 wrong elements are in rows up to 5, and every element there is wrong.");
    EXPLAINS(2, 1, 40, from_10_to_17,
             "All 16 wrong elements are in rows 10 to 17, and every element there is wrong.");
}

static bool lane_15(const int64_t *at)
{
    return at[ROW] % 16 == 15 && at[ROW] + at[TOKEN] > 15;
}

static bool upper_half(const int64_t *at)
{
    return at[ROW] % 16 >= 8;
}

static bool lower_lanes(const int64_t *at)
{
    return at[ROW] % 8 <= 2;
}

static bool odd_token(const int64_t *at)
{
    return at[TOKEN] % 2 == 1;
}

static void test_residue(void)
{
    EXPLAINS(1, 3, 48, lane_15, "All 8 wrong elements are where row % 16 = 15 (8 of the 9 there).");
    EXPLAINS(1, 2, 48, upper_half,
             "All 48 wrong elements are where row % 16 >= 8, and every element there is wrong.");
    EXPLAINS(1, 2, 32, lower_lanes,
             "All 24 wrong elements are where row % 8 <= 2, and every element there is wrong.");
    EXPLAINS(3, 9, 2, odd_token,
             "All 24 wrong elements are where token % 2 = 1, and every element there is wrong.");
}

static bool from_row_16(const int64_t *at)
{
    return at[ROW] >= 16;
}

static bool from_row_16_but_one(const int64_t *at)
{
    return at[ROW] >= 16 && at[ROW] + at[TOKEN] > 16;
}

static void test_tail(void)
{
    EXPLAINS(1, 3, 23, from_row_16,
             "All 21 wrong elements are in rows from 16 on, the last partial group of 16, "
             "and every element there is wrong.");
    EXPLAINS(1, 3, 23, from_row_16_but_one,
             "All 20 wrong elements are in rows from 16 on, the last partial group of 16 "
             "(20 of the 21 there).");
    /* A whole group is no tail. */
    EXPLAINS(1, 1, 32, from_row_16,
             "All 16 wrong elements are in rows from 16 on, and every element there is "
             "wrong.");
}

static bool expert_3_row_7(const int64_t *at)
{
    return at[EXPERT] == 3 && at[ROW] == 7;
}

static bool token_4_row_12(const int64_t *at)
{
    return at[TOKEN] == 4 && at[ROW] == 12;
}

static bool expert_1_lane_15(const int64_t *at)
{
    return at[EXPERT] == 1 && at[ROW] % 16 == 15;
}

static bool both_tails(const int64_t *at)
{
    return at[TOKEN] >= 32 && at[ROW] >= 16;
}

static void test_pair(void)
{
    EXPLAINS(5, 40, 9, expert_3_row_7,
             "All 40 wrong elements are in expert 3, row 7, and every element there is wrong.");
    EXPLAINS(9, 5, 17, token_4_row_12,
             "All 9 wrong elements are in token 4 (the last), row 12, and every element there "
             "is wrong.");
    EXPLAINS(
        3, 10, 48, expert_1_lane_15,
        "All 30 wrong elements are in expert 1, where row % 16 = 15, and every element there is "
        "wrong.");
    EXPLAINS(2, 64, 19, both_tails,
             "All 192 wrong elements are in tokens from 32 on, rows from 16 on, the last partial "
             "group of 16, "
             "and every element there is wrong.");
    EXPLAINS(
        2, 4, 17, two,
        "Both wrong elements are in expert 1 (the last), token 3 (the last), rows 10 to 11, and "
        "every element there is wrong.");
}

static bool late_lane_7(const int64_t *at)
{
    return at[ROW] >= 64 && at[ROW] % 8 == 7;
}

static bool early_lane_7(const int64_t *at)
{
    return at[ROW] < 40 && at[ROW] % 8 == 7;
}

static bool expert_2_late_lane_7(const int64_t *at)
{
    return at[EXPERT] == 2 && late_lane_7(at);
}

/* Two rules on one coordinate; bounds lie on whole periods. */
static void test_same_coordinate(void)
{
    EXPLAINS(2, 3, 97, late_lane_7,
             "All 24 wrong elements are in rows from 64 on, where row % 8 = 7, and every element "
             "there is wrong.");
    EXPLAINS(
        2, 3, 97, early_lane_7,
        "All 30 wrong elements are in rows up to 39, where row % 8 = 7, and every element there "
        "is wrong.");
    EXPLAINS(5, 3, 97, expert_2_late_lane_7,
             "All 12 wrong elements are in expert 2, rows from 64 on, where row % 8 = 7, and every "
             "element there is wrong.");
}

static bool tokens_3_and_9(const int64_t *at)
{
    return at[TOKEN] == 3 || at[TOKEN] == 9;
}

static bool three_experts_row_4(const int64_t *at)
{
    return at[ROW] == 4 && (at[EXPERT] == 1 || at[EXPERT] == 2 || at[EXPERT] == 6);
}

static void test_list(void)
{
    EXPLAINS(2, 12, 5, tokens_3_and_9,
             "All 20 wrong elements are in tokens 3 and 9, and every element there is wrong.");
    EXPLAINS(9, 4, 6, three_experts_row_4,
             "All 12 wrong elements are in experts 1, 2 and 6, row 4, and every element there is "
             "wrong.");
}

static bool most_of_a_box(const int64_t *at)
{
    return at[EXPERT] == 1 && at[TOKEN] % 8 <= 5 && at[ROW] >= 1 && at[ROW] <= 5 && chance(at, 0.8);
}

/* A third rule must leave few right elements. */
static void test_third_rule(void)
{
    EXPLAINS(2, 16, 17, most_of_a_box,
             "All 47 wrong elements are in expert 1 (the last), rows 1 to 5 (47 of the 80 there).");
}

static bool one_in_ten(const int64_t *at)
{
    return chance(at, 0.1);
}

static bool two_in_three(const int64_t *at)
{
    return chance(at, 2.0 / 3);
}

static bool rarely(const int64_t *at)
{
    return chance(at, 0.002);
}

static void test_no_pattern(void)
{
    EXPLAINS(4, 20, 33, one_in_ten,
             "The 257 wrong elements of 2640 follow no pattern in expert, token or row.");
    EXPLAINS(4, 20, 33, two_in_three,
             "The 1738 wrong elements of 2640 follow no pattern in expert, token or row.");
    EXPLAINS(4, 40, 65, rarely,
             "The 13 wrong elements of 10400 follow no pattern in expert, token or row.");
}

/* Most elements are wrong, but not those of some rows. */
static bool from_row_4(const int64_t *at)
{
    return at[ROW] >= 4;
}

static void test_mostly_wrong(void)
{
    EXPLAINS(2, 3, 16, from_row_4,
             "All 72 wrong elements are in rows from 4 on, and every element there is wrong.");
}

static void check_explained(const char *const *of, size_t n_names, const struct observation *all,
                            size_t count, const char *wanted, unsigned line)
{
    char text[128];
    struct error error = {""};
    CU_ASSERT_TRUE(explain("wrong", of, n_names, all, count, text, sizeof(text), &error));
    check_said(text, wanted, line);
}

static void test_odd_input(void)
{
    struct observation all[40] = {0};
    for (int i = 0; i < 40; i++)
        all[i] = (struct observation){{i < 20 ? ASSAY_UNSET : i - 21, INT64_MAX - i, 0}, i == 20};
    const char *const of[] = {"expert", "far", "same"};
    check_explained(of, 0, all, 0, "", __LINE__);
    check_explained(of, 0, all, 40, "The only wrong element of 40 has no coordinates.", __LINE__);
    check_explained(of, 3, all, 40,
                    "The only wrong element of 40 is in expert -1, far 9223372036854775787, "
                    "same 0.",
                    __LINE__);
    all[0].bad = all[2].bad = true;
    check_explained(of, 0, all, 40, "The 3 wrong elements of 40 follow no pattern in anything.",
                    __LINE__);
    check_explained(of, 1, all, 40, "The 3 wrong elements of 40 follow no pattern in expert.",
                    __LINE__);
    char text[8] = "";
    struct error error = {""};
    CU_ASSERT_TRUE(explain("wrong", of, 1, all, 40, text, sizeof(text), &error));
    CU_ASSERT_STRING_EQUAL(text, "The 3 w"); /* cut to fit */
}

static void test_adjective(void)
{
    struct observation all[9] = {0};
    char text[128];
    struct error error = {""};
    for (int i = 0; i < 9; i++)
        all[i] = (struct observation){{i}, i > 2 && i < 5};
    CU_ASSERT_TRUE(explain("unwritten", &(const char *){"byte of the block"}, 1, all, 9, text,
                           sizeof(text), &error));
    check_said(text,
               "Both unwritten elements are in bytes of the block 3 to 4, and every element there "
               "is unwritten.",
               __LINE__);
}

/* As many elements as are ever explained at once, and no pattern to stop at. */
static void test_large(void)
{
    enum { COUNT = 200000 };
    struct observation *all = calloc(COUNT, sizeof(*all));
    char text[256];
    struct error error = {""};
    CU_ASSERT_PTR_NOT_NULL_FATAL(all);
    const char *const six[] = {"a", "b", "c", "d", "e", "f"};
    for (int64_t i = 0; i < COUNT; i++) {
        struct observation *o = &all[i];
        *o = (struct observation){{i, i / 7, i % 4099, i * 31 % 128, COUNT - i, i / 1000}, false};
        o->bad = chance(o->value, 0.5);
    }
    clock_t start = clock();
    CU_ASSERT_TRUE(explain("wrong", six, 6, all, COUNT, text, sizeof(text), &error));
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    CU_ASSERT_PTR_NOT_NULL(strstr(text, " follow no pattern in a, b, c, d, e or f."));
    CU_ASSERT(seconds < 5); /* a fraction of a second, but for sanitizers */
    free(all);
}

static CU_TestInfo explaining[] = {
    {"amounts", test_amounts},
    {"value", test_value},
    {"range", test_range},
    {"residue", test_residue},
    {"tail", test_tail},
    {"pair", test_pair},
    {"same coordinate", test_same_coordinate},
    {"list", test_list},
    {"third rule", test_third_rule},
    {"adjective", test_adjective},
    {"no pattern", test_no_pattern},
    {"mostly wrong", test_mostly_wrong},
    {"odd input", test_odd_input},
    {"large", test_large},
    CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
    {"explain", NULL, NULL, NULL, NULL, explaining},
    CU_SUITE_INFO_NULL,
};

int main(void)
{
    return cunit_main(suites);
}
