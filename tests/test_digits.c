/* SPDX-License-Identifier: MIT */
/* Classes i16 and i24 by hand: activations that are integers with the largest one `top` have steps of 1,
 * and a row whose only weight is 1 gives one of them back. That needs each digit in its place, with its
 * sign and its scale, in every kernel. */
#include "ref/activation_i8.h"
#include "ref/q4_K.h"
#include "ref/q4_K_gemm.h"
#include "tests/golden.h"

enum { K = 512, ROWS = 67, TOKENS = 5 };

/* The element that row r selects. */
static int selected(int r)
{
    return (r * 101 + 3) % K;
}

/* d = 1, all scales 1, no mins. */
static void select_elements(struct block_q4_K *w)
{
    static const uint8_t ones[12] = {1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1};
    memset(w, 0, ROWS * (K / Q4_K_BLOCK) * sizeof(*w));
    for (int i = 0; i < ROWS * K / Q4_K_BLOCK; i++) {
        w[i].d[1] = 0x3c;
        memcpy(w[i].s, ones, sizeof(ones));
    }
    for (int r = 0; r < ROWS; r++) {
        int i = selected(r), at = i % Q4_K_BLOCK;
        w[r * (K / Q4_K_BLOCK) + i / Q4_K_BLOCK].qs[at / 64 * 32 + at % 32] =
            (uint8_t)(at / 32 % 2 ? 16 : 1);
    }
}

/* Integers of all sizes, at the ends of digits too. */
static void integers(int32_t top, float *x)
{
    static const int32_t ends[] = {1, 127, 128, 129, 255, 256, 32639, 32640, 32767, 32768, 65535};
    for (int i = 0; i < TOKENS * K; i++) {
        int32_t value = (int32_t)((int64_t)i * 40503 * 977 % top);
        if (i % 3 == 0)
            value = ends[i / 3 % (int)COUNT(ends)] % top;
        x[i] = (float)(i % 2 ? -value : value);
    }
    for (int i = 0; i < TOKENS * K; i += Q4_K_BLOCK)
        x[i + i / Q4_K_BLOCK] = (float)(i % 512 ? -top : top);
}

static void check_class(enum assay_numerics numerics, int32_t top)
{
    static struct block_q4_K w[ROWS * (K / Q4_K_BLOCK)];
    static float x[TOKENS * K], dst[TOKENS * ROWS];
    const struct q4_K_gemm_shape shape = {ROWS, K, TOKENS, 0};
    const struct q4_K_gemm_args args = {(const uint8_t *)w, x, dst};
    const struct assay_kernel *kernel;
    select_elements(w);
    integers(top, x);
    size_t n = 0;
    for (; (kernel = runnable("q4_K_gemm", numerics, n)); n++) {
        memset(dst, 0xa5, sizeof(dst));
        call(kernel, &shape, &args, 2);
        size_t wrong = 0;
        for (int i = 0; i < TOKENS * ROWS; i++)
            wrong += dst[i] != x[i / ROWS * K + selected(i % ROWS)];
        expect(wrong == 0, kernel, "an activation of the class does not come back");
    }
    CU_ASSERT_TRUE(n > 0);
}

static void test_i8(void)
{
    check_class(ASSAY_I8, ACTIVATION_I8_MAX);
}

static void test_i16(void)
{
    check_class(ASSAY_I16, ACTIVATION_I16_MAX);
}

static void test_i24(void)
{
    check_class(ASSAY_I24, ACTIVATION_I24_MAX);
}

static CU_TestInfo tests[] = {
    {"i8", test_i8},
    {"i16", test_i16},
    {"i24", test_i24},
    CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
    {"digits", NULL, NULL, NULL, NULL, tests},
    CU_SUITE_INFO_NULL,
};

int main(void)
{
    return cunit_main(suites);
}
