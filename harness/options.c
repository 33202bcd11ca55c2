/* SPDX-License-Identifier: MIT */
#include "harness/options.h"

#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/compare_output.h"
#include "harness/context.h"
#include "harness/options_values.h"
#include "opt/cpu.h"

enum {
    KEY_SHARD = 256,
    KEY_THREADS,
    KEY_SEED,
    KEY_JSON,
    KEY_TAG,
    KEY_MEMORY,
    KEY_TIMEOUT,
    KEY_CPU,
    KEY_COLOR,
    KEY_SCHEMA,
    KEY_TIME,
    KEY_KERNELS,
    KEY_SHRINK,
    KEY_GGUF,
    KEY_LAYER,
    KEY_TOKENS,
    KEY_DIRECTORY,
    KEY_GIVEN,
    KEY_NUMERICS,
    KEY_DEPTH,
    KEY_TWIN,
    KEY_BLOCKS,
    KEY_ROUNDS,
    KEY_REVISION,
    KEY_MARKDOWN,
    KEY_FAIL_ON,
    KEY_NO_FORK
};

static const char doc[] =
    "Checks kernels of quantized MoE inference against naive references, and times them.\n"
    "\n"
    "list    the kernels, and why one cannot run here; with PATHs, the cases in them\n"
    "check   judge every selected kernel on every selected case\n"
    "bench   check, then time what passed\n"
    "replay  check the one case that a KEY names, e.g. from a failure's replay line\n"
    "export  write inputs and expected outputs of cases (PATHs or KEYs) to --dir\n"
    "judge   judge outputs in --got, computed from the exported directory PATH\n"
    "ab      check and time OLD.so against NEW.so, builds of a kernel library\n"
    "        or --rev REV1 [REV2]: commits of this repository, by default on cases tagged ab\n"
    "\n"
    "With --gguf FILE --layer N, the cases are those that a layer of a model makes; list --gguf "
    "FILE "
    "shows the model's tensors, and which ops can use them.\n"
    "\v"
    "PATH is a case file, or a directory that is searched for them. --depth is by default that of "
    "a "
    "serial sum, the inner dimension + 16. Exit status: 0 all passed, "
    "1 a kernel failed, 2 wrong usage, bad input or nothing selected, 3 slower, 4 unclear.";

static const struct argp_option described[] = {
    {"select", 'k', "REGEX", 0, "only kernels whose OP/NAME matches", 0},
    {"kernels", KEY_KERNELS, "FILE.so", 0, "kernels of this library too; may be repeated", 0},
    {"cases", 'c', "REGEX", 0, "only cases whose name or key matches", 0},
    {"tag", KEY_TAG, "TAG", 0, "only cases with this tag", 0},
    {"shard", KEY_SHARD, "I/N", 0,
     "the I-th of N parts of the cases; auto: by SLURM_ARRAY_TASK_ID or CI_NODE_INDEX", 0},
    {"threads", KEY_THREADS, "N", 0, "threads of a kernel, where a case does not say (all CPUs)",
     0},
    {"seed", KEY_SEED, "N", 0, "instead of the cases' own", 0},
    {"json", KEY_JSON, "FILE", 0, "write a report", 0},
    {"memory", KEY_MEMORY, "SIZE", 0,
     "refuse cases whose tensors take more, skip kernels whose scratch would, e.g. 8G (4G)", 0},
    {"timeout", KEY_TIMEOUT, "SECONDS", 0,
     "of a kernel on a case; after three timeouts it is skipped (120)", 0},
    {"time", KEY_TIME, "SECONDS", 0,
     "bench: of a kernel in a mode, in all blocks (0.5); ab: at most, of a pair in a mode (3)", 0},
    {"blocks", KEY_BLOCKS, "N", 0,
     "bench: time each case in so many processes, with memory laid out anew (6)", 0},
    {"rounds", KEY_ROUNDS, "N", 0, "bench: go over all cases so many times (1)", 0},
    {"cpu", KEY_CPU, "FEATURES", 0, "use only these of the CPU, e.g. avx2,fma,f16c,bmi2, or none",
     0},
    {"color", KEY_COLOR, "WHEN", 0, "auto, always or never", 0},
    {"shrink", KEY_SHRINK, "SECONDS", 0,
     "look so long for a smaller failing shape, once per kernel; 0: not at all (2)", 0},
    {"gguf", KEY_GGUF, "FILE", 0, "a model file; check and bench need --layer too", 0},
    {"layer", KEY_LAYER, "N", 0, "of the --gguf FILE, from 0 on", 0},
    {"tokens", KEY_TOKENS, "N,N,...", 0, "numbers of tokens to make a layer's cases for (1,33)", 0},
    {"dir", KEY_DIRECTORY, "DIR", 0, "export: write there", 0},
    {"got", KEY_GIVEN, "FILE", 0, "judge: the outputs, as safetensors", 0},
    {"numerics", KEY_NUMERICS, "CLASS", 0,
     "judge: what the outputs promise; export: tolerances of these, comma-separated (f32)", 0},
    {"depth", KEY_DEPTH, "N", 0, "export, judge: roundings on the longest path", 0},
    {"twin", KEY_TWIN, NULL, 0, "judge: i8, i16 or i24 promises the bits of its scalar twin", 0},
    {"rev", KEY_REVISION, "REV1", 0,
     "ab: build this commit's kernels, and those of REV2 or the working tree", 0},
    {"markdown", KEY_MARKDOWN, "FILE", 0, "ab: write the table for a pull request", 0},
    {"fail-on", KEY_FAIL_ON, "LIST", 0,
     "ab: of slower, unclear, accuracy; none: exit 0 whatever comes out (slower,unclear)", 0},
    {"no-fork", KEY_NO_FORK, NULL, 0, "run kernels in this process, for a debugger", 0},
    {"schema", KEY_SCHEMA, NULL, 0, "list: print the JSON Schema of case files", 0},
    {"verbose", 'v', NULL, 0, "a line for every result", 0},
    {0},
};

