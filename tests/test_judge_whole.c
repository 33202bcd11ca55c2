/* SPDX-License-Identifier: MIT */
/* What harness/judge.h says of outputs as a whole: statistics, whether a case tells, and tensors of
 * bits. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ref/f16.h"
#include "tests/judging.h"

/* Whether the reason starts so. */
static bool said(const struct judgement *judgement, const char *start)
{
    if (strncmp(judgement->reason, start, strlen(start)) == 0)
        return true;
    printf("\n  got the reason \"%s\"\n", judgement->reason);
    return false;
}

/* ---- statistics ---- */

/* Where parts are summed apart and nearly cancel, errors are relative to the parts: 4 times the
 * values' squares, as here, make the NMSE of test_nmse count a quarter. */
static void test_nmse_of_parts(void)
{
    struct row row;
    row_set(&row, ASSAY_F32);
    row.in.statistical = true;
    for (int i = 0; i < ROW; i++) {
        double value = 1048576 << i;
        row.expected[i] =
            (struct assay_expected){.value = value, .slack = 1000, .terms_sq = 4 * value * value};
        row.got[i] = (float)((1048576 + 8) << i);
    }
    struct judgement judgement = judge(&row.in);
    CU_ASSERT(near(judgement.nmse, 0x1p-34, 1e-12)); /* as it is told */
    SAID(judgement, "NMSE 1.5e-11 is above 1e-11");
    for (int i = 0; i < ROW; i++)
        row.expected[i].terms_sq *= 2;
    SAID(judge(&row.in), "");
    for (int i = 0; i < ROW; i++)
        row.expected[i].terms_sq /= 16; /* half of the values' squares, which count then */
    SAID(judge(&row.in), "NMSE 5.8e-11 is above 1e-11");
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
        table->expected[i] =
            (struct assay_expected){.value = (i % 2 ? -1 : 1) * (100 + i / columns),
                                    .magnitude = 100,
                                    .step = 2540,
                                    .step_sq = 12 * 127 * 127};
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
    CU_ASSERT_TRUE(
        said(&large, "mean square error is 4 of what rounding to digits gives, outside "));
    CU_ASSERT_EQUAL(large.z_mean_square, 4);
    FOUND(large, BIT(STATISTICS));
    SAID(judge_errors(16, 32, 0, half, 2), "");
}

/* Errors too small are finer steps where no twin is promised; the twin's would be the oracle's fault. */
static void test_mean_square_below(void)
{
    static const float half[] = {0.5f, -0.5f};
    struct table *table = table_make(16, 32, half, 2);
    SAID(judge(&table->in), "");
    table->in.twin = table->got;
    struct judgement small = judge(&table->in);
    CU_ASSERT_TRUE(said(&small, "mean square error is 0.25 of what rounding to digits gives, "));
    free(table);
}

/* sigma^2 = 1/4 of the digits, 3/4 of the sums in f32, which may be less: with the twin, errors of 1/2
 * are small enough to be digits' alone, those of 1/4 are not. */
static void test_mean_square_of_digits(void)
{
    static const float half[] = {0.5f, -0.5f}, quarter[] = {0.25f, -0.25f}, twice[] = {2, -2};
    for (int i = 0; i < 3; i++) {
        struct table *table = table_make(16, 32, i == 0 ? half : i == 1 ? quarter : twice, 2);
        table->in.numerics = ASSAY_I24;
        table->in.depth = 6;
        table->in.twin = table->got;
        for (int j = 0; j < 16 * 32; j++) {
            table->expected[j].step *= 1e6;
            table->expected[j].step_sq = 3.0 * 8355000 * 8355000;
            table->expected[j].terms_sq = 0.75 * 0x1p48;
        }
        struct judgement judgement = judge(&table->in);
        CU_ASSERT(near(judgement.z_mean_square, i == 0 ? 0.25 : i == 1 ? 0.0625 : 4, 1e-12));
        FOUND(judgement, i == 0 ? 0 : BIT(STATISTICS));
        free(table);
    }
}

/* sigma follows step_sq: with a fourth of it, errors of 1 are 2 sigma. */
/* 15 rows that repeat the first add nothing, whatever their errors. */
static void test_repeated_rows(void)
{
    static const float errors[] = {1, -1};
    struct table *table = table_make(16, 32, errors, 2);
    for (int i = 32; i < 16 * 32; i++) {
        table->expected[i].value = table->expected[i % 32].value;
        table->got[i] = (float)table->expected[i].value + 8;
    }
    struct judgement judgement = judge(&table->in);
    CU_ASSERT_EQUAL(judgement.z_mean_square, 1);
    SAID(judgement, "");
    free(table);
}

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
 * but for 1e-9, so that 4 passes and 9 does not. */
static void test_few_activations(void)
{
    static const float twice[] = {2, -2}, thrice[] = {3, -3};
    SAID(judge_errors(16, 32, 32, twice, 2), "");
    struct judgement judgement = judge_errors(16, 32, 32, thrice, 2);
    CU_ASSERT_TRUE(said(&judgement, "mean square error is 9 of"));
}

