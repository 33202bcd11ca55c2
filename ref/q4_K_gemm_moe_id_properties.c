/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "ref/moe_ids_tpe.h"
#include "ref/op_parts.h"
#include "ref/q4_K.h"
#include "ref/q4_K_gemm_moe_id.h"

typedef struct q4_K_gemm_moe_id_shape shape_t;

enum { W, SRC1, IDS, TPE, GRID, DST }; /* tensors */

static bool reshape_same(const void *shape, const struct assay_fill *how, void *other)
{
    (void)how;
    *(shape_t *)other = *(const shape_t *)shape;
    return true;
}

/* Edge values may overflow, underflow or not be finite. */
static bool reshape_tame(const void *shape, const struct assay_fill *how, void *other)
{
    return reshape_same(shape, how, other) && how->kind != ASSAY_FILL_EDGE;
}

/* The first element of a pair in a list where the second call's is not `factor` times the first
 * call's. The second call's pairs are numbered from `start` on. */
static int64_t first_unequal(const shape_t *s, void *const *t, const shape_t *other_shape,
                             void *const *other, int64_t start, float factor)
{
    const int32_t *ids = t[IDS], *tpe = t[TPE];
    int64_t first = -1, end = start + other_shape->tokens * s->top_k;
    for (int64_t e = 0; e < s->experts; e++) {
        for (int32_t i = 0; i < tpe[e]; i++) {
            int64_t pair = ids[e * s->stride + i];
            if (pair < start || pair >= end || (first >= 0 && pair * s->m > first))
                continue;
            int64_t r = assay_first_unequal((const float *)t[DST] + pair * s->m,
                                            (const float *)other[DST] + (pair - start) * s->m, s->m,
                                            factor);
            first = r < 0 ? first : pair * s->m + r;
        }
    }
    return first;
}

static int64_t broken_same(const void *shape, void *const *t, const void *other_shape,
                           void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)numerics;
    *tensor = DST;
    return first_unequal(shape, t, other_shape, other, 0, 1);
}

/* Inputs of the same call, with `factor` times its activations, which are finite. */
static void copy_times(const shape_t *s, void *const *t, void *const *other, float factor)
{
    float *x = other[SRC1];
    assay_copy_inputs(&q4_K_gemm_moe_id_op, s, t, other);
    for (int64_t i = 0; i < s->tokens * s->ne11 * s->k; i++)
        x[i] *= factor;
}

static void derive_scaled(const void *shape, void *const *t, const void *other_shape,
                          void *const *other)
{
    (void)other_shape;
    copy_times(shape, t, other, 8);
}

static int64_t broken_scaled(const void *shape, void *const *t, const void *other_shape,
                             void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)numerics;
    *tensor = DST;
    return first_unequal(shape, t, other_shape, other, 0, 8);
}

/* Zeros of either sign. */
static void derive_zero(const void *shape, void *const *t, const void *other_shape,
                        void *const *other)
{
    (void)other_shape;
    copy_times(shape, t, other, 0);
}

