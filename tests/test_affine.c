/* SPDX-License-Identifier: MIT */
/* The affine format, its quantizer on groups worked by hand, and which pipeline is chosen. */
#include <math.h>
#include <string.h>

#include "ref/affine_gemv.h"
#include "ref/affine_quantize.h"
#include "ref/op.h"
#include "tests/cunit_main.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* ---- bf16 ---- */

static void test_every_bf16(void)
{
    size_t wrong = 0;
    for (uint32_t h = 0; h < 65536; h++) {
        float x = assay_bf16_to_f32((uint16_t)h);
        int exponent = h >> 7 & 255, fraction = h & 127;
        float size = exponent ? ldexpf(128 + (float)fraction, exponent - 134)
                              : ldexpf((float)fraction, -133);
        bool special = exponent == 255;
        if (special && fraction)
            wrong += !isnan(x) || (assay_f32_to_bf16(x) & 0x7fc0) != 0x7fc0;
        else
            wrong += !(fabsf(x) == (special ? INFINITY : size)) || !signbit(x) != !(h >> 15) ||
                     assay_f32_to_bf16(x) != h;
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

static void test_rounding_to_bf16(void)
{
    static const struct {
        float x;
        uint16_t half;
    } table[] = {
        {257, 0x4380}, /* ties among 256, 258, 260 */
        {259, 0x4382},
        {257.001f, 0x4381},
        {258.999f, 0x4381},
        {511, 0x4400},          /* a tie of 510 and 512: the exponent rises */
        {0x1.fep+127f, 0x7f7f}, /* the largest */
        {0x1.fefffep+127f, 0x7f7f},
        {0x1.ffp+127f, 0x7f80}, /* halfway to 2^128: up */
        {INFINITY, 0x7f80},
        {0x1p-133f, 0x0001},
        {0x1p-134f, 0x0000}, /* a tie with 0, which is even */
        {0x1.8p-133f, 0x0002},
        {0x1.ffp-127f, 0x0080}, /* up, into the normals */
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        CU_ASSERT_EQUAL(assay_f32_to_bf16(table[i].x), table[i].half);
        CU_ASSERT_EQUAL(assay_f32_to_bf16(-table[i].x), table[i].half | 0x8000);
    }
    CU_ASSERT_EQUAL(assay_f32_to_bf16(assay_f32_from_bits(0x7f800001)), 0x7fc0);
    CU_ASSERT_EQUAL(assay_f32_to_bf16(assay_f32_from_bits(0xffffffff)), 0xffff);
}

/* ---- format ---- */

static void test_packing(void)
{
    struct affine_group group = {.scale = 0x1234, .bias = 0x5678};
    uint32_t w[34];
    uint16_t scales[2] = {0}, biases[2] = {0};
    for (int i = 0; i < AFFINE_GROUP; i++)
        group.code[i] = (uint8_t)(i % 16);
    memset(w, 0xa5, sizeof(w));
    affine_set_group(4, 1, &group, w, scales, biases);
    for (int i = 0; i < 8; i++)
        CU_ASSERT_EQUAL(w[8 + i], i % 2 ? 0xfedcba98u : 0x76543210u);
    CU_ASSERT_TRUE(w[7] == 0xa5a5a5a5u && w[16] == 0xa5a5a5a5u);
    CU_ASSERT_TRUE(scales[0] == 0 && scales[1] == 0x1234 && biases[0] == 0 && biases[1] == 0x5678);
    affine_set_group(8, 1, &group, w, scales, biases);
    CU_ASSERT_TRUE(w[16] == 0x03020100u && w[17] == 0x07060504u && w[31] == 0x0f0e0d0cu);
    CU_ASSERT_TRUE(w[15] == 0xfedcba98u && w[32] == 0xa5a5a5a5u);
}

static void test_codes(void)
{
    static const uint32_t w[] = {0x76543210u, 0xfedcba98u};
    for (int i = 0; i < 16; i++)
        CU_ASSERT_EQUAL(affine_code(4, w, i), i);
    CU_ASSERT_TRUE(affine_code(8, w, 0) == 0x10 && affine_code(8, w, 3) == 0x76);
    CU_ASSERT_TRUE(affine_code(8, w, 4) == 0x98 && affine_code(8, w, 7) == 0xfe);
}

/* ---- quantizer ---- */

/* x[i] = values[i % count]. */
static struct affine_group quantized(int64_t bits, const float *values, size_t count)
{
    float x[AFFINE_GROUP];
    struct affine_group group;
    for (size_t i = 0; i < AFFINE_GROUP; i++)
        x[i] = values[i % count];
    memset(&group, 0xa5, sizeof(group));
    affine_quantize_group(bits, x, &group);
    return group;
}

static const struct by_hand {
    int64_t bits;
    float values[6];
    float scale, bias; /* as stored */
    uint8_t codes[6];
} by_hand[] = {
    /* lo is farther from zero: bias lo, scale positive */
    {4, {-8, 7, 0, -1, 2.25f, -7.75f}, 1, -8, {0, 15, 8, 7, 10, 0}},
    /* hi is: bias hi, scale negative */
    {4, {8, -7, 0, 1, -2.25f, 7.75f}, -1, 8, {0, 15, 8, 7, 10, 0}},
    /* as far: hi. 7.5 steps round to 8, so that 16 steps would be needed: limited to 15 */
    {4, {7.5f, -7.5f, 0, 6.5625f, 0.9375f, -6}, -0.9375f, 7.5f, {0, 15, 8, 1, 7, 14}},
    /* 8.5 steps round to 8, which is even */
    {4, {8.5f, -6.5f, 0, 4.25f, -4.25f, 8.5f}, -1.0625f, 8.5f, {0, 14, 8, 4, 12, 0}},
    /* one sign; 8 bits */
    {4, {10, 25, 11, 24, 17.5f, 18.5f}, -1, 25, {15, 0, 14, 1, 8, 6}},
    {8, {-200, 55, 0, -1, 54, -100}, 1, -200, {0, 255, 200, 199, 254, 100}},
    /* 15.4/15 becomes 8/8: zero has a code; halves go to the even code */
    {4, {8, -7.40625f, 7.5f, 6.5f, 5.5f, 0}, -1, 8, {0, 15, 0, 2, 2, 8}},
    /* equal elements: the bias has them, the scale is -1e-7, as bf16 */
    {4, {3, 3, 3, 3, 3, 3}, -0x1.aep-24f, 3, {0, 0, 0, 0, 0, 0}},
    {8, {-0.5f, -0.5f, -0.5f, -0.5f, -0.5f, -0.5f}, -0x1.aep-24f, -0.5f, {0, 0, 0, 0, 0, 0}},
    {8, {0, -0.0f, 0, 0, 0, -0.0f}, -0x1.aep-24f, 0, {0, 0, 0, 0, 0, 0}},
    /* less than half of the smallest step */
    {4, {4e-8f, -4e-8f, 1e-40f, 0, 0, 0}, -0x1.aep-24f, 0, {0, 0, 0, 0, 0, 0}},
};

static void test_by_hand(void)
{
    for (size_t i = 0; i < COUNT(by_hand); i++) {
        const struct by_hand *row = &by_hand[i];
        struct affine_group group = quantized(row->bits, row->values, 6);
        bool good = assay_bf16_to_f32(group.scale) == row->scale &&
                    assay_bf16_to_f32(group.bias) == row->bias;
        for (int j = 0; j < AFFINE_GROUP; j++)
            good = good && group.code[j] == row->codes[j % 6];
        if (!good)
            printf("\n  row %zu: scale %a, bias %a, codes %d %d %d %d %d %d\n", i,
                   (double)assay_bf16_to_f32(group.scale), (double)assay_bf16_to_f32(group.bias),
                   group.code[0], group.code[1], group.code[2], group.code[3], group.code[4],
                   group.code[5]);
        CU_ASSERT_TRUE(good);
    }
}

/* Where the step is a bf16, every point between the ends is within half a step of its code. */
static void test_half_a_step(void)
{
    for (int64_t bits = 4; bits <= 8; bits += 4) {
        for (int i = 0; i <= 64 * affine_levels(bits); i++) {
            float x = (float)i / 64 - 100, values[] = {-100, (float)affine_levels(bits) - 100, x};
            struct affine_group group = quantized(bits, values, 3);
            float scale = assay_bf16_to_f32(group.scale), bias = assay_bf16_to_f32(group.bias);
            bool near = fabsf(scale * (float)group.code[2] + bias - x) <= 0.5f;
            CU_ASSERT_TRUE(near && fabsf(scale) == 1);
        }
    }
}

static void test_refused(void)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY, 0x1p100f, -0x1p100f};
    struct affine_quantize_shape shape = {4, 128};
    float x[128] = {1};
    uint32_t w[16];
    uint16_t scales[2], biases[2];
    struct affine_quantize_args args = {x, w, scales, biases};
    for (size_t i = 0; i < COUNT(bad); i++) {
        memset(w, 0xa5, sizeof(w));
        scales[0] = biases[0] = 0xa5a5;
        x[127] = bad[i];
        const char *rule = affine_quantize_ref.run(&shape, &args, NULL, NULL, 1);
        CU_ASSERT_STRING_EQUAL(rule, "a weight is NaN or not below 2^100 in magnitude");
        CU_ASSERT_TRUE(w[0] == 0xa5a5a5a5u && scales[0] == 0xa5a5 && biases[0] == 0xa5a5);
    }
    x[127] = -0x1.fffffep+99f;
    x[126] = 0x1.fffffep+99f;
    CU_ASSERT_PTR_NULL(affine_quantize_ref.run(&shape, &args, NULL, NULL, 1));
    CU_ASSERT_TRUE(isfinite(assay_bf16_to_f32(scales[1])) && assay_bf16_to_f32(scales[1]) != 0);
    CU_ASSERT_EQUAL(assay_bf16_to_f32(biases[1]), 0x1p100f);
    shape.n = 96;
    CU_ASSERT_STRING_EQUAL(affine_quantize_ref.run(&shape, &args, NULL, NULL, 1),
                           "must be a multiple of 64");
}