/* argp's parser gets both. */
struct parsing {
    struct options *options;
    struct error *error;
};

static bool set_option(int key, const char *text, struct options *options, struct error *error)
{
    int64_t value;
    switch (key) {
    case 'k': options->selected = text; return true;
    case 'c': options->cases = text; return true;
    case 'v': options->verbose = true; return true;
    case KEY_KERNELS: options->libraries[options->n_libraries++] = text; return true;
    case KEY_TAG: options->tag = text; return true;
    case KEY_JSON: options->json = text; return true;
    case KEY_SCHEMA: options->schema = true; return true;
    case KEY_NO_FORK: options->no_fork = true; return true;
    case KEY_GGUF: options->gguf = text; return true;
    case KEY_LAYER:
        return options_integer("--layer", text, 0, INT32_MAX, &options->layer.index, error);
    case KEY_TOKENS: return options_tokens(text, &options->layer, error);
    case KEY_DIRECTORY: options->directory = text; return true;
    case KEY_GIVEN: options->given = text; return true;
    case KEY_NUMERICS: return options_numerics(text, &options->promise.numerics, error);
    case KEY_DEPTH:
        return options_integer("--depth", text, 1, CHECK_MAX_DEPTH, &options->promise.depth, error);
    case KEY_TWIN: options->promise.twin = true; return true;
    case KEY_SHRINK: return options_seconds("--shrink", text, 0, &options->shrink_seconds, error);
    case KEY_SHARD: return options_shard(text, options, error);
    case KEY_MEMORY: return options_memory(text, &options->memory_bytes, error);
    case KEY_TIMEOUT:
        return options_seconds("--timeout", text, 0.001, &options->timeout_seconds, error);
    case KEY_TIME: return options_seconds("--time", text, 0.001, &options->seconds, error);
    case KEY_CPU: return options_cpu(text, options, error);
    case KEY_REVISION: options->revision = text; return true;
    case KEY_MARKDOWN: options->markdown = text; return true;
    case KEY_FAIL_ON: return fail_on_parse(text, &options->fail_on, error);
    case KEY_COLOR: return color_parse(text, &options->color, error);
    case KEY_THREADS:
        if (!options_integer("--threads", text, 1, CASE_THREADS_MAX, &value, error))
            return false;
        options->threads = (int)value;
        return true;
    case KEY_BLOCKS:
    case KEY_ROUNDS:
        if (!options_integer(key == KEY_BLOCKS ? "--blocks" : "--rounds", text,
                             key == KEY_BLOCKS ? 2 : 1, 1000, &value, error))
            return false;
        *(key == KEY_BLOCKS ? &options->blocks : &options->rounds) = (int)value;
        return true;
    default: /* KEY_SEED */
        if (!options_integer("--seed", text, 0, (int64_t)1 << 53, &value, error))
            return false;
        options->seed = (uint64_t)value;
        options->seed_given = true;
        return true;
    }
}

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct parsing *parsing = state->input;
    struct options *options = parsing->options;
    if (key == ARGP_KEY_ARG) {
        options->arguments[options->n_arguments++] = text;
        return 0;
    }
    if (key < 0 || key > KEY_NO_FORK || (key < KEY_SHARD && !strchr("kcv", key)))
        return ARGP_ERR_UNKNOWN;
    return set_option(key, text, options, parsing->error) ? 0 : EINVAL;
}

static bool parse_command(const char *name, enum command *command)
{
    static const char *const names[] = {"list",   "check", "bench", "replay",
                                        "export", "judge", "ab"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (strcmp(name, names[i]) == 0) {
            *command = (enum command)i;
            return true;
        }
    }
    return false;
}

