/* SPDX-License-Identifier: MIT */
/* harness/judge.h on inputs small enough to work out what it must say by hand. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/judge.h"
#include "ref/f16.h"
#include "tests/cunit_main.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

#define SAID(judgement, text) CU_ASSERT_STRING_EQUAL((judgement).reason, text)

/* The layers that found fault, and no others. */
#define FOUND(judgement, bits) CU_ASSERT_EQUAL((judgement).layers, bits)
#define BIT(layer)             (1u << LAYER_##layer)

/* Whether the reason starts so. */
static bool said(const struct judgement *judgement, const char *start)
{
    if (strncmp(judgement->reason, start, strlen(start)) == 0)
        return true;
    printf("\n  got the reason \"%s\"\n", judgement->reason);
    return false;
}

static bool near(double got, double wanted, double relative)
{
    return fabs(got - wanted) <= relative * fabs(wanted);
}

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

/* ---- judge_real: one row ---- */

enum { ROW = 4 };

/* Four outputs 1, 2, 3, 4, each with the tolerance 0.25 in every class, and what is got. */
struct row {
    struct assay_expected expected[ROW];
    float got[ROW], twin[ROW];
    struct judge_input in;
};

static const int64_t first_columns[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
                                        11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
                                        22, 23, 24, 25, 26, 27, 28, 29, 30, 31};

static void row_set(struct row *row, enum assay_numerics numerics)
{
    *row = (struct row){.in = {.numerics = numerics,
                               .activations = 256,
                               .rows = 1,
                               .columns = ROW,
                               .n_columns = ROW,
                               .judged_columns = first_columns,
                               .expected = row->expected,
                               .got = row->got}};
    for (int i = 0; i < ROW; i++) {
        row->expected[i] = (struct assay_expected){.value = i + 1, .slack = 0.25};
        row->got[i] = row->twin[i] = (float)(i + 1);
    }
}

static struct judgement judge(const struct judge_input *in)
{
    struct judgement judgement = {0};
    struct error error;
    CU_ASSERT_TRUE_FATAL(judge_real(in, "y", &judgement, &error));
    return judgement;
}

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
    struct assay_expected expected[] = {{.value = 10}, {.value = 20}, {.value = 30}, {.value = 40}};
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

/* ---- statistics ---- */

/* Where parts are summed apart and nearly cancel, errors are relative to the parts: 4 times the
 * values' squares, as here, makes the NMSE of test_nmse a quarter. */
static void test_nmse_of_parts(void)
{
    struct row row;
    row_set(&row, ASSAY_F32);
    row.in.statistical = true;
    for (int i = 0; i < ROW; i++) {
        double value = 1048576 << i;
        row.expected[i] =
            (struct assay_expected){.value = value, .slack = 1000, .parts_sq = 4 * value * value};
        row.got[i] = (float)((1048576 + 8) << i);
    }
    struct judgement judgement = judge(&row.in);
    CU_ASSERT(near(judgement.nmse, 0x1p-36, 1e-12));
    for (int i = 0; i < ROW; i++)
        row.expected[i].parts_sq /= 8; /* half of the values' squares, which count then */
    CU_ASSERT(near(judge(&row.in).nmse, 0x1p-34, 1e-12));
}

/* Errors of 2^-17 of each value: NMSE 2^-34 = 5.8e-11; of 2^-19: 3.6e-12. */
static void test_nmse(void)
{
    struct row row;
    row_set(&row, ASSAY_F32);
    for (int i = 0; i < ROW; i++) {
        row.expected[i] = (struct assay_expected){.value = 1048576 << i, .slack = 1000};
        row.got[i] = (float)((1048576 + 8) << i);
    }
    SAID(judge(&row.in), "");
    row.in.statistical = true;
    struct judgement judgement = judge(&row.in);
    CU_ASSERT(near(judgement.nmse, 0x1p-34, 1e-12));
    SAID(judgement, "NMSE 5.8e-11 is above 1e-11");
    FOUND(judgement, BIT(STATISTICS));
    CU_ASSERT_EQUAL(judgement.bad, 0);
    row.in.numerics = ASSAY_F16;
    FOUND(judge(&row.in), BIT(STATISTICS));
    row.in.numerics = ASSAY_I8;
    SAID(judge(&row.in), "");
    row.in.numerics = ASSAY_F32;
    for (int i = 0; i < ROW; i++)
        row.got[i] = (float)((1048576 + 2) << i);
    SAID(judge(&row.in), "");
}

