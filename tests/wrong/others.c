/* SPDX-License-Identifier: MIT */
/* Wrong dequant, router and ids_tpe: the reference's result, spoilt afterwards or beforehand. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ref/f16.h"
#include "ref/moe_ids_tpe.h"
#include "ref/moe_router_topk_softmax.h"
#include "ref/q4_K_dequant.h"
#include "tests/wrong/float_control.h"
#include "tests/wrong/wrong.h"

/* RUN(name, reference, spoil): runs the reference, then spoil(shape, args). */
#define RUN(name, reference, spoil)                                                          \
    static const char *run_##name(const void *shape, const void *args, const void *prepared, \
                                  void *scratch, int threads)                                \
    {                                                                                        \
        const char *illegal = (reference).run(shape, args, prepared, scratch, threads);      \
        if (!illegal)                                                                        \
            spoil(shape, args);                                                              \
        return illegal;                                                                      \
    }

/* dequant */

static void dequant_zero_sign(const struct q4_K_dequant_shape *s, const struct q4_K_dequant_args *a)
{
    for (int64_t i = 0; i < s->n; i++)
        a->y[i] = a->y[i] == 0 ? 0 : a->y[i];
}

static void dequant_nan_zero(const struct q4_K_dequant_shape *s, const struct q4_K_dequant_args *a)
{
    for (int64_t i = 0; i < s->n; i++)
        a->y[i] = isnan(a->y[i]) ? 0 : a->y[i];
}

static void dequant_one_ulp(const struct q4_K_dequant_shape *s, const struct q4_K_dequant_args *a)
{
    for (int64_t i = 0; i < s->n; i++)
        a->y[i] = assay_f32_from_bits(assay_f32_bits(a->y[i]) + (i % 256 == 255));
}

static void dequant_bf16(const struct q4_K_dequant_shape *s, const struct q4_K_dequant_args *a)
{
    for (int64_t i = 0; i < s->n; i++)
        a->y[i] = assay_f32_from_bits(assay_f32_bits(a->y[i]) & 0xffff0000u);
}

static void dequant_float_state(const struct q4_K_dequant_shape *s,
                                const struct q4_K_dequant_args *a)
{
    (void)s, (void)a;
    flush_to_zero();
}

RUN(dequant_zero_sign, q4_K_dequant_ref, dequant_zero_sign)
RUN(dequant_nan_zero, q4_K_dequant_ref, dequant_nan_zero)
RUN(dequant_one_ulp, q4_K_dequant_ref, dequant_one_ulp)
RUN(dequant_bf16, q4_K_dequant_ref, dequant_bf16)
RUN(dequant_float_state, q4_K_dequant_ref, dequant_float_state)

/* router */

typedef struct moe_router_topk_softmax_shape router_shape;
typedef struct moe_router_topk_softmax_args router_args;

static void router_ties(const router_shape *s, const router_args *a)
{
    for (int64_t i = 0; i + 1 < s->tokens * s->top_k; i++) {
        const float *logits = &a->logits[i / s->top_k * s->experts];
        int32_t id = a->ids[i], next = a->ids[i + 1];
        bool same_row = i / s->top_k == (i + 1) / s->top_k;
        if (same_row && id >= 0 && next > id && logits[id] == logits[next]) {
            a->ids[i] = next;
            a->ids[i + 1] = id;
        }
    }
}

/* Weights stay with their ids, so that only the order is wrong. */
static void router_order(const router_shape *s, const router_args *a)
{
    for (int64_t i = 0; i + 1 < s->tokens * s->top_k; i += s->top_k) {
        if (s->top_k < 2 || a->ids[i] < 0)
            continue;
        int32_t id = a->ids[i];
        float weight = a->weights[i];
        a->ids[i] = a->ids[i + 1];
        a->weights[i] = a->weights[i + 1];
        a->ids[i + 1] = id;
        a->weights[i + 1] = weight;
    }
}

static void router_clamped(const router_shape *s, const router_args *a)
{
    for (int64_t i = 0; i < s->tokens * s->top_k; i++) {
        if (i % s->top_k >= 32)
            a->weights[i] = 0;
    }
}

static void router_unnormalized(const router_shape *s, const router_args *a)
{
    for (int64_t i = 0; i < s->tokens * s->top_k && s->norm; i++)
        a->weights[i] *= 0.999999f;
}

static void router_flushed(const router_shape *s, const router_args *a)
{
    for (int64_t i = 0; i < s->tokens * s->top_k; i++)
        a->weights[i] = a->weights[i] < 0x1p-126f ? 0 : a->weights[i];
}

