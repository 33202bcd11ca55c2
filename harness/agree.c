/* SPDX-License-Identifier: MIT */
#include "harness/agree.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "harness/diagnose.h"

/* Calls that are made again as they were, to see whether every one fails. */
#define REPEATS 3

/* What may be found of an element, in the order in which it is told. */
enum fault {
    UNWRITTEN, /* by the first attempt */
    LEFT_OVER, /* computed from what scratch or prepared memory held */
    FORBIDDEN,
    OMITTED,  /* by AGAIN, though the first wrote it */
    UNSTEADY, /* other bits in AGAIN than in the first */
    UNFLUSHED /* other bits in FLUSHING */
};

struct found {
    int64_t judged, count, first; /* elements */
};

/* One element that must be written. One of a byte or two may hold a poison by chance: then another
 * attempt or the reference must hold another value. */
static bool is_faulty(const struct job *job, size_t index, int64_t i, enum fault fault)
{
    const struct expectation *x = job->expectation;
    const struct assay_tensor *tensor = &x->item->op->tensors[index];
    const struct guarded *plain = &job->attempts[PLAIN].outputs.buffers[index];
    const struct guarded *again = &job->attempts[AGAIN].outputs.buffers[index];
    size_t bytes = assay_dtype_bytes(tensor->dtype);
    bool chance = bytes < 4;
    bool plain_poison = still_poison(plain, i, bytes, POISON_A);
    bool again_poison = still_poison(again, i, bytes, POISON_B);
    bool equal = elements_equal(tensor, plain->data, again->data, i);
    bool unwritten =
        plain_poison && (again_poison || !chance ||
                         !elements_equal(tensor, x->reference.pointers[index], plain->data, i));
    bool omitted = !unwritten && again_poison && (!chance || !equal);
    switch (fault) {
    case UNWRITTEN: return unwritten;
    case LEFT_OVER:
        return !chance &&
               (still_poison(plain, i, bytes, POISON_B) || still_poison(again, i, bytes, POISON_A));
    case OMITTED: return omitted;
    case UNSTEADY: return !unwritten && !omitted && !equal;
    default:
        return !unwritten && !elements_equal(tensor, plain->data,
                                             job->attempts[FLUSHING].outputs.pointers[index], i);
    }
}

static bool is_overwritten(const struct job *job, size_t index, int64_t i, size_t bytes)
{
    return !still_poison(&job->attempts[PLAIN].outputs.buffers[index], i, bytes, POISON_A) ||
           !still_poison(&job->attempts[AGAIN].outputs.buffers[index], i, bytes, POISON_B);
}

/* Marks the elements of an output tensor. */
static struct found find(const struct job *job, size_t index, enum fault fault, uint8_t *marks)
{
    const struct expectation *x = job->expectation;
    const struct assay_tensor *tensor = &x->item->op->tensors[index];
    struct found found = {.first = -1};
    size_t bytes = assay_dtype_bytes(tensor->dtype);
    int64_t count = tensor->count(x->item->shape);
    for (int64_t i = 0; i < count; i++) {
        marks[i] = MARK_NONE;
        if (expectation_untouched(x, index, i) != (fault == FORBIDDEN))
            continue;
        bool faulty = fault == FORBIDDEN ? is_overwritten(job, index, i, bytes)
                                         : is_faulty(job, index, i, fault);
        marks[i] = faulty ? MARK_WRONG : MARK_RIGHT;
        found.judged++;
        found.count += faulty;
        found.first = faulty && found.first < 0 ? i : found.first;
    }
    return found;
}

/* What is right for an element; NAN if it is not known. */
static double expected_value(const struct job *job, size_t index, int64_t element)
{
    const struct expectation *x = job->expectation;
    const struct assay_tensor *tensor = &x->item->op->tensors[index];
    if (tensor->role == ASSAY_OUT_BITS)
        return element_value(tensor, x->reference.pointers[index], element);
    int64_t columns = tensor->columns(x->item->shape);
    for (int64_t i = 0; i < x->n_columns; i++) {
        if (x->columns[i] == element % columns)
            return expected_of(x, job->kernel)[element / columns * x->n_columns + i].value;
    }
    return NAN;
}