enum { MAX_OUTPUTS = 512 };

/* step_sq = 12 * 127^2: sigma^2 = step_sq / 127^2 / 12 = 1. step = 2540: the tolerance is 10 and a
 * little. So an error of e is e standard deviations, and none is out of tolerance. */
struct table {
    struct assay_expected expected[MAX_OUTPUTS];
    float got[MAX_OUTPUTS];
    struct judge_input in;
};

/* Errors come from `errors`, whose column runs fastest. */
static struct table *table_make(int rows, int columns, const float *errors, int n_errors)
{
    struct table *table = calloc(1, sizeof(*table));
    CU_ASSERT_PTR_NOT_NULL_FATAL(table);
    for (int i = 0; i < rows * columns; i++) {
        table->expected[i] = (struct assay_expected){
            .value = i % 2 ? -100 : 100, .step = 2540, .step_sq = 12 * 127 * 127};
        table->got[i] = (float)table->expected[i].value + errors[i % n_errors];
    }
    table->in = (struct judge_input){.numerics = ASSAY_I8,
                                     .statistical = true,
                                     .activations = (int64_t)1 << 40,
                                     .rows = rows,
                                     .columns = columns,
                                     .n_columns = columns,
                                     .judged_columns = first_columns,
                                     .expected = table->expected,
                                     .got = table->got};
    return table;
}

static struct judgement judge_errors(int rows, int columns, int64_t activations,
                                     const float *errors, int n_errors)
{
    struct table *table = table_make(rows, columns, errors, n_errors);
    if (activations > 0)
        table->in.activations = activations;
    struct judgement judgement = judge(&table->in);
    CU_ASSERT_EQUAL(judgement.bad, 0);
    CU_ASSERT_TRUE(judgement.telling);
    free(table);
    return judgement;
}

/* 512 outputs of unlimited activations: chi-square/512 lies within 0.66 .. 1.43 but for 1e-9. */
static void test_mean_square(void)
{
    static const float sigma[] = {1, -1}, twice[] = {2, -2}, half[] = {0.5f, -0.5f};
    struct judgement right = judge_errors(16, 32, 0, sigma, 2);
    SAID(right, "");
    CU_ASSERT_EQUAL(right.z_mean_square, 1);
    CU_ASSERT_EQUAL(right.z_mean, 0);
    struct judgement large = judge_errors(16, 32, 0, twice, 2);
    CU_ASSERT_TRUE(said(&large, "mean square error is 4 of what rounding to int8 gives, outside "));
    CU_ASSERT_EQUAL(large.z_mean_square, 4);
    FOUND(large, BIT(STATISTICS));
    struct judgement small = judge_errors(16, 32, 0, half, 2);
    CU_ASSERT_TRUE(said(&small, "mean square error is 0.25 of what rounding to int8 gives, "));
}

/* sigma follows step_sq: with a fourth of it, errors of 1 are 2 sigma. */
static void test_sigma(void)
{
    static const float one[] = {1, -1};
    struct table *table = table_make(16, 32, one, 2);
    for (int i = 0; i < MAX_OUTPUTS; i++)
        table->expected[i].step_sq /= 4;
    CU_ASSERT_EQUAL(judge(&table->in).z_mean_square, 4);
    free(table);
}

/* 32 activations count as 1/(1/512 + 3.2/32) = 9.8 outputs: chi-square/9.8 lies within 0.007 .. 6.5
 * but for 1e-9, so that 4 and 0.25 pass and 9 does not. */
static void test_few_activations(void)
{
    static const float twice[] = {2, -2}, half[] = {0.5f, -0.5f}, thrice[] = {3, -3};
    SAID(judge_errors(16, 32, 32, twice, 2), "");
    SAID(judge_errors(16, 32, 32, half, 2), "");
    struct judgement judgement = judge_errors(16, 32, 32, thrice, 2);
    CU_ASSERT_TRUE(said(&judgement, "mean square error is 9 of"));
}