static void router_mxcsr(const router_shape *s, const router_args *a)
{
    for (int64_t i = 0; i < s->tokens * s->top_k; i++) {
        volatile float weight = a->weights[i], one = 1; /* or the product is folded away */
        a->weights[i] = weight * one;
    }
}

static void router_invalid_row(const router_shape *s, const router_args *a)
{
    for (int64_t i = 0; i < s->tokens * s->top_k; i++)
        a->ids[i] = a->ids[i] < 0 ? 0 : a->ids[i];
}

static void router_sorted_by_id(const router_shape *s, const router_args *a)
{
    for (int64_t i = 0; i + 1 < s->tokens * s->top_k; i++) {
        if (i / s->top_k == (i + 1) / s->top_k && a->ids[i] > a->ids[i + 1]) {
            int32_t id = a->ids[i];
            a->ids[i] = a->ids[i + 1];
            a->ids[i + 1] = id;
        }
    }
}

static void router_minus_inf(const router_shape *s, const router_args *a)
{
    for (int64_t i = 0; i < s->tokens * s->top_k; i++) {
        const float *logits = &a->logits[i / s->top_k * s->experts];
        if (a->ids[i] >= 0 && logits[a->ids[i]] == -INFINITY)
            a->ids[i] = -1;
    }
}

RUN(router_ties, moe_router_topk_softmax_ref, router_ties)
RUN(router_order, moe_router_topk_softmax_ref, router_order)
RUN(router_clamped, moe_router_topk_softmax_ref, router_clamped)
RUN(router_unnormalized, moe_router_topk_softmax_ref, router_unnormalized)
RUN(router_flushed, moe_router_topk_softmax_ref, router_flushed)
RUN(router_mxcsr, moe_router_topk_softmax_ref, router_mxcsr)
RUN(router_invalid_row, moe_router_topk_softmax_ref, router_invalid_row)
RUN(router_sorted_by_id, moe_router_topk_softmax_ref, router_sorted_by_id)
/* Moves a weight by 1 ULP; powers of two, which the exact fill has, and subnormals stay. */
static void nudge(float *weights, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits = assay_f32_bits(weights[i]);
        if (bits >= 0x00800000u && bits << 9)
            weights[i] = assay_f32_from_bits(bits ^ 1);
    }
}

static void router_one_token(const router_shape *s, const router_args *a)
{
    if (s->tokens == 1)
        nudge(a->weights, s->top_k);
}

static void router_first_row(const router_shape *s, const router_args *a)
{
    if (s->tokens > 1)
        nudge(a->weights, s->top_k);
}

RUN(router_one_token, moe_router_topk_softmax_ref, router_one_token)
RUN(router_first_row, moe_router_topk_softmax_ref, router_first_row)
RUN(router_minus_inf, moe_router_topk_softmax_ref, router_minus_inf)

/* ids_tpe */

typedef struct moe_ids_tpe_shape lists_shape;
typedef struct moe_ids_tpe_args lists_args;

static void lists_descending(const lists_shape *s, const lists_args *a)
{
    for (int64_t e = 0; e < s->experts; e++) {
        int32_t *list = &a->ids[e * s->stride];
        for (int32_t i = 0; i < a->tpe[e] / 2; i++) {
            int32_t pair = list[i];
            list[i] = list[a->tpe[e] - 1 - i];
            list[a->tpe[e] - 1 - i] = pair;
        }
    }
}

static void lists_invalid_counted(const lists_shape *s, const lists_args *a)
{
    for (int64_t i = 0; i < s->tokens * s->top_k; i++)
        a->tpe[0] += a->selected[i] < 0;
}

static void lists_grid_floor(const lists_shape *s, const lists_args *a)
{
    a->grids[1] = (uint32_t)(s->m_gate_up / MOE_TILE_ROWS);
    a->grids[4] = (uint32_t)(s->m_down / MOE_TILE_ROWS);
}

static void lists_grid_zero(const lists_shape *s, const lists_args *a)
{
    int32_t largest = 0;
    for (int64_t e = 0; e < s->experts; e++)
        largest = a->tpe[e] > largest ? a->tpe[e] : largest;
    a->grids[0] = (uint32_t)largest / MOE_TILE_PAIRS;
}

static void lists_tail_written(const lists_shape *s, const lists_args *a)
{
    for (int64_t e = 0; e < s->experts; e++) {
        for (int64_t i = a->tpe[e]; i < s->stride; i++)
            a->ids[e * s->stride + i] = -1;
    }
}

static void lists_tpe_clamped(const lists_shape *s, const lists_args *a)
{
    for (int64_t e = 0; e < s->experts; e++)
        a->tpe[e] = a->tpe[e] > s->tokens ? (int32_t)s->tokens : a->tpe[e];
}

