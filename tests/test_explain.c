/* SPDX-License-Identifier: MIT */
/* harness/explain.h on elements whose pattern is known, and harness/shrink.h on failures whose
 * smallest case is. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness/explain.h"
#include "harness/shrink.h"
#include "tests/cunit_main.h"

/* ---- explain ---- */

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
    CU_ASSERT_TRUE(explain(names, COORDINATES, all, count, text, sizeof(text), &error));
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
             "The only wrong element of 68 has expert = 2, token = 0 and row = 16 (the last).");
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
             "All 9 wrong elements belong to row 5, and every element there is wrong.");
    EXPLAINS(3, 3, 17, row_16,
             "All 9 wrong elements belong to the last row, 16, and every element there is wrong.");
    EXPLAINS(3, 3, 17, row_16_but_one,
             "All 8 wrong elements belong to the last row, 16 (8 of the 9 there).");
    EXPLAINS(2, 1, 9, row_5,
             "Both wrong elements belong to row 5, and every element there is wrong.");
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
             "All 1122 wrong elements have token >= 32, and every element there is wrong.");
    EXPLAINS(2, 65, 17, from_32_and_a_few,
             "1122 of the 1124 wrong elements have token >= 32, and every element there is wrong.");
    EXPLAINS(1, 64, 4, half_from_32,
             "All 103 wrong elements have token >= 32 (103 of the 128 there).");
    EXPLAINS(3, 2, 40, up_to_5,
             "All 36 wrong elements have row <= 5, and every element there is wrong.");
    EXPLAINS(2, 1, 40, from_10_to_17,
             "All 16 wrong elements have row from 10 to 17, and every element there is wrong.");
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
    EXPLAINS(1, 3, 48, lane_15, "All 8 wrong elements have row % 16 = 15 (8 of the 9 there).");
    EXPLAINS(1, 2, 48, upper_half,
             "All 48 wrong elements have row % 16 >= 8, and every element there is wrong.");
    EXPLAINS(1, 2, 32, lower_lanes,
             "All 24 wrong elements have row % 8 <= 2, and every element there is wrong.");
    EXPLAINS(3, 9, 2, odd_token,
             "All 24 wrong elements have token % 2 = 1, and every element there is wrong.");
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
             "All 21 wrong elements lie in the last partial group of 16 of row (row >= 16), and "
             "every element there is wrong.");
    EXPLAINS(1, 3, 23, from_row_16_but_one,
             "All 20 wrong elements lie in the last partial group of 16 of row (row >= 16; 20 of "
             "the 21 there).");
    /* A whole group is no tail. */
    EXPLAINS(1, 1, 32, from_row_16,
             "All 16 wrong elements have row >= 16, and every element there is "
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
    EXPLAINS(
        5, 40, 9, expert_3_row_7,
        "All 40 wrong elements belong to expert 3 and row 7, and every element there is wrong.");
    EXPLAINS(
        9, 5, 17, token_4_row_12,
        "All 9 wrong elements belong to the last token, 4, and row 12, and every element there "
        "is wrong.");
    EXPLAINS(3, 10, 48, expert_1_lane_15,
             "All 30 wrong elements have expert = 1 and row % 16 = 15, and every element there is "
             "wrong.");
    EXPLAINS(
        2, 64, 19, both_tails,
        "All 192 wrong elements have token >= 32 and row >= 16 (the last partial group of 16), "
        "and every element there is wrong.");
    EXPLAINS(2, 4, 17, two,
             "Both wrong elements have token = 3 (the last) and row from 10 to 11 (2 of the 4 "
             "there).");
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
             "All 72 wrong elements have row >= 4, and every element there is wrong.");
}

