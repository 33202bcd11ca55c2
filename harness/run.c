/* SPDX-License-Identifier: MIT */
#include "harness/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness/interrupt.h"
#include "harness/investigate.h"

/* Operations of a reference that has to run whole, because its outputs are compared bit by bit. */
#define MAX_REFERENCE_WORK 2e10

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
    int64_t bytes = case_bytes(item);
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

static unsigned needs_of(const struct run *run, const struct assay_case *item)
{
    unsigned needs = 0;
    for (size_t k = 0; k < run->kernels.count; k++) {
        const struct kernel *kernel = &run->kernels.items[k];
        if (kernel->op == item->op && !kernel->missing)
            needs |= expectation_needs(kernel->abi);
    }
    return needs;
}

/* Looks into a kernel's first failure that returns at all. */
static bool investigate_first(const struct run *run, struct result *result, struct error *error)
{
    if (run->shrink_seconds <= 0 || (result->verdict != FAIL && result->verdict != CRASHED))
        return true;
    for (const struct result *other = run->results; other < result; other++) {
        if (other->kernel == result->kernel && other->smallest)
            return true;
    }
    return investigate(result, &run->check, run->shrink_seconds, error);
}

/* Checks a case with all its kernels; what an interruption cut short is not a result. */
static bool check_case(struct run *run, size_t index, struct error *error)
{
    const struct assay_case *item = &run->cases.items[index];
    struct expectation x;
    if (!expectation_make(&x, item, needs_of(run, item), &run->check, error))
        return false;
    bool ok = note_coverage(&run->coverage[index], &x, error);
    for (size_t k = 0; ok && !interrupted() && k < run->kernels.count; k++) {
        const struct kernel *kernel = &run->kernels.items[k];
        struct result *result = &run->results[run->n_results];
        if (kernel->op != item->op)
            continue;
        ok = run->given ? given_judge(run->given, &x, kernel, result, error)
                        : check_kernel(&x, kernel, &run->check, result, error);
        ok = ok && investigate_first(run, result, error);
        if (ok && !interrupted())
            run->n_results++;
        else
            free(result->smallest);
    }
    expectation_free(&x);
    return ok;
}

static bool time_case(struct run *run, size_t index, int pass, struct error *error)
{
    const struct assay_case *item = &run->cases.items[index];
    size_t first = 0, end;
    while (first < run->n_results && run->results[first].item != item)
        first++;
    for (end = first; end < run->n_results && run->results[end].item == item;)
        end++;
    return bench_case(item, &run->results[first], end - first, &run->check, &run->timing, pass,
                      &run->noise, &run->timings, error);
}

static bool run_case(struct run *run, size_t index, int pass, struct error *error)
{
    if (count_kernels(run, run->cases.items[index].op) == 0)
        return true;
    size_t first = run->n_results;
    bool ok = pass > 0 || check_case(run, index, error);
    if (ok && run->bench && !interrupted())
        ok = time_case(run, index, pass, error);
    for (size_t i = first; i < run->n_results; i++) {
        const struct result *result = &run->results[i];
        run->kernels.items[result->kernel - run->kernels.items].timeouts +=
            result->verdict == TIMEOUT;
    }
    return ok;
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool bind(struct run *run, struct timing *timing)
{
    const struct assay_kernel *kernel = timing->result->kernel->abi;
    const struct work work = {timing->cost, assay_digits(kernel->numerics), timing->mode == COLD,
                              kernel->tier, timing->threads};
    timing->has_ceiling =
        run->has_ceilings && ceilings_bind(&run->ceilings, &work, &timing->ceiling);
    return timing->has_ceiling && timing->ceiling.ns > CEILINGS_OVER * timing->median;
}

/* Binds all; returns how many are faster than their ceiling. */
static size_t bind_all(struct run *run)
{
    size_t over = 0;
    for (size_t i = 0; i < run->timings.count; i++)
        over += bind(run, &run->timings.items[i]);
    return over;
}

/* The timings' statistics and ceilings. A kernel that is faster than the machine may only have seen
 * it at a better moment: then there is a second measurement. */
static bool summarize(struct run *run, struct error *error)
{
    for (size_t i = 0; i < run->timings.count; i++) {
        if (!timing_summarize(&run->timings.items[i], error))
            return false;
    }
    if (bind_all(run) == 0 || interrupted())
        return true;
    if (!ceilings_measure(&run->ceilings, &run->context, run->features, run->max_threads,
                          CEILINGS_SECONDS, error))
        return interrupted();
    bind_all(run);
    return true;
}

bool run_all(struct run *run, run_progress *progress, struct error *error)
{
    run->results = calloc(count_pairs(run), sizeof(*run->results));
    run->coverage = calloc(run->cases.count, sizeof(*run->coverage));
    if (!run->results || !run->coverage)
        return fail(error, "out of memory");
    double start = seconds_now();
    int passes = run->bench ? run->timing.passes : 1;
    run->start = ticks_now();
    for (int pass = 0; pass < passes; pass++) {
        for (size_t c = 0; !interrupted() && c < run->cases.count; c++) {
            if (progress)
                progress((size_t)pass * run->cases.count + c, (size_t)passes * run->cases.count,
                         run->cases.items[c].key);
            if (!run_case(run, c, pass, error))
                return false;
        }
    }
    run->complete = !interrupted();
    run->end = ticks_now();
    run->elapsed_seconds = seconds_now() - start;
    return summarize(run, error);
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
