/* SPDX-License-Identifier: MIT */
#include "harness/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness/shrink.h"

/* Operations of a reference that has to run whole, because its outputs are compared bit by bit. */
#define MAX_REFERENCE_WORK 2e10

/* Blocks of the inner dimension that are tried one by one. */
#define MAX_PROBED 64

static size_t count_kernels(const struct run *run, const struct assay_op *op)
{
    size_t count = 0;
    for (size_t k = 0; k < run->kernels.count; k++)
        count += run->kernels.items[k].op == op;
    return count;
}

static size_t count_pairs(const struct run *run)
{
    size_t count = 0;
    for (size_t c = 0; c < run->cases.count; c++)
        count += count_kernels(run, run->cases.items[c].op);
    return count;
}

bool run_affordable(const struct assay_case *item, const struct check_options *options,
                    struct error *error)
{
    bool has_bits = false;
    for (size_t i = 0; i < item->op->n_tensors; i++)
        has_bits = has_bits || item->op->tensors[i].role == ASSAY_OUT_BITS;
    int64_t bytes = shape_bytes(item->op, item->shape);
    if (bytes < 0 || bytes > options->memory_bytes)
        return fail(error,
                    "%s: its tensors take %lld MiB, over the memory budget of %lld MiB "
                    "(--memory raises it): %s",
                    item->where, (long long)(bytes >> 20) + 1,
                    (long long)(options->memory_bytes >> 20), item->key);
    if (has_bits && case_work(item) > MAX_REFERENCE_WORK)
        return fail(error,
                    "%s: its reference would take %.1g operations, over the limit of %.0g: %s",
                    item->where, case_work(item), MAX_REFERENCE_WORK, item->key);
    return true;
}

bool run_validate(const struct run *run, struct error *error)
{
    if (run->cases.count == 0)
        return fail(error, "no case is selected");
    if (run->kernels.count == 0)
        return fail(error, "no kernel is selected");
    if (count_pairs(run) == 0)
        return fail(error, "none of the selected kernels computes the op of a selected case");
    for (size_t c = 0; c < run->cases.count; c++) {
        if (!run_affordable(&run->cases.items[c], &run->check, error))
            return false;
    }
    return true;
}

static bool note_coverage(struct coverage *coverage, const struct expectation *x,
                          struct error *error)
{
    if (x->item->op->margins)
        x->item->op->margins(x->item->shape, x->inputs[0].pointers, coverage->margins);
    if (x->rows == 0)
        return true;
    coverage->columns = x->item->op->tensors[x->real].columns(x->item->shape);
    coverage->n_judged = x->n_columns;
    if (x->n_columns == coverage->columns)
        return true;
    size_t bytes = (size_t)x->n_columns * sizeof(*coverage->judged);
    coverage->judged = malloc(bytes);
    if (!coverage->judged)
        return fail(error, "out of memory");
    memcpy(coverage->judged, x->columns, bytes);
    return true;
}

static bool wants_twin(const struct run *run, const struct assay_case *item)
{
    for (size_t k = 0; k < run->kernels.count; k++) {
        const struct kernel *kernel = &run->kernels.items[k];
        if (kernel->op == item->op && kernel->abi->twin && !kernel->missing)
            return true;
    }
    return false;
}

struct shrinking {
    const struct kernel *kernel;
    const struct check_options *options;
};

static bool still_fails(const struct assay_case *item, void *context, bool *fails,
                        struct error *error)
{
    const struct shrinking *shrinking = context;
    struct expectation x;
    struct result result;
    if (!expectation_make(&x, item, shrinking->kernel->abi->twin, shrinking->options, error))
        return false;
    bool checked = check_kernel(&x, shrinking->kernel, shrinking->options, &result, error);
    *fails = checked && (result.verdict == FAIL || result.verdict == CRASHED);
    expectation_free(&x);
    return checked;
}

