/* SPDX-License-Identifier: MIT */
/* q4_K_gemm: a matmul (matmul.h) of one matrix with every token. */
#include "ref/q4_K_gemm.h"

#include "opt/avx512vnni/kernels.h"
#include "opt/avx512vnni/matmul.h"

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
    return line_bytes(1, sizeof(struct pair_list));
}

static const struct matmul_op op = {&q4_K_gemm_op, sizes, bind, lists_bytes};
MATMUL_FUNCTIONS(op, f32, MATMUL_F32)
MATMUL_FUNCTIONS(op, i8, MATMUL_I8)
MATMUL_FUNCTIONS(op, packed, MATMUL_I8_PACKED)

static int64_t prepared_bytes(const void *shape)
{
    return avx512vnni_matmul_packed_bytes(&op, shape);
}

static void prepare(const void *shape, const void *args, void *prepared, int threads)
{
    const uint8_t *w = ((const args_t *)args)->w + ((const shape_t *)shape)->w_offset;
    avx512vnni_matmul_pack(&op, shape, w, prepared, threads);
}

const struct assay_kernel q4_K_gemm_avx512vnni_f32 = {
    .op = "q4_K_gemm",
    .name = "avx512vnni-f32",
    .tier = "avx512vnni",
    .numerics = ASSAY_F32,
    .depth = depth_f32,
    .scratch_bytes = scratch_f32,
    .run = run_f32,
};

const struct assay_kernel q4_K_gemm_avx512vnni_i8 = {
    .op = "q4_K_gemm",
    .name = "avx512vnni-i8",
    .tier = "avx512vnni",
    .numerics = ASSAY_I8,
    .twin = 1,
    .depth = depth_i8,
    .scratch_bytes = scratch_i8,
    .run = run_i8,
};

const struct assay_kernel q4_K_gemm_avx512vnni_i8_packed = {
    .op = "q4_K_gemm",
    .name = "avx512vnni-i8-packed",
    .tier = "avx512vnni",
    .numerics = ASSAY_I8,
    .twin = 1,
    .depth = depth_packed,
    .prepared_bytes = prepared_bytes,
    .prepare = prepare,
    .scratch_bytes = scratch_packed,
    .run = run_packed,
};
