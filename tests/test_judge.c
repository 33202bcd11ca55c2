/* SPDX-License-Identifier: MIT */
/* harness/judge.h element by element, on inputs small enough to work out what it must say by hand. */
#include <float.h>
#include <math.h>

#include "ref/f16.h"
#include "tests/judging.h"

/* ---- distances ---- */

static void test_same_bits(void)
{
    float quiet = assay_f32_from_bits(0x7fc00000), payload = assay_f32_from_bits(0xff800001);
    CU_ASSERT_TRUE(same_bits(quiet, payload));
    CU_ASSERT_TRUE(same_bits(1.5f, 1.5f));
    CU_ASSERT_TRUE(same_bits(-0.0f, -0.0f));
    CU_ASSERT_FALSE(same_bits(-0.0f, 0.0f));
    CU_ASSERT_TRUE(same_bits(-INFINITY, -INFINITY));
    CU_ASSERT_FALSE(same_bits(-INFINITY, INFINITY));
    CU_ASSERT_FALSE(same_bits(INFINITY, quiet));
    CU_ASSERT_FALSE(same_bits(quiet, 0));
    CU_ASSERT_FALSE(same_bits(1, assay_f32_from_bits(0x3f800001)));
}

static void test_ulp_distance(void)
{
    float tiny = assay_f32_from_bits(1);
    CU_ASSERT_EQUAL(ulp_distance(1, 1), 0);
    CU_ASSERT_EQUAL(ulp_distance(1, assay_f32_from_bits(0x3f800001)), 1);
    CU_ASSERT_EQUAL(ulp_distance(assay_f32_from_bits(0x3f800001), 1), 1);
    CU_ASSERT_EQUAL(ulp_distance(1, 2), 8388608); /* 2^23 floats in [1, 2) */
    CU_ASSERT_EQUAL(ulp_distance(-1, -2), 8388608);
    CU_ASSERT_EQUAL(ulp_distance(0.0f, -0.0f), 1);
    CU_ASSERT_EQUAL(ulp_distance(tiny, 0.0f), 1);
    CU_ASSERT_EQUAL(ulp_distance(-tiny, -0.0f), 1);
    CU_ASSERT_EQUAL(ulp_distance(tiny, -tiny), 3); /* tiny, +0, -0, -tiny */
    CU_ASSERT_EQUAL(ulp_distance(FLT_MAX, INFINITY), 1);
    CU_ASSERT_EQUAL(ulp_distance(-INFINITY, INFINITY), 4278190081); /* 2 * 0x7f800000 + 1 */
    CU_ASSERT_EQUAL(ulp_distance(NAN, -NAN), 0);
    CU_ASSERT_EQUAL(ulp_distance(NAN, 1), INFINITY);
    CU_ASSERT_EQUAL(ulp_distance(INFINITY, NAN), INFINITY);
}

/* ---- tolerance ---- */

/* gamma(D) = D*2^-24 / (1 - D*2^-24) is 1/(2^24 - 1) for D = 1 and 1/(2^22 - 1) for D = 4. */
static void test_tolerance_f32(void)
{
    struct assay_expected e = {.magnitude = 16777216, .slack = 0.25};
    CU_ASSERT(near(judge_tolerance(&e, ASSAY_F32, 1), 16777216.0 / 16777215 + 0.25, 1e-15));
    e.magnitude = 4194303;
    CU_ASSERT(near(judge_tolerance(&e, ASSAY_F32, 4), 1.25, 1e-15));
    CU_ASSERT_EQUAL(judge_tolerance(&e, ASSAY_F32, 0), 0.25);
    CU_ASSERT_EQUAL(judge_tolerance(&e, ASSAY_BITS, 0), 0.25);
    CU_ASSERT(near(judge_tolerance(&e, ASSAY_F16, 4), 1.25, 1e-15));
    e.step = e.step_sq = e.reach = e.flushed = 1e9; /* belong to the integer classes */
    CU_ASSERT(near(judge_tolerance(&e, ASSAY_F32, 4), 1.25, 1e-15));
}

/* step/254 = 1, 3*2^-24*step = 762/2^24, flushed = 3,
 * gamma(4) * (magnitude + reach/254) = (4193303 + 1000)/4194303 = 1, slack = 0.5. */
