/* SPDX-License-Identifier: MIT */
/* harness/plain_read.h: how much is read, that it is, and that nothing else is. */
#include <string.h>

#include "harness/plain_read.h"
#include "harness/sandbox.h"
#include "opt/cpu.h"
#include "ref/q4_K_gemv.h"
#include "tests/cunit_main.h"

/* 64 x 1024 weights: 256 blocks of 144 bytes, 36 KiB. */
enum { ROWS = 64, K = 1024, BYTES = 36 * 1024, THREADS = 3, CALLS = 100 };

static struct assay_case gemv_case(void)
{
    struct assay_case item = {.op = &q4_K_gemv_op, .key = "made up"};
    const struct q4_K_gemv_shape shape = {.n = ROWS, .k = K};
    memcpy(item.shape, &shape, sizeof(shape));
    return item;
}

struct reading {
    const struct result *reader;
    const struct assay_case *item;
    void *tensors[ASSAY_MAX_TENSORS];
};

static void read_often(void *context)
{
    const struct reading *reading = context;
    for (int i = 0; i < CALLS; i++)
        reading->reader->kernel->abi->run(reading->item->shape, reading->tensors, NULL, NULL,
                                          THREADS);
}

/* Every tensor is `buffer`; the pages about it end a child that touches them. */
static enum sandbox_end end_of(const struct result *reader, const struct assay_case *item,
                               const struct guarded *buffer)
{
    struct reading reading = {reader, item, {0}};
    struct sandbox_result result;
    struct error error;
    for (size_t i = 0; i < ASSAY_MAX_TENSORS; i++)
        reading.tensors[i] = buffer->data;
    CU_ASSERT_TRUE(sandbox_run(read_often, &reading, 10, &result, &error));
    return result.end;
}

static void test_reads(void)
{
    struct assay_case item = gemv_case();
    struct guarded whole, less;
    struct error error;
    CU_ASSERT_FATAL(guarded_make(&whole, BYTES, 1024, AT_START, PRIVATE, &error));
    CU_ASSERT_FATAL(guarded_make(&less, BYTES - 4096, 1024, AT_START, PRIVATE, &error));
    const double parts[] = {BYTES, 12 * 1024, 1024};
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        const struct result *reader = plain_read_of(&item, parts[i], cpu_detect());
        CU_ASSERT_FATAL(reader != NULL);
        CU_ASSERT_EQUAL(plain_read_bytes(), parts[i]);
        CU_ASSERT_EQUAL(end_of(reader, &item, &whole), SANDBOX_RETURNED);
        CU_ASSERT_EQUAL(end_of(reader, &item, &less), SANDBOX_CRASHED); /* in time all is read */
    }
    guarded_free(&whole);
    guarded_free(&less);
}

static void test_nothing_to_read(void)
{
    struct assay_case item = gemv_case();
    CU_ASSERT_PTR_NULL(plain_read_of(&item, 1023, cpu_detect()));
    CU_ASSERT_PTR_NULL(plain_read_of(&item, BYTES + 1024, cpu_detect()));
}

int main(void)
{
    CU_TestInfo tests[] = {
        {"so many bytes, all in turn, and no others", test_reads},
        {"less than a kilobyte, more than there is", test_nothing_to_read},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"plain_read", NULL, NULL, NULL, NULL, tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites);
}
