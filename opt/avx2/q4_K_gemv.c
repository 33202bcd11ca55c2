/* SPDX-License-Identifier: MIT */
/* q4_K_gemv: a matmul (matmul.h) of one matrix and one pair. */
#include "ref/q4_K_gemv.h"

#include "opt/avx2/kernels.h"
#include "opt/avx2/matmul.h"

typedef struct q4_K_gemv_shape shape_t;
typedef struct q4_K_gemv_args args_t;

static struct matmul sizes(const void *shape)
{
    const shape_t *s = shape;
    return (struct matmul){
        .m = s->n, .k = s->k, .matrices = 1, .top_k = 1, .ne11 = 1, .sources = 1};
}

static void bind(const void *shape, const void *args, void *memory, struct matmul *matmul)
{
    static const struct pair_list one = {.n = 1};
    (void)memory;
    const shape_t *s = shape;
    const args_t *a = args;
    matmul->rows = s->n;
    matmul->w = a->w ? a->w + s->w_offset : NULL;
    matmul->src = a->x;
    matmul->dst = a->y;
    matmul->lists = &one;
    matmul->n_lists = 1;
}

static int64_t lists_bytes(const void *shape)
{
    (void)shape;
    return 0;
}

static const struct matmul_op op = {&q4_K_gemv_op, sizes, bind, lists_bytes};

MATMUL_KERNEL(q4_K_gemv, f32, "f32", MATMUL_F32, ASSAY_F32, .twin = 0)
MATMUL_ALL_INTEGER_KERNELS(q4_K_gemv)