static void check_explained(const char *const *of, size_t n_names, const struct observation *all,
                            size_t count, const char *wanted, unsigned line)
{
    char text[128];
    struct error error = {""};
    CU_ASSERT_TRUE(explain(of, n_names, all, count, text, sizeof(text), &error));
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
                    "The only wrong element of 40 has expert = -1, far = 9223372036854775787 and "
                    "same = 0.",
                    __LINE__);
    all[0].bad = all[2].bad = true;
    check_explained(of, 0, all, 40, "The 3 wrong elements of 40 follow no pattern in anything.",
                    __LINE__);
    check_explained(of, 1, all, 40, "The 3 wrong elements of 40 follow no pattern in expert.",
                    __LINE__);
    char text[8] = "";
    struct error error = {""};
    CU_ASSERT_TRUE(explain(of, 1, all, 40, text, sizeof(text), &error));
    CU_ASSERT_STRING_EQUAL(text, "The 3 w"); /* cut to fit */
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
    CU_ASSERT_TRUE(explain(six, 6, all, COUNT, text, sizeof(text), &error));
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    CU_ASSERT_PTR_NOT_NULL(strstr(text, " follow no pattern in a, b, c, d, e or f."));
    CU_ASSERT(seconds < 5); /* a fraction of a second, but for sanitizers */
    free(all);
}

/* ---- shrink ---- */

#define GEMM "q4_K_gemm_moe_id experts=8 m=130 k=2048 top_k=3 tokens=50 "
#define ODD                                                                                 \
    "q4_K_gemm_moe_id experts=8 m=130 k=2048 top_k=6 tokens=5 ne11=6 stride=64 w_offset=2 " \
    "indirect=1 routing=zipf:1.1 fill=edge threads=3 seed=9"

enum { MAX_ASKED = 1000 };

/* A failure, and what was asked about it. */
struct failure {
    bool (*when)(const struct assay_case *item);
    const char *original;
    char *asked[MAX_ASKED];
    size_t n_asked;
    int64_t bytes; /* of the smallest case that failed */
};

static void check_replays(const struct assay_case *item)
{
    struct cases again = {0};
    struct error error = {""};
    CU_ASSERT_TRUE_FATAL(cases_from_key(item->key, &again, &error));
    CU_ASSERT_STRING_EQUAL(again.items[0].key, item->key);
    CU_ASSERT_PTR_EQUAL(again.items[0].op, item->op);
    CU_ASSERT_EQUAL(memcmp(again.items[0].shape, item->shape, sizeof(item->shape)), 0);
    CU_ASSERT_EQUAL(again.items[0].fill.routing, item->fill.routing);
    CU_ASSERT_EQUAL(again.items[0].seed, item->seed);
    cases_free(&again);
}

static bool ask(const struct assay_case *item, void *context, bool *fails, struct error *error)
{
    struct failure *failure = context;
    int64_t bytes = shape_bytes(item->op, item->shape);
    (void)error;
    CU_ASSERT_PTR_NULL(assay_illegal(item->op, item->shape, NULL));
    CU_ASSERT(bytes >= 0 && bytes <= failure->bytes);
    CU_ASSERT_STRING_NOT_EQUAL(item->key, failure->original);
    for (size_t i = 0; i < failure->n_asked; i++)
        CU_ASSERT_STRING_NOT_EQUAL(item->key, failure->asked[i]);
    CU_ASSERT_FATAL(failure->n_asked < MAX_ASKED);
    failure->asked[failure->n_asked++] = strdup(item->key);
    check_replays(item);
    *fails = failure->when(item);
    if (*fails)
        failure->bytes = bytes;
    return true;
}

/* Returns how often the failure was asked for. */
static size_t check_shrinks(const char *key, bool (*when)(const struct assay_case *item),
                            double seconds, const char *wanted, unsigned line)
{
    struct cases cases = {0}, smallest = {0};
    struct error error = {""};
    CU_ASSERT_TRUE_FATAL(cases_from_key(key, &cases, &error));
    const struct assay_case *item = &cases.items[0];
    struct failure failure = {.when = when, .original = item->key};
    failure.bytes = shape_bytes(item->op, item->shape);
    CU_ASSERT_TRUE_FATAL(shrink_case(item, ask, &failure, seconds, &smallest, &error));
    CU_ASSERT_EQUAL_FATAL(smallest.count, 1);
    check_said(smallest.items[0].key, wanted, line);
    check_replays(&smallest.items[0]);
    CU_ASSERT_EQUAL(shape_bytes(item->op, smallest.items[0].shape), failure.bytes);
    for (size_t i = 0; i < failure.n_asked; i++)
        free(failure.asked[i]);
    cases_free(&smallest);
    cases_free(&cases);
    return failure.n_asked;
}