static struct worst show(const struct job *job, size_t index, enum fault fault, int64_t element)
{
    const struct expectation *x = job->expectation;
    const struct assay_tensor *tensor = &x->item->op->tensors[index];
    int64_t columns = tensor->columns(x->item->shape);
    const struct attempt *later = &job->attempts[fault == UNFLUSHED ? FLUSHING : AGAIN];
    const void *plain = job->attempts[PLAIN].outputs.pointers[index];
    struct worst worst = {tensor->name,
                          element / columns,
                          element % columns,
                          element_value(tensor, later->outputs.pointers[index], element),
                          element_value(tensor, plain, element),
                          0,
                          WORST_UNSTEADY};
    if (fault == LEFT_OVER) {
        worst.got = worst.expected;
        worst.expected = expected_value(job, index, element);
        worst.kind = WORST_VALUE;
    } else if (fault == UNWRITTEN || fault == OMITTED) {
        worst.got = NAN;
        worst.expected = expected_value(job, index, element);
        worst.kind = WORST_UNWRITTEN;
    } else if (fault == FORBIDDEN) {
        worst.expected = NAN;
        worst.kind = WORST_FORBIDDEN;
    }
    return worst;
}

/* What is said of the elements; `when` belongs to the faults of later attempts. */
static void say(const struct job *job, size_t index, enum fault fault, const struct found *found,
                const char *when, struct judgement *judgement)
{
    const char *name = job->expectation->item->op->tensors[index].name;
    long long count = found->count, judged = found->judged;
    const char *are = count == 1 ? "is" : "are";
    switch (fault) {
    case UNWRITTEN:
        judge_say(judgement, LAYER_WRITES,
                  "%lld of %lld elements of %s %s not written, or only added to", count, judged,
                  name, are);
        break;
    case LEFT_OVER:
        judge_say(
            judgement, LAYER_WRITES,
            "%lld of %lld elements of %s %s computed from scratch or prepared memory that was "
            "not written",
            count, judged, name, are);
        break;
    case FORBIDDEN:
        judge_say(judgement, LAYER_WRITES,
                  "%lld of %lld elements of %s that must not be written %s written", count, judged,
                  name, are);
        break;
    case OMITTED:
        judge_say(judgement, LAYER_AGAIN, "%s, %lld of %lld elements of %s %s not written", when,
                  count, judged, name, are);
        break;
    default:
        judge_say(judgement, fault == UNSTEADY ? LAYER_AGAIN : LAYER_FLUSHING,
                  "%s, %lld of %lld elements of %s %s", when, count, judged, name,
                  count == 1 ? "changes" : "change");
    }
}

static const char *adjective_of(enum fault fault)
{
    static const char *const adjectives[] = {
        [UNWRITTEN] = "unwritten", [LEFT_OVER] = "wrong",  [FORBIDDEN] = "overwritten",
        [OMITTED] = "unwritten",   [UNSTEADY] = "changed", [UNFLUSHED] = "changed"};
    return adjectives[fault];
}

/* ---- which condition matters ---- */

/* Makes the attempts up to `last` anew, but for a condition; whether that differs from PLAIN. */
static bool differs_without(const struct job *job, enum attempt_index last, enum condition without,
                            bool *differs, struct error *error)
{
    struct job other;
    struct sandbox_result end;
    bool ran = job_make(&other, job->expectation, job->kernel, job->options, error);
    if (ran) {
        struct attempt *again = &other.attempts[AGAIN];
        other.count = last + 1;
        other.without = without;
        if (without == THREADS)
            again->threads = 1;
        if (without == OTHER_POISON) {
            again->poison = POISON_A;
            tensors_poison(&again->outputs, again->poison);
        }
        ran = job_run(&other, &end, error);
        *differs = ran && (end.end != SANDBOX_RETURNED || other.report->finished <= (int)last ||
                           attempts_differ(&other.attempts[PLAIN], &other.attempts[last]));
    }
    job_free(&other);
    return ran;
}

/* How many of some repetitions differ. */
static bool count_differing(const struct job *job, enum condition without, int repeats, int *count,
                            struct error *error)
{
    *count = 0;
    for (int i = 0; i < repeats; i++) {
        bool differs;
        if (!differs_without(job, AGAIN, without, &differs, error))
            return false;
        *count += differs;
    }
    return true;
}

/* When AGAIN differs. Of a difference that comes and goes, only whether it needs threads is asked,
 * as often as it was seen to go. */
