/* SPDX-License-Identifier: MIT */
/* Which pairs meet which matrix, op by op. */
#include "opt/moe_lists.h"
#include "ref/moe_ids_tpe.h"
#include "ref/q4_K_gemm.h"
#include "ref/q4_K_gemm_moe_id.h"
#include "ref/q4_K_gemv.h"
#include "ref/q4_K_gemv_moe_id.h"

/* ---- q4_K_gemv: one matrix, one pair ---- */

static struct matmul gemv_sizes(const void *shape)
{
    const struct q4_K_gemv_shape *s = shape;
    return (struct matmul){
        .m = s->n, .k = s->k, .matrices = 1, .top_k = 1, .ne11 = 1, .sources = 1};
}

static void gemv_bind(const void *shape, const void *args, void *memory, struct matmul *matmul)
{
    static const struct pair_list one = {.n = 1};
    (void)memory;
    const struct q4_K_gemv_args *a = args;
    matmul->rows = ((const struct q4_K_gemv_shape *)shape)->n;
    matmul->src = a->x;
    matmul->dst = a->y;
    matmul->lists = &one;
    matmul->n_lists = 1;
}

static int64_t gemv_lists_bytes(const void *shape)
{
    (void)shape;
    return 0;
}

/* ---- q4_K_gemm: one matrix, every token ---- */

static struct matmul gemm_sizes(const void *shape)
{
    const struct q4_K_gemm_shape *s = shape;
    return (struct matmul){
        .m = s->m, .k = s->k, .matrices = 1, .top_k = 1, .ne11 = 1, .sources = s->tokens};
}

static void gemm_bind(const void *shape, const void *args, void *memory, struct matmul *matmul)
{
    const struct q4_K_gemm_shape *s = shape;
    const struct q4_K_gemm_args *a = args;
    struct pair_list *all = memory;
    *all = (struct pair_list){.n = s->tokens};
    matmul->rows = s->m;
    matmul->src = a->src;
    matmul->dst = a->dst;
    matmul->lists = all;
    matmul->n_lists = 1;
}

static int64_t gemm_lists_bytes(const void *shape)
{
    (void)shape;
    return line_bytes(1, sizeof(struct pair_list));
}

/* ---- q4_K_gemm_moe_id: a list for each expert that has pairs ---- */

struct matmul moe_matmul_sizes(const void *shape)
{
    const struct q4_K_gemm_moe_id_shape *s = shape;
    return (struct matmul){
        .m = s->m,
        .k = s->k,
        .matrices = s->experts,
        .top_k = s->top_k,
        .ne11 = s->ne11,
        .sources = assay_mul(s->tokens, s->ne11),
    };
}

/* An indirect dispatch bounds lists, rows and experts. */
void moe_matmul_bind(const void *shape, const void *args, void *memory, struct matmul *matmul)
{
    const struct q4_K_gemm_moe_id_shape *s = shape;
    const struct q4_K_gemm_moe_id_args *a = args;
    struct pair_list *lists = memory;
    int64_t experts = s->experts, most = INT32_MAX;
    matmul->rows = s->m;
    if (s->indirect) {
        most = (int64_t)a->grid[0] * MOE_TILE_PAIRS;
        matmul->rows = min_i64(s->m, (int64_t)a->grid[1] * MOE_TILE_ROWS);
        experts = min_i64(experts, a->grid[2]);
    }
    for (int64_t e = 0; e < experts; e++) {
        int64_t pairs = min_i64(a->tpe[e], most);
        lists[matmul->n_lists] = (struct pair_list){a->ids + e * s->stride, pairs, e};
        matmul->n_lists += pairs > 0;
    }
    matmul->src = a->src1;
    matmul->dst = a->dst;
    matmul->lists = lists;
}

int64_t moe_matmul_lists_bytes(const void *shape)
{
    return line_bytes(((const struct q4_K_gemm_moe_id_shape *)shape)->experts,
                      sizeof(struct pair_list));
}

