/* SPDX-License-Identifier: MIT */
/* What op descriptors share, and parts of them that have files of their own. */
#ifndef ASSAY_REF_OP_PARTS_H
#define ASSAY_REF_OP_PARTS_H

#include "ref/f16.h"
#include "ref/op.h"

/* Bits are equal, or both are NaN. */
static inline bool assay_same_f32(float a, float b)
{
    return assay_f32_bits(a) == assay_f32_bits(b) || (a != a && b != b);
}

/* The first i < count with other[i] != factor * first[i]; -1: none. */
int64_t assay_first_unequal(const float *first, const float *other, int64_t count, float factor);

/* For `derive`: copies the inputs that both calls have, which must be of equal size. */
void assay_copy_inputs(const struct assay_op *op, const void *shape, void *const *tensors,
                       void *const *other);

bool moe_router_topk_softmax_fill(const void *shape, const struct assay_fill *how,
                                  void *const *tensors, struct assay_random *random);

bool moe_ffn_exact(const void *shape);
bool moe_ffn_fill(const void *shape, const struct assay_fill *how, void *const *tensors,
                  struct assay_random *random);
bool moe_ffn_oracle(const void *shape, void *const *tensors, size_t tensor,
                    enum assay_numerics numerics, const int64_t *columns, int64_t n_columns,
                    struct assay_expected *expected);

struct q4_K_product;
bool q4_K_gemm_moe_id_products(const void *shape, const void *args, int64_t i,
                               struct q4_K_product *product);

enum { Q4_K_GEMM_MOE_ID_PROPERTIES = 6 };
extern const struct assay_property q4_K_gemm_moe_id_properties[Q4_K_GEMM_MOE_ID_PROPERTIES];

size_t q4_K_gemm_moe_id_locate(const void *shape, void *const *tensors, size_t tensor, int64_t row,
                               int64_t column, struct assay_coordinate *at);

#endif
