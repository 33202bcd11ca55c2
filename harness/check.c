/* SPDX-License-Identifier: MIT */
#include "harness/check.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness/float_state.h"
#include "harness/random.h"
#include "harness/sandbox.h"

const char *const verdict_names[VERDICTS] = {"PASS",    "FAIL",       "CRASHED",
                                             "TIMEOUT", "MISTRUSTED", "SKIPPED"};

/* One run of a kernel, as the child sees it. */
struct attempt {
    int threads;
    enum poison poison;
    const struct tensors *inputs;
    struct tensors outputs; /* SHARED */
    struct guarded prepared, scratch;
};

/* What the child tells the parent. */
struct report {
    int finished; /* attempts */
    int float_state_changed;
    char refusal[128];
};

struct job {
    const struct assay_case *item;
    const struct assay_kernel *kernel;
    struct attempt attempts[2];
    struct report *report; /* SHARED */
};

int threads_of(const struct assay_case *item, const struct check_options *options)
{
    if (item->threads > 0)
        return item->threads;
    return options->threads > 0 ? options->threads : (int)sysconf(_SC_NPROCESSORS_ONLN);
}

static void arguments_of(const struct assay_op *op, const struct attempt *attempt, void **pointers)
{
    for (size_t i = 0; i < op->n_tensors; i++)
        pointers[i] = is_output(&op->tensors[i]) ? attempt->outputs.pointers[i]
                                                 : attempt->inputs->pointers[i];
}

/* In the child. */
static void run_job(void *context)
{
    struct job *job = context;
    const struct assay_kernel *kernel = job->kernel;
    const void *shape = job->item->shape;
    for (int i = 0; i < 2; i++) {
        struct attempt *attempt = &job->attempts[i];
        void *pointers[ASSAY_MAX_TENSORS];
        arguments_of(job->item->op, attempt, pointers);
        struct float_state before = float_state_get();
        if (kernel->prepare)
            kernel->prepare(shape, pointers, attempt->prepared.data, attempt->threads);
        const char *refusal = kernel->run(shape, pointers, attempt->prepared.data,
                                          attempt->scratch.data, attempt->threads);
        if (!float_state_equal(before, float_state_get()))
            job->report->float_state_changed = 1;
        if (refusal) {
            snprintf(job->report->refusal, sizeof(job->report->refusal), "%s", refusal);
            return;
        }
        job->report->finished++;
    }
}

static bool attempt_make(struct attempt *attempt, const struct expectation *x,
                         const struct assay_kernel *kernel, enum poison poison, int threads,
                         struct error *error)
{
    const struct assay_op *op = x->item->op;
    const void *shape = x->item->shape;
    enum placement placement = poison == POISON_A ? AT_END : AT_START;
    bool copied = x->inputs_b.op != NULL;
    *attempt = (struct attempt){
        .threads = threads,
        .poison = poison,
        .inputs = poison == POISON_B && copied ? &x->inputs_b : &x->inputs,
    };
    int64_t prepared = kernel->prepared_bytes ? kernel->prepared_bytes(shape) : 0;
    int64_t scratch = kernel->scratch_bytes ? kernel->scratch_bytes(shape, threads) : 0;
    if (prepared < 0 || scratch < 0)
        return fail(error, "%s: %s: size of scratch or prepared memory overflows", x->item->key,
                    kernel->name);
    if (!tensors_make(&attempt->outputs, op, shape, OUTPUTS, placement, SHARED, error) ||
        !guarded_make_aligned(&attempt->prepared, prepared, error) ||
        !guarded_make_aligned(&attempt->scratch, scratch, error))
        return false;
    for (size_t i = 0; i < op->n_tensors; i++)
        poison_fill(attempt->outputs.buffers[i].data, attempt->outputs.buffers[i].bytes, poison);
    poison_fill(attempt->prepared.data, attempt->prepared.bytes, poison);
    poison_fill(attempt->scratch.data, attempt->scratch.bytes, poison);
    return true;
}

