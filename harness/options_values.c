/* SPDX-License-Identifier: MIT */
#include "harness/options_values.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "opt/cpu.h"

bool options_integer(const char *name, const char *text, int64_t low, int64_t high, int64_t *value,
                     struct error *error)
{
    char *end;
    errno = 0;
    *value = strtoll(text, &end, 10);
    if (end == text || *end || errno || *value < low || *value > high)
        return fail(error, "%s: \"%s\" is not an integer from %lld to %lld", name, text,
                    (long long)low, (long long)high);
    return true;
}

bool options_seconds(const char *name, const char *text, double low, double *value,
                     struct error *error)
{
    char *end;
    *value = strtod(text, &end);
    if (end == text || *end || !(*value >= low) || *value > 86400)
        return fail(error, "%s: \"%s\" is not a number of seconds from %g to 86400", name, text,
                    low);
    return true;
}

bool options_memory(const char *text, int64_t *bytes, struct error *error)
{
    static const char suffixes[] = "KMGT";
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    const char *suffix = *end ? strchr(suffixes, *end) : NULL;
    int64_t unit = suffix ? (int64_t)1 << 10 * (suffix - suffixes + 1) : 1;
    if (end == text || errno || value < 1 || (*end && (!suffix || end[1])) ||
        assay_mul(value, unit) < 0)
        return fail(error, "--memory: \"%s\" is not a size such as 512M or 8G", text);
    *bytes = value * unit;
    return true;
}

static bool shard_of(const char *index, const char *count, int64_t base, struct options *options,
                     struct error *error)
{
    int64_t i, n;
    if (!options_integer("--shard", count, 1, 1000000, &n, error) ||
        !options_integer("--shard", index, base, base + n - 1, &i, error))
        return false;
    options->shard_index = (size_t)(i - base);
    options->shard_count = (size_t)n;
    return true;
}

bool options_shard(const char *text, struct options *options, struct error *error)
{
    if (strcmp(text, "auto") == 0) {
        const char *slurm = getenv("SLURM_ARRAY_TASK_ID"), *ci = getenv("CI_NODE_INDEX");
        const char *slurm_count = getenv("SLURM_ARRAY_TASK_COUNT"),
                   *ci_count = getenv("CI_NODE_TOTAL");
        const char *slurm_first = getenv("SLURM_ARRAY_TASK_MIN");
        if (slurm && slurm_count)
            return shard_of(slurm, slurm_count, slurm_first ? atoi(slurm_first) : 0, options,
                            error);
        if (ci && ci_count)
            return shard_of(ci, ci_count, 1, options, error);
        return fail(error, "--shard auto: neither SLURM_ARRAY_TASK_ID and _COUNT nor CI_NODE_INDEX "
                           "and _TOTAL are set");
    }
    char index[16];
    const char *slash = strchr(text, '/');
    if (!slash || (size_t)(slash - text) >= sizeof(index))
        return fail(error, "--shard: \"%s\" is not of the form I/N", text);
    memcpy(index, text, (size_t)(slash - text));
    index[slash - text] = 0;
    return shard_of(index, slash + 1, 1, options, error);
}

bool options_cpu(const char *text, struct options *options, struct error *error)
{
    uint32_t allowed = 0;
    while (*text && strcmp(text, "none") != 0) {
        size_t length = strcspn(text, ","), f = 0;
        while (f < cpu_n_features && (strlen(cpu_features[f].name) != length ||
                                      strncmp(cpu_features[f].name, text, length) != 0))
            f++;
        if (f == cpu_n_features)
            return fail(error, "--cpu: unknown feature \"%.*s\"", (int)length, text);
        allowed |= cpu_features[f].bit;
        text += length + (text[length] == ',');
    }
    options->features &= allowed;
    return true;
}

bool options_numerics(const char *text, uint32_t *numerics, struct error *error)
{
    *numerics = 0;
    do {
        size_t length = strcspn(text, ","), n = ASSAY_F32;
        while (n < ASSAY_NUMERICS_COUNT && (strlen(assay_numerics_names[n]) != length ||
                                            strncmp(assay_numerics_names[n], text, length) != 0))
            n++;
        if (n == ASSAY_NUMERICS_COUNT)
            return fail(error, "--numerics: unknown class \"%.*s\"", (int)length, text);
        *numerics |= 1u << n;
        text += length;
    } while (*text++ == ',');
    return true;
}

/* "1,33" */
bool options_tokens(const char *text, struct model_layer *layer, struct error *error)
{
    char number[24];
    layer->n_tokens = 0;
    do {
        size_t length = strcspn(text, ",");
        snprintf(number, sizeof(number), "%.*s", (int)(length < 24 ? length : 24), text);
        if (layer->n_tokens == LAYER_TOKENS_MAX)
            return fail(error, "--tokens: more than %d numbers", LAYER_TOKENS_MAX);
        if (!options_integer("--tokens", number, 1, INT32_MAX, &layer->tokens[layer->n_tokens++],
                             error))
            return false;
        text += length;
    } while (*text++);
    return true;
}
