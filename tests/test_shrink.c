/* SPDX-License-Identifier: MIT */
/* harness/shrink.h on failures whose smallest case is known. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness/shrink.h"
#include "tests/cunit_main.h"

static void check_said(const char *said, const char *wanted, unsigned line)
{
    bool equal = strcmp(said, wanted) == 0;
    CU_assertImplementation(equal, line, wanted, __FILE__, "", CU_FALSE);
    if (!equal)
        printf("\n  said \"%s\"\n", said);
}

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

static bool from_290_tokens(const struct assay_case *item)
{
    return value_of(item, "tokens") >= 290;
}

/* Halves what is between a value that fails and one that does not, instead of starting anew. */
static void test_few_questions(void)
{
    size_t asked = SHRINKS(
        "moe_ids_tpe experts=1 top_k=1 tokens=1000 routing=uniform fill=exact", from_290_tokens,
        "moe_ids_tpe experts=1 top_k=1 tokens=290 routing=uniform fill=exact seed=1");
    CU_ASSERT(asked <= 20); /* twice the logarithm of 1000 */
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

/* How often a case was asked about, and which of the answers are "fails". */
struct answers {
    unsigned fails; /* bit i: the i-th */
    int asked;
};

static bool answer(const struct assay_case *item, void *context, bool *fails, struct error *error)
{
    struct answers *answers = context;
    (void)item, (void)error;
    *fails = answers->fails >> answers->asked++ & 1;
    return true;
}

static void check_confirmed(unsigned fails, double seconds, const char *wanted, bool steady,
                            int asked)
{
    const char *key = GEMM "routing=uniform fill=exact seed=7";
    struct cases cases = {0}, smallest = {0};
    struct error error = {""};
    struct answers answers = {fails, 0};
    bool is_steady = !steady;
    CU_ASSERT_TRUE_FATAL(cases_from_key(key, &cases, &error));
    CU_ASSERT_TRUE_FATAL(cases_from_key("q4_K_gemv n=1 k=256 fill=exact", &smallest, &error));
    CU_ASSERT_TRUE_FATAL(
        shrink_confirm(&cases.items[0], answer, &answers, seconds, &smallest, &is_steady, &error));
    CU_ASSERT_STRING_EQUAL(smallest.items[0].key, wanted ? wanted : key);
    CU_ASSERT_EQUAL(is_steady, steady);
    CU_ASSERT_EQUAL(answers.asked, asked);
    cases_free(&cases);
    cases_free(&smallest);
}

/* A case that does not fail again is not told as the smaller one. */
static void test_confirm(void)
{
    const char *found = "q4_K_gemv n=1 k=256 fill=exact seed=1";
    check_confirmed(7, 1e6, found, true, 3);
    check_confirmed(5, 1e6, found, false, 3);
    check_confirmed(4, 1e6, found, false, 3);
    check_confirmed(0, 1e6, NULL, false, 3);
    check_confirmed(1, -1, found, true, 1); /* once at least */
    check_confirmed(0, -1, NULL, false, 1);
    struct cases cases = {0}, smallest = {0};
    struct error error = {""};
    int calls = 2;
    bool steady;
    CU_ASSERT_TRUE_FATAL(cases_from_key(found, &cases, &error));
    CU_ASSERT_TRUE_FATAL(cases_from_key(found, &smallest, &error));
    CU_ASSERT_FALSE(
        shrink_confirm(&cases.items[0], break_down, &calls, 1e6, &smallest, &steady, &error));
    CU_ASSERT_EQUAL(smallest.count, 0);
    cases_free(&cases);
}

static CU_TestInfo shrinking[] = {
    {"smallest", test_smallest},
    {"threshold", test_threshold},
    {"few questions", test_few_questions},
    {"ties", test_ties},
    {"nothing smaller", test_nothing_smaller},
    {"time", test_time},
    {"broken", test_broken},
    {"confirm", test_confirm},
    CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
    {"shrink", NULL, NULL, NULL, NULL, shrinking},
    CU_SUITE_INFO_NULL,
};

int main(void)
{
    return cunit_main(suites);
}
