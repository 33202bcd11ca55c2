/* SPDX-License-Identifier: MIT */
/*
 * q4_K_gemv_moe_id: the ids become lists as moe_ids_tpe makes them, then it is a q4_K_gemm_moe_id:
 * an expert that several tokens chose is read once. A list has room for every pair; only its start
 * is touched.
 */
#include "ref/q4_K_gemv_moe_id.h"

#include "opt/avx2/kernels.h"
#include "opt/avx2/moe_parts.h"
#include "ref/moe_ids_tpe.h"
#include "ref/q4_K_gemm_moe_id.h"

typedef struct q4_K_gemv_moe_id_shape shape_t;
typedef struct q4_K_gemv_moe_id_args args_t;

static struct q4_K_gemm_moe_id_shape as_gemm(const shape_t *s)
{
    return (struct q4_K_gemm_moe_id_shape){
        .experts = s->experts,
        .m = s->m,
        .k = s->k,
        .top_k = s->top_k,
        .ne11 = s->ne11,
        .tokens = s->tokens,
        .stride = assay_mul(s->tokens, s->top_k),
        .w_offset = s->w_offset,
    };
}

static struct matmul sizes(const void *shape)
{
    struct q4_K_gemm_moe_id_shape gemm = as_gemm(shape);
    return avx2_moe_matmul_sizes(&gemm);
}

/* Memory: what avx2_moe_matmul_bind needs, ids, then tpe and grids. */
static int64_t ids_bytes(const struct q4_K_gemm_moe_id_shape *gemm)
{
    return scratch_part(assay_mul(assay_mul(gemm->experts, gemm->stride), sizeof(int32_t)));
}

static int64_t lists_bytes(const void *shape)
{
    struct q4_K_gemm_moe_id_shape gemm = as_gemm(shape);
    int64_t tpe_bytes = scratch_part(assay_mul(assay_add(gemm.experts, 6), sizeof(int32_t)));
    return assay_add(assay_add(avx2_moe_matmul_lists_bytes(&gemm), ids_bytes(&gemm)), tpe_bytes);
}

/* Every shape that is legal here is legal for moe_ids_tpe. */

static void bind(const void *shape, const void *args, void *memory, struct matmul *matmul)
{
    const shape_t *s = shape;
    const args_t *a = args;
    struct q4_K_gemm_moe_id_shape gemm = as_gemm(s);
    int32_t *ids = (int32_t *)((uint8_t *)memory + avx2_moe_matmul_lists_bytes(&gemm));
    int32_t *tpe = (int32_t *)((uint8_t *)ids + ids_bytes(&gemm));
    struct moe_ids_tpe_shape lists = {s->experts, s->top_k, s->tokens, s->m, s->m, gemm.stride};
    struct moe_ids_tpe_args out = {a->ids, tpe, ids, (uint32_t *)tpe + s->experts};
    moe_ids_tpe_avx2.run(&lists, &out, NULL, NULL, 1);
    struct q4_K_gemm_moe_id_args as_lists = {a->w, a->src1, ids, tpe, NULL, a->dst};
    avx2_moe_matmul_bind(&gemm, &as_lists, memory, matmul);
}

static const struct matmul_op op = {&q4_K_gemv_moe_id_op, sizes, bind, lists_bytes};

MATMUL_KERNEL(q4_K_gemv_moe_id, f32, "f32", MATMUL_F32, ASSAY_F32, .twin = 0)
MATMUL_ALL_INTEGER_KERNELS(q4_K_gemv_moe_id)