static void test_tolerance_i8(void)
{
    struct assay_expected e = {.magnitude = 4193303,
                               .slack = 0.5,
                               .step = 254,
                               .step_sq = 1e9,
                               .reach = 254000,
                               .flushed = 3};
    CU_ASSERT(near(judge_tolerance(&e, ASSAY_I8, 4), 5.5 + 762.0 / 16777216, 1e-15));
    e.step = 0;
    CU_ASSERT(near(judge_tolerance(&e, ASSAY_I8, 4), 4.5, 1e-15));
    e.flushed = 0;
    CU_ASSERT(near(judge_tolerance(&e, ASSAY_I8, 4), 1.5, 1e-15));
    CU_ASSERT_EQUAL(judge_tolerance(&e, ASSAY_I8, 0), 0.5);
}

/* half_steps: of the class, in amax. step/half_steps = 1, 3*2^-24*step, flushed = 3,
 * gamma(4) * (magnitude + reach/126) = (4193303 + 1000)/4194303 = 1, slack = 0.5. */
static void check_tolerance_of_digits(enum assay_numerics numerics, double half_steps)
{
    struct assay_expected e = {.magnitude = 4193303,
                               .slack = 0.5,
                               .step = half_steps,
                               .step_sq = 1e9,
                               .reach = 126000,
                               .terms_sq = 1e9,
                               .flushed = 3};
    double of_step = 1 + 3 * half_steps / 16777216;
    CU_ASSERT(near(judge_tolerance(&e, numerics, 4), 4.5 + of_step, 1e-15));
    e.reach = 0;
    CU_ASSERT(near(judge_tolerance(&e, numerics, 0), 3.5 + of_step, 1e-15));
}

static void test_tolerance_of_digits(void)
{
    check_tolerance_of_digits(ASSAY_I16, 2 * 32638.0);
    check_tolerance_of_digits(ASSAY_I24, 2 * 8355000.0);
}

/* step_sq / (12*top^2) = 9; with u = 2^-24, depth*u^2/6 * max(value^2, terms_sq) = 16. */
static void test_sigma(void)
{
    static const double top[] = {127, 32638, 8355000};
    static const enum assay_numerics classes[] = {ASSAY_I8, ASSAY_I16, ASSAY_I24};
    for (size_t i = 0; i < COUNT(classes); i++) {
        struct assay_expected e = {.step_sq = 108 * top[i] * top[i]};
        CU_ASSERT(near(judge_sigma(&e, classes[i], 6), 3, 1e-15));
        e.terms_sq = 0x1p52;
        CU_ASSERT(near(judge_sigma(&e, classes[i], 6), 5, 1e-15));
        e.terms_sq = 0x1p40;
        e.value = -0x1p26;
        CU_ASSERT(near(judge_sigma(&e, classes[i], 6), 5, 1e-15));
        CU_ASSERT(near(judge_sigma(&e, classes[i], 24), sqrt(73), 1e-15));
    }
}

/* ---- judge_real: one row ---- */

#define ONE_BAD      "1 of 4 judged elements of y is out of tolerance"
#define FINITE       "1 of 4 judged elements of y is finite where an input is not"
#define TWIN_DIFFERS "1 of 4 judged elements of y differs from the scalar twin of the class"

static void test_bound(void)
{
    struct row row;
    for (int numerics = ASSAY_F32; numerics <= ASSAY_I8; numerics++) {
        for (int sign = -1; sign <= 1; sign += 2) {
            row_set(&row, (enum assay_numerics)numerics);
            row.got[2] = 3 + 0.25f * (float)sign;
            struct judgement at = judge(&row.in);
            SAID(at, "");
            FOUND(at, 0);
            CU_ASSERT_EQUAL(at.bad, 0);
            CU_ASSERT_EQUAL(at.judged, 4);
            CU_ASSERT_EQUAL(at.utilisation, 1);
            CU_ASSERT_TRUE(at.telling);
            row.got[2] = nextafterf(row.got[2], (float)(100 * sign));
            struct judgement beyond = judge(&row.in);
            SAID(beyond, ONE_BAD);
            FOUND(beyond, BIT(BOUND));
            CU_ASSERT_EQUAL(beyond.bad, 1);
            CU_ASSERT_TRUE(beyond.utilisation > 1);
            CU_ASSERT_EQUAL(beyond.worst.row, 0);
            CU_ASSERT_EQUAL(beyond.worst.column, 2);
            CU_ASSERT_EQUAL(beyond.worst.expected, 3);
            CU_ASSERT_EQUAL(beyond.worst.got, (double)row.got[2]);
            CU_ASSERT_EQUAL(beyond.worst.tolerance, 0.25);
            CU_ASSERT_STRING_EQUAL(beyond.worst.tensor, "y");
        }
    }
}

