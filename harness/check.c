/* SPDX-License-Identifier: MIT */
#include "harness/check.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/attempt.h"
#include "harness/diagnose.h"
#include "harness/random.h"

const char *const verdict_names[VERDICTS] = {"PASS",    "FAIL",       "CRASHED",
                                             "TIMEOUT", "MISTRUSTED", "SKIPPED"};

int threads_of(const struct assay_case *item, const struct check_options *options)
{
    if (item->threads > 0)
        return item->threads;
    return options->threads > 0 ? options->threads : (int)sysconf(_SC_NPROCESSORS_ONLN);
}

/* Compares the outputs of PLAIN and AGAIN with each other and with where the contract wants a
 * write. */
static void judge_writes(const struct job *job, size_t index, struct judgement *judgement)
{
    const struct expectation *x = job->expectation;
    const struct assay_tensor *tensor = &x->item->op->tensors[index];
    const struct guarded *plain = &job->attempts[PLAIN].outputs.buffers[index];
    const struct guarded *again = &job->attempts[AGAIN].outputs.buffers[index];
    size_t bytes = assay_dtype_bytes(tensor->dtype);
    int64_t columns = plain->data ? tensor->columns(x->item->shape) : 1;
    for (int64_t i = 0; i < (int64_t)(plain->bytes / bytes); i++) {
        bool untouched = expectation_untouched(x, index, i);
        bool plain_poison = still_poison(plain, i, bytes, POISON_A);
        bool again_poison = still_poison(again, i, bytes, POISON_B);
        const char *what = NULL;
        enum layer layer = LAYER_WRITES;
        if (untouched && !(plain_poison && again_poison)) {
            what = "is written, which the contract forbids";
        } else if (!untouched && plain_poison && again_poison) {
            what = "is not written";
        } else if (!untouched && !elements_equal(tensor, plain->data, again->data, i)) {
            what = job->report->first_differs || !x->has_copies
                       ? "differs between one thread and several, or with what memory held before"
                       : "differs when its scratch served another call before";
            layer = LAYER_AGAIN;
        }
        if (what) {
            judgement->bad++;
            judge_say(judgement, layer, "%s[%lld, %lld] %s", tensor->name, (long long)(i / columns),
                      (long long)(i % columns), what);
        }
    }
}

static void judge_canaries(const struct job *job, struct judgement *judgement)
{
    const struct assay_op *op = job->expectation->item->op;
    for (size_t a = 0; a < job->count; a++) {
        const struct attempt *attempt = &job->attempts[a];
        for (size_t i = 0; i < op->n_tensors; i++) {
            if (!guarded_canary_intact(&attempt->outputs.buffers[i]))
                judge_say(judgement, LAYER_CANARY, "writes beside %s", op->tensors[i].name);
        }
        if (!guarded_canary_intact(&attempt->scratch) || !guarded_canary_intact(&attempt->prepared))
            judge_say(judgement, LAYER_CANARY, "writes beside its scratch or prepared memory");
    }
}

/* Where the contract promises bits whatever MXCSR says, compares FLUSHING with PLAIN. */
static void judge_flushing_bits(const struct job *job, struct judgement *judgement)
{
    const struct assay_op *op = job->expectation->item->op;
    for (size_t t = 0; t < op->n_tensors; t++) {
        const struct guarded *plain = &job->attempts[PLAIN].outputs.buffers[t];
        int64_t count = (int64_t)(plain->bytes / assay_dtype_bytes(op->tensors[t].dtype));
        for (int64_t i = 0; i < count; i++) {
            if (elements_equal(&op->tensors[t], plain->data,
                               job->attempts[FLUSHING].outputs.buffers[t].data, i))
                continue;
            judge_say(judgement, LAYER_FLUSHING,
                      "%s differs where MXCSR's FTZ and DAZ are set or buffers are less aligned",
                      op->tensors[t].name);
            return;
        }
    }
}

