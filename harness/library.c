/* SPDX-License-Identifier: MIT */
#include "harness/library.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "opt/cpu.h"

/* What a table's kernel breaks of the rules in ref/kernel.h, or NULL. */
static const char *fault_of(const struct assay_kernel *abi)
{
    if (!abi->name || !abi->name[0])
        return "has no name";
    if (!abi->tier || !abi->tier[0])
        return "has no tier";
    if (!abi->run)
        return "has no run function";
    if (abi->numerics >= ASSAY_NUMERICS_COUNT)
        return "has an unknown numerics class";
    if (abi->numerics != ASSAY_BITS && !abi->depth)
        return "has no depth function, which its numerics class needs";
    if (!abi->prepare != !abi->prepared_bytes)
        return "must have both prepare and prepared_bytes, or neither";
    return NULL;
}

static const struct kernel *find(const struct kernels *kernels, const char *label)
{
    for (size_t i = 0; i < kernels->count; i++) {
        if (strcmp(kernels->items[i].label, label) == 0)
            return &kernels->items[i];
    }
    return NULL;
}

static bool add(struct kernels *kernels, const char *library, const struct assay_kernel *abi,
                uint32_t features, struct error *error)
{
    const struct assay_op *op = abi && abi->op ? assay_find_op(abi->op) : NULL;
    if (!op)
        return fail(error, "%s: a kernel is of the unknown op \"%s\"", library,
                    abi && abi->op ? abi->op : "");
    const char *fault = fault_of(abi);
    if (fault)
        return fail(error, "%s: kernel \"%s\" of %s %s", library, abi->name ? abi->name : "",
                    op->name, fault);
    struct kernel *items = realloc(kernels->items, (kernels->count + 1) * sizeof(*items));
    if (!items)
        return fail(error, "out of memory");
    kernels->items = items;
    char *label;
    if (asprintf(&label, "%s/%s", op->name, abi->name) < 0)
        return fail(error, "out of memory");
    if (find(kernels, label)) {
        fail(error, "%s: a second kernel is named %s", library, label);
        free(label);
        return false;
    }
    items[kernels->count++] = (struct kernel){
        .abi = abi,
        .op = op,
        .library = library,
        .label = label,
        .missing = cpu_tier_lacks(abi->tier, features),
    };
    return true;
}

bool kernels_add(struct kernels *kernels, const struct assay_kernels *table, uint32_t features,
                 struct error *error)
{
    if (table->abi_version != ASSAY_ABI_VERSION)
        return fail(error, "the library's ABI version is %u, this program's %u",
                    (unsigned)table->abi_version, (unsigned)ASSAY_ABI_VERSION);
    const char *library = table->library ? table->library : "unnamed library";
    for (uint32_t i = 0; i < table->count; i++) {
        if (!add(kernels, library, table->kernels[i], features, error))
            return false;
    }
    return true;
}

bool kernels_select(struct kernels *kernels, const char *regex, struct error *error)
{
    if (!regex)
        return true;
    regex_t compiled;
    int code = regcomp(&compiled, regex, REG_EXTENDED | REG_NOSUB);
    if (code != 0) {
        char text[128];
        regerror(code, &compiled, text, sizeof(text));
        return fail(error, "kernel expression \"%s\": %s", regex, text);
    }
    size_t kept = 0;
    for (size_t i = 0; i < kernels->count; i++) {
        if (regexec(&compiled, kernels->items[i].label, 0, NULL, 0) == 0)
            kernels->items[kept++] = kernels->items[i];
        else
            free(kernels->items[i].label);
    }
    kernels->count = kept;
    regfree(&compiled);
    return true;
}

void kernels_free(struct kernels *kernels)
{
    for (size_t i = 0; i < kernels->count; i++)
        free(kernels->items[i].label);
    free(kernels->items);
    *kernels = (struct kernels){0};
}