/* ---- gemv ---- */

static void test_rule(void)
{
    static const struct {
        struct affine_gemv_shape shape;
        enum affine_gemv_pipeline wanted;
    } table[] = {
        {{4, 1, 64}, AFFINE_GEMV_V3_4BIT},         {{4, 4096, 4032}, AFFINE_GEMV_V3_4BIT},
        {{4, 7, 4096}, AFFINE_GEMV_V3_4BIT},       {{4, 8, 4160}, AFFINE_GEMV_FAST_4BIT},
        {{4, 4096, 12288}, AFFINE_GEMV_FAST_4BIT}, {{8, 1, 64}, AFFINE_GEMV_V3_8BIT},
        {{8, 9, 4096}, AFFINE_GEMV_V3_8BIT},       {{8, 3, 7168}, AFFINE_GEMV_V3_8BIT},
    };
    for (size_t i = 0; i < COUNT(table); i++)
        CU_ASSERT_EQUAL(affine_gemv_pipeline(&table[i].shape), table[i].wanted);
}

static void test_unsupported(void)
{
    const struct affine_gemv_shape four = {4, 1, 64}, eight = {8, 1, 64};
    CU_ASSERT_PTR_NULL(affine_gemv_not_4bit(&four));
    CU_ASSERT_PTR_NULL(affine_gemv_not_8bit(&eight));
    CU_ASSERT_STRING_EQUAL(affine_gemv_not_4bit(&eight), "a 4-bit pipeline");
    CU_ASSERT_STRING_EQUAL(affine_gemv_not_8bit(&four), "an 8-bit pipeline");
}