static void judge_properties(const struct job *job, const struct kernel *kernel,
                             struct judgement *judgement)
{
    const struct attempt *plain = &job->attempts[PLAIN];
    void *pointers[ASSAY_MAX_TENSORS], *other[ASSAY_MAX_TENSORS];
    attempt_pointers(plain, pointers);
    for (size_t a = FIRST_PROPERTY; a < job->count; a++) {
        const struct attempt *attempt = &job->attempts[a];
        size_t tensor = 0;
        attempt_pointers(attempt, other);
        int64_t broken =
            attempt->property->broken(plain->shape, pointers, attempt->shape, other,
                                      (enum assay_numerics)kernel->abi->numerics, &tensor);
        if (broken < 0)
            continue;
        const struct assay_tensor *where = &kernel->op->tensors[tensor];
        int64_t columns = where->columns(plain->shape);
        judge_say(judgement, LAYER_PROPERTY, "%s[%lld, %lld] breaks the property: %s", where->name,
                  (long long)(broken / columns), (long long)(broken % columns),
                  attempt->property->name);
    }
}

/* What a kernel's outputs are judged against: the case's expectation, or its own choice where the
 * contract leaves one. */
struct target {
    void *bits[ASSAY_MAX_TENSORS];
    const struct assay_expected *expected;
};

static struct judge_input input_of(const struct job *job, const struct kernel *kernel,
                                   const struct target *target, enum attempt_index index)
{
    const struct expectation *x = job->expectation;
    const struct assay_op *op = x->item->op;
    const void *shape = x->item->shape;
    bool twin = kernel->abi->twin && x->twin && index != FLUSHING;
    return (struct judge_input){
        .numerics = kernel->abi->numerics,
        .depth = job->depth,
        .exact = case_exact(x->item),
        .statistical = x->item->fill.kind == ASSAY_FILL_MODEL && index != FLUSHING,
        .flushing = index == FLUSHING,
        .activations = op->activations ? op->activations(shape) : 1,
        .rows = x->rows,
        .columns = op->tensors[x->real].columns(shape),
        .n_columns = x->n_columns,
        .judged_columns = x->columns,
        .expected = target->expected,
        .twin = twin ? x->twin : NULL,
        .got = job->attempts[index].outputs.pointers[x->real],
    };
}

static void judge_all_bits(const struct job *job, const struct target *target,
                           struct judgement *judgement)
{
    const struct expectation *x = job->expectation;
    const struct assay_op *op = x->item->op;
    for (size_t i = 0; i < op->n_tensors; i++) {
        const struct assay_tensor *tensor = &op->tensors[i];
        if (tensor->role != ASSAY_OUT_BITS)
            continue;
        int64_t columns = tensor->columns(x->item->shape);
        judge_bits(tensor, tensor->count(x->item->shape) / columns, columns, target->bits[i],
                   job->attempts[PLAIN].outputs.pointers[i], judgement);
    }
}

static bool judge_all_reals(const struct job *job, const struct kernel *kernel,
                            const struct target *target, bool *wrong, struct judgement *judgement,
                            struct error *error)
{
    const struct expectation *x = job->expectation;
    const char *name = x->item->op->tensors[x->real].name;
    struct judge_input in = input_of(job, kernel, target, PLAIN);
    in.wrong = wrong;
    if (!judge_real(&in, name, judgement, error))
        return false;
    if (x->item->op->any_mxcsr || judgement->layers || job->count <= FLUSHING)
        return true;
    struct judgement flushing = {0};
    in = input_of(job, kernel, target, FLUSHING);
    if (!judge_real(&in, name, &flushing, error))
        return false;
    if (flushing.reason[0]) {
        judge_say(judgement, LAYER_FLUSHING,
                  "with MXCSR's FTZ and DAZ set, or buffers less aligned, %.150s", flushing.reason);
        judgement->worst = flushing.worst;
    }
    return true;
}