/* ---- q4_K_gemv_moe_id: ids become lists; what several tokens chose is read once ---- */

static struct q4_K_gemm_moe_id_shape as_gemm(const struct q4_K_gemv_moe_id_shape *s)
{
    return (struct q4_K_gemm_moe_id_shape){
        .experts = s->experts,
        .m = s->m,
        .k = s->k,
        .top_k = s->top_k,
        .ne11 = s->ne11,
        .tokens = s->tokens,
        .stride = assay_mul(s->tokens, s->top_k),
    };
}

static struct matmul gemv_moe_sizes(const void *shape)
{
    struct q4_K_gemm_moe_id_shape gemm = as_gemm(shape);
    return moe_matmul_sizes(&gemm);
}

/* Memory: that of moe_matmul_bind, ids, tpe. A list has room for every pair; only its start is
 * touched. */
static int64_t ids_bytes(const struct q4_K_gemm_moe_id_shape *gemm)
{
    return line_bytes(assay_mul(gemm->experts, gemm->stride), sizeof(int32_t));
}

static int64_t gemv_moe_lists_bytes(const void *shape)
{
    struct q4_K_gemm_moe_id_shape gemm = as_gemm(shape);
    return assay_add(assay_add(moe_matmul_lists_bytes(&gemm), ids_bytes(&gemm)),
                     line_bytes(gemm.experts, sizeof(int32_t)));
}

static void gemv_moe_bind(const void *shape, const void *args, void *memory, struct matmul *matmul)
{
    const struct q4_K_gemv_moe_id_shape *s = shape;
    const struct q4_K_gemv_moe_id_args *a = args;
    struct q4_K_gemm_moe_id_shape gemm = as_gemm(s);
    int32_t *ids = (int32_t *)((uint8_t *)memory + moe_matmul_lists_bytes(&gemm));
    int32_t *tpe = (int32_t *)((uint8_t *)ids + ids_bytes(&gemm));
    struct moe_ids_tpe_shape lists = {
        .experts = s->experts, .top_k = s->top_k, .tokens = s->tokens, .stride = gemm.stride};
    list_pairs(&lists, a->ids, tpe, ids);
    struct q4_K_gemm_moe_id_args as_lists = {
        .src1 = a->src1, .ids = ids, .tpe = tpe, .dst = a->dst};
    moe_matmul_bind(&gemm, &as_lists, memory, matmul);
}

/* ---- weights ---- */

#define WEIGHTS(op_name)                                                         \
    static const uint8_t *op_name##_weights(const void *shape, const void *args) \
    {                                                                            \
        const uint8_t *w = ((const struct op_name##_args *)args)->w;             \
        return w ? w + ((const struct op_name##_shape *)shape)->w_offset : NULL; \
    }
WEIGHTS(q4_K_gemv)
WEIGHTS(q4_K_gemm)
WEIGHTS(q4_K_gemm_moe_id)
WEIGHTS(q4_K_gemv_moe_id)

const struct matmul_op q4_K_gemv_matmul = {&q4_K_gemv_op, gemv_sizes, gemv_bind, gemv_lists_bytes,
                                           q4_K_gemv_weights};
const struct matmul_op q4_K_gemm_matmul = {&q4_K_gemm_op, gemm_sizes, gemm_bind, gemm_lists_bytes,
                                           q4_K_gemm_weights};
const struct matmul_op q4_K_gemm_moe_id_matmul = {&q4_K_gemm_moe_id_op, moe_matmul_sizes,
                                                  moe_matmul_bind, moe_matmul_lists_bytes,
                                                  q4_K_gemm_moe_id_weights};
const struct matmul_op q4_K_gemv_moe_id_matmul = {&q4_K_gemv_moe_id_op, gemv_moe_sizes,
                                                  gemv_moe_bind, gemv_moe_lists_bytes,
                                                  q4_K_gemv_moe_id_weights};
