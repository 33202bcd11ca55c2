/* SPDX-License-Identifier: MIT */
#include "harness/attempt.h"

#include <stdarg.h>
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

/* In the child: says why it goes no further; returns false. */
__attribute__((format(printf, 2, 3))) static bool stop(struct child_report *report,
                                                       const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(report->reason, sizeof(report->reason), format, args);
    va_end(args);
    report->stopped = true;
    return false;
}

/* In the child: asks for an attempt's memory; AGAIN's scratch must do for the smaller call too. */
static bool ask_needs(const struct job *job, size_t index)
{
    const struct assay_kernel *kernel = job->kernel;
    const struct attempt *attempt = &job->attempts[index];
    struct child_report *report = job->report;
    struct needs *needs = &report->needs[index];
    report->stage = STAGE_PREPARED_BYTES;
    if (kernel->prepared_bytes)
        needs->prepared_bytes = kernel->prepared_bytes(attempt->shape);
    if (needs->prepared_bytes < 0)
        return stop(report, "prepared_bytes returned %lld", (long long)needs->prepared_bytes);
    report->stage = STAGE_SCRATCH_BYTES;
    bool twice = index == AGAIN && job->expectation->has_small;
    for (int small = 0; kernel->scratch_bytes && small <= twice; small++) {
        const int64_t *shape = small ? job->expectation->small_shape : attempt->shape;
        int64_t bytes = kernel->scratch_bytes(shape, attempt->threads);
        if (bytes < 0)
            return stop(report, "scratch_bytes returned %lld", (long long)bytes);
        needs->scratch_bytes = bytes > needs->scratch_bytes ? bytes : needs->scratch_bytes;
    }
    report->stage = STAGE_MEMORY;
    const struct assay_case *item = job->expectation->item;
    int64_t tensors = case_bytes(item);
    int64_t bytes = assay_add(tensors, assay_add(needs->prepared_bytes, needs->scratch_bytes));
    if (bytes < 0 || bytes > job->options->memory_bytes)
        return stop(report, "with its prepared weights and scratch the case is over the memory "
                            "budget");
    return true;
}

/* In the child. */
static bool ask(const struct job *job)
{
    const struct assay_kernel *kernel = job->kernel;
    const int64_t *shape = job->expectation->item->shape;
    struct child_report *report = job->report;
    report->stage = STAGE_UNSUPPORTED;
    const char *unsupported = kernel->unsupported ? kernel->unsupported(shape) : NULL;
    if (unsupported)
        return stop(report, "%s",
                    unsupported[0] ? unsupported : "unsupported, it does not say why");
    report->stage = STAGE_DEPTH;
    report->depth = kernel->depth ? kernel->depth(shape) : 1;
    if (report->depth < 1 || report->depth > CHECK_MAX_DEPTH)
        return stop(report, "declares a depth of %lld, outside 1..%d", (long long)report->depth,
                    CHECK_MAX_DEPTH);
    for (size_t i = 0; i < job->count; i++) {
        if (!ask_needs(job, i))
            return false;
    }
    return true;
}

/* In the child: of scratch or prepared memory, so that what is computed from it is told from what is
 * not written. */
static void poison_memory(const struct guarded *memory, enum poison of_outputs)
{
    poison_fill(memory->data, memory->bytes, other_poison(of_outputs));
}

/* In the child: the call itself. */
static const char *call(const struct job *job, const struct attempt *attempt, enum stage stage)
{
    job->report->stage = stage;
    if (job->without == USED_SCRATCH)
        poison_memory(&job->report->scratch, attempt->poison);
    void *pointers[ASSAY_MAX_TENSORS];
    attempt_pointers(attempt, pointers);
    if (job->kernel->prepare)
        pointers_after_prepare(attempt->outputs.op, pointers);
    return job->kernel->run(attempt->shape, pointers, job->report->prepared.data,
                            job->report->scratch.data, attempt->threads);
}

