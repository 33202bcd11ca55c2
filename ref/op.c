/* SPDX-License-Identifier: MIT */
#include "ref/op.h"

#include <string.h>

#include "ref/activation_quantize.h"
#include "ref/affine_gemv.h"
#include "ref/affine_quantize.h"
#include "ref/moe_ffn.h"
#include "ref/moe_ids_tpe.h"
#include "ref/moe_router_topk_softmax.h"
#include "ref/moe_weighted_sum.h"
#include "ref/op_parts.h"
#include "ref/q4_K_dequant.h"
#include "ref/q4_K_gemm.h"
#include "ref/q4_K_gemm_moe_id.h"
#include "ref/q4_K_gemv.h"
#include "ref/q4_K_gemv_moe_id.h"
#include "ref/q4_K_quantize.h"
#include "ref/silu_mul.h"

const struct assay_op *const assay_ops[] = {
    &q4_K_dequant_op,     &q4_K_quantize_op,           &q4_K_gemv_op,
    &q4_K_gemm_moe_id_op, &moe_router_topk_softmax_op, &moe_ids_tpe_op,
    &q4_K_gemm_op,        &q4_K_gemv_moe_id_op,        &activation_quantize_op,
    &silu_mul_op,         &moe_weighted_sum_op,        &moe_ffn_op,
    &affine_gemv_op,      &affine_quantize_op,
};
const size_t assay_n_ops = sizeof(assay_ops) / sizeof(*assay_ops);

const char *const assay_fill_names[] = {"exact", "model", "edge"};
const char *const assay_routing_names[] = {"uniform",    "zipf",    "one_expert", "tile_edges",
                                           "duplicates", "invalid", "router"};
const char *const assay_numerics_names[] = {"bits", "f32", "i8", "f16", "i16", "i24"};

const struct assay_op *assay_find_op(const char *name)
{
    for (size_t i = 0; i < assay_n_ops; i++) {
        if (strcmp(assay_ops[i]->name, name) == 0)
            return assay_ops[i];
    }
    return NULL;
}

static const char *not_multiple(int64_t multiple)
{
    switch (multiple) {
    case 4: return "must be a multiple of 4";
    case 64: return "must be a multiple of 64";
    case 256: return "must be a multiple of 256";
    default: return "must be even";
    }
}

const char *assay_illegal(const struct assay_op *op, const void *shape, const char **where)
{
    const int64_t *values = shape;
    for (size_t i = 0; i < op->n_dims; i++) {
        const struct assay_dim *dim = &op->dims[i];
        if (where)
            *where = dim->name;
        if (values[i] < dim->min)
            return "is below its smallest legal value";
        if (values[i] > dim->max)
            return "is above its largest legal value";
        if (values[i] % dim->multiple != 0)
            return not_multiple(dim->multiple);
    }
    if (where)
        *where = NULL;
    return op->illegal ? op->illegal(shape) : NULL;
}

size_t assay_dtype_bytes(enum assay_dtype dtype)
{
    switch (dtype) {
    case ASSAY_DTYPE_U8:
    case ASSAY_DTYPE_I8: return 1;
    case ASSAY_DTYPE_I16:
    case ASSAY_DTYPE_U16: return 2;
    default: return 4;
    }
}

int64_t assay_mul(int64_t a, int64_t b)
{
    int64_t product;
    if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, &product))
        return -1;
    return product;
}

int64_t assay_add(int64_t a, int64_t b)
{
    int64_t sum;
    if (a < 0 || b < 0 || __builtin_add_overflow(a, b, &sum))
        return -1;
    return sum;
}

int64_t assay_first_unequal(const float *first, const float *other, int64_t count, float factor)
{
    for (int64_t i = 0; i < count; i++) {
        if (!assay_same_f32(first[i] * factor, other[i]))
            return i;
    }
    return -1;
}

void assay_copy_inputs(const struct assay_op *op, const void *shape, void *const *tensors,
                       void *const *other)
{
    for (size_t i = 0; i < op->n_tensors; i++) {
        const struct assay_tensor *tensor = &op->tensors[i];
        bool input = tensor->role == ASSAY_INPUT || tensor->role == ASSAY_WEIGHTS;
        if (input && tensors[i] && other[i])
            memcpy(other[i], tensors[i],
                   (size_t)tensor->count(shape) * assay_dtype_bytes(tensor->dtype));
    }
}