#define SHRINKS(key, when, wanted) check_shrinks(key, when, 1e6, wanted, __LINE__)

static int64_t value_of(const struct assay_case *item, const char *name)
{
    size_t d = 0;
    while (strcmp(item->op->dims[d].name, name) != 0)
        d++;
    return item->shape[d];
}

static bool in_any_case(const struct assay_case *item)
{
    (void)item;
    return true;
}

static bool in_no_other_case(const struct assay_case *item)
{
    (void)item;
    return false;
}

static bool in_row_tail(const struct assay_case *item)
{
    return value_of(item, "m") > 16 && value_of(item, "m") % 16 != 0;
}

static bool beyond_32_pairs(const struct assay_case *item)
{
    return value_of(item, "tokens") * value_of(item, "top_k") > 32;
}

static bool with_slots(const struct assay_case *item)
{
    return value_of(item, "ne11") > 1;
}

static bool with_wide_stride(const struct assay_case *item)
{
    return value_of(item, "stride") > value_of(item, "tokens") * value_of(item, "top_k");
}

static bool when_skewed(const struct assay_case *item)
{
    return item->fill.routing == ASSAY_ROUTE_ZIPF && value_of(item, "experts") > 2;
}

static bool on_odd_blocks(const struct assay_case *item)
{
    return value_of(item, "k") / 256 % 2 == 1 && value_of(item, "k") > 256;
}

static void test_smallest(void)
{
    SHRINKS(GEMM "routing=uniform fill=exact seed=7", in_any_case,
            "q4_K_gemm_moe_id experts=1 m=1 k=256 top_k=1 tokens=1 routing=uniform fill=exact "
            "seed=7");
    SHRINKS(ODD, in_any_case,
            "q4_K_gemm_moe_id experts=1 m=1 k=256 top_k=1 tokens=1 routing=uniform fill=edge "
            "threads=3 seed=9");
    SHRINKS("q4_K_quantize n=2560 fill=model", in_any_case,
            "q4_K_quantize n=256 fill=model seed=1");
    SHRINKS("moe_router_topk_softmax experts=128 top_k=8 tokens=33 norm=0 fill=model", in_any_case,
            "moe_router_topk_softmax experts=1 top_k=1 tokens=1 fill=model seed=1");
    SHRINKS("moe_ids_tpe experts=9 top_k=9 tokens=33 m_gate_up=32 routing=one_expert fill=model",
            in_any_case,
            "moe_ids_tpe experts=1 top_k=1 tokens=1 routing=uniform fill=model seed=1");
}

static void test_threshold(void)
{
    SHRINKS(GEMM "routing=tile_edges fill=exact seed=7", in_row_tail,
            "q4_K_gemm_moe_id experts=1 m=17 k=256 top_k=1 tokens=1 routing=uniform fill=exact "
            "seed=7");
    SHRINKS(ODD, in_row_tail,
            "q4_K_gemm_moe_id experts=1 m=17 k=256 top_k=1 tokens=1 routing=uniform fill=edge "
            "threads=3 seed=9");
    /* 11 * 3 pairs: neither 10 * 3 nor 11 * 2 will do. */
    SHRINKS(GEMM "routing=uniform fill=exact seed=7", beyond_32_pairs,
            "q4_K_gemm_moe_id experts=3 m=1 k=256 top_k=3 tokens=11 routing=uniform fill=exact "
            "seed=7");
    SHRINKS("q4_K_gemv n=3 k=2816 fill=edge", on_odd_blocks,
            "q4_K_gemv n=1 k=768 fill=edge seed=1");
}

