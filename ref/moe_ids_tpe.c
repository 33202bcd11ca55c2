/* SPDX-License-Identifier: MIT */
#include "ref/moe_ids_tpe.h"

#include "ref/fill.h"

void moe_lists(const int32_t *selected, int64_t pairs, int64_t experts, int64_t stride,
               int32_t *tpe, int32_t *ids)
{
    for (int64_t e = 0; e < experts; e++) {
        int32_t count = 0;
        for (int64_t pair = 0; pair < pairs; pair++) {
            if (selected[pair] == e)
                ids[e * stride + count++] = (int32_t)pair;
        }
        tpe[e] = count;
    }
}

void moe_grid(const int32_t *tpe, int64_t experts, int64_t m, uint32_t grid[3])
{
    int32_t largest = 1;
    for (int64_t e = 0; e < experts; e++)
        largest = tpe[e] > largest ? tpe[e] : largest;
    grid[0] = ((uint32_t)largest + MOE_TILE_PAIRS - 1) / MOE_TILE_PAIRS;
    grid[1] = (uint32_t)((m + MOE_TILE_ROWS - 1) / MOE_TILE_ROWS);
    grid[2] = (uint32_t)experts;
}

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    (void)prepared, (void)scratch, (void)threads;
    const struct moe_ids_tpe_shape *s = shape;
    const struct moe_ids_tpe_args *a = args;
    const char *illegal = assay_illegal(&moe_ids_tpe_op, shape, NULL);
    if (illegal)
        return illegal;
    moe_lists(a->selected, s->tokens * s->top_k, s->experts, s->stride, a->tpe, a->ids);
    moe_grid(a->tpe, s->experts, s->m_gate_up, &a->grids[0]);
    moe_grid(a->tpe, s->experts, s->m_down, &a->grids[3]);
    return NULL;
}

const struct assay_kernel moe_ids_tpe_ref = {
    .op = "moe_ids_tpe",
    .name = "ref",
    .tier = "ref",
    .numerics = ASSAY_BITS,
    .run = run,
};

static const struct assay_dim dims[] = {
    {"experts", 1, INT32_MAX, 1, false}, {"top_k", 1, INT32_MAX, 1, false},
    {"tokens", 1, INT32_MAX, 1, false},  {"m_gate_up", 1, INT32_MAX, 1, true},
    {"m_down", 1, INT32_MAX, 1, true},   {"stride", 1, INT64_MAX, 1, true},
};

static void defaults(void *shape)
{
    struct moe_ids_tpe_shape *s = shape;
    s->m_gate_up = s->m_gate_up == ASSAY_UNSET ? 768 : s->m_gate_up;
    s->m_down = s->m_down == ASSAY_UNSET ? 2048 : s->m_down;
    s->stride = s->stride == ASSAY_UNSET ? assay_mul(s->tokens, s->top_k) : s->stride;
}

static const char *illegal(const void *shape)
{
    const struct moe_ids_tpe_shape *s = shape;
    int64_t pairs = assay_mul(s->tokens, s->top_k);
    if (s->top_k > s->experts)
        return "top_k must not exceed experts";
    if (pairs < 0 || pairs > INT32_MAX)
        return "tokens * top_k must be below 2^31";
    return s->stride < pairs ? "stride must be at least tokens * top_k" : NULL;
}

static int64_t count_selected(const void *shape)
{
    const struct moe_ids_tpe_shape *s = shape;
    return assay_mul(s->tokens, s->top_k);
}

static int64_t count_tpe(const void *shape)
{
    return ((const struct moe_ids_tpe_shape *)shape)->experts;
}

static int64_t count_ids(const void *shape)
{
    const struct moe_ids_tpe_shape *s = shape;
    return assay_mul(s->experts, s->stride);
}

static int64_t columns_ids(const void *shape)
{
    return ((const struct moe_ids_tpe_shape *)shape)->stride;
}

static int64_t count_grids(const void *shape)
{
    (void)shape;
    return 6;
}

static int64_t columns_grids(const void *shape)
{
    (void)shape;
    return 3;
}

static const struct assay_tensor tensors[] = {
    {"selected", ASSAY_DTYPE_I32, ASSAY_INPUT, 4, count_selected, NULL},
    {"tpe", ASSAY_DTYPE_I32, ASSAY_OUT_BITS, 4, count_tpe, count_tpe},
    {"ids", ASSAY_DTYPE_I32, ASSAY_OUT_BITS, 4, count_ids, columns_ids},
    {"grids", ASSAY_DTYPE_U32, ASSAY_OUT_BITS, 4, count_grids, columns_grids},
};

static bool fill(const void *shape, const struct assay_fill *how, void *const *t,
                 struct assay_random *random)
{
    const struct moe_ids_tpe_shape *s = shape;
    random->start(random, "routing");
    return fill_routing(how, s->experts, s->tokens, s->top_k, t[0], random);
}

static int64_t inner(const void *shape)
{
    (void)shape;
    return 1;
}

static struct assay_cost cost(const void *shape, void *const *t)
{
    const struct moe_ids_tpe_shape *s = shape;
    const int32_t *selected = t[0];
    int64_t pairs = s->tokens * s->top_k, valid = 0;
    for (int64_t pair = 0; pair < pairs; pair++)
        valid += selected[pair] >= 0 && selected[pair] < s->experts;
    return (struct assay_cost){0, 4.0 * (double)pairs, 4.0 * (double)(valid + s->experts + 6)};
}

const struct assay_op moe_ids_tpe_op = {
    .name = "moe_ids_tpe",
    .n_dims = sizeof(dims) / sizeof(*dims),
    .dims = dims,
    .n_tensors = sizeof(tensors) / sizeof(*tensors),
    .tensors = tensors,
    .routed = true,
    .defaults = defaults,
    .illegal = illegal,
    .fill = fill,
    .inner = inner,
    .cost = cost,
    .reference = &moe_ids_tpe_ref,
};
