/* SPDX-License-Identifier: MIT */
#include "harness/stored.h"

#include <string.h>

bool stored_ties(const struct assay_stored *stored, size_t dim)
{
    bool ties = dim == stored->offset_dim;
    for (size_t i = 0; i < stored->n_dims; i++)
        ties = ties || stored->dims[i] == dim;
    return ties;
}

bool stored_shape(const struct assay_op *op, const struct gguf_tensor *tensor, int64_t *shape,
                  struct error *why)
{
    const struct assay_stored *stored = op->stored;
    if (!stored)
        return fail(why, "%s takes no weights from a file", op->name);
    if (strcmp(tensor->type->name, stored->type) != 0)
        return fail(why, "%s takes %s, not %s", op->name, stored->type, tensor->type->name);
    for (size_t d = 0; d < op->n_dims; d++)
        shape[d] = ASSAY_UNSET;
    for (size_t i = 0; i < GGUF_DIMS; i++) {
        if (i < stored->n_dims) {
            int64_t *dim = &shape[stored->dims[i]];
            *dim = *dim == ASSAY_UNSET ? tensor->ne[i] : assay_mul(*dim, tensor->ne[i]);
        } else if (tensor->ne[i] != 1) {
            return fail(why, "%s takes %zu dimensions", op->name, stored->n_dims);
        }
    }
    if (op->routed && tensor->ne[stored->n_dims - 1] == 1)
        return fail(why, "%s takes the matrices of several experts", op->name);
    shape[stored->offset_dim] = tensor->offset;
    for (size_t d = 0; d < op->n_dims; d++) {
        const struct assay_dim *dim = &op->dims[d];
        if (shape[d] != ASSAY_UNSET &&
            (shape[d] < dim->min || shape[d] > dim->max || shape[d] % dim->multiple != 0))
            return fail(why, "%s takes no %s of %lld", op->name, dim->name, (long long)shape[d]);
    }
    return true;
}

bool stored_usable(const struct gguf_tensor *tensor, struct error *why)
{
    struct error reason;
    int64_t shape[ASSAY_MAX_DIMS];
    fail(why, "no op takes %s", tensor->type->name);
    for (size_t i = 0; i < assay_n_ops; i++) {
        if (stored_shape(assay_ops[i], tensor, shape, &reason))
            return true;
        if (assay_ops[i]->stored && strcmp(assay_ops[i]->stored->type, tensor->type->name) == 0)
            *why = reason;
    }
    return false;
}
