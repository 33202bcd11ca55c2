/* SPDX-License-Identifier: MIT */
#include <gsl/gsl_errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/ab_command.h"
#include "harness/compare.h"
#include "harness/interrupt.h"
#include "harness/load.h"
#include "harness/options.h"
#include "harness/page.h"
#include "harness/report.h"
#include "harness/run.h"
#include "harness/sandbox.h"
#include "harness/schema.h"
#include "harness/terminal.h"
#include "harness/text.h"

enum exit_status { EXIT_PASSED = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* Multiply-adds beyond which the ref tier is skipped: seconds of a check, once more in a bench,
 * where it is the baseline. */
#define MAX_REF_CHECK ((int64_t)1000000000)
#define MAX_REF_BENCH ((int64_t)5000000000)
/* What the oracle may spend on a case: under a second. */
#define MAX_ORACLE    ((int64_t)1 << 28)

/* What judge has instead of kernels and their cases. */
static bool load_given(const struct options *options, struct run *run, struct error *error)
{
    run->given =
        given_open(options->arguments[0], options->given, &options->promise, &run->cases, error);
    return run->given && select_cases(options, &run->cases, error) &&
           given_kernels(run->given, &run->cases, &run->kernels, error);
}

/* The command line, as a shell reads it back. */
static char *join(int argc, char **argv)
{
    char *line = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&line, &length);
    for (int i = 0; out && i < argc; i++) {
        fputs(i > 0 ? " " : "", out);
        text_quote(out, argv[i]);
    }
    if (out && fclose(out) == 0)
        return line;
    free(line);
    return NULL;
}

static int list(const struct options *options, struct error *error)
{
    struct kernels kernels = {0};
    struct cases cases = {0};
    struct gguf gguf = {0};
    bool ok = true;
    if (options->json) {
        ok = fail(error, "list: --json is for check and bench");
    } else if (options->schema) {
        json_t *schema = schema_make();
        ok = schema && json_dumpf(schema, stdout, SCHEMA_DUMP_FLAGS) == 0 && puts("") >= 0;
        json_decref(schema);
        if (!ok)
            fail(error, "cannot write the schema");
    } else if (options->gguf && options->layer.index < 0) {
        ok = gguf_open(&gguf, options->gguf, error);
        if (ok)
            terminal_gguf(&gguf);
    } else if (options->n_arguments > 0 || options->gguf) {
        ok = load_cases(options, &cases, error) &&
             (cases.count > 0 || fail(error, "no case is selected"));
        terminal_cases(&cases);
    } else {
        ok = load_kernels(options, &kernels, error) &&
             (kernels.count > 0 || fail(error, "no kernel is selected"));
        if (ok)
            terminal_kernels(&kernels);
    }
    gguf_close(&gguf);
    cases_free(&cases);
    kernels_free(&kernels);
    return ok ? EXIT_PASSED : EXIT_USAGE;
}

/* The machine's limits, as it is now. */
static bool measure_ceilings(struct run *run, struct error *error)
{
    int *threads = &run->max_threads;
    *threads = threads_of(&(struct assay_case){0}, &run->check);
    for (size_t c = 0; c < run->cases.count; c++)
        *threads = run->cases.items[c].threads > *threads ? run->cases.items[c].threads : *threads;
    run->has_ceilings = ceilings_measure(&run->ceilings, &run->context, run->features, *threads,
                                         CEILINGS_SECONDS, error);
    if (run->has_ceilings)
        ceilings_print(&run->ceilings, &run->context, stdout);
    return run->has_ceilings || interrupted();
}

static bool execute(struct run *run, const struct options *options, struct error *error)
{
    bool loaded = options->command == COMMAND_JUDGE ? load_given(options, run, error)
                                                    : load_kernels(options, &run->kernels, error) &&
                                                          load_cases(options, &run->cases, error);
    if (!loaded || !run_validate(run, error) ||
        (options->json && !report_writable(options->json, error)) ||
        !context_read(&run->context, options->features, error))
        return false;
    if (run->context.llc_bytes > 0)
        run->timing.llc_bytes = run->context.llc_bytes;
    run->timing.features = run->features;
    if (!options->no_fork)
        interrupt_hold();
    if (run->bench && !measure_ceilings(run, error))
        return false;
    bool ran = run_all(run, terminal_progress, error);
    terminal_progress_end();
    if (!ran)
        return false;
    terminal_results(run, options->verbose || options->command == COMMAND_REPLAY);
    terminal_check_table(run);
    if (run->bench) {
        terminal_bench_tables(run);
        terminal_bench_noise(run);
    }
    terminal_summary(run);
    if (!run->complete)
        printf("interrupted: what is said above is all that was done\n");
    if (!options->json)
        return true;
    if (!report_write(run, options->json, error))
        return false;
    printf("%s: %s\n", run->complete ? "report" : "partial report", options->json);
    return true;
}