static bool judge_values(const struct job *job, const struct kernel *kernel,
                         const struct target *target, struct judgement *judgement,
                         struct error *error)
{
    const struct expectation *x = job->expectation;
    bool *wrong = calloc((size_t)(x->rows * x->n_columns) + 1, sizeof(*wrong));
    if (!wrong)
        return fail(error, "out of memory");
    judge_all_bits(job, target, judgement);
    bool judged = (x->rows == 0 || judge_all_reals(job, kernel, target, wrong, judgement, error)) &&
                  (judgement->layers == 0 || diagnose(job, target->bits, wrong, judgement, error));
    free(wrong);
    return judged;
}

/* Where the contract leaves a choice, judges against the kernel's own. */
static bool judge_reconciled(const struct job *job, const struct kernel *kernel,
                             struct judgement *judgement, struct error *error)
{
    const struct expectation *x = job->expectation;
    const struct assay_op *op = x->item->op;
    void *got[ASSAY_MAX_TENSORS];
    attempt_pointers(&job->attempts[PLAIN], got);
    struct tensors choice;
    if (!tensors_make(&choice, op, x->item->shape, OUTPUTS, AT_END, PRIVATE, error))
        return false;
    struct target target;
    for (size_t i = 0; i < op->n_tensors; i++) {
        target.bits[i] = is_output(&op->tensors[i]) ? choice.pointers[i] : got[i];
        if (choice.buffers[i].data)
            memcpy(choice.buffers[i].data, x->reference.buffers[i].data, choice.buffers[i].bytes);
    }
    judgement->tie_swaps = op->reconcile(x->item->shape, got, target.bits);
    struct assay_expected *expected = malloc((size_t)(x->rows * x->n_columns) * sizeof(*expected));
    bool judged = false;
    if (!expected) {
        fail(error, "%s: out of memory", x->item->key);
    } else {
        op->oracle(x->item->shape, target.bits, x->real, x->columns, x->n_columns, expected);
        target.expected = expected;
        judged = judge_values(job, kernel, &target, judgement, error);
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

/* The verdict of a kernel that did not return from all its attempts; false if it did. */
static bool judge_end(const struct job *job, const struct sandbox_result *end, double seconds,
                      struct result *result)
{
    struct judgement *judgement = &result->judgement;
    char where[96];
    if (end->end == SANDBOX_TIMED_OUT) {
        result->verdict = TIMEOUT;
        judge_say(judgement, LAYER_TIME, "did not return within %g s", seconds);
    } else if (end->end == SANDBOX_CRASHED && end->signal) {
        result->verdict = CRASHED;
        job_locate(job, end->address, where, sizeof(where));
        judge_say(judgement, LAYER_CRASH, "%s, %s", strsignal(end->signal), where);
    } else if (job->report->refusal[0]) {
        result->verdict = FAIL;
        judge_say(judgement, LAYER_REFUSAL, "refuses a legal call: %s", job->report->refusal);
    } else if (job->report->finished < (int)job->count) {
        result->verdict = CRASHED;
        judge_say(judgement, LAYER_CRASH, "ended the process instead of returning");
    } else {
        return false;
    }
    return true;
}

static bool judge_any_values(const struct job *job, const struct kernel *kernel,
                             struct judgement *judgement, struct error *error)
{
    const struct expectation *x = job->expectation;
    if (x->item->op->reconcile)
        return judge_reconciled(job, kernel, judgement, error);
    struct target target = {.expected = x->expected};
    memcpy(target.bits, x->reference.pointers, sizeof(target.bits));
    return judge_values(job, kernel, &target, judgement, error);
}

static bool judge_outputs(const struct job *job, const struct kernel *kernel,
                          struct judgement *judgement, struct error *error)
{
    const struct assay_op *op = job->expectation->item->op;
    if (!judge_any_values(job, kernel, judgement, error))
        return false;
    for (size_t i = 0; i < op->n_tensors; i++) {
        if (is_output(&op->tensors[i]))
            judge_writes(job, i, judgement);
    }
    if (op->any_mxcsr && judgement->layers == 0 && job->count > FLUSHING)
        judge_flushing_bits(job, judgement);
    judge_properties(job, kernel, judgement);
    judge_canaries(job, judgement);
    if (job->report->float_state_changed)
        judge_say(judgement, LAYER_FLOAT_STATE, "leaves MXCSR or the x87 control word changed");
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
    int64_t prepared =
        kernel->abi->prepared_bytes ? kernel->abi->prepared_bytes(x->item->shape) : 0;
    if (assay_add(shape_bytes(kernel->op, x->item->shape), prepared) > options->memory_bytes)
        return "with its prepared weights the case is over the memory budget";
    return kernel->abi->unsupported ? kernel->abi->unsupported(x->item->shape) : NULL;
}

static void conclude(const struct job *job, struct result *result)
{
    struct judgement *judgement = &result->judgement;
    result->output_hash = outputs_hash(result->item->op, &job->attempts[PLAIN].outputs);
    result->verdict = judgement->layers ? FAIL : judgement->telling ? PASS : MISTRUSTED;
    if (result->verdict == MISTRUSTED)
        snprintf(judgement->reason, sizeof(judgement->reason),
                 "the case cannot tell a wrong kernel from a right one");
}

static bool run_and_judge(struct job *job, const struct kernel *kernel,
                          const struct check_options *options, struct result *result,
                          struct error *error)
{
    struct sandbox_result end;
    int threads = threads_of(result->item, options);
    int64_t depth = kernel->abi->depth ? kernel->abi->depth(result->item->shape) : 1;
    if (depth < 1 || depth > CHECK_MAX_DEPTH) {
        result->verdict = FAIL;
        judge_say(&result->judgement, LAYER_BOUND, "declares a depth of %lld, outside 1..%d",
                  (long long)depth, CHECK_MAX_DEPTH);
        return true;
    }
    if (!job_make(job, job->expectation, kernel->abi, threads, error) ||
        !job_run(job, options->seconds, &end, error))
        return false;
    job->depth = kernel->abi->depth ? depth : 0;
    if (judge_end(job, &end, options->seconds, result))
        return true;
    struct judgement *judgement = &result->judgement;
    if (!judge_outputs(job, kernel, judgement, error))
        return false;
    conclude(job, result);
    return true;
}

static void start_result(const struct expectation *x, const struct kernel *kernel,
                         struct result *result)
{
    *result = (struct result){.item = x->item, .kernel = kernel};
    result->judgement.z_mean = result->judgement.z_mean_square = NAN;
}

bool check_outputs(const struct expectation *x, const struct kernel *kernel, int64_t depth,
                   const struct tensors *outputs, struct result *result, struct error *error)
{
    start_result(x, kernel, result);
    struct job job = {.expectation = x, .kernel = kernel->abi, .depth = depth, .count = 1};
    job.attempts[PLAIN].inputs = &x->inputs[PLAIN];
    job.attempts[PLAIN].outputs = *outputs;
    if (!judge_any_values(&job, kernel, &result->judgement, error))
        return false;
    conclude(&job, result);
    return true;
}

bool check_kernel(const struct expectation *x, const struct kernel *kernel,
                  const struct check_options *options, struct result *result, struct error *error)
{
    start_result(x, kernel, result);
    struct judgement *judgement = &result->judgement;
    char text[96];
    const char *skipped = why_skipped(x, kernel, options, text, sizeof(text));
    if (skipped) {
        result->verdict = SKIPPED;
        snprintf(judgement->reason, sizeof(judgement->reason), "%s", skipped);
        return true;
    }
    struct job job = {.expectation = x};
    bool judged = run_and_judge(&job, kernel, options, result, error);
    job_free(&job);
    return judged;
}