/* In the child: a call with a smaller batch on the same scratch and prepared memory. */
static const char *call_small(const struct job *job, const struct attempt *attempt)
{
    const struct expectation *x = job->expectation;
    if (!x->has_small || job->without == SMALL_CALL)
        return NULL;
    struct attempt small = *attempt;
    memcpy(small.shape, x->small_shape, sizeof(small.shape));
    small.inputs = &x->small_inputs;
    small.outputs = job->small_outputs;
    return call(job, &small, STAGE_SMALL_RUN);
}

bool attempts_differ(const struct attempt *attempt, const struct attempt *other)
{
    const struct assay_op *op = attempt->outputs.op;
    for (size_t t = 0; t < op->n_tensors; t++) {
        const struct guarded *a = &attempt->outputs.buffers[t], *b = &other->outputs.buffers[t];
        size_t bytes = assay_dtype_bytes(op->tensors[t].dtype);
        for (int64_t i = 0; i < (int64_t)(a->bytes / bytes); i++) {
            if (!elements_equal(&op->tensors[t], a->data, b->data, i) &&
                !(still_poison(a, i, bytes, attempt->poison) &&
                  still_poison(b, i, bytes, other->poison)))
                return true;
        }
    }
    return false;
}

/* Packs the weights, which are then read only, as the kernel's pointer to them says. */
static void prepare(const struct job *job, const struct attempt *attempt)
{
    void *pointers[ASSAY_MAX_TENSORS];
    attempt_pointers(attempt, pointers);
    pointers_for_prepare(attempt->outputs.op, pointers);
    job->report->stage = STAGE_PREPARE;
    if (!job->kernel->prepare)
        return;
    guarded_writable(&job->report->prepared);
    job->kernel->prepare(attempt->shape, pointers, job->report->prepared.data, attempt->threads);
    guarded_read_only(&job->report->prepared);
}

/* In the child: zeros in all inputs, weights too if there are copies of them, or what they were. */
static void zero_inputs(const struct job *job, const struct attempt *attempt, bool zero)
{
    const struct expectation *x = job->expectation;
    for (size_t i = 0; i < attempt->outputs.op->n_tensors; i++) {
        const struct guarded *input = &attempt->inputs->buffers[i];
        bool weights = attempt->outputs.op->tensors[i].role == ASSAY_WEIGHTS;
        if (!input->data || (weights && !x->copies_weights))
            continue;
        guarded_writable(input);
        if (zero)
            memset(input->data, 0, input->bytes);
        else
            memcpy(input->data, x->inputs[PLAIN].buffers[i].data, input->bytes);
        guarded_read_only(input);
    }
}

/* In the child: a call while the inputs are all zeros, at the addresses that then hold the case's
 * own data; zeros are legal for every op. Whoever remembers anything by address or shape shows. */
static const char *call_zeroed(const struct job *job, const struct attempt *attempt)
{
    if (job->without == ZEROED_INPUT)
        return NULL;
    zero_inputs(job, attempt, true);
    prepare(job, attempt);
    const char *refusal = call(job, attempt, STAGE_RUN);
    zero_inputs(job, attempt, false);
    tensors_poison(&attempt->outputs, attempt->poison);
    return refusal;
}

/* In the child. */
static const char *make_attempt(const struct job *job, const struct attempt *attempt)
{
    const char *refusal = NULL;
    if (attempt == &job->attempts[AGAIN] && job->expectation->has_copies)
        refusal = call_zeroed(job, attempt);
    prepare(job, attempt);
    refusal = refusal ? refusal : call(job, attempt, STAGE_RUN);
    if (refusal || attempt != &job->attempts[AGAIN] || !job->expectation->has_copies)
        return refusal;
    refusal = call_small(job, attempt);
    tensors_poison(&attempt->outputs, attempt->poison);
    return refusal ? refusal : call(job, attempt, STAGE_RUN);
}

/* In the child: maps the kernel's memory for an attempt. AT_END it is aligned the better the rounder
 * its size; only MISALIGNED shows who wants more than is promised. */
