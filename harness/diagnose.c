/* SPDX-License-Identifier: MIT */
#include "harness/diagnose.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/explain.h"

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

/* Returns how many there would have been to observe. */
static size_t observe_marked(const struct job *job, size_t tensor, const uint8_t *marks,
                             int64_t centre, struct observations *seen)
{
    const struct assay_tensor *t = &job->expectation->item->op->tensors[tensor];
    const void *shape = job->expectation->item->shape;
    int64_t columns = t->columns(shape), count = t->count(shape), before = 0;
    size_t marked = 0;
    for (int64_t i = 0; i < count; i++) {
        marked += marks[i] != MARK_NONE;
        before += marks[i] != MARK_NONE && i < centre;
    }
    int64_t skipped = marked > MAX_OBSERVATIONS ? before - MAX_OBSERVATIONS / 2 : 0;
    for (int64_t i = 0; i < count && seen->count < MAX_OBSERVATIONS; i++) {
        if (marks[i] != MARK_NONE && skipped-- <= 0)
            observe(job, tensor, i / columns, i % columns, marks[i] == MARK_WRONG, seen);
    }
    return marked;
}

bool diagnose(const struct job *job, size_t tensor, const uint8_t *marks, int64_t centre,
              const char *adjective, struct judgement *judgement, struct error *error)
{
    char *text = judgement->explanation;
    size_t size = sizeof(judgement->explanation);
    if (!job->expectation->item->op->locate || job->options->terse)
        return true;
    struct observations seen = {.items = calloc(MAX_OBSERVATIONS, sizeof(*seen.items))};
    if (!seen.items)
        return fail(error, "out of memory");
    size_t marked = observe_marked(job, tensor, marks, centre, &seen);
    bool explained = seen.count == 0 || explain(adjective, seen.names, seen.n_names, seen.items,
                                                seen.count, text, size, error);
    size_t used = strlen(text);
    if (explained && marked > seen.count)
        snprintf(text + used, size - used, " Looked at: %zu of %zu elements.", seen.count, marked);
    free(seen.items);
    return explained;
}

static void mark_real(const struct expectation *x, const bool *wrong, uint8_t *marks)
{
    int64_t columns = x->item->op->tensors[x->real].columns(x->item->shape);
    for (int64_t i = 0; i < x->rows * x->n_columns; i++) {
        int64_t element = i / x->n_columns * columns + x->columns[i % x->n_columns];
        if (!x->expected[i].untouched)
            marks[element] = wrong[i] ? MARK_WRONG : MARK_RIGHT;
    }
}

bool diagnose_values(const struct job *job, void *const *bits, const bool *wrong,
                     struct judgement *judgement, struct error *error)
{
    const struct expectation *x = job->expectation;
    const struct assay_op *op = x->item->op;
    const struct worst *worst = &judgement->worst;
    size_t index = 0;
    while (index < op->n_tensors && op->tensors[index].name != worst->tensor)
        index++;
    if (index == op->n_tensors)
        return true;
    const struct assay_tensor *tensor = &op->tensors[index];
    int64_t count = tensor->count(x->item->shape);
    uint8_t *marks = calloc((size_t)count + 1, 1);
    if (!marks)
        return fail(error, "out of memory");
    const void *got = job->attempts[PLAIN].outputs.pointers[index];
    if (tensor->role == ASSAY_OUT_REAL)
        mark_real(x, wrong, marks);
    for (int64_t i = 0; tensor->role == ASSAY_OUT_BITS && i < count; i++)
        marks[i] = elements_equal(tensor, bits[index], got, i) ? MARK_RIGHT : MARK_WRONG;
    int64_t centre = worst->row * tensor->columns(x->item->shape) + worst->column;
    bool explained = diagnose(job, index, marks, centre, "wrong", judgement, error);
    free(marks);
    return explained;
}
