/* SPDX-License-Identifier: MIT */
/* What the check tells of kernels that fail in known ways: the reference, tampered with. */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "harness/check.h"
#include "harness/investigate.h"
#include "ref/assay.h"
#include "tests/cunit_main.h"

#define GEMV "q4_K_gemv n=33 k=256 fill=exact"
#define GEMM "q4_K_gemm_moe_id experts=2 m=3 k=256 top_k=1 tokens=6 routing=uniform fill=exact"
#define SOME_UNROUTED \
    "q4_K_gemm_moe_id experts=2 m=3 k=256 top_k=1 tokens=6 routing=invalid fill=exact"
#define GEMV_UNROUTED \
    "q4_K_gemv_moe_id experts=2 m=3 k=256 top_k=1 tokens=7 routing=invalid fill=exact"

/* A call of the kernel under test, and what the kernel did in this process before. */
struct call {
    const void *shape;
    void **args;
    const uint8_t *prepared;
    uint8_t *scratch;
    int threads;
    int64_t smallest_batch; /* so far */
    bool used_scratch, other_values;
};

typedef void tamper(const struct call *call);

static const struct assay_op *op;
static tamper *before, *after;
static int *runs; /* processes that made a call with several threads; shared by all */
static double time_limit = 20;

static float *output(const struct call *call)
{
    return call->args[op->n_tensors - 1];
}

static int64_t count(const struct call *call, size_t tensor)
{
    return op->tensors[tensor].count(call->shape);
}

static int64_t batch(const struct call *call)
{
    return op->batch_dim ? ((const int64_t *)call->shape)[op->batch_dim] : 0;
}

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    static int64_t smallest_batch = INT64_MAX;
    static uint64_t space[1 << 12]; /* what the reference needs of scratch */
    static uint8_t *last_scratch;
    static const void *last_x, *tainted_x;
    static float last_value;
    struct call call = {.shape = shape,
                        .args = (void **)(uintptr_t)args,
                        .prepared = prepared,
                        .scratch = scratch,
                        .threads = threads};
    smallest_batch = batch(&call) < smallest_batch ? batch(&call) : smallest_batch;
    call.smallest_batch = smallest_batch;
    call.used_scratch = scratch == last_scratch && *(uint8_t *)scratch == 1;
    const void *x = call.args[1];
    float value;
    memcpy(&value, x, sizeof(value));
    if (x == last_x && value != last_value)
        tainted_x = x;
    call.other_values = x == tainted_x;
    last_scratch = scratch;
    last_x = x;
    last_value = value;
    if (before)
        before(&call);
    const char *refusal = op->reference->run(shape, args, NULL, space, 1);
    if (after)
        after(&call);
    *(uint8_t *)scratch = 1;
    return refusal;
}

static int64_t scratch_bytes(const void *shape, int threads)
{
    (void)shape, (void)threads;
    return 64;
}

static int64_t depth(const void *shape)
{
    (void)shape;
    return 2;
}

static int64_t prepared_bytes(const void *shape)
{
    (void)shape;
    return 64;
}

static void prepare(const void *shape, const void *args, void *prepared, int threads)
{
    (void)shape, (void)args, (void)prepared, (void)threads;
}

/* With `seconds` for more runs. result.smallest is malloced. */
static struct result check_more(const char *key, bool prepares, double seconds, unsigned line)
{
    const struct check_options options = {.threads = 2,
                                          .seconds = time_limit,
                                          .memory_bytes = 1 << 30,
                                          .max_oracle = 1 << 28,
                                          .max_ref = 1 << 30};
    struct cases cases = {0};
    struct expectation x = {0};
    struct result result = {0};
    struct error error = {""};
    bool ok = cases_from_key(key, &cases, &error);
    op = ok ? cases.items[0].op : NULL;
    const struct assay_kernel abi = {.op = op ? op->name : "",
                                     .name = "tampered",
                                     .tier = "test",
                                     .numerics = ASSAY_F32,
                                     .depth = depth,
                                     .scratch_bytes = scratch_bytes,
                                     .prepared_bytes = prepares ? prepared_bytes : NULL,
                                     .prepare = prepares ? prepare : NULL,
                                     .run = run};
    const struct kernel kernel = {.abi = &abi, .op = op, .library = "test"};
    ok = ok && expectation_make(&x, &cases.items[0], expectation_needs(&abi), &options, &error) &&
         check_kernel(&x, &kernel, &options, &result, &error) &&
         (seconds <= 0 || investigate(&result, &options, seconds, &error));
    CU_assertImplementation(ok, line, error.text, __FILE__, "", CU_TRUE);
    expectation_free(&x);
    cases_free(&cases);
    return result;
}

