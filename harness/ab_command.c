/* SPDX-License-Identifier: MIT */
#include "harness/ab_command.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/ab.h"
#include "harness/context.h"
#include "harness/interrupt.h"
#include "harness/load.h"
#include "harness/revision.h"
#include "harness/sandbox.h"
#include "harness/terminal.h"

#define AB_TAG        "ab"
#define AB_SECONDS    3
#define AB_MAX_REF    ((int64_t)1000000000) /* multiply-adds: seconds of a check */
#define AB_MAX_ORACLE ((int64_t)1 << 28)

enum { EXIT_BAD = 2 };

/* What is compared, as the user named it, and where its library is. */
struct side {
    char name[128];
    char path[PATH_MAX];
};

/* ---- libraries ---- */

static bool load_side(struct ab *ab, int side, const char *path, const struct options *options,
                      struct error *error)
{
    struct kernels *kernels = &ab->kernels[side];
    kernels->plain = true;
    if (!kernels_open(kernels, path, options->features, error) ||
        !kernels_select(kernels, options->selected, error))
        return false;
    ab->files[side] = options->no_fork ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    return options->no_fork || ab->files[side] >= 0 || fail(error, "%s: cannot be read", path);
}

static bool load_sides(struct ab *ab, const struct side *sides, const struct options *options,
                       struct error *error)
{
    for (int side = AB_OLD; side < AB_SIDES; side++) {
        if (!load_side(ab, side, sides[side].path, options, error))
            return false;
    }
    return true;
}

static bool build_sides(struct ab *ab, struct side *sides, const char *second,
                        const struct options *options, struct error *error)
{
    struct revisions revisions;
    const char *names[] = {options->revision, second};
    bool built = revisions_open(&revisions, error);
    for (int side = AB_OLD; built && side < AB_SIDES; side++)
        built = revisions_add(&revisions, names[side], sides[side].name, error);
    for (int side = AB_OLD; built && side < AB_SIDES; side++) {
        if (isatty(STDERR_FILENO))
            fprintf(stderr, "building %s\n", sides[side].name);
        built =
            revisions_build(&revisions, (size_t)side, sides[side].path, sides[side].name, error);
    }
    built = built && load_sides(ab, sides, options, error);
    revisions_close(&revisions);
    return built;
}

/* ---- what is asked ---- */

/* Libraries and the arguments that are left: paths of cases. */
static bool load_both(struct ab *ab, struct side *sides, const struct options *options,
                      size_t *first_path, struct error *error)
{
    *first_path = 0;
    if (options->revision) {
        /* As with git, what is a file is a path and no revision. */
        bool second = options->n_arguments > 0 && access(options->arguments[0], F_OK) != 0;
        *first_path = second;
        return build_sides(ab, sides, second ? options->arguments[0] : NULL, options, error);
    }
    *first_path = AB_SIDES;
    for (int side = AB_OLD; side < AB_SIDES; side++) {
        snprintf(sides[side].name, sizeof(sides[side].name), "%s", options->arguments[side]);
        snprintf(sides[side].path, sizeof(sides[side].path), "%s", options->arguments[side]);
    }
    return load_sides(ab, sides, options, error);
}

static bool load_ab_cases(struct cases *cases, const struct options *options, size_t first_path,
                          struct error *error)
{
    char path[PATH_MAX];
    char *paths[] = {path};
    struct options only = *options;
    only.arguments += first_path;
    only.n_arguments -= first_path;
    if (only.n_arguments == 0) {
        snprintf(path, sizeof(path), "%s/cases", build_source);
        only.arguments = paths;
        only.n_arguments = 1;
        only.tag = only.tag ? only.tag : AB_TAG;
        if (access(path, R_OK) != 0)
            return fail(error, "ab: the source tree %s is gone; name case files", build_source);
    }
    return load_cases(&only, cases, error) &&
           (cases->count > 0 || fail(error, "no case is selected"));
}

/* ---- what came out ---- */

static double median(const double *values, size_t count)
{
    double sorted[AB_MAX_BLOCKS];
    if (count == 0)
        return NAN;
    memcpy(sorted, values, count * sizeof(*sorted));
    sort_samples(sorted, count);
    return quantile(sorted, count, 0.5);
}

static bool has_class_bound(const struct result *result)
{
    return result->kernel->abi->numerics != ASSAY_BITS;
}