/* The mean square needs 32 outputs. */
static void test_few_outputs(void)
{
    static const float small[] = {0.125f, -0.125f}; /* 0.016 */
    struct judgement few = judge_errors(1, 31, 0, small, 2);
    SAID(few, "");
    CU_ASSERT_TRUE(isnan(few.z_mean_square));
    struct judgement enough = judge_errors(1, 32, 0, small, 2);
    CU_ASSERT_TRUE(said(&enough, "mean square error is 0.0156 of"));
}

/* Rows whose errors are 1.5 and -0.5: mean 0.5, mean square 1.25. The test needs 8 of them. */
static void test_bias(void)
{
    static const float biased[] = {1.5f, -0.5f}, constant[] = {0.5f};
    struct judgement eight = judge_errors(8, 32, 0, biased, 2);
    CU_ASSERT_TRUE(said(&eight, "errors are biased: mean 0.5 sigma"));
    CU_ASSERT_EQUAL(eight.z_mean, 0.5);
    FOUND(eight, BIT(STATISTICS));
    CU_ASSERT_EQUAL(eight.z_mean_square, 1.25);
    struct judgement seven = judge_errors(7, 32, 0, biased, 2);
    SAID(seven, "");
    CU_ASSERT_TRUE(isnan(seven.z_mean));
    struct judgement flat = judge_errors(8, 32, 32, constant, 1);
    CU_ASSERT_TRUE(said(&flat, "errors are biased: mean 0.5 sigma"));
    CU_ASSERT_EQUAL(flat.z_mean_square, 0.25);
}

/* 64 rows of 8 whose means differ by +-0.125: standard error 0.0157, t(63) at 5e-10 about 7.3, so
 * that means up to 0.113 are normal. Mean square (1.625^2 + 0.375^2 + 1.375^2 + 0.625^2)/4 = 1.27,
 * and 1.02 for the second. */
static void test_bias_of_uneven_rows(void)
{
    float biased[16], balanced[16];
    for (int i = 0; i < 16; i++) {
        float shift = i < 8 ? 0.125f : -0.125f, alternate = i % 2 ? -1 : 1;
        biased[i] = 0.5f + shift + alternate;
        balanced[i] = 0.0625f + shift + alternate;
    }
    struct judgement judgement = judge_errors(64, 8, 0, biased, 16);
    CU_ASSERT_TRUE(said(&judgement, "errors are biased: mean 0.5 sigma"));
    CU_ASSERT_EQUAL(judgement.z_mean_square, 1.265625);
    judgement = judge_errors(64, 8, 0, balanced, 16);
    SAID(judgement, "");
    CU_ASSERT_EQUAL(judgement.z_mean, 0.0625);
}

/* Neither test is one of class f32, nor of other fills. */
static void test_not_statistical(void)
{
    static const float large[] = {3};
    struct table *table = table_make(16, 32, large, 1);
    table->in.statistical = false;
    struct judgement judgement = judge(&table->in);
    SAID(judgement, "");
    CU_ASSERT_TRUE(isnan(judgement.z_mean_square));
    free(table);
}

/* ---- whether a case tells wrong from right ---- */

/* `telling` of one row of 20 outputs, of which the first `n` are `value` and the rest `rest`. */
static bool telling(const struct judge_input *how, int n, double value, double rest)
{
    struct assay_expected expected[20];
    float got[20];
    for (int i = 0; i < 20; i++) {
        double v = i < n ? value * (i % 2 ? -1 : 1) : rest;
        expected[i] = (struct assay_expected){
            .value = v, .slack = 0, .step = 2540, .step_sq = 12 * 127 * 127};
        if (how->numerics == ASSAY_F32)
            expected[i].slack = 1;
        got[i] = (float)v;
    }
    struct judge_input in = *how;
    in.activations = 256;
    in.expected = expected;
    in.got = got;
    in.twin = how->twin ? got : NULL;
    in.judged_columns = first_columns;
    struct judgement judgement = judge(&in);
    SAID(judgement, "");
    return judgement.telling;
}

