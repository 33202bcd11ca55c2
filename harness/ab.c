/* SPDX-License-Identifier: MIT */
#include "harness/ab.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/interrupt.h"
#include "harness/run.h"

const struct kernel *ab_counterpart(const struct ab *ab, int side, const struct kernel *kernel)
{
    const struct kernels *others = &ab->kernels[side];
    for (size_t i = 0; i < others->count; i++) {
        if (strcmp(others->items[i].label, kernel->label) == 0)
            return &others->items[i];
    }
    return NULL;
}

static bool is_ref(const struct kernel *kernel)
{
    return strcmp(kernel->abi->tier, "ref") == 0;
}

/* References are for judging by; their speed matters where an op has nothing else. */
static bool is_wanted(const struct ab *ab, const struct kernel *kernel)
{
    const struct kernels *kernels = &ab->kernels[AB_OLD];
    for (size_t i = 0; !ab->any_tier && is_ref(kernel) && i < kernels->count; i++) {
        if (kernels->items[i].op == kernel->op && !is_ref(&kernels->items[i]))
            return false;
    }
    return true;
}

static size_t count_case_pairs(const struct ab *ab, const struct assay_case *item)
{
    size_t count = 0;
    for (size_t k = 0; k < ab->kernels[AB_OLD].count; k++) {
        const struct kernel *old = &ab->kernels[AB_OLD].items[k];
        count += old->op == item->op && is_wanted(ab, old) && ab_counterpart(ab, AB_NEW, old);
    }
    return count;
}

static bool has_weights(const struct assay_case *item)
{
    for (size_t i = 0; i < item->op->n_tensors; i++) {
        if (item->op->tensors[i].role == ASSAY_WEIGHTS &&
            item->op->tensors[i].count(item->shape) > 0)
            return true;
    }
    return false;
}

static bool check_pair(struct ab *ab, const struct expectation *x, const struct kernel *old,
                       struct error *error)
{
    struct ab_pair *pair = &ab->pairs[ab->n_pairs];
    *pair = (struct ab_pair){.item = x->item, .threads = threads_of(x->item, &ab->check)};
    const struct kernel *kernels[] = {old, ab_counterpart(ab, AB_NEW, old)};
    bool both = true;
    for (int side = AB_OLD; side < AB_SIDES; side++) {
        if (!check_kernel(x, kernels[side], &ab->check, &pair->results[side], error))
            return false;
        both = both && pair->results[side].verdict == PASS;
    }
    pair->series[HOT].wanted = both;
    pair->series[COLD].wanted = both && has_weights(x->item);
    for (int mode = HOT; mode < BENCH_MODES; mode++)
        pair->series[mode].verdict =
            (struct speed_verdict){SPEED_UNCLEAR, NAN, {NAN, NAN, NAN}, "interrupted"};
    ab->n_pairs += !interrupted();
    return true;
}

static bool check_case(struct ab *ab, const struct assay_case *item, struct error *error)
{
    const struct kernels *kernels = &ab->kernels[AB_OLD];
    struct expectation x;
    unsigned needs = 0;
    if (count_case_pairs(ab, item) == 0)
        return true;
    for (size_t k = 0; k < kernels->count; k++) {
        if (kernels->items[k].op == item->op)
            needs |= expectation_needs(kernels->items[k].abi) |
                     (ab_counterpart(ab, AB_NEW, &kernels->items[k])
                          ? expectation_needs(ab_counterpart(ab, AB_NEW, &kernels->items[k])->abi)
                          : 0);
    }
    if (!run_affordable(item, &ab->check, error) ||
        !expectation_make(&x, item, needs, &ab->check, error))
        return false;
    bool ok = true;
    for (size_t k = 0; ok && !interrupted() && k < kernels->count; k++) {
        const struct kernel *old = &kernels->items[k];
        if (old->op == item->op && is_wanted(ab, old) && ab_counterpart(ab, AB_NEW, old))
            ok = check_pair(ab, &x, old, error);
    }
    expectation_free(&x);
    return ok;
}

size_t ab_tests(const struct ab *ab)
{
    size_t count = 0;
    for (size_t p = 0; p < ab->n_pairs; p++)
        count += (size_t)ab->pairs[p].series[HOT].wanted + ab->pairs[p].series[COLD].wanted;
    return count * ab_n_looks;
}

static bool time_all(struct ab *ab, ab_progress *progress, struct error *error)
{
    size_t tests = ab_tests(ab), count;
    for (size_t p = 0; p < ab->n_pairs && !interrupted(); p += count) {
        for (count = 1; p + count < ab->n_pairs && ab->pairs[p + count].item == ab->pairs[p].item;)
            count++;
        if (progress)
            progress(p, ab->n_pairs, ab->pairs[p].item->key);
        if (!ab_time_case(ab, p, count, tests, error))
            return false;
    }
    return true;
}

bool ab_run(struct ab *ab, ab_progress *progress, struct error *error)
{
    size_t count = 0;
    for (size_t c = 0; c < ab->cases.count; c++)
        count += count_case_pairs(ab, &ab->cases.items[c]);
    if (count == 0)
        return fail(error, "no kernel that both libraries have computes the op of a selected case");
    ab->pairs = calloc(count, sizeof(*ab->pairs));
    if (!ab->pairs)
        return fail(error, "out of memory");
    for (size_t c = 0; c < ab->cases.count && !interrupted(); c++) {
        if (progress)
            progress(c, ab->cases.count, ab->cases.items[c].key);
        if (!check_case(ab, &ab->cases.items[c], error))
            return false;
    }
    bool timed = time_all(ab, progress, error);
    ab->complete = !interrupted();
    return timed;
}

void ab_free(struct ab *ab)
{
    free(ab->pairs);
    cases_free(&ab->cases);
    for (int side = AB_OLD; side < AB_SIDES; side++)
        kernels_free(&ab->kernels[side]);
    for (int side = AB_OLD; side < AB_SIDES; side++) {
        if (ab->files[side] >= 0)
            close(ab->files[side]);
    }
    *ab = (struct ab){0};
}