/* depth = 4: gamma(4) * 4194303 = 1; an error of 0.75 passes, with depth = 2 (0.5) it does not. */
static void test_depth_counts(void)
{
    struct row row;
    row_set(&row, ASSAY_F32);
    for (int i = 0; i < ROW; i++)
        row.expected[i] = (struct assay_expected){.value = i + 1, .magnitude = 4194303};
    row.got[0] = 1.75f;
    row.in.depth = 4;
    struct judgement deep = judge(&row.in);
    SAID(deep, "");
    CU_ASSERT(near(deep.utilisation, 0.75, 1e-12));
    row.in.depth = 2;
    SAID(judge(&row.in), ONE_BAD);
}

static void test_not_finite_where_finite(void)
{
    static const float values[] = {NAN, -NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < COUNT(values); i++) {
        struct row row;
        row_set(&row, ASSAY_F32);
        row.expected[1].slack = 1e30; /* no tolerance is wide enough */
        row.got[1] = values[i];
        struct judgement judgement = judge(&row.in);
        SAID(judgement, ONE_BAD);
        CU_ASSERT_EQUAL(judgement.bad, 1);
        CU_ASSERT_EQUAL(judgement.utilisation, INFINITY);
        CU_ASSERT_EQUAL(judgement.histogram[JUDGE_TENTHS], 1);
        CU_ASSERT_EQUAL(judgement.worst.column, 1);
    }
}

static void test_finite_where_not(void)
{
    static const double wanted[] = {(double)NAN, (double)INFINITY, -(double)INFINITY};
    static const float got[] = {NAN, INFINITY, -INFINITY};
    for (size_t w = 0; w < COUNT(wanted); w++) {
        struct row row;
        row_set(&row, ASSAY_F32);
        row.expected[3].value = wanted[w];
        struct judgement finite = judge(&row.in);
        SAID(finite, FINITE);
        FOUND(finite, BIT(NONFINITE));
        CU_ASSERT_EQUAL(finite.bad, 1);
        CU_ASSERT_EQUAL(finite.worst.column, 3);
        for (size_t g = 0; g < COUNT(got); g++) {
            row.got[3] = got[g];
            struct judgement judgement = judge(&row.in);
            SAID(judgement, "");
            CU_ASSERT_EQUAL(judgement.bad, 0);
            CU_ASSERT_EQUAL(judgement.judged, 4);
            CU_ASSERT_EQUAL(judgement.excused, 0);
        }
    }
}

static void test_untouched(void)
{
    struct row row;
    row_set(&row, ASSAY_F32);
    row.expected[0].untouched = true;
    row.got[0] = NAN;
    struct judgement judgement = judge(&row.in);
    SAID(judgement, "");
    CU_ASSERT_EQUAL(judgement.judged, 3);
    CU_ASSERT_EQUAL(judgement.bad, 0);
    CU_ASSERT_EQUAL(judgement.nmse, 0);
}

/* Only columns 1 and 3 of five are judged. */
static void test_judged_columns(void)
{
    static const int64_t columns[] = {1, 3};
    float got[] = {NAN, 10, NAN, 20, NAN, NAN, 30, NAN, 40, NAN};
    struct assay_expected expected[] = {{.value = 10, .magnitude = 1},
                                        {.value = 20, .magnitude = 1},
                                        {.value = 30, .magnitude = 1},
                                        {.value = 40, .magnitude = 1}};
    struct judge_input in = {.numerics = ASSAY_F32,
                             .rows = 2,
                             .columns = 5,
                             .n_columns = 2,
                             .judged_columns = columns,
                             .expected = expected,
                             .got = got};
    struct judgement good = judge(&in);
    SAID(good, "");
    CU_ASSERT_EQUAL(good.judged, 4);
    CU_ASSERT_TRUE(good.telling);
    got[8] = 41;
    struct judgement bad = judge(&in);
    SAID(bad, ONE_BAD);
    CU_ASSERT_EQUAL(bad.worst.row, 1);
    CU_ASSERT_EQUAL(bad.worst.column, 3);
}

static void test_exact(void)
{
    struct row row;
    row_set(&row, ASSAY_F32);
    row.in.exact = true;
    row.expected[0].value = 0;
    row.got[0] = -0.0f;
    row.expected[1].value = -0.0;
    row.got[1] = 0.0f;
    struct judgement equal = judge(&row.in);
    SAID(equal, "");
    CU_ASSERT_EQUAL(equal.utilisation, 0);
    row.got[3] = nextafterf(4, 5);
    struct judgement apart = judge(&row.in);
    SAID(apart, ONE_BAD);
    CU_ASSERT_EQUAL(apart.utilisation, INFINITY);
    CU_ASSERT_EQUAL(apart.worst.tolerance, 0);
    CU_ASSERT_EQUAL(apart.max_ulp, 1);
    row.got[3] = 4;
    row.got[2] = NAN;
    SAID(judge(&row.in), ONE_BAD);
}