static void test_telling_f32(void)
{
    struct judge_input row = {
        .numerics = ASSAY_F32, .rows = 1, .columns = 20, .n_columns = 20, .activations = 256};
    struct judge_input column = row;
    column.rows = 20;
    column.columns = column.n_columns = 1;
    CU_ASSERT_FALSE(telling(&row, 0, 0, 0)); /* nothing but zeros */
    CU_ASSERT_FALSE(telling(&row, 0, 0, 5)); /* nothing but fives */
    CU_ASSERT_TRUE(telling(&column, 0, 0, 5));
    CU_ASSERT_FALSE(telling(&column, 0, 0, 1)); /* no further from zero than the tolerance */
    CU_ASSERT_TRUE(telling(&column, 0, 0, 1.5));
    CU_ASSERT_TRUE(telling(&row, 20, 5, 0));
    CU_ASSERT_FALSE(telling(&row, 20, 0.5, 0));
    CU_ASSERT_FALSE(telling(&column, 2, 5, 0)); /* a tenth is not more than a tenth */
    CU_ASSERT_TRUE(telling(&column, 3, 5, 0));
    CU_ASSERT_FALSE(telling(&row, 1, 5, 4)); /* far from zero, but one pair of 19 apart */
    CU_ASSERT_FALSE(telling(&row, 2, 5, 0)); /* two pairs apart, but a tenth far from zero */
}

/* The statistical tests see errors of 6 sigma, here 6, the bound those of 10. */
static void test_telling_i8(void)
{
    struct judge_input row = {
        .numerics = ASSAY_I8, .rows = 1, .columns = 20, .n_columns = 20, .activations = 256};
    CU_ASSERT_TRUE(telling(&row, 20, 7, 0));
    CU_ASSERT_FALSE(telling(&row, 20, 5, 0));
    static const float promised = 0;
    row.twin = &promised; /* bits show any error */
    CU_ASSERT_TRUE(telling(&row, 20, 0.001, 0));
    CU_ASSERT_FALSE(telling(&row, 0, 0, 0));
}

/* The bound may also be the smaller one: step = 254 makes it 1. */
static void test_telling_by_bound(void)
{
    static const float none[] = {0};
    struct table *table = table_make(1, 32, none, 1);
    for (int i = 0; i < 32; i++) {
        table->expected[i].step = 254;
        table->expected[i].value /= 50; /* +-2 */
        table->got[i] /= 50;
    }
    table->in.statistical = false;
    CU_ASSERT_TRUE(judge(&table->in).telling);
    for (int i = 0; i < 32; i++)
        table->expected[i].step = 2540;
    CU_ASSERT_FALSE(judge(&table->in).telling);
    free(table);
}

static void test_nothing_judged(void)
{
    struct row row;
    row_set(&row, ASSAY_F32);
    for (int i = 0; i < ROW; i++)
        row.expected[i].untouched = true;
    struct judgement judgement = judge(&row.in);
    SAID(judgement, "");
    CU_ASSERT_EQUAL(judgement.judged, 0);
    CU_ASSERT_FALSE(judgement.telling);
}

/* ---- judge_bits ---- */

static struct judgement judge_tensor(enum assay_dtype dtype, int64_t rows, int64_t columns,
                                     const void *expected, const void *got)
{
    struct assay_tensor tensor = {.name = "t", .dtype = dtype, .role = ASSAY_OUT_BITS};
    struct judgement judgement = {0};
    judge_bits(&tensor, rows, columns, expected, got, &judgement);
    CU_ASSERT_EQUAL(judgement.judged, rows * columns);
    return judgement;
}

