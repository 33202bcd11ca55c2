/* SPDX-License-Identifier: MIT */
#include "harness/attempt.h"

#include <stdio.h>
#include <string.h>

#include "harness/float_state.h"

void attempt_pointers(const struct attempt *attempt, void **pointers)
{
    const struct assay_op *op = attempt->outputs.op;
    for (size_t i = 0; i < op->n_tensors; i++)
        pointers[i] = is_output(&op->tensors[i]) ? attempt->outputs.pointers[i]
                                                 : attempt->inputs->pointers[i];
}

/* In the child: the call itself. */
static const char *call(const struct job *job, const struct attempt *attempt)
{
    void *pointers[ASSAY_MAX_TENSORS];
    attempt_pointers(attempt, pointers);
    if (job->kernel->prepare)
        pointers_after_prepare(attempt->outputs.op, pointers);
    return job->kernel->run(attempt->shape, pointers, attempt->prepared.data, attempt->scratch.data,
                            attempt->threads);
}

/* In the child: a call with a smaller batch on the same scratch and prepared memory. */
static const char *call_small(const struct job *job, const struct attempt *attempt)
{
    const struct expectation *x = job->expectation;
    if (!x->has_small)
        return NULL;
    struct attempt small = *attempt;
    memcpy(small.shape, x->small_shape, sizeof(small.shape));
    small.inputs = &x->small_inputs;
    small.outputs = job->small_outputs;
    return call(job, &small);
}

/* In the child: whether outputs over different poisons differ anywhere but there. */
static bool outputs_differ(const struct attempt *plain, const struct attempt *again)
{
    const struct assay_op *op = plain->outputs.op;
    for (size_t t = 0; t < op->n_tensors; t++) {
        const struct guarded *a = &plain->outputs.buffers[t], *b = &again->outputs.buffers[t];
        size_t bytes = assay_dtype_bytes(op->tensors[t].dtype);
        for (int64_t i = 0; i < (int64_t)(a->bytes / bytes); i++) {
            if (!elements_equal(&op->tensors[t], a->data, b->data, i) &&
                !(still_poison(a, i, bytes, plain->poison) &&
                  still_poison(b, i, bytes, again->poison)))
                return true;
        }
    }
    return false;
}

/* In the child: a call while the first input is all zeros, at the addresses that then hold the
 * case's own data. Whoever remembers results by address shows. */
static const char *call_zeroed(const struct job *job, const struct attempt *attempt)
{
    const struct assay_op *op = attempt->outputs.op;
    size_t i = 0;
    while (op->tensors[i].role != ASSAY_INPUT && i < op->n_tensors - 1)
        i++;
    const struct guarded *input = &attempt->inputs->buffers[i];
    const struct guarded *original = &job->expectation->inputs[PLAIN].buffers[i];
    if (op->tensors[i].role != ASSAY_INPUT || !input->data)
        return NULL;
    guarded_writable(input);
    memset(input->data, 0, input->bytes);
    const char *refusal = call(job, attempt);
    memcpy(input->data, original->data, input->bytes);
    guarded_read_only(input);
    tensors_poison(&attempt->outputs, attempt->poison);
    return refusal;
}

/* In the child. */
static const char *make_attempt(const struct job *job, const struct attempt *attempt)
{
    void *pointers[ASSAY_MAX_TENSORS];
    attempt_pointers(attempt, pointers);
    pointers_for_prepare(attempt->outputs.op, pointers);
    poison_fill(attempt->prepared.data, attempt->prepared.bytes, attempt->poison);
    if (job->kernel->prepare)
        job->kernel->prepare(attempt->shape, pointers, attempt->prepared.data, attempt->threads);
    const char *refusal = NULL;
    if (attempt == &job->attempts[AGAIN] && job->expectation->has_copies)
        refusal = call_zeroed(job, attempt);
    refusal = refusal ? refusal : call(job, attempt);
    if (refusal || attempt != &job->attempts[AGAIN] || !job->expectation->has_copies)
        return refusal;
    job->report->first_differs = outputs_differ(&job->attempts[PLAIN], attempt);
    refusal = call_small(job, attempt);
    tensors_poison(&attempt->outputs, attempt->poison);
    return refusal ? refusal : call(job, attempt);
}