static void test_legal(void)
{
    static const struct {
        struct affine_gemv_shape shape;
        const char *rule, *where;
    } table[] = {
        {{4, 1, 64}, NULL, NULL},
        {{8, 65, 4160}, NULL, NULL},
        {{6, 1, 64}, "must be a multiple of 4", "bits"},
        {{2, 1, 64}, "is below its smallest legal value", "bits"},
        {{16, 1, 64}, "is above its largest legal value", "bits"},
        {{4, 0, 64}, "is below its smallest legal value", "out_dim"},
        {{4, 1, 0}, "is below its smallest legal value", "in_dim"},
        {{8, 1, 2880 + 32}, "must be a multiple of 64", "in_dim"},
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        const char *where = NULL, *rule = assay_illegal(&affine_gemv_op, &table[i].shape, &where);
        CU_ASSERT_TRUE(table[i].rule ? rule && strcmp(rule, table[i].rule) == 0 : !rule);
        CU_ASSERT_TRUE(table[i].where ? where && strcmp(where, table[i].where) == 0 : !where);
    }
}

static void test_isolate(void)
{
    const struct affine_gemv_shape shape = {4, 1, 128};
    float x[128];
    void *const tensors[] = {NULL, NULL, NULL, x, NULL};
    for (int part = 0; part < 2; part++) {
        for (int i = 0; i < 128; i++)
            x[i] = 1;
        CU_ASSERT_TRUE(affine_gemv_op.isolate(&shape, tensors, part));
        for (int i = 0; i < 128; i++)
            CU_ASSERT_EQUAL(x[i], i / 64 == part);
    }
    CU_ASSERT_TRUE(affine_gemv_op.isolate(&shape, NULL, 1));
    CU_ASSERT_FALSE(affine_gemv_op.isolate(&shape, NULL, 2));
}

static void test_cost(void)
{
    const struct affine_gemv_shape four = {4, 8, 128}, eight = {8, 8, 128};
    struct assay_cost cost = affine_gemv_op.cost(&four, NULL);
    CU_ASSERT_TRUE(cost.flop == 2048 && cost.written_bytes == 32);
    CU_ASSERT_EQUAL(cost.read_bytes, 512 + 2 * 8 * 4 + 512);
    CU_ASSERT_EQUAL(affine_gemv_op.cost(&eight, NULL).read_bytes, 1024 + 2 * 8 * 4 + 512);
}

static CU_TestInfo halves[] = {
    {"all 65536", test_every_bf16},
    {"rounding", test_rounding_to_bf16},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo format[] = {
    {"packing", test_packing},
    {"codes", test_codes},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo quantizer[] = {
    {"by hand", test_by_hand},
    {"half a step", test_half_a_step},
    {"refused", test_refused},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo gemv[] = {
    {"rule", test_rule},          {"unsupported", test_unsupported},
    {"legal shapes", test_legal}, {"isolate", test_isolate},
    {"cost", test_cost},          CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
    {"bf16", NULL, NULL, NULL, NULL, halves},
    {"format", NULL, NULL, NULL, NULL, format},
    {"quantizer", NULL, NULL, NULL, NULL, quantizer},
    {"affine_gemv", NULL, NULL, NULL, NULL, gemv},
    CU_SUITE_INFO_NULL,
};

int main(void)
{
    return cunit_main(suites);
}