/* All of it integers, so that no later call shows. */
static void lists_rounding(const lists_shape *s, const lists_args *a)
{
    (void)s, (void)a;
    round_toward_zero();
}

RUN(lists_rounding, moe_ids_tpe_ref, lists_rounding)
RUN(lists_descending, moe_ids_tpe_ref, lists_descending)
RUN(lists_invalid_counted, moe_ids_tpe_ref, lists_invalid_counted)
RUN(lists_grid_floor, moe_ids_tpe_ref, lists_grid_floor)
RUN(lists_grid_zero, moe_ids_tpe_ref, lists_grid_zero)
RUN(lists_tail_written, moe_ids_tpe_ref, lists_tail_written)
RUN(lists_tpe_clamped, moe_ids_tpe_ref, lists_tpe_clamped)

static int64_t depth(const void *shape)
{
    (void)shape;
    return 3;
}

static const char *run_exits(const void *shape, const void *args, const void *prepared,
                             void *scratch, int threads)
{
    (void)shape, (void)args, (void)prepared, (void)scratch, (void)threads;
    exit(0);
}

static const char *run_refuses(const void *shape, const void *args, const void *prepared,
                               void *scratch, int threads)
{
    (void)shape, (void)args, (void)prepared, (void)scratch, (void)threads;
    return "not today";
}

#define KERNEL(op_name, bug_name, only_, text, class_) \
    {                                                  \
        .bug = text, .only = only_, .kernel = {        \
            .op = op_name,                             \
            .name = "wrong-" #bug_name,                \
            .tier = "ref",                             \
            .numerics = class_,                        \
            .depth = depth,                            \
            .run = run_##bug_name                      \
        }                                              \
    }
#define DEQUANT(bug_name, only, text) KERNEL("q4_K_dequant", bug_name, only, text, ASSAY_BITS)
#define ROUTER(bug_name, only, text) \
    KERNEL("moe_router_topk_softmax", bug_name, only, text, ASSAY_F32)
#define LISTS(bug_name, only, text) KERNEL("moe_ids_tpe", bug_name, only, text, ASSAY_BITS)

const struct wrong wrong_others[] = {
    DEQUANT(dequant_zero_sign, ONLY(BITS), "-0 becomes +0"),
    DEQUANT(dequant_nan_zero, ONLY(BITS), "NaN becomes 0"),
    DEQUANT(dequant_one_ulp, ONLY(BITS), "one element in 256 off by 1 ULP"),
    DEQUANT(dequant_bf16, ONLY(BITS), "weights rounded to bf16"),
    DEQUANT(dequant_float_state, ONLY(FLOAT_STATE), "flush-to-zero left switched on"),
    DEQUANT(refuses, ONLY(REFUSAL), "a legal call refused"),
    ROUTER(router_ties, ONLY(BITS), "larger index first on ties"),
    ROUTER(router_order, 0, "second expert first"),
    ROUTER(router_clamped, 0, "weights past the 32nd not computed"),
    ROUTER(router_unnormalized, ONLY(BOUND), "weights off by 1e-6"),
    ROUTER(router_flushed, ONLY(BOUND), "subnormal weights flushed"),
    ROUTER(router_mxcsr, ONLY(FLUSHING), "subnormal weights flushed if the caller's MXCSR says so"),
    ROUTER(router_invalid_row, ONLY(BITS), "id 0 in an invalid row"),
    ROUTER(router_sorted_by_id, 0, "ids sorted, weights not"),
    ROUTER(router_minus_inf, ONLY(BITS), "-Inf entries not selected"),
    ROUTER(router_one_token, ONLY(PROPERTY), "a single row's weights off by 1 ULP"),
    ROUTER(router_first_row, ONLY(PROPERTY), "the first row's weights off by 1 ULP"),
    LISTS(lists_descending, 0, "lists in descending order"),
    LISTS(lists_invalid_counted, 0, "id -1 counted for expert 0"),
    LISTS(lists_grid_floor, ONLY(BITS), "row tiles rounded down"),
    LISTS(lists_grid_zero, ONLY(BITS), "pair tiles rounded down, maybe to 0"),
    LISTS(lists_tail_written, 0, "tail of the lists written"),
    LISTS(lists_tpe_clamped, 0, "tpe clamped to the number of tokens"),
    LISTS(lists_rounding, ONLY(FLOAT_STATE), "rounding toward zero left switched on"),
    LISTS(exits, ONLY(CRASH), "ends the process"),
};
const size_t n_wrong_others = sizeof(wrong_others) / sizeof(*wrong_others);