/* In the child. */
static void make_attempts(void *context)
{
    struct job *job = context;
    for (size_t i = 0; i < job->count; i++) {
        struct float_state initial = float_state_get();
        if (i == FLUSHING)
            float_state_flush();
        struct float_state before = float_state_get();
        const char *refusal = make_attempt(job, &job->attempts[i]);
        if (!float_state_equal(before, float_state_get()))
            job->report->float_state_changed = 1;
        float_state_set(initial);
        if (refusal) {
            snprintf(job->report->refusal, sizeof(job->report->refusal), "%s", refusal);
            return;
        }
        job->report->finished++;
    }
}

bool job_run(struct job *job, double seconds, struct sandbox_result *end, struct error *error)
{
    return sandbox_run(make_attempts, job, seconds, end, error);
}

/* Bytes that the kernel asks for, large enough for the smaller call too. */
static int64_t scratch_of(const struct job *job, const struct attempt *attempt)
{
    if (!job->kernel->scratch_bytes)
        return 0;
    int64_t bytes = job->kernel->scratch_bytes(attempt->shape, attempt->threads);
    if (attempt != &job->attempts[AGAIN] || !job->expectation->has_small)
        return bytes;
    int64_t small = job->kernel->scratch_bytes(job->expectation->small_shape, attempt->threads);
    return bytes < 0 || small < 0 ? -1 : small > bytes ? small : bytes;
}

/* Outputs, scratch and prepared memory of an attempt whose other members are set. */
static bool make_memory(struct job *job, struct attempt *attempt, enum placement placement,
                        struct error *error)
{
    const struct assay_case *item = job->expectation->item;
    const struct assay_kernel *kernel = job->kernel;
    int64_t prepared = kernel->prepared_bytes ? kernel->prepared_bytes(attempt->shape) : 0;
    int64_t scratch = scratch_of(job, attempt);
    if (prepared < 0 || scratch < 0)
        return fail(error, "%s: %s: the size of scratch or prepared memory overflows", item->key,
                    kernel->name);
    const struct guarded *first = &job->attempts[PLAIN].prepared;
    if (first->data && !job->expectation->has_copies) /* large: packed again in the same place */
        attempt->prepared = (struct guarded){.data = first->data, .bytes = first->bytes};
    else if (!guarded_make_aligned(&attempt->prepared, prepared, error))
        return false;
    if (!tensors_make(&attempt->outputs, item->op, attempt->shape, OUTPUTS, placement, SHARED,
                      error) ||
        !guarded_make_aligned(&attempt->scratch, scratch, error))
        return false;
    tensors_poison(&attempt->outputs, attempt->poison);
    poison_fill(attempt->scratch.data, attempt->scratch.bytes, attempt->poison);
    return true;
}

static bool make_case_attempt(struct job *job, enum attempt_index index, int threads,
                              struct error *error)
{
    static const enum placement placements[] = {AT_END, AT_START, MISALIGNED};
    const struct expectation *x = job->expectation;
    struct attempt *attempt = &job->attempts[index];
    memcpy(attempt->shape, x->item->shape, sizeof(attempt->shape));
    attempt->threads = threads;
    attempt->poison = index == AGAIN ? POISON_B : POISON_A;
    attempt->inputs = x->has_copies ? &x->inputs[index] : &x->inputs[PLAIN];
    job->count = index + 1;
    return make_memory(job, attempt, placements[index], error);
}

