/* SPDX-License-Identifier: MIT */
/*
 * moe_router_topk_softmax.
 *
 * Lanes are experts. A first pass over a row finds the maximum of each lane (and NaN or +Inf), a
 * second sums exp. For top_k <= 16, the top_k-th largest of the 16 lane maxima is a lower bound of
 * the top_k-th largest logit: a third pass compresses the logits that reach it, mostly not many
 * more than top_k. Up to 16 candidates are ranked by comparing all pairs in registers; more, which
 * takes ties, by repeated search for the maximum. For larger top_k a stable radix sort ranks all.
 *
 * Tails load -Inf at indices past the last expert: they rank last and add exp(-Inf) = 0. Sums of
 * exp are f32 over 256 logits and double beyond, at most 2^31: no overflow.
 */
#include "ref/moe_router_topk_softmax.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "opt/avx512vnni/common.h"
#include "opt/avx512vnni/expf.h"
#include "opt/avx512vnni/kernels.h"
#include "opt/avx512vnni/moe_parts.h"

#define SMALL_TOP_K   16
#define SUM_VECTORS   16    /* added up in f32 before they go to double */
#define THREAD_LOGITS 16384 /* fewer logits than this are not worth a thread */
#define DEFAULT_MXCSR 0x1f80

/* Below this a quotient may come near subnormal numbers, where the digits of an f32 exp are too
 * few; it is computed in double. */
#define SMALL_WEIGHT 0x1p-120f

typedef struct moe_router_topk_softmax_shape shape_t;

/* Lane maxima; no lane is NaN or +Inf where `valid`. */
struct row {
    const float *logits;
    int64_t experts;
    __m512 lane_max;
    float max;
    double sum;
    int valid;
};

/* Logits e .. e+15; -Inf past the last. */
ALWAYS_INLINE __m512 load_logits(const struct row *row, int64_t e)
{
    __mmask16 lanes = first_lanes(min_i64(LANES, row->experts - e));
    return _mm512_mask_loadu_ps(_mm512_set1_ps(-INFINITY), lanes, row->logits + e);
}

ALWAYS_INLINE struct row scan_row(const float *logits, int64_t experts)
{
    struct row row = {.logits = logits, .experts = experts};
    __mmask16 finite = 0xffff;
    row.lane_max = _mm512_set1_ps(-INFINITY);
    for (int64_t e = 0; e < experts; e += LANES) {
        __m512 x = load_logits(&row, e);
        finite &= _mm512_cmp_ps_mask(x, _mm512_set1_ps(INFINITY), _CMP_LT_OQ);
        row.lane_max = _mm512_max_ps(row.lane_max, x);
    }
    row.max = _mm512_reduce_max_ps(row.lane_max);
    row.valid = finite == 0xffff && row.max > -INFINITY;
    return row;
}

ALWAYS_INLINE __m512d add_as_double(__m512d sum, __m512 x)
{
    sum = _mm512_add_pd(sum, _mm512_cvtps_pd(_mm512_castps512_ps256(x)));
    return _mm512_add_pd(sum, _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1)));
}

ALWAYS_INLINE double sum_exp(const struct row *row)
{
    __m512 max = _mm512_set1_ps(row->max);
    __m512d total = _mm512_setzero_pd();
    for (int64_t first = 0; first < row->experts; first += SUM_VECTORS * LANES) {
        int64_t end = min_i64(first + SUM_VECTORS * LANES, row->experts);
        __m512 part = _mm512_setzero_ps();
        for (int64_t e = first; e < end; e += LANES)
            part = _mm512_add_ps(part, expf_lanes(_mm512_sub_ps(load_logits(row, e), max)));
        total = add_as_double(total, part);
    }
    return _mm512_reduce_add_pd(total);
}

