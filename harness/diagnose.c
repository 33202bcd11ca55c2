/* SPDX-License-Identifier: MIT */
#include "harness/diagnose.h"

#include <stdlib.h>
#include <string.h>

#include "harness/explain.h"

/* Elements that are looked at; of larger tensors, those around the worst. */
#define MAX_OBSERVATIONS 200000

struct observations {
    const char *names[ASSAY_MAX_COORDINATES];
    size_t n_names, count;
    struct observation *items;
};

static void observe(const struct job *job, size_t tensor, int64_t row, int64_t column, bool bad,
                    struct observations *seen)
{
    const struct assay_op *op = job->expectation->item->op;
    void *pointers[ASSAY_MAX_TENSORS];
    attempt_pointers(&job->attempts[PLAIN], pointers);
    struct assay_coordinate at[ASSAY_MAX_COORDINATES];
    size_t n = op->locate(job->expectation->item->shape, pointers, tensor, row, column, at);
    struct observation *item = &seen->items[seen->count++];
    item->bad = bad;
    for (size_t i = 0; i < ASSAY_MAX_COORDINATES; i++)
        item->value[i] = i < n ? at[i].value : ASSAY_UNSET;
    for (; seen->n_names < n; seen->n_names++)
        seen->names[seen->n_names] = at[seen->n_names].name;
}

static void observe_real(const struct job *job, const bool *wrong, const struct worst *worst,
                         struct observations *seen)
{
    const struct expectation *x = job->expectation;
    int64_t first = worst->row * x->n_columns - MAX_OBSERVATIONS / 2;
    for (int64_t i = first < 0 ? 0 : first;
         i < x->rows * x->n_columns && seen->count < MAX_OBSERVATIONS; i++) {
        if (!x->expected[i].untouched)
            observe(job, x->real, i / x->n_columns, x->columns[i % x->n_columns], wrong[i], seen);
    }
}

static void observe_bits(const struct job *job, size_t tensor, const void *expected,
                         const struct worst *worst, struct observations *seen)
{
    const struct assay_tensor *t = &job->expectation->item->op->tensors[tensor];
    const void *shape = job->expectation->item->shape;
    const void *got = job->attempts[PLAIN].outputs.pointers[tensor];
    int64_t columns = t->columns(shape), count = t->count(shape);
    int64_t first = worst->row * columns + worst->column - MAX_OBSERVATIONS / 2;
    first = first < 0 ? 0 : first;
    for (int64_t i = first; i < count && seen->count < MAX_OBSERVATIONS; i++)
        observe(job, tensor, i / columns, i % columns, !elements_equal(t, expected, got, i), seen);
}

bool diagnose(const struct job *job, void *const *bits, const bool *wrong,
              struct judgement *judgement, struct error *error)
{
    const struct assay_op *op = job->expectation->item->op;
    size_t tensor = 0;
    while (tensor < op->n_tensors && op->tensors[tensor].name != judgement->worst.tensor)
        tensor++;
    if (!op->locate || tensor == op->n_tensors)
        return true;
    struct observations seen = {.items = calloc(MAX_OBSERVATIONS, sizeof(*seen.items))};
    if (!seen.items)
        return fail(error, "out of memory");
    if (op->tensors[tensor].role == ASSAY_OUT_REAL)
        observe_real(job, wrong, &judgement->worst, &seen);
    else
        observe_bits(job, tensor, bits[tensor], &judgement->worst, &seen);
    bool explained =
        seen.count == 0 || explain(seen.names, seen.n_names, seen.items, seen.count,
                                   judgement->explanation, sizeof(judgement->explanation), error);
    free(seen.items);
    return explained;
}