static bool check_layer(const struct options *options, struct error *error)
{
    enum command command = options->command;
    if (options->layer.index >= 0 && !options->gguf)
        return fail(error, "--layer needs --gguf FILE");
    if (options->gguf && command != COMMAND_LIST && command != COMMAND_CHECK &&
        command != COMMAND_BENCH)
        return fail(error, "--gguf is for list, check and bench%s",
                    command == COMMAND_REPLAY ? "; a key names its file" : "");
    if (options->gguf && options->layer.index < 0 && command != COMMAND_LIST)
        return fail(error, "--gguf needs --layer N");
    return true;
}

/* These are one class, which has a scalar twin. */
static bool has_twin(uint32_t classes)
{
    return classes == 1u << ASSAY_I8 || classes == 1u << ASSAY_I16 || classes == 1u << ASSAY_I24;
}

static bool check_ab(const struct options *options, struct error *error)
{
    bool ab = options->command == COMMAND_AB;
    if (options->command != COMMAND_BENCH && (options->blocks || options->rounds))
        return fail(error, "--blocks and --rounds are for bench");
    if (!ab && (options->revision || options->markdown || options->fail_on != FAIL_ON_DEFAULT))
        return fail(error, "--rev, --markdown and --fail-on are for ab");
    if (ab && !options->revision && options->n_arguments < 3)
        return fail(error, "ab: name two kernel libraries, or --rev REV1 [REV2]");
    if (ab && options->n_libraries > 0)
        return fail(error,
                    "ab: --kernels is for check and bench; name both libraries as arguments");
    return true;
}

static bool check_vectors(const struct options *options, struct error *error)
{
    bool export = options->command == COMMAND_EXPORT, judge = options->command == COMMAND_JUDGE;
    const struct promise *promise = &options->promise;
    bool promised = promise->numerics || promise->depth;
    bool kernels = options->selected || options->n_libraries > 0;
    if (!options->directory != !export)
        return fail(error, export ? "export: --dir is missing" : "--dir is for export");
    if (!options->given != !judge)
        return fail(error, judge ? "judge: --got is missing" : "--got is for judge");
    if (!export && !judge && promised)
        return fail(error, "--numerics and --depth are for export and judge");
    if ((export || judge) && kernels)
        return fail(error, "-k and --kernels are not for export and judge");
    if (judge && options->seed_given)
        return fail(error, "--seed is not for judge: exported cases have theirs");
    if (promise->twin && !(judge && has_twin(promise->numerics)))
        return fail(error, "--twin is for judge with --numerics i8, i16 or i24");
    if (judge && (promise->numerics & (promise->numerics - 1)))
        return fail(error, "judge: --numerics must name one class");
    if (judge && options->n_arguments != 1)
        return fail(error, "judge: name one exported directory");
    return true;
}

bool options_parse(int argc, char **argv, struct options *options, struct error *error)
{
    static char version[64];
    snprintf(version, sizeof(version), "assay %s", build_commit);
    argp_program_version = version;
    argp_err_exit_status = 2;
    *options = (struct options){
        .shard_count = 1,
        .timeout_seconds = 120,
        .fail_on = FAIL_ON_DEFAULT,
        .shrink_seconds = 2,
        .memory_bytes = (int64_t)4 << 30,
        .features = cpu_detect(),
        .layer = {.index = -1, .n_tokens = 2, .tokens = {1, 33}},
        .libraries = calloc((size_t)argc + 1, sizeof(char *)),
        .arguments = calloc((size_t)argc + 1, sizeof(char *)),
    };
    if (!options->arguments || !options->libraries)
        return fail(error, "out of memory");
    struct parsing parsing = {options, error};
    const struct argp argp = {
        .options = described, .parser = parse, .args_doc = "COMMAND [PATH...]", .doc = doc};
    error_t code = argp_parse(&argp, argc, argv, 0, NULL, &parsing);
    if (code != 0)
        return error->text[0] ? false : fail(error, "%s", strerror(code));
    if (options->n_arguments == 0)
        return fail(error,
                    "no command; try list, check, bench, replay, export, judge, ab or --help");
    if (!parse_command(options->arguments[0], &options->command))
        return fail(
            error,
            "unknown command \"%s\"; try list, check, bench, replay, export, judge, ab or --help",
            options->arguments[0]);
    if (!check_layer(options, error) || !check_ab(options, error))
        return false;
    options->n_arguments--;
    memmove(options->arguments, options->arguments + 1,
            (options->n_arguments + 1) * sizeof(*options->arguments));
    if (!check_vectors(options, error))
        return false;
    if (!options->promise.numerics)
        options->promise.numerics = 1u << ASSAY_F32;
    return true;
}