/* The top_k-th largest of 16 values: the least of those that fewer than top_k are greater than. */
ALWAYS_INLINE float kth_largest(__m512 v, int64_t top_k)
{
    const __m512i one = _mm512_set1_epi32(1);
    __m512i from = lane_numbers(), greater = _mm512_setzero_si512();
    UNROLL
    for (int i = 1; i < LANES; i++) {
        from = _mm512_add_epi32(from, one); /* the permutation takes it modulo 16 */
        __mmask16 above = _mm512_cmp_ps_mask(_mm512_permutexvar_ps(from, v), v, _CMP_GT_OQ);
        greater = _mm512_mask_add_epi32(greater, above, greater, one);
    }
    __mmask16 upper = _mm512_cmplt_epi32_mask(greater, _mm512_set1_epi32((int32_t)top_k));
    return _mm512_mask_reduce_min_ps(upper, v);
}

/* Logits that may be among the top_k, by rising index. */
struct candidates {
    float *logits;
    int32_t *ids;
    int64_t n;
};

ALWAYS_INLINE void compress_row(const struct row *row, float bound, struct candidates *out)
{
    out->n = 0;
    for (int64_t e = 0; e < row->experts; e += LANES) {
        __m512 x = load_logits(row, e);
        __mmask16 lanes = first_lanes(min_i64(LANES, row->experts - e));
        lanes = _mm512_mask_cmp_ps_mask(lanes, x, _mm512_set1_ps(bound), _CMP_GE_OQ);
        __m512i ids = _mm512_add_epi32(_mm512_set1_epi32((int32_t)e), lane_numbers());
        /* Whole stores: the next ones overwrite what is too much. */
        _mm512_storeu_ps(out->logits + out->n, _mm512_maskz_compress_ps(lanes, x));
        _mm512_storeu_si512((__m512i *)(out->ids + out->n),
                            _mm512_maskz_compress_epi32(lanes, ids));
        out->n += __builtin_popcount(lanes);
    }
}

/* Ranks at most 16 candidates: how many come before each, by logit, then by index, which is the
 * order of lanes. The selected logits go to weights, which the softmax then overwrites. */
ALWAYS_INLINE void select_by_rank(const struct candidates *all, int64_t top_k, int32_t *ids,
                                  float *weights)
{
    const __m512i one = _mm512_set1_epi32(1);
    __m512 v = _mm512_mask_loadu_ps(_mm512_set1_ps(-INFINITY), first_lanes(all->n), all->logits);
    __m512i from = lane_numbers(), rank = _mm512_setzero_si512();
    UNROLL
    for (int i = 1; i < LANES; i++) {
        from = _mm512_add_epi32(from, one);
        __m512 other = _mm512_permutexvar_ps(from, v);
        /* The last i lanes see lanes before them. */
        __mmask16 wrapped = (__mmask16)(0xffff << (LANES - i));
        __mmask16 before = _mm512_cmp_ps_mask(other, v, _CMP_GT_OQ) |
                           _mm512_mask_cmp_ps_mask(wrapped, other, v, _CMP_EQ_OQ);
        rank = _mm512_mask_add_epi32(rank, before, rank, one);
    }
    int32_t ranks[LANES];
    _mm512_storeu_si512((__m512i *)ranks, rank);
    for (int64_t i = 0; i < all->n; i++) {
        if (ranks[i] < top_k) {
            ids[ranks[i]] = all->ids[i];
            weights[ranks[i]] = all->logits[i];
        }
    }
}

/* Takes the first of the largest candidates top_k times; NaN marks those taken. */
static void select_by_search(const struct candidates *all, int64_t top_k, int32_t *ids,
                             float *weights)
{
    _mm512_storeu_ps(all->logits + all->n, _mm512_set1_ps(NAN)); /* their tail */
    for (int64_t slot = 0; slot < top_k; slot++) {
        __m512 max = _mm512_set1_ps(-INFINITY);
        for (int64_t i = 0; i < all->n; i += LANES) /* NaN first: the other operand is kept */
            max = _mm512_max_ps(_mm512_loadu_ps(all->logits + i), max);
        max = _mm512_set1_ps(_mm512_reduce_max_ps(max));
        __mmask16 found = 0;
        int64_t i = -LANES;
        while (found == 0) {
            i += LANES;
            found = _mm512_cmp_ps_mask(_mm512_loadu_ps(all->logits + i), max, _CMP_EQ_OQ);
        }
        i += __builtin_ctz(found);
        ids[slot] = all->ids[i];
        weights[slot] = all->logits[i];
        all->logits[i] = NAN;
    }
}