static void attempt_free(struct attempt *attempt)
{
    tensors_free(&attempt->outputs);
    guarded_free(&attempt->prepared);
    guarded_free(&attempt->scratch);
}

/* "3 bytes past the end of ids", if the address is near one of the buffers. */
static bool locate(const struct guarded *buffer, const char *name, uintptr_t address, char *text,
                   size_t size)
{
    uintptr_t map = (uintptr_t)buffer->map, data = (uintptr_t)buffer->data;
    if (!buffer->map || address < map || address >= map + buffer->map_bytes)
        return false;
    if (address >= data + buffer->bytes)
        snprintf(text, size, "%zu bytes past the end of %s",
                 (size_t)(address - data - buffer->bytes) + 1, name);
    else if (address < data)
        snprintf(text, size, "%zu bytes before the start of %s", (size_t)(data - address), name);
    else
        snprintf(text, size, "at byte %zu of %s, which is read-only", (size_t)(address - data),
                 name);
    return true;
}

static void locate_crash(const struct job *job, uintptr_t address, char *text, size_t size)
{
    const struct assay_op *op = job->item->op;
    for (int a = 0; a < 2; a++) {
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

static bool still_poison(const struct guarded *buffer, int64_t element, size_t bytes,
                         enum poison poison)
{
    size_t offset = (size_t)element * bytes;
    for (size_t i = offset; i < offset + bytes; i++) {
        if (buffer->data[i] != poison_byte(i, poison))
            return false;
    }
    return true;
}

static bool elements_agree(const struct assay_tensor *tensor, const uint8_t *a, const uint8_t *b,
                           size_t bytes)
{
    if (memcmp(a, b, bytes) == 0)
        return true;
    if (tensor->dtype != ASSAY_DTYPE_F32)
        return false;
    float x, y;
    memcpy(&x, a, 4);
    memcpy(&y, b, 4);
    return same_bits(x, y);
}

/* Whether the contract says that a row of the ASSAY_OUT_REAL tensor is not written. */
static bool row_untouched(const struct expectation *x, int64_t row)
{
    return x->expected[row * x->n_columns].untouched;
}

/* Compares both runs' outputs with each other and with where the contract wants a write. */
static void judge_writes(const struct expectation *x, const struct job *job, size_t index,
                         struct judgement *judgement)
{
    const struct assay_tensor *tensor = &x->item->op->tensors[index];
    const struct guarded *a = &job->attempts[0].outputs.buffers[index];
    const struct guarded *b = &job->attempts[1].outputs.buffers[index];
    const struct guarded *reference_a = &x->reference.buffers[index];
    const struct guarded *reference_b = &x->reference_b.buffers[index];
    size_t bytes = assay_dtype_bytes(tensor->dtype);
    int64_t columns = a->data ? tensor->columns(x->item->shape) : 1;
    for (int64_t i = 0; i < (int64_t)(a->bytes / bytes); i++) {
        bool untouched = tensor->role == ASSAY_OUT_REAL
                             ? row_untouched(x, i / columns)
                             : still_poison(reference_a, i, bytes, POISON_A) &&
                                   still_poison(reference_b, i, bytes, POISON_B);
        bool a_poison = still_poison(a, i, bytes, POISON_A);
        bool b_poison = still_poison(b, i, bytes, POISON_B);
        const char *what = NULL;
        if (untouched && !(a_poison && b_poison))
            what = "is written, which the contract forbids";
        else if (!untouched && a_poison && b_poison)
            what = "is not written";
        else if (!untouched && !elements_agree(tensor, a->data + (size_t)i * bytes,
                                               b->data + (size_t)i * bytes, bytes))
            what = "differs between two runs that differ in threads, poison and alignment";
        if (what) {
            judgement->bad++;
            judge_say(judgement, "%s[%lld, %lld] %s", tensor->name, (long long)(i / columns),
                      (long long)(i % columns), what);
        }
    }
    if (!guarded_canary_intact(a) || !guarded_canary_intact(b)) {
        judgement->bad++;
        judge_say(judgement, "writes outside of %s", tensor->name);
    }
}

static void judge_all_writes(const struct expectation *x, const struct job *job,
                             struct judgement *judgement)
{
    for (size_t i = 0; i < x->item->op->n_tensors; i++) {
        if (is_output(&x->item->op->tensors[i]))
            judge_writes(x, job, i, judgement);
    }
    for (int a = 0; a < 2; a++) {
        if (!guarded_canary_intact(&job->attempts[a].scratch) ||
            !guarded_canary_intact(&job->attempts[a].prepared)) {
            judgement->bad++;
            judge_say(judgement, "writes outside of its scratch or prepared memory");
        }
    }
    if (job->report->float_state_changed) {
        judgement->bad++;
        judge_say(judgement, "leaves MXCSR or the x87 control word changed");
    }
}

/* Judges run A's values. `expected_bits`: the reference's outputs, after any reconciliation. */
static bool judge_values(const struct expectation *x, const struct kernel *kernel,
                         const struct job *job, void *const *expected_bits,
                         const struct assay_expected *expected, struct judgement *judgement,
                         struct error *error)
{
    const struct assay_op *op = x->item->op;
    const void *shape = x->item->shape;
    for (size_t i = 0; i < op->n_tensors; i++) {
        const struct assay_tensor *tensor = &op->tensors[i];
        if (tensor->role != ASSAY_OUT_BITS)
            continue;
        int64_t columns = tensor->columns(shape);
        judge_bits(tensor, tensor->count(shape) / columns, columns, expected_bits[i],
                   job->attempts[0].outputs.pointers[i], judgement);
    }
    if (x->rows == 0)
        return true;
    bool twin = kernel->abi->twin && x->twin;
    struct judge_input in = {
        .numerics = kernel->abi->numerics,
        .depth = kernel->abi->depth ? kernel->abi->depth(shape) : 0,
        .exact = x->item->fill.kind == ASSAY_FILL_EXACT && (!op->exact || op->exact(shape)),
        .statistical = x->item->fill.kind == ASSAY_FILL_MODEL,
        .activations = op->activations ? op->activations(shape) : 1,
        .rows = x->rows,
        .columns = op->tensors[x->real].columns(shape),
        .n_columns = x->n_columns,
        .judged_columns = x->columns,
        .expected = expected,
        .twin = twin ? x->twin : NULL,
        .got = job->attempts[0].outputs.pointers[x->real],
    };
    return judge_real(&in, op->tensors[x->real].name, judgement, error);
}

/* Where the contract leaves a choice, judges against the kernel's own. */
static bool judge_reconciled(const struct expectation *x, const struct kernel *kernel,
                             const struct job *job, struct judgement *judgement,
                             struct error *error)
{
    const struct assay_op *op = x->item->op;
    void *got[ASSAY_MAX_TENSORS];
    arguments_of(op, &job->attempts[0], got);
    struct tensors choice;
    if (!tensors_make(&choice, op, x->item->shape, OUTPUTS, AT_END, PRIVATE, error))
        return false;
    for (size_t i = 0; i < op->n_tensors; i++) {
        if (is_output(&op->tensors[i]))
            memcpy(choice.buffers[i].data, x->reference.buffers[i].data, choice.buffers[i].bytes);
        else
            choice.pointers[i] = x->inputs.pointers[i];
    }
    judgement->tie_swaps = op->reconcile(x->item->shape, got, choice.pointers);
    size_t count = (size_t)(x->rows * x->n_columns);
    struct assay_expected *expected = malloc(count * sizeof(*expected));
    bool judged = false;
    if (!expected) {
        fail(error, "%s: out of memory", x->item->key);
    } else {
        op->oracle(x->item->shape, choice.pointers, x->real, x->columns, x->n_columns, expected);
        judged = judge_values(x, kernel, job, choice.pointers, expected, judgement, error);
    }
    free(expected);
    tensors_free(&choice);
    return judged;
}

uint64_t outputs_hash(const struct assay_op *op, const struct tensors *outputs)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < op->n_tensors; i++) {
        if (is_output(&op->tensors[i]))
            hash = hash_bytes(outputs->buffers[i].data, outputs->buffers[i].bytes, hash);
    }
    return hash;
}