static void test_bits_u8(void)
{
    static const uint8_t expected[] = {1, 2, 3, 4, 5, 6}, got[] = {1, 2, 3, 4, 255, 7};
    struct judgement judgement = judge_tensor(ASSAY_DTYPE_U8, 2, 3, expected, got);
    SAID(judgement, "2 of 6 elements of t differ from the reference");
    FOUND(judgement, BIT(BITS));
    CU_ASSERT_EQUAL(judgement.bad, 2);
    CU_ASSERT_EQUAL(judgement.worst.row, 1);
    CU_ASSERT_EQUAL(judgement.worst.column, 1);
    CU_ASSERT_EQUAL(judgement.worst.got, 255);
    CU_ASSERT_EQUAL(judgement.worst.expected, 5);
    judgement = judge_tensor(ASSAY_DTYPE_U8, 2, 3, expected, expected);
    SAID(judgement, "");
    CU_ASSERT_EQUAL(judgement.bad, 0);
    CU_ASSERT_TRUE(judgement.telling);
}

static void test_bits_u16(void)
{
    static const uint16_t expected[] = {1, 2, 65535, 4}, got[] = {1, 2, 65534, 4};
    struct judgement judgement = judge_tensor(ASSAY_DTYPE_U16, 4, 1, expected, got);
    SAID(judgement, "1 of 4 elements of t differ from the reference");
    CU_ASSERT_EQUAL(judgement.worst.row, 2);
    CU_ASSERT_EQUAL(judgement.worst.got, 65534);
    CU_ASSERT_EQUAL(judgement.worst.expected, 65535);
    CU_ASSERT_TRUE(judgement.telling);
    judgement = judge_tensor(ASSAY_DTYPE_U16, 4, 1, got, got);
    SAID(judgement, "");
}

static void test_bits_integers(void)
{
    static const uint32_t expected[] = {7, 4294967295u, 0}, got[] = {7, 4294967295u, 1u << 31};
    struct judgement judgement = judge_tensor(ASSAY_DTYPE_U32, 1, 3, expected, got);
    SAID(judgement, "1 of 3 elements of t differs from the reference");
    CU_ASSERT_EQUAL(judgement.worst.column, 2);
    CU_ASSERT_EQUAL(judgement.worst.got, 2147483648.0);
    judgement = judge_tensor(ASSAY_DTYPE_I32, 3, 1, expected, got);
    CU_ASSERT_EQUAL(judgement.bad, 1);
    CU_ASSERT_EQUAL(judgement.worst.row, 2);
    CU_ASSERT_EQUAL(judgement.worst.column, 0);
    CU_ASSERT_EQUAL(judgement.worst.got, -2147483648.0);
    judgement = judge_tensor(ASSAY_DTYPE_I32, 3, 1, got, got);
    SAID(judgement, "");
}

static void test_bits_small_integers(void)
{
    static const int8_t expected[] = {1, -128, 127}, got[] = {1, -128, -1};
    struct judgement judgement = judge_tensor(ASSAY_DTYPE_I8, 1, 3, expected, got);
    CU_ASSERT_EQUAL(judgement.bad, 1);
    CU_ASSERT_EQUAL(judgement.worst.column, 2);
    CU_ASSERT_EQUAL(judgement.worst.got, -1);
    /* 256 and 0, 1 and 257 differ in one byte each. */
    static const int16_t wide[] = {256, -4096, 1}, other[] = {0, -4096, 257};
    judgement = judge_tensor(ASSAY_DTYPE_I16, 3, 1, wide, other);
    CU_ASSERT_EQUAL(judgement.bad, 2);
    CU_ASSERT_EQUAL(judgement.worst.row, 0);
    CU_ASSERT_EQUAL(judgement.worst.expected, 256);
    judgement = judge_tensor(ASSAY_DTYPE_I16, 3, 1, wide, wide);
    SAID(judgement, "");
    CU_ASSERT_TRUE(judgement.telling);
}

