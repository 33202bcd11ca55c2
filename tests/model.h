/* SPDX-License-Identifier: MIT */
/* What the tests of cases whose weights are in a model file share. */
#ifndef ASSAY_TESTS_MODEL_H
#define ASSAY_TESTS_MODEL_H

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "harness/check.h"
#include "harness/layer.h"
#include "tests/cunit_main.h"

#define GOLDEN ASSAY_SOURCE_DIR "/tests/golden/moe.gguf"

static const struct check_options options = {
    .threads = 2,
    .seconds = 60,
    .memory_bytes = (int64_t)1 << 30,
    .max_oracle = (int64_t)1 << 28,
    .max_ref = INT64_MAX,
};

static inline struct cases one_case(const char *key)
{
    struct cases cases = {0};
    struct error error = {""};
    bool made = cases_from_key(key, &cases, &error);
    if (!made)
        printf("\n  %s\n", error.text);
    CU_ASSERT_TRUE_FATAL(made);
    CU_ASSERT_EQUAL_FATAL(cases.count, 1);
    return cases;
}

/* Whether the address belongs to a mapping of a file whose name ends so. */
static inline bool is_mapped(const void *address, const char *name)
{
    char line[1024];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(maps);
    while (!found && fgets(line, sizeof(line), maps)) {
        uintptr_t from, to;
        line[strcspn(line, "\n")] = '\0';
        size_t length = strlen(line), tail = strlen(name);
        found = sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &from, &to) == 2 &&
                (uintptr_t)address >= from && (uintptr_t)address < to && length > tail &&
                strcmp(line + length - tail, name) == 0;
    }
    fclose(maps);
    return found;
}

static inline enum verdict check_one(const struct expectation *x, const struct assay_kernel *abi,
                                     char *reason, size_t size)
{
    struct kernel kernel = {.abi = abi, .op = x->item->op, .library = "own"};
    struct result result;
    struct error error;
    CU_ASSERT_TRUE_FATAL(check_kernel(x, &kernel, &options, &result, &error));
    snprintf(reason, size, "%s", result.judgement.reason);
    return result.verdict;
}

static char skips[1024];

static inline void note_skip(const struct gguf_tensor *tensor, const char *why)
{
    size_t used = strlen(skips);
    snprintf(skips + used, sizeof(skips) - used, "%s: %s\n", tensor->name, why);
}

static inline bool make_layer(const struct gguf *gguf, int64_t index, struct cases *cases,
                              struct error *error)
{
    const struct model_layer layer = {.index = index, .n_tokens = 2, .tokens = {1, 33}};
    skips[0] = '\0';
    return layer_cases(gguf, &layer, cases, note_skip, error);
}

#endif
