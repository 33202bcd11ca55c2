/* SPDX-License-Identifier: MIT */
#include "harness/variants.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_VARIANTS 4096
#define CACHES       4

void variants_pointers(const struct variants *v, int variant, const struct tensors *outputs,
                       void **pointers)
{
    const struct assay_op *op = v->item->op;
    const struct tensors *weights = &v->weights[variant % v->n_copies];
    for (size_t i = 0; i < op->n_tensors; i++) {
        if (is_output(&op->tensors[i]))
            pointers[i] = outputs ? outputs->pointers[i] : NULL;
        else if (op->tensors[i].role == ASSAY_WEIGHTS)
            pointers[i] = weights->pointers[i];
        else
            pointers[i] = v->others[variant].pointers[i];
    }
}

void variants_free(struct variants *v)
{
    for (int i = 0; v->weights && i < v->n_copies; i++)
        tensors_free(&v->weights[i]);
    for (int i = 0; v->others && i < v->count; i++)
        tensors_free(&v->others[i]);
    free(v->weights);
    free(v->others);
}

static int rotations(double bytes, int64_t llc_bytes)
{
    double wanted = ceil(CACHES * (double)llc_bytes / fmax(bytes, 1));
    return wanted < 1 ? 1 : wanted > MAX_VARIANTS ? MAX_VARIANTS : (int)wanted;
}

/* Allocates the tensors of one kind of input. */
static bool make_some(struct tensors *tensors, const struct assay_case *item, bool weights,
                      struct error *error)
{
    const struct assay_op *op = item->op;
    *tensors = (struct tensors){.op = op};
    for (size_t i = 0; i < op->n_tensors; i++) {
        const struct assay_tensor *tensor = &op->tensors[i];
        if (is_output(tensor) || (tensor->role == ASSAY_WEIGHTS) != weights)
            continue;
        int64_t bytes = tensor->count(item->shape) * (int64_t)assay_dtype_bytes(tensor->dtype);
        if (!guarded_make(&tensors->buffers[i], bytes, tensor->align, AT_START, PRIVATE, error))
            return false;
        tensors->pointers[i] = tensors->buffers[i].data;
    }
    return true;
}

/* The first weights; those of a file are mapped, as an engine has them. */
static bool make_weights(struct tensors *tensors, const struct assay_case *item,
                         struct error *error)
{
    *tensors = (struct tensors){.op = item->op};
    for (size_t i = 0; i < item->op->n_tensors; i++) {
        if (item->op->tensors[i].role == ASSAY_WEIGHTS &&
            !input_make(tensors, item, i, AT_START, error))
            return false;
    }
    return true;
}

static bool fill_variant(struct variants *v, int variant, struct error *error)
{
    void *pointers[ASSAY_MAX_TENSORS];
    variants_pointers(v, variant, NULL, pointers);
    for (size_t i = 0; variant > 0 && i < v->item->op->n_tensors; i++) {
        if (v->item->op->tensors[i].role == ASSAY_WEIGHTS)
            pointers[i] = NULL;
    }
    /* Without a routing the same activations serve: what is cold is the weights. */
    return case_fill(v->item, pointers, v->item->op->routed ? (uint64_t)variant : 0, error);
}

bool variants_make(struct variants *v, const struct assay_case *item, int64_t llc_bytes,
                   struct error *error)
{
    const struct assay_op *op = item->op;
    *v = (struct variants){.item = item, .count = 1, .n_copies = 1};
    double weight_bytes = 0;
    for (size_t i = 0; i < op->n_tensors; i++) {
        if (op->tensors[i].role == ASSAY_WEIGHTS)
            weight_bytes += (double)op->tensors[i].count(item->shape) *
                            (double)assay_dtype_bytes(op->tensors[i].dtype);
    }
    weight_bytes -= (double)case_prefix_bytes(item);
    v->has_weights = weight_bytes > 0;
    v->weights = calloc(MAX_VARIANTS, sizeof(*v->weights));
    v->others = calloc(MAX_VARIANTS, sizeof(*v->others));
    if (!v->weights || !v->others)
        return fail(error, "out of memory");
    if (!make_weights(&v->weights[0], item, error) ||
        !make_some(&v->others[0], item, false, error) || !fill_variant(v, 0, error))
        return false;
    if (!v->has_weights)
        return true;
    void *pointers[ASSAY_MAX_TENSORS];
    variants_pointers(v, 0, NULL, pointers);
    double touched = op->cost(item->shape, pointers).read_bytes;
    int copies = rotations(weight_bytes, llc_bytes);
    int count = rotations(touched, llc_bytes);
    count = count > copies ? count : copies;
    for (; v->n_copies < copies; v->n_copies++) {
        struct tensors *copy = &v->weights[v->n_copies];
        if (!make_some(copy, item, true, error))
            return false;
        for (size_t i = 0; i < op->n_tensors; i++) {
            size_t hole = v->weights[0].buffers[i].hole;
            if (copy->buffers[i].data)
                memcpy(copy->buffers[i].data + hole, v->weights[0].buffers[i].data + hole,
                       copy->buffers[i].bytes - hole);
        }
    }
    for (; v->count < count; v->count++) {
        if (!make_some(&v->others[v->count], item, false, error) ||
            !fill_variant(v, v->count, error))
            return false;
    }
    return true;
}
