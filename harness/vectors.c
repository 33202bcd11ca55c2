/* SPDX-License-Identifier: MIT */
#include "harness/vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int64_t promise_depth(const struct promise *promise, const struct assay_case *item)
{
    const struct assay_op *op = item->op;
    int64_t serial = op->chain ? op->chain(item->shape) : op->inner(item->shape);
    serial = serial < CHECK_MAX_DEPTH - 16 ? serial + 16 : CHECK_MAX_DEPTH;
    return promise->depth > 0 ? promise->depth : serial;
}

bool promise_class(const struct promise *promise, const struct assay_case *item,
                   enum assay_numerics *numerics, struct error *error)
{
    const struct assay_op *op = item->op;
    *numerics = ASSAY_BITS;
    if (op_has_class(op, ASSAY_BITS))
        return true;
    int first = -1;
    for (int n = 0; n < ASSAY_NUMERICS_COUNT; n++) {
        if (!(promise->numerics >> n & 1))
            continue;
        *numerics = (enum assay_numerics)n;
        if (op_has_class(op, *numerics))
            return true;
        first = first < 0 ? n : first;
    }
    return fail(error, "%s has no class %s: %s", op->name, assay_numerics_names[first], item->key);
}

bool vectors_made(const struct assay_case *item, struct error *error)
{
    return !item->weights ||
           fail(error, "weights of a file are not for export and judge: %s", item->key);
}

char *vectors_id(const struct assay_case *item)
{
    char *id = strdup(item->key);
    for (char *c = id; c && *c; c++) {
        if (*c == ' ' || *c == ':')
            *c = *c == ' ' ? '_' : '-';
    }
    return id;
}

const char *vectors_dtype(const struct assay_tensor *tensor)
{
    static const char *const names[] = {
        [ASSAY_DTYPE_U8] = "U8",    [ASSAY_DTYPE_I8] = "I8",   [ASSAY_DTYPE_I16] = "I16",
        [ASSAY_DTYPE_U16] = "BF16", [ASSAY_DTYPE_U32] = "U32", [ASSAY_DTYPE_I32] = "I32",
        [ASSAY_DTYPE_F32] = "F32",
    };
    return names[tensor->dtype];
}

char *vectors_path(const char *directory, const char *name, const char *suffix)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s%s", directory, name, suffix) < 0 ? NULL : path;
}