static bool judge_job(const struct expectation *x, const struct kernel *kernel,
                      const struct job *job, const struct sandbox_result *end, double seconds,
                      struct result *result, struct error *error)
{
    struct judgement *judgement = &result->judgement;
    result->verdict = FAIL;
    if (end->end == SANDBOX_TIMED_OUT) {
        result->verdict = TIMEOUT;
        judge_say(judgement, "did not return within %g s", seconds);
        return true;
    }
    bool left = job->report->finished < 2 && !job->report->refusal[0];
    if (end->end == SANDBOX_CRASHED || left) {
        char where[96];
        locate_crash(job, end->address, where, sizeof(where));
        result->verdict = CRASHED;
        if (end->signal)
            judge_say(judgement, "%s, %s", strsignal(end->signal), where);
        else
            judge_say(judgement, "ended the process instead of returning");
        return true;
    }
    if (job->report->refusal[0]) {
        judge_say(judgement, "refuses a legal call: %.100s", job->report->refusal);
        return true;
    }
    bool judged = x->item->op->reconcile ? judge_reconciled(x, kernel, job, judgement, error)
                                         : judge_values(x, kernel, job, x->reference.pointers,
                                                        x->expected, judgement, error);
    if (!judged)
        return false;
    judge_all_writes(x, job, judgement);
    result->output_hash = outputs_hash(x->item->op, &job->attempts[0].outputs);
    if (judgement->reason[0])
        return true;
    result->verdict = judgement->telling ? PASS : MISTRUSTED;
    if (result->verdict == MISTRUSTED)
        judge_say(judgement, "the case cannot tell a wrong kernel from a right one");
    return true;
}