static bool make_memory(const struct job *job, size_t index)
{
    struct error error;
    struct child_report *report = job->report;
    const struct needs *needs = &report->needs[index];
    enum placement placement = index == FLUSHING ? MISALIGNED : AT_END;
    report->stage = STAGE_MEMORY;
    if (!guarded_make(&report->prepared, needs->prepared_bytes, ASSAY_BUFFER_ALIGN, placement,
                      SHARED, &error) ||
        !guarded_make(&report->scratch, needs->scratch_bytes, ASSAY_BUFFER_ALIGN, placement, SHARED,
                      &error))
        return stop(report, "%s", error.text);
    poison_memory(&report->prepared, job->attempts[index].poison);
    poison_memory(&report->scratch, job->attempts[index].poison);
    return true;
}

static void free_memory(struct child_report *report)
{
    if (!guarded_canary_intact(&report->scratch) || !guarded_canary_intact(&report->prepared))
        report->wrote_beside_memory = 1;
    guarded_free(&report->prepared);
    guarded_free(&report->scratch);
}

/* In the child. */
static bool make_judged_attempt(const struct job *job, size_t index)
{
    struct child_report *report = job->report;
    struct float_state initial = float_state_get();
    if (index == FLUSHING && job->without != FLUSH)
        float_state_flush();
    struct float_state before = float_state_get();
    const char *refusal = make_attempt(job, &job->attempts[index]);
    if (!float_state_equal(before, float_state_get()))
        report->float_state_changed = 1;
    float_state_set(initial);
    if (refusal)
        return stop(report, "refuses a legal call: %s", refusal);
    report->finished++;
    return true;
}

/* In the child. */
static void work(void *context)
{
    const struct job *job = context;
    bool going_on = ask(job);
    for (size_t i = 0; going_on && i < job->count; i++) {
        going_on = make_memory(job, i) && make_judged_attempt(job, i);
        free_memory(job->report);
    }
}

bool job_run(struct job *job, struct sandbox_result *end, struct error *error)
{
    return sandbox_run(work, job, job->options->seconds, end, error);
}

static bool make_outputs(struct attempt *attempt, const struct assay_op *op,
                         enum placement placement, struct error *error)
{
    if (!tensors_make(&attempt->outputs, op, attempt->shape, OUTPUTS, placement, SHARED, error))
        return false;
    tensors_poison(&attempt->outputs, attempt->poison);
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
    return make_outputs(attempt, x->item->op, placements[index], error);
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
        !make_outputs(attempt, item->op, AT_END, error))
        return false;
    property->derive(item->shape, x->inputs[PLAIN].pointers, attempt->shape,
                     attempt->own_inputs.pointers);
    for (size_t i = 0; i < item->op->n_tensors; i++)
        guarded_read_only(&attempt->own_inputs.buffers[i]);
    return true;
}

bool job_make(struct job *job, const struct expectation *x, const struct assay_kernel *kernel,
              const struct check_options *options, struct error *error)
{
    *job = (struct job){.expectation = x, .kernel = kernel, .options = options};
    const struct assay_op *op = x->item->op;
    int threads = threads_of(x->item, options);
    if (!guarded_make_aligned(&job->report_memory, sizeof(struct child_report), error) ||
        !make_case_attempt(job, PLAIN, 1, error) ||
        !make_case_attempt(job, AGAIN, threads < 3 ? 3 : threads, error) ||
        (x->has_copies && !make_case_attempt(job, FLUSHING, 2, error)))
        return false;
    job->report = (struct child_report *)job->report_memory.data;
    memset(job->report, 0, sizeof(*job->report));
    if (x->has_small &&
        !tensors_make(&job->small_outputs, op, x->small_shape, OUTPUTS, AT_END, PRIVATE, error))
        return false;
    for (size_t i = 0; x->copies_weights && i < op->n_properties && job->count < MAX_ATTEMPTS;
         i++) {
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
    }
    tensors_free(&job->small_outputs);
    guarded_free(&job->report_memory);
}
