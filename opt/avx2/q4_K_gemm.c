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
    return (struct matmul){.m = s->m, .k = s->k, .top_k = 1, .ne11 = 1, .sources = s->tokens};
}

static void bind(const void *shape, const void *args, void *memory, struct matmul *matmul)
{
    const shape_t *s = shape;
    const args_t *a = args;
    struct pair_list *all = memory;
    *all = (struct pair_list){.n = s->tokens};
    matmul->rows = s->m;
    matmul->w = a->w + s->w_offset;
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
MATMUL_FUNCTIONS(op, f32, MATMUL_F32)
MATMUL_FUNCTIONS(op, i8, MATMUL_I8)

const struct assay_kernel q4_K_gemm_avx2_f32 = {
    .op = "q4_K_gemm",
    .name = "avx2-f32",
    .tier = "avx2",
    .numerics = ASSAY_F32,
    .depth = depth_f32,
    .scratch_bytes = scratch_f32,
    .run = run_f32,
};

const struct assay_kernel q4_K_gemm_avx2_i8 = {
    .op = "q4_K_gemm",
    .name = "avx2-i8",
    .tier = "avx2",
    .numerics = ASSAY_I8,
    .twin = 1,
    .depth = depth_i8,
    .scratch_bytes = scratch_i8,
    .run = run_i8,
};