static struct result check(const char *key, bool prepares, unsigned line)
{
    return check_more(key, prepares, 0, line);
}

static void same_text(const char *said, const char *wanted, unsigned line)
{
    bool equal = strcmp(said, wanted) == 0;
    CU_assertImplementation(equal, line, wanted, __FILE__, "", CU_FALSE);
    if (!equal)
        printf("\n  said \"%s\"\n", said);
}

/* Checks a kernel that does this, and what is said of it. */
static struct worst told(const char *key, tamper *early, tamper *late, const char *reason,
                         const char *explanation, unsigned line)
{
    before = early;
    after = late;
    struct result result = check(key, false, line);
    same_text(result.judgement.reason, reason, line);
    same_text(result.judgement.explanation, explanation, line);
    CU_assertImplementation(result.verdict == FAIL, line, "FAIL", __FILE__, "", CU_FALSE);
    return result.judgement.worst;
}

#define TOLD(key, early, late, reason, explanation) \
    told(key, early, late, reason, explanation, __LINE__)

/* ---- values and writes ---- */

static void late_rows(const struct call *call)
{
    for (int64_t i = 16; i < count(call, 2); i++)
        output(call)[i] += 1;
}

static void test_values(void)
{
    before = after = NULL;
    CU_ASSERT_EQUAL(check(GEMV, false, __LINE__).verdict, PASS);
    /* Some of its sums of 16 bits are those of a poison. */
    const char *sums = "activation_quantize digits=1 rows=16 k=4096 fill=model";
    CU_ASSERT_EQUAL(check(sums, false, __LINE__).verdict, PASS);
    struct worst worst =
        TOLD(GEMV, NULL, late_rows, "17 of 33 judged elements of y are out of tolerance",
             "All 17 wrong elements are in rows from 16 on, and every element there is wrong.");
    CU_ASSERT_EQUAL(worst.kind, WORST_VALUE);
    CU_ASSERT(worst.column >= 16);
    CU_ASSERT_EQUAL(worst.got, worst.expected + 1);
}

static float kept[64];

static void keep_rows(const struct call *call)
{
    memcpy(kept, output(call), (size_t)count(call, 2) * sizeof(float));
}

static void restore_row_7(const struct call *call)
{
    memcpy(output(call) + 7, kept + 7, sizeof(float));
}

static void test_unwritten(void)
{
    struct worst worst = TOLD(GEMV, keep_rows, restore_row_7,
                              "1 of 33 elements of y is not written, or only added to",
                              "The only unwritten element of 33 is in row 7.");
    CU_ASSERT_EQUAL(worst.kind, WORST_UNWRITTEN);
    CU_ASSERT_EQUAL(worst.column, 7);
    CU_ASSERT(isnan(worst.got));
    CU_ASSERT(!isnan(worst.expected));
}

static void add_scratch(const struct call *call)
{
    memcpy(output(call) + 3, call->scratch + 32, sizeof(float));
}

static void test_left_over(void)
{
    struct worst worst = TOLD(
        GEMV, NULL, add_scratch,
        "1 of 33 elements of y is computed from scratch or prepared memory that was not written",
        "The only wrong element of 33 is in row 3.");
    CU_ASSERT_EQUAL(worst.column, 3);
    CU_ASSERT(!isnan(worst.expected));
}

static void write_all(const struct call *call)
{
    memset(output(call), 0, (size_t)count(call, op->n_tensors - 1) * sizeof(float));
}

static void test_forbidden(void)
{
    struct worst worst = TOLD(SOME_UNROUTED, write_all, NULL,
                              "3 of 3 elements of dst that must not be written are written",
                              "Every element is overwritten (3 of 3).");
    CU_ASSERT_EQUAL(worst.kind, WORST_FORBIDDEN);
    CU_ASSERT_EQUAL(worst.got, 0);
    CU_ASSERT(isnan(worst.expected));
}

static void write_first_column(const struct call *call)
{
    for (int64_t i = 0; i < count(call, op->n_tensors - 1); i += 3)
        output(call)[i] = 0;
}

/* A pair in no list has no expert, and none is named. */
static void test_unrouted(void)
{
    TOLD(SOME_UNROUTED, write_first_column, NULL,
         "1 of 3 elements of dst that must not be written is written",
         "The only overwritten element of 3 is in token 2, slot 0, row 0.");
    TOLD(GEMV_UNROUTED, write_first_column, NULL,
         "1 of 3 elements of dst that must not be written is written",
         "The only overwritten element of 3 is in token 2, slot 0, row 0.");
}