/* The mean square needs 32 outputs. */
static void test_few_outputs(void)
{
    static const float thrice[] = {3, -3};
    struct judgement few = judge_errors(1, 31, 0, thrice, 2);
    SAID(few, "");
    CU_ASSERT_TRUE(isnan(few.z_mean_square));
    struct judgement enough = judge_errors(1, 32, 0, thrice, 2);
    CU_ASSERT_TRUE(said(&enough, "mean square error is 9 of"));
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

/* 8 rows whose means are 15.6875/64 +- 1/64: their standard deviation, n/(n-1) counted, is 0.0167,
 * t(7) at 5e-10 is 42.75, so that means up to 0.2525 are normal; without n/(n-1) only up to 0.2362. */
static void test_bias_of_few_rows(void)
{
    float errors[64];
    for (int i = 0; i < 64; i++)
        errors[i] = (15.6875f + (i < 32 ? 1 : -1)) / 64;
    struct judgement judgement = judge_errors(8, 32, 0, errors, 64);
    SAID(judgement, "");
    CU_ASSERT_EQUAL(judgement.z_mean, 0.2451171875);
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

/* `telling` of one row of 20 outputs, of which the first `n` are `value` and the rest `rest`; the
 * terms of each add up to `magnitude`, so that f32 arithmetic leaves 1 in doubt where that is 2^23. */
static bool telling(const struct judge_input *how, double magnitude, int n, double value,
                    double rest)
{
    struct assay_expected expected[20];
    float got[20];
    for (int i = 0; i < 20; i++) {
        double v = i < n ? value * (i % 2 ? -1 : 1) : rest;
        expected[i] = (struct assay_expected){
            .value = v, .magnitude = magnitude, .step = 2540, .step_sq = 12 * 127 * 127};
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

static void test_telling(void)
{
    struct judge_input row = {.numerics = ASSAY_F32,
                              .depth = 1,
                              .rows = 1,
                              .columns = 20,
                              .n_columns = 20,
                              .activations = 256};
    struct judge_input column = row;
    column.rows = 20;
    column.columns = column.n_columns = 1;
    const double doubt = 0x1p23;
    CU_ASSERT_FALSE(telling(&row, doubt, 0, 0, 0)); /* nothing but zeros */
    CU_ASSERT_FALSE(telling(&row, doubt, 0, 0, 5)); /* nothing but fives */
    CU_ASSERT_TRUE(telling(&column, doubt, 0, 0, 5));
    CU_ASSERT_FALSE(telling(&column, doubt, 0, 0, 1)); /* no further from zero than the doubt */
    CU_ASSERT_TRUE(telling(&column, doubt, 0, 0, 1.5));
    CU_ASSERT_TRUE(telling(&row, doubt, 20, 5, 0));
    CU_ASSERT_FALSE(telling(&row, doubt, 20, 0.5, 0));
    CU_ASSERT_FALSE(telling(&column, doubt, 2, 5, 0)); /* a tenth is not more than a tenth */
    CU_ASSERT_TRUE(telling(&column, doubt, 3, 5, 0));
    CU_ASSERT_FALSE(telling(&row, doubt, 1, 5, 4)); /* far from zero, but one pair of 19 apart */
    CU_ASSERT_FALSE(telling(&row, doubt, 2, 5, 0)); /* two pairs apart, but a tenth far from zero */
}

/* A value within the tolerance of its class, here 10 and a little, is no fault of the case, as long
 * as other results of the same terms would be out of it. A twin's bits show any error. */
static void test_telling_i8(void)
{
    static const float promised = 0;
    struct judge_input row = {
        .numerics = ASSAY_I8, .rows = 1, .columns = 20, .n_columns = 20, .activations = 256};
    struct judge_input one = row;
    one.columns = one.n_columns = 1;
    CU_ASSERT_TRUE(telling(&row, 100, 20, 7, 0));
    CU_ASSERT_TRUE(telling(&row, 100, 20, 0.5, 0));
    CU_ASSERT_TRUE(telling(&one, 100, 1, 0.5, 0));
    CU_ASSERT_TRUE(telling(&row, 11, 20, 7, 0));
    CU_ASSERT_TRUE(telling(&row, 9, 20, 7, 0)); /* though its tolerance is 10 */
    CU_ASSERT_FALSE(telling(&row, 100, 0, 0, 0));
    row.twin = &promised;
    CU_ASSERT_TRUE(telling(&row, 9, 20, 0.001, 0));
    CU_ASSERT_FALSE(telling(&row, 100, 0, 0, 0));
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
    SAID(judgement, "1 of 4 elements of t differs from the reference");
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

static CU_TestInfo statistics[] = {
    {"NMSE", test_nmse},
    {"NMSE of parts", test_nmse_of_parts},
    {"mean square", test_mean_square},
    {"mean square below", test_mean_square_below},
    {"mean square of digits and sums", test_mean_square_of_digits},
    {"repeated rows", test_repeated_rows},
    {"sigma", test_sigma},
    {"few activations", test_few_activations},
    {"few outputs", test_few_outputs},
    {"bias", test_bias},
    {"bias of uneven rows", test_bias_of_uneven_rows},
    {"bias of few rows", test_bias_of_few_rows},
    {"other fills", test_not_statistical},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo mistrust[] = {
    {"values", test_telling},
    {"i8", test_telling_i8},
    {"nothing judged", test_nothing_judged},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo bits[] = {
    {"u8", test_bits_u8},
    {"u16", test_bits_u16},
    {"bits of i8 and i16", test_bits_small_integers},
    {"integers", test_bits_integers},
    {"f32", test_bits_f32},
    {"telling", test_bits_telling},
    {"add up", test_bits_add_up},
    CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
    {"statistics", NULL, NULL, NULL, NULL, statistics},
    {"mistrust", NULL, NULL, NULL, NULL, mistrust},
    {"bits", NULL, NULL, NULL, NULL, bits},
    CU_SUITE_INFO_NULL,
};

int main(void)
{
    return cunit_main(suites);
}
