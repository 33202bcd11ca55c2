/* SPDX-License-Identifier: MIT */
#include "ref/moe_ids_tpe.h"

#include "ref/fill.h"
#include "ref/op_parts.h"

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
    return (struct assay_cost){.read_bytes = 4.0 * (double)pairs,
                               .written_bytes = 4.0 * (double)(valid + s->experts + 6)};
}

typedef struct moe_ids_tpe_shape shape_t;

static struct moe_ids_tpe_args args_of(void *const *t)
{
    return (struct moe_ids_tpe_args){t[0], t[1], t[2], t[3]};
}

static bool reshape_same(const void *shape, const struct assay_fill *how, void *other)
{
    (void)how;
    *(shape_t *)other = *(const shape_t *)shape;
    return true;
}

static void derive_same(const void *shape, void *const *t, const void *other_shape,
                        void *const *other)
{
    (void)other_shape;
    assay_copy_inputs(&moe_ids_tpe_op, shape, t, other);
}

/* The first expert whose tpe is not the number of pairs that selected it. */
static int64_t miscounted(const shape_t *s, const struct moe_ids_tpe_args *a)
{
    for (int64_t e = 0; e < s->experts; e++) {
        int64_t count = 0;
        for (int64_t pair = 0; pair < count_selected(s); pair++)
            count += a->selected[pair] == e;
        if (count != a->tpe[e])
            return e;
    }
    return -1;
}

static int64_t broken_sum(const void *shape, void *const *t, const void *other_shape,
                          void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)other_shape, (void)other, (void)numerics;
    const shape_t *s = shape;
    struct moe_ids_tpe_args a = args_of(t);
    int64_t difference = 0;
    *tensor = 1;
    for (int64_t pair = 0; pair < count_selected(s); pair++)
        difference += moe_is_expert(a.selected[pair], s->experts);
    for (int64_t e = 0; e < s->experts; e++)
        difference -= a.tpe[e];
    return difference == 0 ? -1 : miscounted(s, &a);
}

static int64_t broken_list(const void *shape, void *const *t, const void *other_shape,
                           void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)other_shape, (void)other, (void)numerics;
    const shape_t *s = shape;
    struct moe_ids_tpe_args a = args_of(t);
    for (int64_t e = 0; e < s->experts; e++) {
        *tensor = 1;
        if (a.tpe[e] < 0 || a.tpe[e] > s->stride)
            return e;
        *tensor = 2;
        for (int64_t i = e * s->stride; i < e * s->stride + a.tpe[e]; i++) {
            bool ascends = i == e * s->stride || a.ids[i] > a.ids[i - 1];
            if (!ascends || a.ids[i] < 0 || a.ids[i] >= count_selected(s) ||
                a.selected[a.ids[i]] != e)
                return i;
        }
    }
    return -1;
}

static bool reshape_relabelled(const void *shape, const struct assay_fill *how, void *other)
{
    return reshape_same(shape, how, other) && ((const shape_t *)shape)->experts > 1;
}

/* Expert e becomes e + 1. */
static void derive_relabelled(const void *shape, void *const *t, const void *other_shape,
                              void *const *other)
{
    (void)other_shape;
    const shape_t *s = shape;
    const int32_t *selected = t[0];
    int32_t *relabelled = other[0];
    for (int64_t pair = 0; pair < count_selected(s); pair++) {
        int32_t id = selected[pair];
        relabelled[pair] =
            moe_is_expert(id, s->experts) ? (int32_t)((id + (int64_t)1) % s->experts) : id;
    }
}

static int64_t broken_relabelled(const void *shape, void *const *t, const void *other_shape,
                                 void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)other_shape, (void)numerics;
    const shape_t *s = shape;
    struct moe_ids_tpe_args a = args_of(t), b = args_of(other);
    for (int64_t e = 0; e < s->experts; e++) {
        int64_t label = (e + 1) % s->experts;
        *tensor = 1;
        if (a.tpe[e] != b.tpe[label] || a.tpe[e] < 0 || a.tpe[e] > s->stride)
            return e;
        *tensor = 2;
        for (int64_t i = 0; i < a.tpe[e]; i++) {
            if (a.ids[e * s->stride + i] != b.ids[label * s->stride + i])
                return e * s->stride + i;
        }
    }
    *tensor = 3;
    for (int64_t i = 0; i < count_grids(s); i++) {
        if (a.grids[i] != b.grids[i])
            return i;
    }
    return -1;
}

static const struct assay_property properties[] = {
    {"the sum of tpe is the number of valid pairs", reshape_same, derive_same, broken_sum},
    {"every id in a list is selected by that expert and lists ascend", reshape_same, derive_same,
     broken_list},
    {"relabelled experts give relabelled lists", reshape_relabelled, derive_relabelled,
     broken_relabelled},
};

static size_t locate(const void *shape, void *const *t, size_t tensor, int64_t row, int64_t column,
                     struct assay_coordinate *at)
{
    (void)shape, (void)t;
    if (tensor == 1) {
        at[0] = (struct assay_coordinate){"expert", column};
        return 1;
    }
    at[0] = (struct assay_coordinate){tensor == 2 ? "expert" : "grid", row};
    at[1] = (struct assay_coordinate){tensor == 2 ? "position in list" : "component", column};
    return 2;
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
    .n_properties = sizeof(properties) / sizeof(*properties),
    .properties = properties,
    .batch_dim = offsetof(shape_t, tokens) / sizeof(int64_t),
    .any_mxcsr = true,
    .locate = locate,
    .reference = &moe_ids_tpe_ref,
};
