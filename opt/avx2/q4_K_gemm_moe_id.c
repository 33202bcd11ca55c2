/* SPDX-License-Identifier: MIT */
/*
 * q4_K_gemm_moe_id: a list for each expert that has pairs; the rest is matmul.h. An indirect
 * dispatch bounds lists, rows and experts.
 */
#include "ref/q4_K_gemm_moe_id.h"

#include "opt/avx2/kernels.h"
#include "opt/avx2/moe_parts.h"
#include "ref/moe_ids_tpe.h"

typedef struct q4_K_gemm_moe_id_shape shape_t;
typedef struct q4_K_gemm_moe_id_args args_t;

struct matmul avx2_moe_matmul_sizes(const void *shape)
{
    const shape_t *s = shape;
    return (struct matmul){
        .m = s->m,
        .k = s->k,
        .matrices = s->experts,
        .top_k = s->top_k,
        .ne11 = s->ne11,
        .sources = assay_mul(s->tokens, s->ne11),
    };
}

void avx2_moe_matmul_bind(const void *shape, const void *args, void *memory, struct matmul *matmul)
{
    const shape_t *s = shape;
    const args_t *a = args;
    struct pair_list *lists = memory;
    int64_t experts = s->experts, most = INT32_MAX;
    matmul->rows = s->m;
    if (s->indirect) {
        most = (int64_t)a->grid[0] * MOE_TILE_PAIRS;
        matmul->rows = smaller(s->m, (int64_t)a->grid[1] * MOE_TILE_ROWS);
        experts = smaller(experts, a->grid[2]);
    }
    for (int64_t e = 0; e < experts; e++) {
        int64_t pairs = smaller(a->tpe[e], most);
        lists[matmul->n_lists] = (struct pair_list){a->ids + e * s->stride, pairs, e};
        matmul->n_lists += pairs > 0;
    }
    matmul->w = a->w ? a->w + s->w_offset : NULL;
    matmul->src = a->src1;
    matmul->dst = a->dst;
    matmul->lists = lists;
}

int64_t avx2_moe_matmul_lists_bytes(const void *shape)
{
    return scratch_part(assay_mul(((const shape_t *)shape)->experts, sizeof(struct pair_list)));
}

static const struct matmul_op op = {&q4_K_gemm_moe_id_op, avx2_moe_matmul_sizes,
                                    avx2_moe_matmul_bind, avx2_moe_matmul_lists_bytes};

MATMUL_KERNEL(q4_K_gemm_moe_id, f32, "f32", MATMUL_F32, ASSAY_F32, .twin = 0)
MATMUL_KERNEL(q4_K_gemm_moe_id, f16, "f16", MATMUL_F16, ASSAY_F16, .twin = 0)
MATMUL_ALL_INTEGER_KERNELS(q4_K_gemm_moe_id)