/* Sorts all experts: keys that rise as logits fall, above the index; radix 256, stable. */
static void select_by_sort(const struct row *row, int64_t top_k, void *scratch, int32_t *ids,
                           float *weights)
{
    uint64_t *keys = scratch, *sorted = keys + row->experts;
    for (int64_t e = 0; e < row->experts; e++) {
        uint32_t bits = assay_f32_bits(row->logits[e]);
        bits = bits == 0x80000000u ? 0 : bits; /* -0 equals +0 */
        uint32_t key = bits >> 31 ? bits : ~bits & 0x7fffffffu;
        keys[e] = (uint64_t)key << 32 | (uint32_t)e;
    }
    for (int shift = 32; shift < 64; shift += 8) {
        int64_t start[256] = {0}, total = 0;
        for (int64_t i = 0; i < row->experts; i++)
            start[keys[i] >> shift & 255]++;
        for (int digit = 0; digit < 256; digit++) {
            int64_t count = start[digit];
            start[digit] = total;
            total += count;
        }
        for (int64_t i = 0; i < row->experts; i++)
            sorted[start[keys[i] >> shift & 255]++] = keys[i];
        uint64_t *swap = keys;
        keys = sorted;
        sorted = swap;
    }
    for (int64_t slot = 0; slot < top_k; slot++) {
        ids[slot] = (int32_t)(uint32_t)keys[slot];
        weights[slot] = row->logits[ids[slot]];
    }
}

/* Quotients that are small, in double. `weights` holds logits. */
static void divide_small(const struct row *row, __mmask16 small, double divisor, float *weights)
{
    for (; small != 0; small &= (__mmask16)(small - 1)) {
        int i = __builtin_ctz(small);
        weights[i] = (float)(exp((double)weights[i] - (double)row->max) / divisor);
    }
}

/* From the logits of the selected experts to their weights. The divisor is at least 1: the sum
 * and, if it is taken of the selected, that too, have the maximum's exp(0) in them. */
ALWAYS_INLINE void finish_row(const shape_t *s, const struct row *row, float *weights)
{
    const __m512 max = _mm512_set1_ps(row->max);
    double divisor = row->sum;
    if (s->norm) {
        __m512d selected = _mm512_setzero_pd();
        for (int64_t i = 0; i < s->top_k; i += LANES) {
            __mmask16 lanes = first_lanes(min_i64(LANES, s->top_k - i));
            __m512 x = _mm512_sub_ps(_mm512_maskz_loadu_ps(lanes, weights + i), max);
            selected = add_as_double(selected, _mm512_maskz_mov_ps(lanes, expf_lanes(x)));
        }
        divisor = fmax(_mm512_reduce_add_pd(selected), (double)MOE_ROUTER_MIN_SUM * row->sum);
    }
    const __m512 divide_by = _mm512_set1_ps((float)divisor);
    for (int64_t i = 0; i < s->top_k; i += LANES) {
        __mmask16 lanes = first_lanes(min_i64(LANES, s->top_k - i));
        __m512 x = _mm512_sub_ps(_mm512_maskz_loadu_ps(lanes, weights + i), max);
        __m512 weight = _mm512_div_ps(expf_lanes(x), divide_by);
        __mmask16 small = _mm512_cmp_ps_mask(weight, _mm512_set1_ps(SMALL_WEIGHT), _CMP_LT_OQ);
        small &= lanes;
        _mm512_mask_storeu_ps(weights + i, lanes & (__mmask16)~small, weight);
        if (small)
            divide_small(row, small, divisor, weights + i);
    }
}