static const char *why_skipped(const struct expectation *x, const struct kernel *kernel,
                               const struct check_options *options, char *text, size_t size)
{
    if (kernel->missing) {
        snprintf(text, size, "this machine lacks %s", kernel->missing);
        return text;
    }
    if (strcmp(kernel->abi->tier, "ref") == 0 && case_work(x->item) > (double)options->max_ref)
        return "the ref tier is checked on smaller shapes";
    return kernel->abi->unsupported ? kernel->abi->unsupported(x->item->shape) : NULL;
}

bool check_kernel(const struct expectation *x, const struct kernel *kernel,
                  const struct check_options *options, struct result *result, struct error *error)
{
    *result = (struct result){.item = x->item, .kernel = kernel};
    result->judgement.z_mean = result->judgement.z_mean_square = NAN;
    char text[96];
    const char *skipped = why_skipped(x, kernel, options, text, sizeof(text));
    if (skipped) {
        result->verdict = SKIPPED;
        judge_say(&result->judgement, "%s", skipped);
        return true;
    }
    int threads = threads_of(x->item, options);
    struct job job = {.item = x->item, .kernel = kernel->abi};
    struct guarded report;
    if (!guarded_make(&report, sizeof(struct report), AT_START, SHARED, error))
        return false;
    job.report = (struct report *)report.data;
    struct sandbox_result end;
    bool judged = attempt_make(&job.attempts[0], x, kernel->abi, POISON_A, 1, error) &&
                  attempt_make(&job.attempts[1], x, kernel->abi, POISON_B,
                               threads < 2 ? 2 : threads, error) &&
                  sandbox_run(run_job, &job, options->seconds, &end, error) &&
                  judge_job(x, kernel, &job, &end, options->seconds, result, error);
    attempt_free(&job.attempts[0]);
    attempt_free(&job.attempts[1]);
    guarded_free(&report);
    return judged;
}
