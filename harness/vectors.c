/* SPDX-License-Identifier: MIT */
#include "harness/vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int64_t promise_depth(const struct promise *promise, const struct assay_case *item)
{
    int64_t serial = item->op->inner(item->shape);
    serial = serial < CHECK_MAX_DEPTH - 16 ? serial + 16 : CHECK_MAX_DEPTH;
    return promise->depth > 0 ? promise->depth : serial;
}

bool promise_applies(const struct assay_op *op, enum assay_numerics numerics)
{
    bool has_real = false;
    for (size_t i = 0; i < op->n_tensors; i++)
        has_real = has_real || op->tensors[i].role == ASSAY_OUT_REAL;
    if (numerics == ASSAY_I8)
        return has_real && op->activations;
    return has_real == (numerics != ASSAY_BITS);
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
        [ASSAY_DTYPE_U8] = "U8",
        [ASSAY_DTYPE_U32] = "U32",
        [ASSAY_DTYPE_I32] = "I32",
        [ASSAY_DTYPE_F32] = "F32",
    };
    return names[tensor->dtype];
}

char *vectors_path(const char *directory, const char *name, const char *suffix)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s%s", directory, name, suffix) < 0 ? NULL : path;
}