static void other_ids_and_weights(const struct call *call)
{
    int32_t *ids = call->args[1];
    ids[0] = (ids[0] + 1) % 8;
    output(call)[1] += 1;
}

static void other_weights(const struct call *call)
{
    output(call)[1] += 1;
}

/* Reason, sentence and element are of one tensor. */
static void test_two_outputs(void)
{
    const char *key = "moe_router_topk_softmax experts=8 top_k=2 tokens=6 fill=model";
    struct worst worst =
        TOLD(key, NULL, other_ids_and_weights, "1 of 12 elements of ids differs from the reference",
             "The only wrong element of 12 is in token 0, slot 0.");
    CU_ASSERT_STRING_EQUAL(worst.tensor, "ids");
    worst = TOLD(key, NULL, other_weights, "1 of 12 judged elements of weights is out of tolerance",
                 "The only wrong element of 12 is in token 0, slot 1 (the last).");
    CU_ASSERT_STRING_EQUAL(worst.tensor, "weights");
}

/* ---- later attempts ---- */

static void late_rows_if_threaded(const struct call *call)
{
    if (call->threads > 1)
        late_rows(call);
}

static void restore_if_used(const struct call *call)
{
    if (call->used_scratch)
        restore_row_7(call);
}

static void change_if_other_values(const struct call *call)
{
    if (call->other_values)
        late_rows(call);
}

static void change_after_small(const struct call *call)
{
    if (batch(call) > call->smallest_batch)
        output(call)[0] += 1;
}

static uint8_t scratch_at_entry;

static void look_at_scratch(const struct call *call)
{
    scratch_at_entry = call->scratch[32];
}

static void change_by_scratch(const struct call *call)
{
    if (scratch_at_entry == poison_byte(0, POISON_A))
        late_rows(call);
}

static void test_condition(void)
{
    struct worst worst = TOLD(
        GEMV, NULL, late_rows_if_threaded, "only with 3 threads, 17 of 33 elements of y change",
        "All 17 changed elements are in rows from 16 on, and every element there is changed.");
    CU_ASSERT_EQUAL(worst.kind, WORST_UNSTEADY);
    CU_ASSERT_EQUAL(worst.column, 16);
    CU_ASSERT_EQUAL(worst.got, worst.expected + 1);
    worst = TOLD(GEMV, keep_rows, restore_if_used,
                 "only when scratch is reused, 1 of 33 elements of y is not written",
                 "The only unwritten element of 33 is in row 7.");
    CU_ASSERT_EQUAL(worst.kind, WORST_UNWRITTEN);
    TOLD(GEMV, NULL, change_if_other_values,
         "only after a call with other values at the same addresses, 17 of 33 elements of y change",
         "All 17 changed elements are in rows from 16 on, and every element there is changed.");
    TOLD(GEMM, NULL, change_after_small,
         "only after a call with a smaller batch, 1 of 18 elements of dst changes",
         "The only changed element of 18 is in expert 1 (the last), token 0, slot 0, position in "
         "list 0, row 0.");
    TOLD(GEMV, look_at_scratch, change_by_scratch,
         "depending on what memory held before, 17 of 33 elements of y change",
         "All 17 changed elements are in rows from 16 on, and every element there is changed.");
}

/* Every second process with several threads. */
static void change_now_and_then(const struct call *call)
{
    static bool counted, changing;
    if (call->threads > 1 && !counted) {
        counted = true;
        changing = (*runs)++ % 2 == 0;
    }
    if (call->threads > 1 && changing)
        late_rows(call);
}

static void test_flaky(void)
{
    *runs = 0;
    TOLD(GEMV, NULL, change_now_and_then,
         "only with 3 threads, and not in every run, 17 of 33 elements of y change",
         "All 17 changed elements are in rows from 16 on, and every element there is changed.");
}

static void change_if_flushing(const struct call *call)
{
    volatile float tiny = 1e-40f, same = tiny * 1.0f;
    if (same == 0)
        late_rows(call);
}

static void change_if_misaligned(const struct call *call)
{
    if ((uintptr_t)call->args[1] % 64 != 0)
        late_rows(call);
}

static void test_flushing(void)
{
    struct worst worst =
        TOLD(GEMV, NULL, change_if_flushing,
             "only with FTZ and DAZ set, 17 of 33 judged elements of y are out of tolerance",
             "All 17 wrong elements are in rows from 16 on, and every element there is wrong.");
    CU_ASSERT(worst.column >= 16);
    CU_ASSERT_EQUAL(worst.got, worst.expected + 1);
    TOLD(GEMV, NULL, change_if_misaligned,
         "where buffers are less aligned, 17 of 33 judged elements of y are out of tolerance",
         "All 17 wrong elements are in rows from 16 on, and every element there is wrong.");
}