/* An exact fill is not exact in i8, unless the kernel promises the twin. */
static void test_exact_i8(void)
{
    struct row row;
    row_set(&row, ASSAY_I8);
    row.in.exact = true;
    row.got[3] = 4.125f;
    SAID(judge(&row.in), "");
    row.in.twin = row.twin;
    row.twin[3] = 4.125f;
    SAID(judge(&row.in), ONE_BAD);
    row.in.exact = false;
    SAID(judge(&row.in), "");
}

static void test_twin(void)
{
    struct row row;
    row_set(&row, ASSAY_I8);
    row.in.twin = row.twin;
    SAID(judge(&row.in), "");
    row.twin[2] = assay_f32_from_bits(assay_f32_bits(3) + 1);
    struct judgement judgement = judge(&row.in);
    SAID(judgement, TWIN_DIFFERS);
    CU_ASSERT_EQUAL(judgement.worst.expected, (double)row.twin[2]);
    CU_ASSERT_EQUAL(judgement.worst.tolerance, 0);
    FOUND(judgement, BIT(TWIN));
    CU_ASSERT_EQUAL(judgement.bad, 1);
    CU_ASSERT_EQUAL(judgement.worst.column, 2);
    row.got[2] = row.twin[2];
    SAID(judge(&row.in), "");
    row.in.twin = NULL; /* none promised */
    row.twin[2] = 77;
    SAID(judge(&row.in), "");
}

static void test_twin_special_values(void)
{
    struct row row;
    row_set(&row, ASSAY_I8);
    row.in.twin = row.twin;
    row.expected[0].value = (double)NAN;
    row.got[0] = assay_f32_from_bits(0x7fc00001);
    row.twin[0] = assay_f32_from_bits(0xffc00000);
    SAID(judge(&row.in), "");
    row.twin[0] = INFINITY;
    struct judgement infinite = judge(&row.in);
    SAID(infinite, TWIN_DIFFERS);
    CU_ASSERT_EQUAL(infinite.bad, 1);
    row_set(&row, ASSAY_I8);
    row.in.twin = row.twin;
    row.expected[1].value = 0;
    row.got[1] = 0.0f;
    row.twin[1] = -0.0f;
    SAID(judge(&row.in), TWIN_DIFFERS);
}

static void test_overflow_is_excused(void)
{
    static const float values[] = {INFINITY, NAN, 0, 5};
    for (size_t i = 0; i < COUNT(values); i++) {
        struct row row;
        row_set(&row, ASSAY_F32);
        row.expected[1].magnitude = nextafter(FLT_MAX / 2.0, INFINITY);
        row.got[1] = values[i];
        struct judgement judgement = judge(&row.in);
        SAID(judgement, "");
        CU_ASSERT_EQUAL(judgement.excused, 1);
        CU_ASSERT_EQUAL(judgement.judged, 4);
        row.expected[1].magnitude = FLT_MAX / 2.0;
        row.expected[1].slack = 0;
        row.got[1] = INFINITY;
        SAID(judge(&row.in), ONE_BAD);
        row.expected[1].reach = 2e38;
        CU_ASSERT_EQUAL(judge(&row.in).excused, 1);
        row.in.twin = row.twin; /* the twin's bits are due there, too */
        judgement = judge(&row.in);
        SAID(judgement, TWIN_DIFFERS);
        CU_ASSERT_EQUAL(judgement.bad, 1);
    }
}

/* Errors 0, 1/16, 1/8, 3/16, 1/4 of a tolerance of 1/4: utilisation 0, 1/4, 1/2, 3/4, 1. The 99 %
 * quantile of five lies at 0.99*4 = 3.96: 0.04*0.75 + 0.96*1 = 0.99. Values 16: NMSE is
 * (1 + 4 + 9 + 16)/256 / (5*256) and the largest error 1/4 is 2^17 steps of 2^-19. */