static void test_ties(void)
{
    SHRINKS(
        ODD, with_slots,
        "q4_K_gemm_moe_id experts=2 m=1 k=256 top_k=2 tokens=1 ne11=2 routing=uniform fill=edge "
        "threads=3 seed=9");
    SHRINKS(ODD, with_wide_stride,
            "q4_K_gemm_moe_id experts=1 m=1 k=256 top_k=1 tokens=1 stride=2 routing=uniform "
            "fill=edge threads=3 seed=9");
    SHRINKS(ODD, when_skewed,
            "q4_K_gemm_moe_id experts=3 m=1 k=256 top_k=1 tokens=1 routing=zipf:1.1 fill=edge "
            "threads=3 seed=9");
}

static void test_nothing_smaller(void)
{
    const char *key = GEMM "routing=tile_edges fill=exact seed=7";
    size_t asked = SHRINKS(key, in_no_other_case, key);
    CU_ASSERT(asked > 5 && asked < 60);
    asked = SHRINKS("q4_K_quantize n=256 fill=model", in_any_case,
                    "q4_K_quantize n=256 fill=model seed=1");
    CU_ASSERT_EQUAL(asked, 0);
}

static bool slowly(const struct assay_case *item)
{
    (void)item;
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    return true;
}

static void test_time(void)
{
    const char *key = GEMM "routing=tile_edges fill=exact seed=7";
    CU_ASSERT_EQUAL(check_shrinks(key, in_any_case, 0, key, __LINE__), 0);
    struct cases cases = {0}, smallest = {0};
    struct error error = {""};
    CU_ASSERT_TRUE_FATAL(cases_from_key(key, &cases, &error));
    struct failure failure = {.when = slowly, .original = key, .bytes = INT64_MAX};
    CU_ASSERT_TRUE_FATAL(shrink_case(&cases.items[0], ask, &failure, 0.01, &smallest, &error));
    CU_ASSERT(failure.n_asked <= 1); /* 0 if the machine stood still */
    CU_ASSERT_STRING_EQUAL(smallest.items[0].key, failure.n_asked ? failure.asked[0] : key);
    free(failure.asked[0]);
    cases_free(&smallest);
    cases_free(&cases);
}

/* Fails as the harness does, after a smaller case was found. */
static bool break_down(const struct assay_case *item, void *context, bool *fails,
                       struct error *error)
{
    int *calls = context;
    *fails = true;
    return ++*calls < 3 || fail(error, "%s: no memory", item->op->name);
}

static void test_broken(void)
{
    struct cases cases = {0}, smallest = {0};
    struct error error = {""};
    int calls = 0;
    CU_ASSERT_TRUE_FATAL(
        cases_from_key("q4_K_gemv n=9 k=768 fill=edge w_offset=4", &cases, &error));
    CU_ASSERT_FALSE(shrink_case(&cases.items[0], break_down, &calls, 1e6, &smallest, &error));
    CU_ASSERT_STRING_EQUAL(error.text, "q4_K_gemv: no memory");
    CU_ASSERT_EQUAL(calls, 3);
    CU_ASSERT_EQUAL(smallest.count, 0);
    cases_free(&cases);
}

static CU_TestInfo explaining[] = {
    {"amounts", test_amounts},
    {"value", test_value},
    {"range", test_range},
    {"residue", test_residue},
    {"tail", test_tail},
    {"pair", test_pair},
    {"no pattern", test_no_pattern},
    {"mostly wrong", test_mostly_wrong},
    {"odd input", test_odd_input},
    {"large", test_large},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo shrinking[] = {
    {"smallest", test_smallest}, {"threshold", test_threshold},
    {"ties", test_ties},         {"nothing smaller", test_nothing_smaller},
    {"time", test_time},         {"broken", test_broken},
    CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
    {"explain", NULL, NULL, NULL, NULL, explaining},
    {"shrink", NULL, NULL, NULL, NULL, shrinking},
    CU_SUITE_INFO_NULL,
};

int main(void)
{
    return cunit_main(suites);
}
