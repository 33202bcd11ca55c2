/* SPDX-License-Identifier: MIT */
/* q4_K_gemm: a matmul (matmul.h) of one matrix with every token. */
#include "ref/q4_K_gemm.h"

#include "opt/avx2/kernels.h"
#include "opt/avx2/matmul.h"

typedef struct q4_K_gemm_shape shape_t;
typedef struct q4_K_gemm_args args_t;

static struct matmul sizes(const void *shape)
{
    const shape_t *s = shape;
    return (struct matmul){
        .m = s->m, .k = s->k, .matrices = 1, .top_k = 1, .ne11 = 1, .sources = s->tokens};
}

static void bind(const void *shape, const void *args, void *memory, struct matmul *matmul)
{
    const shape_t *s = shape;
    const args_t *a = args;
    struct pair_list *all = memory;
    *all = (struct pair_list){.n = s->tokens};
    matmul->rows = s->m;
    matmul->w = a->w ? a->w + s->w_offset : NULL;
    matmul->src = a->src;
    matmul->dst = a->dst;
    matmul->lists = all;
    matmul->n_lists = 1;
}

static int64_t lists_bytes(const void *shape)
{
    (void)shape;
    return scratch_part(sizeof(struct pair_list));
}

static const struct matmul_op op = {&q4_K_gemm_op, sizes, bind, lists_bytes};

MATMUL_KERNEL(q4_K_gemm, f32, "f32", MATMUL_F32, ASSAY_F32, .twin = 0)
MATMUL_ALL_INTEGER_KERNELS(q4_K_gemm)