/* Says which blocks of the inner dimension a failing kernel gets wrong, if not all of them. */
static bool probe_blocks(struct shrinking *shrinking, const struct assay_case *failing,
                         struct judgement *judgement, struct error *error)
{
    struct assay_case item = *failing;
    int64_t blocks = 0, wrong = 0, last_wrong = 0;
    if (!item.op->isolate)
        return true;
    for (; item.op->isolate(item.shape, NULL, blocks) && blocks < MAX_PROBED; blocks++) {
        bool fails;
        item.isolated = blocks + 1;
        if (!still_fails(&item, shrinking, &fails, error))
            return false;
        wrong += fails;
        last_wrong = fails ? blocks : last_wrong;
    }
    size_t used = strlen(judgement->explanation);
    char *text = judgement->explanation + used;
    size_t size = sizeof(judgement->explanation) - used;
    if (wrong == 1 && blocks > 1)
        snprintf(text, size, "%sOnly k block %lld of %lld is wrong.", used ? " " : "",
                 (long long)last_wrong, (long long)blocks);
    else if (wrong > 0 && wrong < blocks)
        snprintf(text, size, "%s%lld of %lld k blocks are wrong.", used ? " " : "",
                 (long long)wrong, (long long)blocks);
    return true;
}

/* Looks for a smaller failing shape, for a kernel's first failure that returns at all. */
static bool shrink_result(const struct run *run, struct result *result, struct error *error)
{
    if (run->shrink_seconds <= 0 || (result->verdict != FAIL && result->verdict != CRASHED))
        return true;
    for (const struct result *other = run->results; other < result; other++) {
        if (other->kernel == result->kernel && other->smallest)
            return true;
    }
    struct shrinking shrinking = {result->kernel, &run->check};
    struct cases smallest = {0};
    if (!shrink_case(result->item, still_fails, &shrinking, run->shrink_seconds, &smallest, error))
        return false;
    result->smallest = strdup(smallest.items[0].key);
    cases_free(&smallest);
    if (!result->smallest)
        return fail(error, "out of memory");
    return result->verdict != FAIL ||
           probe_blocks(&shrinking, result->item, &result->judgement, error);
}

static bool run_case(struct run *run, size_t index, struct error *error)
{
    const struct assay_case *item = &run->cases.items[index];
    struct expectation x;
    if (count_kernels(run, item->op) == 0)
        return true;
    if (!expectation_make(&x, item, wants_twin(run, item), &run->check, error))
        return false;
    size_t first = run->n_results;
    bool ok = note_coverage(&run->coverage[index], &x, error);
    for (size_t k = 0; ok && k < run->kernels.count; k++) {
        if (run->kernels.items[k].op != item->op)
            continue;
        struct result *result = &run->results[run->n_results];
        const struct kernel *kernel = &run->kernels.items[k];
        ok = run->given ? given_judge(run->given, &x, kernel, result, error)
                        : check_kernel(&x, kernel, &run->check, result, error);
        ok = ok && shrink_result(run, result, error);
        run->n_results += ok;
    }
    expectation_free(&x);
    if (ok && run->bench)
        ok = bench_case(item, &run->results[first], run->n_results - first, &run->check,
                        &run->timing, &run->timings, error);
    return ok;
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

bool run_all(struct run *run, run_progress *progress, struct error *error)
{
    run->results = calloc(count_pairs(run), sizeof(*run->results));
    run->coverage = calloc(run->cases.count, sizeof(*run->coverage));
    if (!run->results || !run->coverage)
        return fail(error, "out of memory");
    double start = seconds_now();
    run->start = ticks_now();
    for (size_t c = 0; c < run->cases.count; c++) {
        if (progress)
            progress(c, run->cases.count, run->cases.items[c].key);
        if (!run_case(run, c, error))
            return false;
    }
    run->end = ticks_now();
    run->elapsed_seconds = seconds_now() - start;
    return true;
}

size_t run_count_cases(const struct run *run)
{
    size_t count = 0;
    for (size_t c = 0; c < run->cases.count; c++)
        count += count_kernels(run, run->cases.items[c].op) > 0;
    return count;
}

size_t run_count(const struct run *run, enum verdict verdict)
{
    size_t count = 0;
    for (size_t i = 0; i < run->n_results; i++)
        count += run->results[i].verdict == verdict;
    return count;
}

void run_free(struct run *run)
{
    for (size_t c = 0; run->coverage && c < run->cases.count; c++)
        free(run->coverage[c].judged);
    free(run->coverage);
    for (size_t i = 0; i < run->n_results; i++)
        free(run->results[i].smallest);
    free(run->results);
    free(run->command);
    timings_free(&run->timings);
    given_close(run->given);
    cases_free(&run->cases);
    kernels_free(&run->kernels);
    *run = (struct run){0};
}
