/* SPDX-License-Identifier: MIT */
#include "harness/investigate.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness/shrink.h"

/* Blocks of the inner dimension that are tried one by one, and how many are named. */
enum { MAX_PROBED = 64, MAX_NAMED = 4 };

/* Of the time; what the search leaves over is for confirming its find and for the k blocks. */
#define SEARCH_SHARE 0.7

struct trial {
    const struct kernel *kernel;
    struct check_options options;
    bool timed_out; /* then nothing more is asked: every answer might cost the time limit */
};

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool still_fails(const struct assay_case *item, void *context, bool *fails,
                        struct error *error)
{
    struct trial *trial = context;
    struct expectation x;
    struct result result;
    *fails = false;
    if (trial->timed_out)
        return true;
    if (!expectation_make(&x, item, expectation_needs(trial->kernel->abi), &trial->options, error))
        return false;
    bool checked = check_kernel(&x, trial->kernel, &trial->options, &result, error);
    *fails = checked && (result.verdict == FAIL || result.verdict == CRASHED);
    trial->timed_out = checked && result.verdict == TIMEOUT;
    expectation_free(&x);
    return checked;
}

__attribute__((format(printf, 2, 3))) static void add(struct judgement *judgement,
                                                      const char *format, ...)
{
    size_t used = strlen(judgement->explanation), size = sizeof(judgement->explanation);
    va_list args;
    va_start(args, format);
    vsnprintf(judgement->explanation + used, size - used, format, args);
    va_end(args);
}

static void say_blocks(const int *wrong, int n_wrong, int blocks, struct judgement *judgement)
{
    const char *space = judgement->explanation[0] ? " " : "";
    if (n_wrong == 0 || n_wrong == blocks)
        return;
    add(judgement, "%sOf %d k blocks, tried one by one, ", space, blocks);
    if (n_wrong == 1) {
        add(judgement, "only k block %d%s is wrong.", wrong[0],
            wrong[0] == blocks - 1 ? " (the last)" : "");
    } else if (wrong[n_wrong - 1] - wrong[0] == n_wrong - 1) {
        add(judgement, "k blocks %d to %d are wrong.", wrong[0], wrong[n_wrong - 1]);
    } else if (n_wrong <= MAX_NAMED) {
        add(judgement, "k blocks ");
        for (int i = 0; i < n_wrong; i++)
            add(judgement, "%s%d", i == 0 ? "" : i + 1 < n_wrong ? ", " : " and ", wrong[i]);
        add(judgement, " are wrong.");
    } else {
        add(judgement, "%d are wrong.", n_wrong);
    }
}

/* Says which blocks of the inner dimension the kernel gets wrong, if not all of them and if there is
 * time to try them all. */
static bool probe_blocks(struct trial *trial, const struct assay_case *failing, double deadline,
                         struct judgement *judgement, struct error *error)
{
    struct assay_case item = *failing;
    int wrong[MAX_PROBED], n_wrong = 0, blocks = 0;
    if (!item.op->isolate)
        return true;
    for (; item.op->isolate(item.shape, NULL, blocks); blocks++) {
        bool fails;
        if (blocks == MAX_PROBED || seconds_now() >= deadline)
            return true;
        item.isolated = blocks + 1;
        if (!still_fails(&item, trial, &fails, error))
            return false;
        if (fails)
            wrong[n_wrong++] = blocks;
    }
    if (!trial->timed_out)
        say_blocks(wrong, n_wrong, blocks, judgement);
    return true;
}

bool investigate(struct result *result, const struct check_options *options, double seconds,
                 struct error *error)
{
    struct judgement *judgement = &result->judgement;
    struct trial trial = {result->kernel, *options, false};
    trial.options.terse = true;
    trial.options.seconds = fmin(options->seconds, seconds);
    double deadline = seconds_now() + seconds;
    struct cases smallest = {0};
    bool steady = true;
    if (!shrink_case(result->item, still_fails, &trial, SEARCH_SHARE * seconds, &smallest, error) ||
        (!trial.timed_out && !shrink_confirm(result->item, still_fails, &trial,
                                             deadline - seconds_now(), &smallest, &steady, error)))
        return false;
    result->smallest = strdup(smallest.items[0].key);
    cases_free(&smallest);
    if (!result->smallest)
        return fail(error, "out of memory");
    if (!steady && !trial.timed_out)
        add(judgement, "%sNot every run fails.", judgement->explanation[0] ? " " : "");
    return result->verdict != FAIL || !steady ||
           probe_blocks(&trial, result->item, deadline, judgement, error);
}