static int64_t broken_zero(const void *shape, void *const *t, const void *other_shape,
                           void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)other_shape, (void)numerics;
    const shape_t *s = shape;
    const int32_t *ids = t[IDS], *tpe = t[TPE];
    const float *dst = other[DST];
    *tensor = DST;
    for (int64_t e = 0; e < s->experts; e++) {
        for (int32_t i = 0; i < tpe[e]; i++) {
            int64_t start = ids[e * s->stride + i] * s->m;
            for (int64_t r = start; r < start + s->m; r++) {
                if (!(dst[r] == 0))
                    return r;
            }
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
    size_t expert_bytes = (size_t)(s->m * (s->k / Q4_K_BLOCK) * Q4_K_BLOCK_BYTES);
    size_t list_bytes = (size_t)s->stride * sizeof(int32_t);
    assay_copy_inputs(&q4_K_gemm_moe_id_op, shape, t, other);
    for (int64_t e = 0; e < s->experts; e++) {
        int64_t label = (e + 1) % s->experts;
        memcpy((uint8_t *)other[W] + s->w_offset + (size_t)label * expert_bytes,
               (const uint8_t *)t[W] + s->w_offset + (size_t)e * expert_bytes, expert_bytes);
        memcpy((int32_t *)other[IDS] + label * s->stride, (const int32_t *)t[IDS] + e * s->stride,
               list_bytes);
        ((int32_t *)other[TPE])[label] = ((const int32_t *)t[TPE])[e];
    }
}

static bool reshape_reversed(const void *shape, const struct assay_fill *how, void *other)
{
    const shape_t *s = shape;
    return reshape_same(shape, how, other) && s->tokens * s->top_k > 1;
}

static void derive_reversed(const void *shape, void *const *t, const void *other_shape,
                            void *const *other)
{
    (void)other_shape;
    const shape_t *s = shape;
    const int32_t *ids = t[IDS], *tpe = t[TPE];
    assay_copy_inputs(&q4_K_gemm_moe_id_op, shape, t, other);
    for (int64_t e = 0; e < s->experts; e++) {
        for (int32_t i = 0; i < tpe[e]; i++)
            ((int32_t *)other[IDS])[e * s->stride + i] = ids[e * s->stride + tpe[e] - 1 - i];
    }
}

/* "a token alone": that of the pair farthest down a list, often in the tail of a tile. */
static int64_t deepest_token(const shape_t *s, void *const *t)
{
    const int32_t *ids = t[IDS], *tpe = t[TPE];
    int64_t token = 0;
    for (int64_t e = 0, depth = 0; e < s->experts; e++) {
        if (tpe[e] > depth) {
            depth = tpe[e];
            token = ids[e * s->stride + depth - 1] / s->top_k;
        }
    }
    return token;
}

static bool reshape_alone(const void *shape, const struct assay_fill *how, void *other)
{
    reshape_same(shape, how, other);
    ((shape_t *)other)->tokens = 1;
    return ((const shape_t *)shape)->tokens > 1;
}

static void derive_alone(const void *shape, void *const *t, const void *other_shape,
                         void *const *other)
{
    const shape_t *s = shape, *alone = other_shape;
    const int32_t *ids = t[IDS], *tpe = t[TPE];
    int32_t *other_ids = other[IDS], *other_tpe = other[TPE];
    int64_t token = deepest_token(s, t);
    size_t w_bytes = (size_t)q4_K_gemm_moe_id_op.tensors[W].count(shape);
    memcpy(other[W], t[W], w_bytes);
    memcpy(other[SRC1], (const float *)t[SRC1] + token * s->ne11 * s->k,
           (size_t)(s->ne11 * s->k) * sizeof(float));
    for (int64_t i = 0; i < s->experts * s->stride; i++)
        other_ids[i] = INT32_MIN; /* a read past tpe leads far away */
    for (int64_t e = 0; e < s->experts; e++) {
        other_tpe[e] = 0;
        for (int64_t i = e * s->stride; i < e * s->stride + tpe[e]; i++) {
            if (ids[i] / s->top_k == token)
                other_ids[e * s->stride + other_tpe[e]++] = (int32_t)(ids[i] % s->top_k);
        }
    }
    if (alone->indirect)
        moe_grid(other_tpe, s->experts, s->m, other[GRID]);
}

static int64_t broken_alone(const void *shape, void *const *t, const void *other_shape,
                            void *const *other, enum assay_numerics numerics, size_t *tensor)
{
    (void)numerics;
    int64_t start = deepest_token(shape, t) * ((const shape_t *)shape)->top_k;
    *tensor = DST;
    return first_unequal(shape, t, other_shape, other, start, 1);
}

static bool reshape_dispatch(const void *shape, const struct assay_fill *how, void *other)
{
    reshape_same(shape, how, other);
    ((shape_t *)other)->indirect = !((const shape_t *)shape)->indirect;
    return true;
}

static void derive_dispatch(const void *shape, void *const *t, const void *other_shape,
                            void *const *other)
{
    const shape_t *s = other_shape;
    assay_copy_inputs(&q4_K_gemm_moe_id_op, shape, t, other);
    if (s->indirect)
        moe_grid(other[TPE], s->experts, s->m, other[GRID]);
}

const struct assay_property q4_K_gemm_moe_id_properties[Q4_K_GEMM_MOE_ID_PROPERTIES] = {
    {"scaling the activations by 8 scales the outputs by 8", reshape_tame, derive_scaled,
     broken_scaled},
    {"zero activations give zero outputs", reshape_tame, derive_zero, broken_zero},
    {"relabelled experts with permuted lists give the same bits", reshape_relabelled,
     derive_relabelled, broken_same},
    {"the order within a list does not matter", reshape_reversed, derive_reversed, broken_same},
    {"a token alone gives the same bits as in the batch", reshape_alone, derive_alone,
     broken_alone},
    {"direct equals indirect", reshape_dispatch, derive_dispatch, broken_same},
};

size_t q4_K_gemm_moe_id_locate(const void *shape, void *const *t, size_t tensor, int64_t row,
                               int64_t column, struct assay_coordinate *at)
{
    (void)tensor;
    const shape_t *s = shape;
    const int32_t *ids = t[IDS], *tpe = t[TPE];
    int64_t expert = -1, position = -1;
    for (int64_t e = 0; e < s->experts && expert < 0; e++) {
        for (int32_t i = 0; i < tpe[e]; i++) {
            if (ids[e * s->stride + i] == row) {
                expert = e;
                position = i;
                break;
            }
        }
    }
    at[0] = (struct assay_coordinate){"expert", expert};
    at[1] = (struct assay_coordinate){"token", row / s->top_k};
    at[2] = (struct assay_coordinate){"slot", row % s->top_k};
    at[3] = (struct assay_coordinate){"position in list", position};
    at[4] = (struct assay_coordinate){"row", column};
    return 5;
}
