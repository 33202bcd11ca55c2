/* SPDX-License-Identifier: MIT */
#include "harness/stored.h"

#include <string.h>

void stored_unknown(int64_t shape[ASSAY_MAX_DIMS])
{
    for (size_t d = 0; d < ASSAY_MAX_DIMS; d++)
        shape[d] = ASSAY_UNSET;
}

const char *stored_name(const struct assay_op *op, size_t i)
{
    return op->tensors[op->stored[i].tensor].name;
}

size_t stored_source(const struct assay_op *op, size_t dim)
{
    for (size_t i = 0; i < op->n_stored; i++) {
        const struct assay_stored *stored = &op->stored[i];
        bool ties = dim == stored->offset_dim;
        for (size_t j = 0; j < stored->n_dims; j++)
            ties = ties || dim == stored->dims[j];
        if (ties)
            return i;
    }
    return op->n_stored;
}

/* The dimensions that the tensor gives by itself. */
static bool read_dims(const struct assay_op *op, const struct assay_stored *stored,
                      const struct gguf_tensor *tensor, int64_t *own, struct error *why)
{
    stored_unknown(own);
    for (size_t i = 0; i < GGUF_DIMS; i++) {
        if (i < stored->n_dims) {
            int64_t *dim = &own[stored->dims[i]];
            *dim = *dim == ASSAY_UNSET ? tensor->ne[i] : assay_mul(*dim, tensor->ne[i]);
        } else if (tensor->ne[i] != 1) {
            return fail(why, "%s takes %zu dimensions", op->name, stored->n_dims);
        }
    }
    if (op->routed && tensor->ne[stored->n_dims - 1] == 1)
        return fail(why, "%s takes the matrices of several experts", op->name);
    if (stored->offset_dim != ASSAY_NO_DIM)
        own[stored->offset_dim] = tensor->offset;
    return true;
}

bool stored_add(const struct assay_op *op, size_t i, const struct gguf_tensor *tensor,
                int64_t shape[ASSAY_MAX_DIMS], struct error *why)
{
    const struct assay_stored *stored = &op->stored[i];
    int64_t own[ASSAY_MAX_DIMS];
    if (strcmp(tensor->type->name, stored->type) != 0)
        return fail(why, "%s takes %s, not %s", op->name, stored->type, tensor->type->name);
    if (!read_dims(op, stored, tensor, own, why))
        return false;
    for (size_t d = 0; d < op->n_dims; d++) {
        const struct assay_dim *dim = &op->dims[d];
        if (own[d] == ASSAY_UNSET)
            continue;
        if (own[d] < dim->min || own[d] > dim->max || own[d] % dim->multiple != 0)
            return fail(why, "%s takes no %s of %lld", op->name, dim->name, (long long)own[d]);
        if (shape[d] != ASSAY_UNSET && shape[d] != own[d])
            return fail(why, "%s takes no %s with %s=%lld beside %s with %lld", op->name,
                        stored_name(op, i), dim->name, (long long)own[d],
                        stored_name(op, stored_source(op, d)), (long long)shape[d]);
        shape[d] = own[d];
    }
    return true;
}

bool stored_usable_by(const struct assay_op *op, const struct gguf_tensor *tensor,
                      struct error *why)
{
    fail(why, "%s takes no weights from a file", op->name);
    for (size_t i = 0; i < op->n_stored; i++) {
        int64_t shape[ASSAY_MAX_DIMS];
        stored_unknown(shape);
        if (stored_add(op, i, tensor, shape, why))
            return true;
    }
    return false;
}

bool stored_usable(const struct gguf_tensor *tensor, struct error *why)
{
    struct error reason;
    fail(why, "no op takes %s", tensor->type->name);
    for (size_t i = 0; i < assay_n_ops; i++) {
        const struct assay_op *op = assay_ops[i];
        if (stored_usable_by(op, tensor, &reason))
            return true;
        if (op->n_stored > 0 && strcmp(op->stored[0].type, tensor->type->name) == 0)
            *why = reason;
    }
    return false;
}