static struct check_options check_options_of(const struct options *options)
{
    return (struct check_options){
        .threads = options->threads,
        .seconds = options->timeout_seconds,
        .memory_bytes = options->memory_bytes,
        .max_oracle = MAX_ORACLE,
        .max_ref = options->command == COMMAND_BENCH ? MAX_REF_BENCH : MAX_REF_CHECK,
    };
}

static int export(const struct options *options, struct error *error)
{
    struct cases cases = {0};
    enum assay_numerics numerics;
    const struct check_options check = check_options_of(options);
    bool ok = (!options->json || fail(error, "export: --json is for check, bench and judge")) &&
              load_cases(options, &cases, error) &&
              (cases.count > 0 || fail(error, "no case is selected"));
    for (size_t c = 0; ok && c < cases.count; c++)
        ok = vectors_made(&cases.items[c], error) &&
             promise_class(&options->promise, &cases.items[c], &numerics, error) &&
             run_affordable(&cases.items[c], &check, error);
    ok = ok && vectors_export(&cases, &options->promise, &check, options->directory,
                              terminal_progress, error);
    terminal_progress_end();
    if (ok)
        printf("%zu cases: %s/manifest.json\n", cases.count, options->directory);
    cases_free(&cases);
    return ok ? EXIT_PASSED : EXIT_USAGE;
}

static int check_or_bench(const struct options *options, int argc, char **argv, struct error *error)
{
    bool bench = options->command == COMMAND_BENCH;
    if (options->no_fork)
        sandbox_disable();
    struct run run = {
        .bench = bench,
        .check = check_options_of(options),
        .timing = {.seconds = options->seconds > 0 ? options->seconds : BENCH_SECONDS,
                   .blocks = options->blocks > 0 ? options->blocks : BENCH_BLOCKS,
                   .passes = options->rounds > 0 ? options->rounds : 1,
                   .llc_bytes = (int64_t)32 << 20},
        .features = options->features,
        .shrink_seconds = options->command == COMMAND_JUDGE ? 0 : options->shrink_seconds,
        .command = join(argc, argv),
    };
    int status = EXIT_USAGE;
    if (!run.command) {
        fail(error, "out of memory");
    } else if (execute(&run, options, error)) {
        size_t skipped = run_count(&run, SKIPPED), passed = run_count(&run, PASS);
        status = passed + skipped == run.n_results ? EXIT_PASSED : EXIT_FAILED;
        if (skipped == run.n_results && run.complete) {
            fail(error, "every selected kernel was skipped");
            status = EXIT_USAGE;
        }
    }
    run_free(&run);
    return status;
}

/* Commands that have options of their own. */
static const struct {
    const char *name;
    int (*run)(int argc, char **argv, struct error *error);
} commands[] = {{"compare", compare_command}, {"report", report_command}};

/* Whether it was one of them. */
static bool run_own(int argc, char **argv, int *status, struct error *error)
{
    for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(*commands); i++) {
        if (strcmp(argv[1], commands[i].name) != 0)
            continue;
        *status = commands[i].run(argc - 1, argv + 1, error);
        return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    struct error error = {0};
    struct options options = {0};
    int status = EXIT_USAGE;
    signal(SIGCHLD, SIG_DFL);    /* if it came to us ignored, no child could be waited for */
    gsl_set_error_handler_off(); /* it would abort; what can fail is checked where it is used */
    if (run_own(argc, argv, &status, &error)) {
        /* it said what there is to say */
    } else if (options_parse(argc, argv, &options, &error)) {
        color_init(options.color);
        status = options.command == COMMAND_LIST     ? list(&options, &error)
                 : options.command == COMMAND_AB     ? ab_command(&options, &error)
                 : options.command == COMMAND_EXPORT ? export(&options, &error)
                                                     : check_or_bench(&options, argc, argv, &error);
    }
    bool foreign = options.n_libraries > 0 || options.command == COMMAND_AB;
    free(options.arguments);
    free(options.libraries);
    if (fflush(stdout) != 0 && status == EXIT_PASSED) {
        fail(&error, "cannot write to standard output");
        status = EXIT_USAGE;
    }
    if (error.text[0])
        fprintf(stderr, "assay: %s\n", error.text);
    interrupt_release(); /* may be the end */
    if (foreign)
        _exit(status); /* a library's destructors cannot change it */
    return status;
}