/* The comparisons of a pair: one for each mode, or one without a mode. */
static size_t compare_pair(const struct ab_pair *pair, struct comparison *out)
{
    const struct result *old = &pair->results[AB_OLD], *now = &pair->results[AB_NEW];
    bool judged = old->verdict != SKIPPED && now->verdict != SKIPPED;
    bool bound = judged && has_class_bound(old) && has_class_bound(now);
    struct comparison base = {
        .case_key = pair->item->key,
        .kernel = old->kernel->label,
        .old_ns = NAN,
        .new_ns = NAN,
        .old_utilisation = bound ? old->judgement.utilisation : NAN,
        .new_utilisation = bound ? now->judgement.utilisation : NAN,
        .old_nmse = bound ? old->judgement.nmse : NAN,
        .new_nmse = bound ? now->judgement.nmse : NAN,
        .accuracy_known = judged,
        .output_changed = judged && old->output_hash != now->output_hash,
        .old_check = verdict_names[old->verdict],
        .new_check = verdict_names[now->verdict],
    };
    size_t count = 0;
    for (int mode = HOT; mode < BENCH_MODES; mode++) {
        const struct ab_series *series = &pair->series[mode];
        if (!series->wanted)
            continue;
        out[count] = base;
        out[count].mode = bench_mode_names[mode];
        out[count].threads = pair->threads;
        out[count].old_ns = median(series->ns[AB_OLD], series->count);
        out[count].new_ns = median(series->ns[AB_NEW], series->count);
        out[count++].speed = series->verdict;
        base.accuracy_known = false;
        base.old_check = base.new_check = NULL;
    }
    if (count == 0)
        out[count++] = base;
    return count;
}

/* Kernels of one side that have no counterpart on the other. */
static size_t list_unmatched(const struct ab *ab, struct unmatched *out)
{
    size_t count = 0;
    for (int side = AB_OLD; side < AB_SIDES; side++) {
        const struct kernels *kernels = &ab->kernels[side];
        for (size_t k = 0; k < kernels->count; k++) {
            if (!ab_counterpart(ab, AB_SIDES - 1 - side, &kernels->items[k]))
                out[count++] = (struct unmatched){
                    .in_new = side == AB_NEW, .case_key = "", .kernel = kernels->items[k].label};
        }
    }
    return count;
}

static bool all_skipped(const struct ab *ab)
{
    for (size_t p = 0; p < ab->n_pairs; p++) {
        if (ab->pairs[p].results[AB_OLD].verdict != SKIPPED ||
            ab->pairs[p].results[AB_NEW].verdict != SKIPPED)
            return false;
    }
    return ab->complete;
}

static bool output(const struct ab *ab, const struct side *sides, const struct options *options,
                   int *status, struct error *error)
{
    char noise[160];
    const char *notes[2] = {noise, "interrupted: some verdicts have fewer blocks, or are missing"};
    snprintf(noise, sizeof(noise),
             "%zu blocks, of which %zu were disturbed and taken again; %.1f %% of the samples were "
             "disturbed",
             ab->noise.blocks, ab->noise.discarded,
             100 * (double)ab->noise.disturbed / fmax(1, (double)ab->noise.samples));
    struct comparisons all = {
        .old_name = sides[AB_OLD].name,
        .new_name = sides[AB_NEW].name,
        .items = calloc(ab->n_pairs * BENCH_MODES + 1, sizeof(*all.items)),
        .unmatched =
            calloc(ab->kernels[AB_OLD].count + ab->kernels[AB_NEW].count, sizeof(*all.unmatched)),
        .notes = notes,
        .n_notes = ab->complete ? 1 : 2,
        .tests = ab_tests(ab),
        .rule = ab->rule,
    };
    bool done = all.items && all.unmatched;
    if (!done)
        fail(error, "out of memory");
    for (size_t p = 0; done && p < ab->n_pairs; p++)
        all.count += compare_pair(&ab->pairs[p], &all.items[all.count]);
    if (done) {
        all.n_unmatched = list_unmatched(ab, all.unmatched);
        *status = comparisons_status(&all, options->fail_on);
        done = comparisons_output(&all, options->json, options->markdown, error);
    }
    free(all.items);
    free(all.unmatched);
    return done;
}

int ab_command(const struct options *options, struct error *error)
{
    struct side sides[AB_SIDES] = {0};
    struct context context;
    size_t first_path;
    int status = EXIT_BAD;
    struct ab ab = {
        .files = {-1, -1},
        .any_tier = options->selected != NULL,
        .check = {.threads = options->threads > 0 ? options->threads : 1,
                  .seconds = options->timeout_seconds,
                  .memory_bytes = options->memory_bytes,
                  .max_oracle = AB_MAX_ORACLE,
                  .max_ref = AB_MAX_REF},
        .seconds = options->seconds > 0 ? options->seconds : AB_SECONDS,
        .rule = speed_default_rule,
    };
    if (options->no_fork)
        sandbox_disable();
    else
        interrupt_hold();
    bool done = comparisons_writable(options->json, options->markdown, error) &&
                context_read(&context, options->features, error) &&
                load_both(&ab, sides, options, &first_path, error) &&
                load_ab_cases(&ab.cases, options, first_path, error);
    ab.llc_bytes = context.llc_bytes > 0 ? context.llc_bytes : (int64_t)32 << 20;
    done = done && ab_run(&ab, terminal_progress, error);
    terminal_progress_end();
    if (done && all_skipped(&ab))
        done = fail(error, "every selected kernel was skipped");
    if (done && !output(&ab, sides, options, &status, error))
        status = EXIT_BAD;
    ab_free(&ab);
    return status;
}
