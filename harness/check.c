/* SPDX-License-Identifier: MIT */
#include "harness/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/agree.h"
#include "harness/attempt.h"
#include "harness/crash.h"
#include "harness/diagnose.h"
#include "harness/random.h"
#include "harness/text.h"

/* Timeouts of a kernel in a run after which its other cases are skipped. */
#define MAX_TIMEOUTS 3

const char *const verdict_names[VERDICTS] = {"PASS",    "FAIL",       "CRASHED",
                                             "TIMEOUT", "MISTRUSTED", "SKIPPED"};

int threads_of(const struct assay_case *item, const struct check_options *options)
{
    if (item->threads > 0)
        return item->threads;
    return options->threads > 0 ? options->threads : (int)sysconf(_SC_NPROCESSORS_ONLN);
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
    }
    if (job->report->wrote_beside_memory)
        judge_say(judgement, LAYER_CANARY, "writes beside its scratch or prepared memory");
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
    const float *twin = x->twin[kernel->abi->numerics];
    return (struct judge_input){
        .numerics = kernel->abi->numerics,
        .depth = job->report->depth,
        .exact = case_exact(x->item),
        /* Rows of a file's weights may have much in common, and then their errors have too. */
        .statistical =
            x->item->fill.kind == ASSAY_FILL_MODEL && !x->item->weights && index != FLUSHING,
        /* Given the weights, from wherever they are; but not where sums feed each other. */
        .independent = x->item->fill.kind == ASSAY_FILL_MODEL && op->activations && !op->chain,
        .flushing = index == FLUSHING,
        .activations = op->activations ? op->activations(shape) : 1,
        .rows = x->rows,
        .columns = op->tensors[x->real].columns(shape),
        .n_columns = x->n_columns,
        .judged_columns = x->columns,
        .expected = target->expected,
        .twin = kernel->abi->twin && index != FLUSHING ? twin : NULL,
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

/* Judges the attempt with MXCSR's flush bits set. */
static bool judge_flushing(const struct job *job, const struct kernel *kernel,
                           const struct target *target, bool *wrong, struct judgement *judgement,
                           struct error *error)
{
    struct judgement flushing = {0};
    struct judge_input in = input_of(job, kernel, target, FLUSHING);
    in.wrong = wrong;
    bool matters = true;
    if (!judge_real(&in, job->expectation->item->op->tensors[job->expectation->real].name,
                    &flushing, error) ||
        (flushing.reason[0] && !flushing_matters(job, &matters, error)))
        return false;
    if (flushing.reason[0]) {
        judge_say(judgement, LAYER_FLUSHING, "%s, %.150s",
                  matters ? "only with FTZ and DAZ set" : "where buffers are less aligned",
                  flushing.reason);
        judgement->worst = flushing.worst;
    }
    return !flushing.reason[0] || diagnose_values(job, target->bits, wrong, judgement, error);
}

/* Judges the first attempt. What was told before stays told. */
static bool judge_plain(const struct job *job, const struct kernel *kernel,
                        const struct target *target, bool *wrong, struct judgement *judgement,
                        struct error *error)
{
    const struct expectation *x = job->expectation;
    bool first = judgement->layers == 0;
    struct worst told = judgement->worst;
    judge_all_bits(job, target, judgement);
    bool is_told = judgement->layers != 0;
    if (first)
        told = judgement->worst;
    if (x->rows > 0) {
        struct judge_input in = input_of(job, kernel, target, PLAIN);
        in.wrong = wrong;
        if (!judge_real(&in, x->item->op->tensors[x->real].name, judgement, error))
            return false;
    }
    if (is_told)
        judgement->worst = told;
    return !first || !judgement->layers ||
           diagnose_values(job, target->bits, wrong, judgement, error);
}

static bool judge_values(const struct job *job, const struct kernel *kernel,
                         const struct target *target, struct judgement *judgement,
                         struct error *error)
{
    const struct expectation *x = job->expectation;
    bool *wrong = calloc((size_t)(x->rows * x->n_columns) + 1, sizeof(*wrong));
    if (!wrong)
        return fail(error, "out of memory");
    bool judged = judge_plain(job, kernel, target, wrong, judgement, error) &&
                  judge_agreement(job, judgement, error);
    if (judged && x->rows > 0 && !x->item->op->any_mxcsr && !judgement->layers &&
        job->count > FLUSHING)
        judged = judge_flushing(job, kernel, target, wrong, judgement, error);
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
        bool rounded = kernel->abi->numerics == ASSAY_F16;
        target.expected = expected;
        judged = op->oracle(x->item->shape, target.bits, x->real, rounded ? ASSAY_F16 : ASSAY_F32,
                            x->columns, x->n_columns, expected)
                     ? judge_values(job, kernel, &target, judgement, error)
                     : fail(error, "%s: out of memory", x->item->key);
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

/* Where a kernel may end, and what its giving a reason there means. */
static const struct {
    const char *name;
    enum verdict verdict;
    enum layer layer;
} stages[STAGES] = {
    [STAGE_UNSUPPORTED] = {"unsupported", SKIPPED, LAYERS},
    [STAGE_DEPTH] = {"depth", FAIL, LAYER_BOUND},
    [STAGE_PREPARED_BYTES] = {"prepared_bytes", FAIL, LAYER_REFUSAL},
    [STAGE_SCRATCH_BYTES] = {"scratch_bytes", FAIL, LAYER_REFUSAL},
    [STAGE_MEMORY] = {"the filling of its memory", SKIPPED, LAYERS},
    [STAGE_PREPARE] = {"prepare", CRASHED, LAYER_CRASH},
    [STAGE_RUN] = {"run", FAIL, LAYER_REFUSAL},
    [STAGE_SMALL_RUN] = {"run", FAIL, LAYER_REFUSAL},
};

/* The verdict of a kernel that did not return from all its attempts; false if it did. */
static bool judge_end(const struct job *job, const struct sandbox_result *end,
                      struct result *result)
{
    struct judgement *judgement = &result->judgement;
    char when[160], text[256];
    enum stage stage = job->report->stage < STAGES ? job->report->stage : STAGE_RUN;
    const char *name = stages[stage].name;
    crash_when(job, when, sizeof(when));
    if (end->end == SANDBOX_TIMED_OUT) {
        result->verdict = TIMEOUT;
        judge_say(judgement, LAYER_TIME, "%s did not return within %g s%s", name,
                  job->options->seconds, when);
    } else if (end->end == SANDBOX_CRASHED && end->signal) {
        result->verdict = CRASHED;
        crash_say(job, end, name, text, sizeof(text));
        judge_say(judgement, LAYER_CRASH, "%s%s", text, when);
    } else if (job->report->stopped) {
        result->verdict = stages[stage].verdict;
        text_escape(text, sizeof(text), job->report->reason, sizeof(job->report->reason));
        if (result->verdict == SKIPPED)
            snprintf(judgement->reason, sizeof(judgement->reason), "%s", text);
        else
            judge_say(judgement, stages[stage].layer, "%s", text);
    } else if (job->report->finished < (int)job->count) {
        result->verdict = CRASHED;
        judge_say(judgement, LAYER_CRASH, "%s ended the process instead of returning%s", name,
                  when);
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
    struct target target = {.expected = expected_of(x, kernel->abi)};
    memcpy(target.bits, x->reference.pointers, sizeof(target.bits));
    return judge_values(job, kernel, &target, judgement, error);
}

static bool judge_outputs(const struct job *job, const struct kernel *kernel,
                          struct judgement *judgement, struct error *error)
{
    if (!judge_writes(job, judgement, error) || !judge_any_values(job, kernel, judgement, error))
        return false;
    if (judgement->judged == 0) /* nothing is to be written: whoever writes was seen */
        judgement->telling = true;
    bool right = judgement->layers == 0;
    judge_properties(job, judgement);
    judge_canaries(job, judgement);
    if (job->report->float_state_changed)
        judge_say(judgement, LAYER_FLOAT_STATE, "leaves MXCSR or the x87 control word changed");
    if (right && judgement->layers) /* no element is to blame */
        judgement->worst = (struct worst){0};
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
    if (kernel->timeouts >= MAX_TIMEOUTS) {
        snprintf(text, size, "%s timed out %d times before", kernel->label, kernel->timeouts);
        return text;
    }
    return NULL;
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
    if (!job_make(job, job->expectation, kernel->abi, options, error) || !job_run(job, &end, error))
        return false;
    if (judge_end(job, &end, result))
        return true;
    struct judgement *judgement = &result->judgement;
    if (!judge_outputs(job, kernel, judgement, error))
        return false;
    const struct needs *plain = &job->report->needs[PLAIN], *again = &job->report->needs[AGAIN];
    result->needs = *plain;
    if (again->scratch_bytes > plain->scratch_bytes)
        result->needs.scratch_bytes = again->scratch_bytes;
    conclude(job, result);
    return true;
}

static void start_result(const struct expectation *x, const struct kernel *kernel,
                         struct result *result)
{
    *result = (struct result){.item = x->item, .kernel = kernel};
    result->judgement.z_mean = result->judgement.z_mean_square = result->judgement.z_max = NAN;
}

bool check_outputs(const struct expectation *x, const struct kernel *kernel, int64_t depth,
                   const struct tensors *outputs, struct result *result, struct error *error)
{
    static const struct check_options options = {0};
    start_result(x, kernel, result);
    struct child_report report = {.depth = depth};
    struct job job = {
        .expectation = x,
        .kernel = kernel->abi,
        .options = &options,
        .count = 1,
        .report = &report,
    };
    job.attempts[PLAIN].inputs = &x->inputs[PLAIN];
    job.attempts[PLAIN].outputs = *outputs;
    if (!judge_any_values(&job, kernel, &result->judgement, error))
        return false;
    conclude(&job, result);
    if (result->judgement.judged == 0 && result->verdict == MISTRUSTED) {
        result->verdict = SKIPPED;
        snprintf(result->judgement.reason, sizeof(result->judgement.reason),
                 "the contract leaves all outputs alone");
    }
    return true;
}

bool check_kernel(const struct expectation *x, const struct kernel *kernel,
                  const struct check_options *options, struct result *result, struct error *error)
{
    start_result(x, kernel, result);
    struct judgement *judgement = &result->judgement;
    char text[256];
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