static void test_quantiles(void)
{
    struct assay_expected expected[5];
    float got[5];
    for (int i = 0; i < 5; i++) {
        expected[i] = (struct assay_expected){.value = 16, .slack = 0.25};
        got[i] = 16 + (float)((i * 3) % 5) / 16;
    }
    struct judge_input in = {.numerics = ASSAY_F32,
                             .rows = 5,
                             .columns = 1,
                             .n_columns = 1,
                             .judged_columns = first_columns,
                             .expected = expected,
                             .got = got};
    struct judgement judgement = judge(&in);
    CU_ASSERT_EQUAL(judgement.utilisation, 1);
    CU_ASSERT_EQUAL(judgement.utilisation_median, 0.5);
    CU_ASSERT(near(judgement.utilisation_p99, 0.99, 1e-15));
    static const int64_t bins[JUDGE_BINS] = {1, 0, 1, 0, 0, 1, 0, 1, 0, 1, 0};
    CU_ASSERT(memcmp(judgement.histogram, bins, sizeof(bins)) == 0);
    CU_ASSERT(near(judgement.nmse, 30.0 / 256 / 1280, 1e-15));
    CU_ASSERT_EQUAL(judgement.max_ulp, 131072);
    CU_ASSERT_TRUE(isnan(judgement.z_mean));
    CU_ASSERT_TRUE(isnan(judgement.z_mean_square));
}

/* An element that is wrong in two ways counts once; a message goes to each layer, first the bound's. */
static void test_two_layers(void)
{
    struct row row;
    bool wrong[ROW] = {true, false, true, true};
    row_set(&row, ASSAY_I8);
    row.in.twin = row.twin;
    row.in.wrong = wrong;
    row.got[1] = 5;
    row.twin[3] = -4;
    struct judgement judgement = judge(&row.in);
    SAID(judgement, ONE_BAD);
    FOUND(judgement, BIT(BOUND) | BIT(TWIN));
    CU_ASSERT_EQUAL(judgement.bad, 2);
    CU_ASSERT_EQUAL(judgement.worst.column, 1);
    CU_ASSERT_TRUE(!wrong[0] && wrong[1] && !wrong[2] && wrong[3]);
}

/* Where subnormals were flushed, the bound is wider by what that may cost, on exact fills too. */
static void test_flushing(void)
{
    struct row row;
    row_set(&row, ASSAY_F32);
    row.expected[0].flush = 0.5;
    row.got[0] = 1.75f;
    SAID(judge(&row.in), ONE_BAD);
    row.in.flushing = true;
    SAID(judge(&row.in), "");
    row.got[0] = nextafterf(1.75f, 2);
    SAID(judge(&row.in), ONE_BAD);
    row.in.exact = true;
    SAID(judge(&row.in), ONE_BAD);
    row.got[0] = 1.5f;
    SAID(judge(&row.in), "");
    row.got[1] = nextafterf(2, 3);
    SAID(judge(&row.in), ONE_BAD);
}

/* The first reason stays, all layers are noted. */
static void test_say(void)
{
    struct judgement judgement = {0};
    judge_say(&judgement, LAYER_CRASH, "%d apples", 3);
    judge_say(&judgement, LAYER_TIME, "pears");
    SAID(judgement, "3 apples");
    FOUND(judgement, BIT(CRASH) | BIT(TIME));
    for (int layer = 0; layer < LAYERS; layer++)
        CU_ASSERT_TRUE(layer_names[layer] && layer_names[layer][0]);
}

static CU_TestInfo distances[] = {
    {"same_bits", test_same_bits},
    {"ulp_distance", test_ulp_distance},
    {"tolerance of f32", test_tolerance_f32},
    {"tolerance of i8", test_tolerance_i8},
    {"tolerance of i16 and i24", test_tolerance_of_digits},
    {"sigma of integer classes", test_sigma},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo elements[] = {
    {"at the bound and beyond", test_bound},
    {"depth", test_depth_counts},
    {"not finite where finite", test_not_finite_where_finite},
    {"finite where not", test_finite_where_not},
    {"untouched", test_untouched},
    {"judged columns", test_judged_columns},
    {"exact", test_exact},
    {"exact i8", test_exact_i8},
    {"twin", test_twin},
    {"twin of NaN and zero", test_twin_special_values},
    {"overflow", test_overflow_is_excused},
    {"quantiles", test_quantiles},
    {"two layers", test_two_layers},
    {"flushing", test_flushing},
    {"first reason", test_say},
    CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
    {"distances", NULL, NULL, NULL, NULL, distances},
    {"elements", NULL, NULL, NULL, NULL, elements},
    CU_SUITE_INFO_NULL,
};

int main(void)
{
    return cunit_main(suites);
}