static void test_bits_f32(void)
{
    float expected[] = {1, 0.0f, NAN, INFINITY}, got[] = {1, 0.0f, -NAN, INFINITY};
    SAID(judge_tensor(ASSAY_DTYPE_F32, 1, 4, expected, got), "");
    got[1] = -0.0f;
    struct judgement judgement = judge_tensor(ASSAY_DTYPE_F32, 1, 4, expected, got);
    SAID(judgement, "1 of 4 elements of t differs from the reference");
    CU_ASSERT_EQUAL(judgement.max_ulp, 1);
    CU_ASSERT_EQUAL(judgement.worst.column, 1);
    got[0] = assay_f32_from_bits(assay_f32_bits(1) + 5);
    judgement = judge_tensor(ASSAY_DTYPE_F32, 1, 4, expected, got);
    CU_ASSERT_EQUAL(judgement.bad, 2);
    CU_ASSERT_EQUAL(judgement.max_ulp, 5);
    CU_ASSERT_EQUAL(judgement.worst.column, 0);
    got[2] = 0;
    CU_ASSERT_EQUAL(judge_tensor(ASSAY_DTYPE_F32, 1, 4, expected, got).max_ulp, INFINITY);
    got[3] = -INFINITY;
    CU_ASSERT_EQUAL(judge_tensor(ASSAY_DTYPE_F32, 1, 4, expected, got).bad, 4);
}

static void test_bits_telling(void)
{
    static const int32_t equal[] = {3, 3, 3}, one[] = {3}, last[] = {3, 3, 4};
    CU_ASSERT_FALSE(judge_tensor(ASSAY_DTYPE_I32, 1, 3, equal, equal).telling);
    CU_ASSERT_FALSE(judge_tensor(ASSAY_DTYPE_I32, 1, 1, one, one).telling);
    CU_ASSERT_TRUE(judge_tensor(ASSAY_DTYPE_I32, 1, 3, last, last).telling);
    CU_ASSERT_TRUE(judge_tensor(ASSAY_DTYPE_U8, 1, 3, "aab", "aab").telling);
}

/* Several tensors of a run add up in one judgement; the worst element is the first. */
static void test_bits_add_up(void)
{
    static const int32_t expected[] = {1, 2}, got[] = {1, 3};
    struct assay_tensor a = {.name = "a", .dtype = ASSAY_DTYPE_I32};
    struct assay_tensor b = {.name = "b", .dtype = ASSAY_DTYPE_I32};
    struct judgement judgement = {0};
    judge_bits(&a, 1, 2, expected, got, &judgement);
    judge_bits(&b, 2, 1, got, expected, &judgement);
    CU_ASSERT_EQUAL(judgement.judged, 4);
    CU_ASSERT_EQUAL(judgement.bad, 2);
    CU_ASSERT_STRING_EQUAL(judgement.worst.tensor, "a");
    SAID(judgement, "1 of 2 elements of a differs from the reference");
}

static CU_TestInfo distances[] = {
    {"same_bits", test_same_bits},
    {"ulp_distance", test_ulp_distance},
    {"tolerance of f32", test_tolerance_f32},
    {"tolerance of i8", test_tolerance_i8},
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

static CU_TestInfo statistics[] = {
    {"NMSE", test_nmse},
    {"NMSE of parts", test_nmse_of_parts},
    {"mean square", test_mean_square},
    {"sigma", test_sigma},
    {"few activations", test_few_activations},
    {"few outputs", test_few_outputs},
    {"bias", test_bias},
    {"bias of uneven rows", test_bias_of_uneven_rows},
    {"other fills", test_not_statistical},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo mistrust[] = {
    {"f32", test_telling_f32},
    {"i8", test_telling_i8},
    {"i8 by its bound", test_telling_by_bound},
    {"nothing judged", test_nothing_judged},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo bits[] = {
    {"u8", test_bits_u8},
    {"u16", test_bits_u16},
    {"integers", test_bits_integers},
    {"f32", test_bits_f32},
    {"bits of i8 and i16", test_bits_small_integers},
    {"telling", test_bits_telling},
    {"add up", test_bits_add_up},
    CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
    {"distances", NULL, NULL, NULL, NULL, distances},
    {"elements", NULL, NULL, NULL, NULL, elements},
    {"statistics", NULL, NULL, NULL, NULL, statistics},
    {"mistrust", NULL, NULL, NULL, NULL, mistrust},
    {"bits", NULL, NULL, NULL, NULL, bits},
    CU_SUITE_INFO_NULL,
};

int main(void)
{
    return cunit_main(suites);
}
