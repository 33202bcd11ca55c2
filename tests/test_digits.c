/* SPDX-License-Identifier: MIT */
/* The integer classes by hand: activations that are integers with the largest one `top` have steps
 * of 1. A row whose only weight is 1 gives one of them back: that needs each digit in its place,
 * with its sign and its scale, in every kernel. Rows of weights 0 and 15 give sums at the ends of
 * an int16, in which a kernel may keep them. */
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

/* d = 1, all scales 1, no mins, all weights 0. */
static void clear_weights(struct block_q4_K *w, int blocks)
{
    static const uint8_t ones[12] = {1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1};
    memset(w, 0, (size_t)blocks * sizeof(*w));
    for (int i = 0; i < blocks; i++) {
        w[i].d[1] = 0x3c;
        memcpy(w[i].s, ones, sizeof(ones));
    }
}

/* Makes weight i of a block, which is 0, q. */
static void set_weight(struct block_q4_K *block, int i, int q)
{
    block->qs[i / 64 * 32 + i % 32] |= (uint8_t)(i / 32 % 2 ? q << 4 : q);
}

static void select_elements(struct block_q4_K *w)
{
    clear_weights(w, ROWS * (K / Q4_K_BLOCK));
    for (int r = 0; r < ROWS; r++) {
        int i = selected(r);
        set_weight(&w[r * (K / Q4_K_BLOCK) + i / Q4_K_BLOCK], i % Q4_K_BLOCK, 1);
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

/* A token's digits are 0 but for one sub-block's: the first MAIN of them are of one sign and add
 * up to one of TOTALS from FIRST_TOTAL on, the others are OTHER of the opposite sign; 15 * 2184 =
 * 32760. The last activation of all makes the step 1. Rows: all of them, the first ones, the
 * others. */
enum { MAIN = 20, OTHER = 50, FIRST_TOTAL = 2176, TOTALS = 17, SUMS_ROWS = 3 };
enum { SUMS_TOKENS = TOTALS * 2 * 8, LAST = Q4_K_BLOCK - 1 };

static void sums_weights(struct block_q4_K w[SUMS_ROWS])
{
    clear_weights(w, SUMS_ROWS);
    for (int i = 0; i < LAST; i++) {
        set_weight(&w[0], i, 15);
        set_weight(&w[i % 32 < MAIN ? 1 : 2], i, 15);
    }
}

/* Digits of `unit` for token t; and the expected sums of the rows. */
static void sums_token(int t, int32_t top, int32_t unit, float *x, float expected[SUMS_ROWS])
{
    int total = FIRST_TOTAL + t % TOTALS, sub_block = t / TOTALS % 8;
    int32_t sign = t / TOTALS / 8 ? -unit : unit;
    memset(x, 0, Q4_K_BLOCK * sizeof(*x));
    int32_t sum[SUMS_ROWS] = {0};
    for (int i = 0; i < 32 && 32 * sub_block + i < LAST; i++) {
        int32_t digit = i < MAIN ? (total + i) / MAIN : -OTHER;
        x[32 * sub_block + i] = (float)(sign * digit);
        sum[i < MAIN ? 1 : 2] += 15 * digit;
    }
    x[LAST] = (float)top;
    sum[0] = sum[1] + sum[2];
    for (int r = 0; r < SUMS_ROWS; r++)
        expected[r] = (float)sum[r] * (float)sign;
}

static void check_sums(enum assay_numerics numerics, int32_t top, int32_t unit)
{
    static struct block_q4_K w[SUMS_ROWS];
    static float x[SUMS_TOKENS * Q4_K_BLOCK], expected[SUMS_TOKENS * SUMS_ROWS];
    static float dst[SUMS_TOKENS * SUMS_ROWS];
    const struct q4_K_gemm_shape shape = {SUMS_ROWS, Q4_K_BLOCK, SUMS_TOKENS, 0};
    const struct q4_K_gemm_args args = {(const uint8_t *)w, x, dst};
    const struct assay_kernel *kernel;
    sums_weights(w);
    for (int t = 0; t < SUMS_TOKENS; t++)
        sums_token(t, top, unit, x + t * Q4_K_BLOCK, expected + t * SUMS_ROWS);
    for (size_t n = 0; (kernel = runnable("q4_K_gemm", numerics, n)); n++) {
        memset(dst, 0xa5, sizeof(dst));
        call(kernel, &shape, &args, 2);
        size_t wrong = 0;
        for (int i = 0; i < SUMS_TOKENS * SUMS_ROWS; i++)
            wrong += dst[i] != expected[i];
        expect(wrong == 0, kernel, "a sum of a sub-block is wrong");
    }
}

/* So many activations that five threads share them, and so many results that a kernel may write
 * them past the caches, which it must not where rows of dst are not whole cache lines: m is no
 * multiple of 16, or dst is aligned to 4 bytes only. Row r has the only weight 1 at element r of
 * 256. */
enum { MANY_TOKENS = 520, MANY_ROWS = 1040, GUARD = 16 };

static void check_many(enum assay_numerics numerics, int32_t top, int64_t m, int offset)
{
    static struct block_q4_K w[MANY_ROWS];
    static float x[MANY_TOKENS * Q4_K_BLOCK];
    static _Alignas(64) float memory[MANY_TOKENS * MANY_ROWS + 2 * GUARD];
    float *dst = memory + offset;
    const struct q4_K_gemm_shape shape = {m, Q4_K_BLOCK, MANY_TOKENS, 0};
    const struct q4_K_gemm_args args = {(const uint8_t *)w, x, dst};
    const struct assay_kernel *kernel;
    clear_weights(w, MANY_ROWS);
    for (int r = 0; r < MANY_ROWS; r++)
        set_weight(&w[r], r % Q4_K_BLOCK, 1);
    for (int i = 0; i < MANY_TOKENS * Q4_K_BLOCK; i++)
        x[i] = (float)((int64_t)i * 40503 % top * (i % 2 ? -1 : 1));
    for (int t = 0; t < MANY_TOKENS; t++)
        x[t * Q4_K_BLOCK + t % Q4_K_BLOCK] = (float)top;
    for (size_t n = 0; (kernel = runnable("q4_K_gemm", numerics, n)); n++) {
        if (strncmp(kernel->name, "ref", 3) == 0)
            continue;
        memset(memory, 0xa5, sizeof(memory));
        call(kernel, &shape, &args, 5);
        size_t wrong = 0;
        for (int64_t i = 0; i < MANY_TOKENS * m; i++)
            wrong += dst[i] != x[i / m * Q4_K_BLOCK + i % m % Q4_K_BLOCK];
        expect(wrong == 0, kernel, "one of many results is wrong");
        uint32_t poison[1];
        memset(poison, 0xa5, sizeof(poison));
        wrong = 0;
        for (int i = 0; i < GUARD; i++)
            wrong += memcmp(dst + MANY_TOKENS * m + i, poison, sizeof(*poison)) != 0;
        expect(wrong == 0, kernel, "writes behind many results");
    }
}

static void test_many(void)
{
    check_many(ASSAY_I8, ACTIVATION_I8_MAX, 1040, 0);
    check_many(ASSAY_I8, ACTIVATION_I8_MAX, 1040, 1);
    check_many(ASSAY_I16, ACTIVATION_I16_MAX, 1033, 0);
    check_many(ASSAY_I24, ACTIVATION_I24_MAX, 1024, 4);
}

static void test_i8(void)
{
    check_class(ASSAY_I8, ACTIVATION_I8_MAX);
    check_sums(ASSAY_I8, ACTIVATION_I8_MAX, 1);
}

static void test_i16(void)
{
    check_class(ASSAY_I16, ACTIVATION_I16_MAX);
    check_sums(ASSAY_I16, ACTIVATION_I16_MAX, 1);
    check_sums(ASSAY_I16, ACTIVATION_I16_MAX, 1 << 8);
}

static void test_i24(void)
{
    check_class(ASSAY_I24, ACTIVATION_I24_MAX);
    check_sums(ASSAY_I24, ACTIVATION_I24_MAX, 1);
    check_sums(ASSAY_I24, ACTIVATION_I24_MAX, 1 << 8);
    check_sums(ASSAY_I24, ACTIVATION_I24_MAX, 1 << 16);
}

static CU_TestInfo tests[] = {
    {"i8", test_i8},   {"i16", test_i16}, {"i24", test_i24}, {"many results", test_many},
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
