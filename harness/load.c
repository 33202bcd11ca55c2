/* SPDX-License-Identifier: MIT */
#include "harness/load.h"

#include <string.h>

#include "harness/terminal.h"
#include "opt/kernels.h"

static bool load_layer(const struct options *options, struct cases *cases, struct error *error)
{
    struct gguf gguf;
    if (!gguf_open(&gguf, options->gguf, error))
        return false;
    bool loaded = layer_cases(&gguf, &options->layer, cases, terminal_skipped, error);
    gguf_close(&gguf);
    return loaded;
}

/* Whether an argument that may also be a path is a key. */
static bool is_key(const char *text)
{
    char op[CASE_NAME_MAX + 1];
    size_t length = strcspn(text, " ");
    if (!text[length] || length > CASE_NAME_MAX)
        return false;
    memcpy(op, text, length);
    op[length] = 0;
    return assay_find_op(op) != NULL;
}

bool select_cases(const struct options *options, struct cases *cases, struct error *error)
{
    return cases_select(cases, options->cases, options->tag, options->shard_index,
                        options->shard_count, error);
}

bool load_cases(const struct options *options, struct cases *cases, struct error *error)
{
    if (options->gguf && !load_layer(options, cases, error))
        return false;
    if (options->n_arguments == 0 && !options->gguf)
        return fail(error, options->command == COMMAND_REPLAY ? "no case key given"
                                                              : "no case file or directory given");
    for (size_t i = 0; i < options->n_arguments; i++) {
        bool loaded = options->command == COMMAND_REPLAY ||
                              (options->command == COMMAND_EXPORT && is_key(options->arguments[i]))
                          ? cases_from_key(options->arguments[i], cases, error)
                          : cases_load(options->arguments[i], cases, error);
        if (!loaded)
            return false;
    }
    return (!options->seed_given || cases_set_seed(cases, options->seed, error)) &&
           select_cases(options, cases, error);
}

bool load_kernels(const struct options *options, struct kernels *kernels, struct error *error)
{
    if (!kernels_add(kernels, assay_own_kernels(), options->features, error))
        return false;
    for (size_t i = 0; i < options->n_libraries; i++) {
        if (!kernels_open(kernels, options->libraries[i], options->features, error))
            return false;
    }
    return kernels_select(kernels, options->selected, error);
}