/* When the activations are larger than in the process's first call. */
static void change_by_scale(const struct call *call)
{
    static float first;
    const float *x = call->args[1];
    float largest = 0;
    for (int64_t i = 0; i < count(call, 1); i++)
        largest = fmaxf(largest, fabsf(x[i]));
    first = first == 0 ? largest : first;
    if (largest > first)
        output(call)[5] += 1;
}

/* No element is shown that is within its tolerance. */
static void test_property(void)
{
    struct worst worst = TOLD("q4_K_gemv n=33 k=256 fill=model", NULL, change_by_scale,
                              "y[0, 5] breaks the property: scaling the activations by 8 scales "
                              "the outputs by 8",
                              "");
    CU_ASSERT_PTR_NULL(worst.tensor);
}

/* ---- crashes ---- */

static void crashes(const char *key, bool prepares, tamper *early, const char *reason,
                    unsigned line)
{
    before = early;
    after = NULL;
    struct result result = check(key, prepares, line);
    same_text(result.judgement.reason, reason, line);
    CU_assertImplementation(result.verdict == CRASHED, line, "CRASHED", __FILE__, "", CU_FALSE);
}

#define CRASHES(key, early, reason) crashes(key, false, early, reason, __LINE__)

/* Crashes on purpose that UBSan would stop first. */
#define NO_UBSAN __attribute__((no_sanitize("undefined")))

static void call_abort(const struct call *call)
{
    (void)call;
    abort();
}

NO_UBSAN static void read_null(const struct call *call)
{
    (void)call;
    volatile const int *volatile nowhere = NULL;
    (void)*nowhere;
}

NO_UBSAN static void read_near_null(const struct call *call)
{
    (void)call;
    volatile const uint8_t *volatile nowhere = (const uint8_t *)(uintptr_t)288;
    (void)*nowhere;
}

NO_UBSAN static void read_weights(const struct call *call)
{
    (void)*(volatile const uint8_t *)call->args[0];
}

static void read_past_x(const struct call *call)
{
    (void)*(volatile const float *)((const float *)call->args[1] + count(call, 1));
}

static void read_past_small(const struct call *call)
{
    if (call->smallest_batch < 6)
        read_past_x(call);
}

static void read_past_scratch(const struct call *call)
{
    (void)*(volatile const uint8_t *)(call->scratch + 64);
}

static void read_past_prepared(const struct call *call)
{
    (void)*(volatile const uint8_t *)(call->prepared + 64);
}

static void trap(const struct call *call)
{
    (void)call;
    raise(SIGILL);
}

static void abort_if_threaded(const struct call *call)
{
    if (call->threads > 1)
        abort();
}

static void exit_if_flushing(const struct call *call)
{
    if ((uintptr_t)call->args[1] % 64 != 0)
        _Exit(0);
}

static void raise_it(const struct call *call)
{
    (void)call;
    raise(SIGSEGV);
}

#ifdef __x86_64__
static void load_misaligned(const struct call *call)
{
    __asm__ volatile("movaps 4(%0), %%xmm0" : : "r"(call->scratch) : "xmm0");
}
#endif

static void test_crashes(void)
{
    CRASHES(GEMV, call_abort, "abort() was called in run");
    CRASHES(GEMV, abort_if_threaded, "abort() was called in run, with 3 threads");
    CRASHES(GEMV, trap, "Illegal instruction in run: one that this CPU lacks, or a trap");
    CRASHES(GEMV, read_null, "Segmentation fault in run: a null pointer is read or written");
    CRASHES(GEMV, read_near_null, "Segmentation fault in run: address 288, from a null pointer");
    crashes(
        GEMV, true, read_weights,
        "Segmentation fault in run: a null pointer is read or written; run gets no weights after "
        "prepare",
        __LINE__);
    CRASHES(GEMV, read_past_x, "Segmentation fault in run: 1 byte past the end of x");
    CRASHES(GEMV, read_past_scratch, "Segmentation fault in run: 1 byte past the end of scratch");
    crashes(GEMV, true, read_past_prepared,
            "Segmentation fault in run: 1 byte past the end of the prepared weights", __LINE__);
    CRASHES(GEMV, raise_it,
            "Segmentation fault in run: the signal was raised by the process itself");
    CRASHES(GEMV, exit_if_flushing,
            "run ended the process instead of returning, with FTZ and DAZ set and buffers at their "
            "least alignment");
#ifdef __x86_64__
    CRASHES(GEMV, load_misaligned,
            "Segmentation fault in run: a general protection fault: often a vector access that is "
            "aligned less than it says, or a wild pointer");
#endif
}

