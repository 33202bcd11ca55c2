/* SPDX-License-Identifier: MIT */
/* The router's contract where no case leads: which other choices than the reference's are permitted,
 * and weights below the floor of their sum. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "opt/cpu.h"
#include "opt/kernels.h"
#include "ref/moe_router_topk_softmax.h"
#include "tests/cunit_main.h"

/* What reconcile makes of the choice `got` of one row where the reference chose `reference`: the
 * number of elements it changed. */
static int64_t reconciled(int64_t experts, int64_t top_k, const float *logits,
                          const int32_t *reference, const int32_t *got)
{
    struct moe_router_topk_softmax_shape shape = {experts, top_k, 1, 1};
    float input[8];
    int32_t theirs[8], ours[8];
    memcpy(input, logits, (size_t)experts * sizeof(*input));
    memcpy(theirs, got, (size_t)top_k * sizeof(*theirs));
    memcpy(ours, reference, (size_t)top_k * sizeof(*ours));
    void *chosen[] = {input, theirs, NULL}, *expected[] = {input, ours, NULL};
    int64_t swaps = moe_router_topk_softmax_op.reconcile(&shape, chosen, expected);
    const int32_t *wanted = swaps ? got : reference;
    CU_ASSERT_EQUAL(memcmp(ours, wanted, (size_t)top_k * sizeof(*ours)), 0);
    return swaps;
}

/* Of two logits dl apart the p are 0.5 +- dl/4: their distance is dl * 2^23 ULPs of 2^-24. */
static void test_band(void)
{
    static const int32_t first[] = {1, 0}, second[] = {0, 1};
    const float within[] = {0, 0x1p-22f}, edge[] = {0, 0x1.fp-22f}, beyond[] = {0, 0x1p-20f};
    const float far[] = {0, 1e-3f}, farther[] = {0, 30};
    CU_ASSERT_EQUAL(reconciled(2, 2, within, first, second), 2);
    CU_ASSERT_EQUAL(reconciled(2, 2, edge, first, second), 2);
    CU_ASSERT_EQUAL(reconciled(2, 2, beyond, first, second), 0);
    CU_ASSERT_EQUAL(reconciled(2, 2, far, first, second), 0);
    CU_ASSERT_EQUAL(reconciled(2, 2, farther, first, second), 0);
    CU_ASSERT_EQUAL(reconciled(2, 1, within, first, second), 1);
    CU_ASSERT_EQUAL(reconciled(2, 2, within, first, first), 0);
}

/* Equal logits come by index, whichever of them are taken. */
static void test_equal_logits(void)
{
    static const float logits[] = {3, 3, 1, 3};
    static const int32_t ascending[] = {0, 1, 3}, swapped[] = {1, 0, 3}, skipped[] = {0, 3, 1};
    CU_ASSERT_EQUAL(reconciled(4, 3, logits, ascending, swapped), 0);
    CU_ASSERT_EQUAL(reconciled(4, 3, logits, ascending, skipped), 0);
    CU_ASSERT_EQUAL(reconciled(4, 1, logits, ascending, swapped), 0);
}

/* p of -200 is so small that it and the 0 of -Inf are within the band of subnormals. */
static void test_minus_infinity(void)
{
    static const float logits[] = {0, -INFINITY, -200};
    static const int32_t right[] = {0, 2, 1}, wrong[] = {0, 1, 2};
    CU_ASSERT_EQUAL(reconciled(3, 3, logits, right, wrong), 0);
    const float finite[] = {0, -201, -200};
    CU_ASSERT_EQUAL(reconciled(3, 3, finite, right, wrong), 2);
}

static void test_no_choice(void)
{
    static const float tied[] = {0, 0x1p-22f}, invalid[] = {NAN, 0};
    static const int32_t reference[] = {1, 0}, none[] = {-1, -1};
    static const int32_t twice[] = {1, 1}, other_twice[] = {0, 0}, below[] = {-1, 0};
    static const int32_t beyond[] = {2, 0}, far[] = {1, INT32_MAX}, second[] = {0, 1};
    CU_ASSERT_EQUAL(reconciled(2, 2, tied, reference, twice), 0);
    CU_ASSERT_EQUAL(reconciled(2, 2, tied, reference, other_twice), 0);
    CU_ASSERT_EQUAL(reconciled(2, 2, tied, reference, below), 0);
    CU_ASSERT_EQUAL(reconciled(2, 2, tied, reference, beyond), 0);
    CU_ASSERT_EQUAL(reconciled(2, 2, tied, reference, far), 0);
    CU_ASSERT_EQUAL(reconciled(2, 2, invalid, none, second), 0);
}

/* Each row is its own: the first may be swapped, the second not. */
static void test_rows(void)
{
    struct moe_router_topk_softmax_shape shape = {2, 2, 2, 1};
    float logits[] = {0, 0x1p-22f, 0, 1};
    int32_t got[] = {0, 1, 0, 1}, ours[] = {1, 0, 1, 0}, wanted[] = {0, 1, 1, 0};
    void *chosen[] = {logits, got, NULL}, *expected[] = {logits, ours, NULL};
    CU_ASSERT_EQUAL(moe_router_topk_softmax_op.reconcile(&shape, chosen, expected), 2);
    CU_ASSERT_EQUAL(memcmp(ours, wanted, sizeof(ours)), 0);
}

/* 20000 equal logits: p = 1/20000 is below the floor 2^-14 = 1/16384, so that the weight is
 * 16384/20000; of two selected ones 1/2 each. */
static void test_floor(void)
{
    enum { EXPERTS = 20000 };
    float *logits = calloc(EXPERTS, sizeof(*logits));
    CU_ASSERT_PTR_NOT_NULL_FATAL(logits);
    const struct assay_kernels *own = assay_own_kernels();
    int judged = 0;
    for (uint32_t i = 0; i < own->count; i++) {
        const struct assay_kernel *kernel = own->kernels[i];
        if (strcmp(kernel->op, "moe_router_topk_softmax") != 0 ||
            cpu_tier_lacks(kernel->tier, cpu_detect()))
            continue;
        for (int64_t top_k = 1; top_k <= 2; top_k++) {
            struct moe_router_topk_softmax_shape shape = {EXPERTS, top_k, 1, 1};
            int32_t ids[2];
            float weights[2] = {0};
            struct moe_router_topk_softmax_args args = {logits, ids, weights};
            int64_t bytes = kernel->scratch_bytes ? kernel->scratch_bytes(&shape, 1) : 0;
            void *scratch = aligned_alloc(ASSAY_BUFFER_ALIGN, ((size_t)bytes + 64) / 64 * 64);
            CU_ASSERT_PTR_NULL(kernel->run(&shape, &args, NULL, scratch, 1));
            CU_ASSERT(fabsf(weights[0] - (top_k == 1 ? 0.8192f : 0.5f)) < 1e-5f);
            free(scratch);
            judged++;
        }
    }
    CU_ASSERT(judged >= 2);
    free(logits);
}

static CU_TestInfo choices[] = {
    {"tie band", test_band},       {"equal logits", test_equal_logits},
    {"-Inf", test_minus_infinity}, {"no choice", test_no_choice},
    {"rows", test_rows},           CU_TEST_INFO_NULL,
};

static CU_TestInfo weights[] = {
    {"floor", test_floor},
    CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
    {"choices", NULL, NULL, NULL, NULL, choices},
    {"weights", NULL, NULL, NULL, NULL, weights},
    CU_SUITE_INFO_NULL,
};

int main(void)
{
    return cunit_main(suites);
}