static bool find_condition(const struct job *job, char *text, size_t size, struct error *error)
{
    static const struct {
        enum condition condition;
        const char *when;
    } others[] = {
        {USED_SCRATCH, "only when scratch is reused"},
        {ZEROED_INPUT, "only after a call with other values at the same addresses"},
        {SMALL_CALL, "only after a call with a smaller batch"},
        {OTHER_POISON, "depending on what memory held before"},
    };
    int threads = job->attempts[AGAIN].threads, steady, alone;
    if (!count_differing(job, NO_CONDITION, REPEATS, &steady, error) ||
        !count_differing(job, THREADS, steady == REPEATS ? 1 : REPEATS, &alone, error))
        return false;
    const char *sometimes = steady == REPEATS ? "" : ", and not in every run";
    if (alone == 0) {
        snprintf(text, size, "only with %d threads%s", threads, sometimes);
        return true;
    }
    for (size_t i = 0; steady == REPEATS && i < sizeof(others) / sizeof(*others); i++) {
        if (!count_differing(job, others[i].condition, 1, &alone, error))
            return false;
        if (alone == 0) {
            snprintf(text, size, "%s", others[i].when);
            return true;
        }
    }
    snprintf(text, size, "from one call to another%s", sometimes);
    return true;
}

bool flushing_matters(const struct job *job, bool *matters, struct error *error)
{
    bool differs = false;
    if (!job->options->terse && !differs_without(job, FLUSHING, FLUSH, &differs, error))
        return false;
    *matters = !differs;
    return true;
}

/* ---- judging ---- */

/* Of one fault in one tensor; diagnosed if it is the first thing found. */
static bool judge_fault(const struct job *job, size_t index, enum fault fault,
                        struct judgement *judgement, struct error *error)
{
    const struct assay_tensor *tensor = &job->expectation->item->op->tensors[index];
    uint8_t *marks = malloc((size_t)tensor->count(job->expectation->item->shape) + 1);
    if (!marks)
        return fail(error, "out of memory");
    struct found found = find(job, index, fault, marks);
    bool first = judgement->layers == 0, ok = true, flush = true;
    char when[96] = "in a later call";
    if (found.count > 0) {
        if (first && !job->options->terse && (fault == OMITTED || fault == UNSTEADY))
            ok = find_condition(job, when, sizeof(when), error);
        if (fault == UNFLUSHED) {
            ok = !first || flushing_matters(job, &flush, error);
            snprintf(when, sizeof(when), "%s",
                     flush ? "only with FTZ and DAZ set" : "where buffers are less aligned");
        }
        say(job, index, fault, &found, when, judgement);
        judgement->bad += first && fault != UNWRITTEN ? found.count : 0;
        if (ok && first) {
            judgement->worst = show(job, index, fault, found.first);
            ok = diagnose(job, index, marks, found.first, adjective_of(fault), judgement, error);
        }
    }
    free(marks);
    return ok;
}

static bool judge_faults(const struct job *job, enum fault fault, struct judgement *judgement,
                         struct error *error)
{
    const struct assay_op *op = job->expectation->item->op;
    for (size_t i = 0; i < op->n_tensors; i++) {
        if (is_output(&op->tensors[i]) && !judge_fault(job, i, fault, judgement, error))
            return false;
    }
    return true;
}

bool judge_writes(const struct job *job, struct judgement *judgement, struct error *error)
{
    return judge_faults(job, UNWRITTEN, judgement, error) &&
           judge_faults(job, LEFT_OVER, judgement, error) &&
           judge_faults(job, FORBIDDEN, judgement, error);
}

bool judge_agreement(const struct job *job, struct judgement *judgement, struct error *error)
{
    if (job->count <= AGAIN) /* outputs that were computed elsewhere */
        return true;
    return judge_faults(job, OMITTED, judgement, error) &&
           judge_faults(job, UNSTEADY, judgement, error) &&
           (!job->expectation->item->op->any_mxcsr || job->count <= FLUSHING ||
            judgement->layers != 0 || judge_faults(job, UNFLUSHED, judgement, error));
}

void judge_properties(const struct job *job, struct judgement *judgement)
{
    const struct attempt *plain = &job->attempts[PLAIN];
    const struct assay_op *op = plain->outputs.op;
    void *pointers[ASSAY_MAX_TENSORS], *other[ASSAY_MAX_TENSORS];
    attempt_pointers(plain, pointers);
    for (size_t a = FIRST_PROPERTY; a < job->count; a++) {
        const struct attempt *attempt = &job->attempts[a];
        size_t tensor = 0;
        attempt_pointers(attempt, other);
        int64_t broken =
            attempt->property->broken(plain->shape, pointers, attempt->shape, other,
                                      (enum assay_numerics)job->kernel->numerics, &tensor);
        if (broken < 0)
            continue;
        const struct assay_tensor *where = &op->tensors[tensor];
        int64_t columns = where->columns(plain->shape);
        judge_say(judgement, LAYER_PROPERTY, "%s[%lld, %lld] breaks the property: %s", where->name,
                  (long long)(broken / columns), (long long)(broken % columns),
                  attempt->property->name);
    }
}
