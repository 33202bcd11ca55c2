/* SPDX-License-Identifier: MIT */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "harness/compare.h"
#include "harness/paint.h"

static const char doc[] =
    "Compare the kernels' speed and accuracy in two reports of assay bench or check.\v"
    "OLD and NEW are a report each, a comma-separated list of reports, or a directory of them: of "
    "the same build measured several times. Verdicts on speed are FASTER, SLOWER, SAME and "
    "UNCLEAR, "
    "and wrong ones among all of them are to be expected in one comparison of a hundred.\n\n"
    "Exit status: 0 nothing that --fail-on names; 1 a kernel newly fails its check, or with "
    "--fail-on accuracy an output changed; 2 wrong usage or bad input; 3 slower; 4 unclear.";

enum key { KEY_JSON = 256, KEY_MARKDOWN, KEY_FAIL_ON, KEY_ANY_MACHINE, KEY_COLOR };

static const struct argp_option described[] = {
    {"json", KEY_JSON, "FILE", 0, "write the comparison as JSON", 0},
    {"markdown", KEY_MARKDOWN, "FILE", 0,
     "and as Markdown, say for a pull request; -: instead of the table", 0},
    {"fail-on", KEY_FAIL_ON, "LIST", 0,
     "what the exit status tells: slower, unclear, accuracy, or none (slower,unclear)", 0},
    {"any-machine", KEY_ANY_MACHINE, NULL, 0, "compare reports of different machines", 0},
    {"color", KEY_COLOR, "WHEN", 0, "auto, always or never", 0},
    {0},
};

struct command {
    const char *sides[2], *json, *markdown;
    size_t n_sides;
    unsigned fail_on;
    enum color color;
    struct compare_options options;
    struct error *error;
};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct command *command = state->input;
    switch (key) {
    case ARGP_KEY_ARG:
        if (command->n_sides == 2) {
            fail(command->error,
                 "compare: more than two arguments: \"%s\"; a set of reports is a "
                 "comma-separated list or a directory",
                 text);
            return EINVAL;
        }
        command->sides[command->n_sides++] = text;
        return 0;
    case KEY_JSON: command->json = text; return 0;
    case KEY_MARKDOWN: command->markdown = text; return 0;
    case KEY_FAIL_ON: return fail_on_parse(text, &command->fail_on, command->error) ? 0 : EINVAL;
    case KEY_ANY_MACHINE: command->options.any_machine = true; return 0;
    case KEY_COLOR: return color_parse(text, &command->color, command->error) ? 0 : EINVAL;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static bool parse_all(int argc, char **argv, struct command *command, struct error *error)
{
    const struct argp argp = {
        .options = described, .parser = parse, .args_doc = "OLD NEW", .doc = doc};
    static char name[] = "assay compare";
    argv[0] = name; /* what --help calls it */
    argp_err_exit_status = 2;
    error_t code = argp_parse(&argp, argc, argv, 0, NULL, command);
    if (code != 0)
        return error->text[0] ? false : fail(error, "%s", strerror(code));
    if (command->n_sides != 2)
        return fail(error, "compare: name two reports, or two sets of them: OLD and NEW");
    return comparisons_writable(command->json, command->markdown, error);
}

int compare_command(int argc, char **argv, struct error *error)
{
    struct command command = {
        .fail_on = FAIL_ON_DEFAULT, .options.rule = speed_default_rule, .error = error};
    struct reports old = {0}, now = {0};
    struct comparisons comparisons = {0};
    int status = 2;
    if (parse_all(argc, argv, &command, error) && reports_add_list(&old, command.sides[0], error) &&
        reports_add_list(&now, command.sides[1], error) &&
        compare_reports(&old, &now, &command.options, &comparisons, error)) {
        color_init(command.color);
        if (comparisons_output(&comparisons, command.json, command.markdown, error))
            status = comparisons_status(&comparisons, command.fail_on);
    }
    compare_free(&comparisons);
    reports_free(&old);
    reports_free(&now);
    return status;
}