ALWAYS_INLINE void route_row(const shape_t *s, const float *logits, int32_t *ids, float *weights,
                             void *scratch)
{
    struct row row = scan_row(logits, s->experts);
    if (!row.valid) {
        memset(ids, 0xff, (size_t)s->top_k * sizeof(*ids));
        memset(weights, 0, (size_t)s->top_k * sizeof(*weights));
        return;
    }
    row.sum = sum_exp(&row);
    if (s->top_k > SMALL_TOP_K) {
        select_by_sort(&row, s->top_k, scratch, ids, weights);
    } else {
        struct candidates all = {.logits = scratch};
        all.ids = (int32_t *)scratch + s->experts + LANES;
        compress_row(&row, kth_largest(row.lane_max, s->top_k), &all);
        if (all.n <= LANES)
            select_by_rank(&all, s->top_k, ids, weights);
        else
            select_by_search(&all, s->top_k, ids, weights);
    }
    finish_row(s, &row, weights);
}

/* Not inlined: it must stay between the changes of MXCSR. */
static __attribute__((noinline)) void route_rows(const shape_t *s,
                                                 const struct moe_router_topk_softmax_args *a,
                                                 int64_t first, int64_t last, void *scratch)
{
    for (int64_t t = first; t < last; t++)
        route_row(s, a->logits + t * s->experts, a->ids + t * s->top_k, a->weights + t * s->top_k,
                  scratch);
}

void avx512vnni_moe_route(const shape_t *s, const struct moe_router_topk_softmax_args *a,
                          int64_t first, int64_t last, void *scratch)
{
    unsigned mxcsr = _mm_getcsr();
    _mm_setcsr(DEFAULT_MXCSR);
    route_rows(s, a, first, last, scratch);
    _mm_setcsr(mxcsr);
}

/* Of a thread: two arrays of sort keys, or candidates' logits and ids with room for a register. */
int64_t avx512vnni_moe_route_bytes(const shape_t *s)
{
    return line_bytes(assay_add(s->experts, LANES), 2 * sizeof(uint64_t));
}

static int64_t scratch(const void *shape, int threads)
{
    return assay_mul(avx512vnni_moe_route_bytes(shape), threads);
}

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch_,
                       int threads)
{
    (void)prepared;
    const shape_t *s = shape;
    const char *illegal = assay_illegal(&moe_router_topk_softmax_op, shape, NULL);
    if (illegal)
        return illegal;
    int64_t rows = ceil_div(THREAD_LOGITS, s->experts);
    int team = (int)min_i64(threads, ceil_div(s->tokens, rows));
    if (team == 1) {
        avx512vnni_moe_route(s, args, 0, s->tokens, scratch_);
        return NULL;
    }
#pragma omp parallel num_threads(team)
    {
        int rank = omp_get_thread_num(), of = omp_get_num_threads();
        avx512vnni_moe_route(s, args, share_start(s->tokens, rank, of),
                             share_start(s->tokens, rank + 1, of),
                             (uint8_t *)scratch_ + rank * avx512vnni_moe_route_bytes(s));
    }
    return NULL;
}

/* Of exp in numerator and divisor each, the sum's additions in f32, the divisor, the quotient. The
 * rounding of logit - max is an error of the argument, not of the result. */
static int64_t depth(const void *shape)
{
    int64_t vectors = ceil_div(((const shape_t *)shape)->experts, LANES);
    return 2 * EXPF_ROUNDINGS + min_i64(vectors, SUM_VECTORS) + 2;
}

const struct assay_kernel moe_router_topk_softmax_avx512vnni = {
    .op = "moe_router_topk_softmax",
    .name = "avx512vnni",
    .tier = "avx512vnni",
    .numerics = ASSAY_F32,
    .depth = depth,
    .scratch_bytes = scratch,
    .run = run,
};