static void test_small_call(void)
{
    CRASHES(GEMM, read_past_small,
            "Segmentation fault in run: 1 byte past the end of src1, in a call with tokens=3");
}

/* ---- more runs ---- */

static void investigated(const char *key, tamper *early, tamper *late, double seconds,
                         const char *smallest, const char *explanation, unsigned line)
{
    before = early;
    after = late;
    struct result result = check_more(key, false, seconds, line);
    same_text(result.judgement.explanation, explanation, line);
    same_text(result.smallest ? result.smallest : "", smallest, line);
    free(result.smallest);
}

#define INVESTIGATED(key, early, late, seconds, smallest, explanation) \
    investigated(key, early, late, seconds, smallest, explanation, __LINE__)

/* Whether block b of the activations holds anything. */
static bool in_block(const struct call *call, int64_t b)
{
    const float *x = call->args[1];
    bool any = false;
    for (int64_t i = 256 * b; i < 256 * (b + 1) && i < count(call, 1); i++)
        any = any || x[i] != 0;
    return any;
}

static void last_block(const struct call *call)
{
    if (in_block(call, 3))
        output(call)[0] += 1;
}

static void blocks_1_and_3(const struct call *call)
{
    if (in_block(call, 1) || in_block(call, 3))
        output(call)[0] += 1;
}

static void blocks_1_to_3(const struct call *call)
{
    if (in_block(call, 2))
        output(call)[0] += 1;
    blocks_1_and_3(call);
}

#define FOUR  "q4_K_gemv n=9 k=1024 fill=exact seed=1"
#define ROW_0 "The only wrong element of 9 is in row 0."

static void test_k_blocks(void)
{
    INVESTIGATED(FOUR, NULL, last_block, 60, "q4_K_gemv n=1 k=1024 fill=exact seed=1",
                 ROW_0 " Of 4 k blocks, tried one by one, only k block 3 (the last) is wrong.");
    INVESTIGATED(FOUR, NULL, blocks_1_and_3, 60, "q4_K_gemv n=1 k=512 fill=exact seed=1",
                 ROW_0 " Of 4 k blocks, tried one by one, k blocks 1 and 3 are wrong.");
    INVESTIGATED(FOUR, NULL, blocks_1_to_3, 60, "q4_K_gemv n=1 k=512 fill=exact seed=1",
                 ROW_0 " Of 4 k blocks, tried one by one, k blocks 1 to 3 are wrong.");
    /* No time: nothing is tried but, once, whether it fails again. */
    INVESTIGATED(FOUR, NULL, last_block, 1e-9, FOUR, ROW_0);
}

static void wrong_in_first_run(const struct call *call)
{
    static bool counted, wrong;
    if (!counted) {
        counted = true;
        wrong = (*runs)++ < 3;
    }
    if (wrong)
        output(call)[0] += 1;
}

/* What fails in the first three processes only: the case itself, one smaller, another. */
static void test_not_every_run(void)
{
    *runs = 0;
    INVESTIGATED(FOUR, NULL, wrong_in_first_run, 60, FOUR, ROW_0 " Not every run fails.");
}

static void hang_if_smaller(const struct call *call)
{
    bool smaller = count(call, 2) < 9;
    *runs += smaller;
    for (volatile bool hangs = smaller; hangs;)
        ;
}

/* The first answer that costs the time limit is the last. */
static void test_hanging(void)
{
    *runs = 0;
    time_limit = 3;
    INVESTIGATED(FOUR, hang_if_smaller, last_block, 60, FOUR, ROW_0);
    CU_ASSERT_EQUAL(*runs, 1);
    time_limit = 20;
}

static CU_TestInfo failures[] = {
    {"values", test_values},       {"unwritten", test_unwritten},
    {"left over", test_left_over}, {"forbidden", test_forbidden},
    {"condition", test_condition}, {"flaky", test_flaky},
    {"flushing", test_flushing},   {"property", test_property},
    {"crashes", test_crashes},     {"small call", test_small_call},
    {"unrouted", test_unrouted},   {"two outputs", test_two_outputs},
    {"k blocks", test_k_blocks},   {"not every run", test_not_every_run},
    {"hanging", test_hanging},     CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
    {"failures", NULL, NULL, NULL, NULL, failures},
    CU_SUITE_INFO_NULL,
};

int main(void)
{
    runs = mmap(NULL, sizeof(*runs), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return runs == MAP_FAILED ? 2 : cunit_main(suites);
}