/* Makes the other call of a property; none if the property says nothing of the case. */
static bool make_property_attempt(struct job *job, const struct assay_property *property,
                                  struct error *error)
{
    const struct expectation *x = job->expectation;
    const struct assay_case *item = x->item;
    struct attempt *attempt = &job->attempts[job->count];
    memcpy(attempt->shape, item->shape, sizeof(attempt->shape));
    if (!property->reshape(item->shape, &item->fill, attempt->shape))
        return true;
    attempt->property = property;
    attempt->threads = 1;
    attempt->poison = POISON_A;
    attempt->inputs = &attempt->own_inputs;
    job->count++;
    if (!tensors_make(&attempt->own_inputs, item->op, attempt->shape, INPUTS, AT_END, PRIVATE,
                      error) ||
        !make_memory(job, attempt, AT_END, error))
        return false;
    property->derive(item->shape, x->inputs[PLAIN].pointers, attempt->shape,
                     attempt->own_inputs.pointers);
    for (size_t i = 0; i < item->op->n_tensors; i++)
        guarded_read_only(&attempt->own_inputs.buffers[i]);
    return true;
}

bool job_make(struct job *job, const struct expectation *x, const struct assay_kernel *kernel,
              int threads, struct error *error)
{
    *job = (struct job){.expectation = x, .kernel = kernel};
    const struct assay_op *op = x->item->op;
    if (!guarded_make_aligned(&job->report_memory, sizeof(struct child_report), error) ||
        !make_case_attempt(job, PLAIN, 1, error) ||
        !make_case_attempt(job, AGAIN, threads < 2 ? 2 : threads, error) ||
        (x->has_copies && !make_case_attempt(job, FLUSHING, 1, error)))
        return false;
    job->report = (struct child_report *)job->report_memory.data;
    memset(job->report, 0, sizeof(*job->report));
    if (x->has_small &&
        !tensors_make(&job->small_outputs, op, x->small_shape, OUTPUTS, AT_END, PRIVATE, error))
        return false;
    for (size_t i = 0; x->has_copies && i < op->n_properties && job->count < MAX_ATTEMPTS; i++) {
        if (!make_property_attempt(job, &op->properties[i], error))
            return false;
    }
    return true;
}

void job_free(struct job *job)
{
    for (size_t i = 0; i < MAX_ATTEMPTS; i++) {
        tensors_free(&job->attempts[i].own_inputs);
        tensors_free(&job->attempts[i].outputs);
        guarded_free(&job->attempts[i].prepared);
        guarded_free(&job->attempts[i].scratch);
    }
    tensors_free(&job->small_outputs);
    guarded_free(&job->report_memory);
}

static bool locate(const struct guarded *buffer, const char *name, uintptr_t address, char *text,
                   size_t size)
{
    uintptr_t map = (uintptr_t)buffer->map, data = (uintptr_t)buffer->data;
    if (!buffer->map || address < map || address >= map + buffer->map_bytes)
        return false;
    if (address >= data + buffer->bytes) {
        size_t past = (size_t)(address - data - buffer->bytes) + 1;
        snprintf(text, size, "%zu byte%s past the end of %s", past, past == 1 ? "" : "s", name);
    } else if (address < data) {
        size_t before = (size_t)(data - address);
        snprintf(text, size, "%zu byte%s before the start of %s", before, before == 1 ? "" : "s",
                 name);
    } else {
        snprintf(text, size, "writing to byte %zu of %s, an input", (size_t)(address - data), name);
    }
    return true;
}

void job_locate(const struct job *job, uintptr_t address, char *text, size_t size)
{
    const struct assay_op *op = job->expectation->item->op;
    for (size_t a = 0; a < job->count; a++) {
        const struct attempt *attempt = &job->attempts[a];
        for (size_t i = 0; i < op->n_tensors; i++) {
            const char *name = op->tensors[i].name;
            if (locate(&attempt->inputs->buffers[i], name, address, text, size) ||
                locate(&attempt->outputs.buffers[i], name, address, text, size))
                return;
        }
        if (locate(&attempt->scratch, "scratch", address, text, size) ||
            locate(&attempt->prepared, "the prepared weights", address, text, size))
            return;
    }
    snprintf(text, size, address ? "at an address in no buffer" : "at an unknown address");
}
