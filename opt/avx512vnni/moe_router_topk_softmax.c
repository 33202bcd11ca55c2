/* SPDX-License-Identifier: MIT */
/*
 * moe_router_topk_softmax.
 *
 * Lanes are experts. For top_k <= 16: the top_k-th largest of the 16 lane maxima is a lower bound of
 * the top_k-th largest logit, and mostly not many more than top_k logits reach it. Those are
 * compressed; up to 16 are ranked by comparing all pairs in registers; more, which takes ties, by
 * repeated search for the maximum. For larger top_k a stable radix sort ranks all.
 *
 * Each step is a chain of dependent instructions (a reduction, a rank, a quotient), so rows go
 * through the steps in batches: the chains of several rows overlap, and what one step stores has
 * reached the cache before the next loads it in other pieces.
 *
 * Tails load -Inf at indices past the last expert: they rank last and add exp(-Inf) = 0. Sums of
 * exp are f32 over 256 logits and double beyond, at most 2^31: no overflow. A NaN makes the sum
 * NaN, and so does a maximum that is infinite, by Inf - Inf: the sum says whether a row is valid.
 */
#include "ref/moe_router_topk_softmax.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "opt/avx512vnni/common.h"
#include "opt/avx512vnni/expf.h"
#include "opt/avx512vnni/kernels.h"
#include "opt/avx512vnni/tier.h"

#define BATCH         8
#define SMALL_TOP_K   16
#define SUM_VECTORS   16    /* added up in f32 before they go to double */
#define THREAD_LOGITS 16384 /* fewer logits than this are not worth a thread */
#define DEFAULT_MXCSR 0x1f80

/* Below this a quotient may come near subnormal numbers, where the digits of an f32 exp are too
 * few; it is computed in double. */
#define SMALL_WEIGHT 0x1p-120f

typedef struct moe_router_topk_softmax_shape shape_t;

/* A row, and the n logits that reach a bound of the top_k-th largest, by rising index; only the
 * first 16 of them are here. A whole register is stored at the last place that is still free. */
struct row {
    const float *logits;
    int32_t *ids;
    float *weights;
    int64_t experts;
    double sum; /* of exp(logit - max); NaN: the row is invalid */
    float max, bound;
    int n;
    float *selected; /* the logits of the top_k, whole registers */
    _Alignas(64) float candidates[2 * LANES];
    _Alignas(64) int32_t candidate_ids[2 * LANES];
};

/* Logits e .. e+15; -Inf past the last. */
ALWAYS_INLINE __m512 load_logits(const struct row *row, int64_t e)
{
    if (e + LANES <= row->experts)
        return _mm512_loadu_ps(row->logits + e);
    __mmask16 lanes = first_lanes(row->experts - e);
    return _mm512_mask_loadu_ps(_mm512_set1_ps(-INFINITY), lanes, row->logits + e);
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

ALWAYS_INLINE void scan_row(struct row *row, int64_t top_k)
{
    __m512 lane_max = _mm512_set1_ps(-INFINITY);
    for (int64_t e = 0; e < row->experts; e += LANES) /* NaN first: the other operand is kept */
        lane_max = _mm512_max_ps(load_logits(row, e), lane_max);
    row->max = _mm512_reduce_max_ps(lane_max);
    row->bound = top_k <= SMALL_TOP_K ? kth_largest(lane_max, top_k) : INFINITY;
}

ALWAYS_INLINE __m512d add_as_double(__m512d sum, __m512 x)
{
    sum = _mm512_add_pd(sum, _mm512_cvtps_pd(_mm512_castps512_ps256(x)));
    return _mm512_add_pd(sum, _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1)));
}

/* Appends those of logits e .. e+15, x, that reach the bound to n candidates; returns how many there
 * are then. */
ALWAYS_INLINE int compress(struct row *row, int n, __m512 bound, int64_t e, __m512 x)
{
    __mmask16 lanes = _mm512_cmp_ps_mask(x, bound, _CMP_GE_OQ);
    if (e + LANES > row->experts)
        lanes &= first_lanes(row->experts - e);
    __m512i ids = _mm512_add_epi32(_mm512_set1_epi32((int32_t)e), lane_numbers());
    int at = n < LANES ? n : LANES;
    _mm512_storeu_ps(row->candidates + at, _mm512_maskz_compress_ps(lanes, x));
    _mm512_storeu_si512(row->candidate_ids + at, _mm512_maskz_compress_epi32(lanes, ids));
    return n + __builtin_popcount(lanes);
}

/* The sum of exp and the candidates in one pass: they are busy with different pipes. */
ALWAYS_INLINE void sum_and_compress(struct row *row)
{
    const __m512 max = _mm512_set1_ps(row->max), bound = _mm512_set1_ps(row->bound);
    const int64_t experts = row->experts;
    __m512d total = _mm512_setzero_pd();
    int n = 0;
    for (int64_t first = 0; first < experts; first += SUM_VECTORS * LANES) {
        int64_t end = min_i64(first + SUM_VECTORS * LANES, experts);
        __m512 part = _mm512_setzero_ps();
        for (int64_t e = first; e < end; e += LANES) {
            __m512 x = load_logits(row, e);
            part = _mm512_add_ps(part, expf_lanes(_mm512_sub_ps(x, max)));
            n = compress(row, n, bound, e, x);
        }
        total = add_as_double(total, part);
    }
    row->sum = _mm512_reduce_add_pd(total);
    row->n = n;
}

/* Integers that order as the logits do; zeros of either sign are equal. */
ALWAYS_INLINE __m512i sort_keys(__m512 v)
{
    __m512i bits = _mm512_castps_si512(_mm512_add_ps(v, _mm512_setzero_ps()));
    __m512i flip = _mm512_srli_epi32(_mm512_srai_epi32(bits, 31), 1);
    return _mm512_xor_si512(bits, flip);
}

/* From the rank of each lane, a permutation, the lane of each rank. Lane l is shifted to nibble
 * rank[l] of 64 bits, of which lanes 0-7 collect the low half and 8-15 the high one: shifts of 32 or
 * more, negative ones too, leave nothing. */
ALWAYS_INLINE __m512i inverse_permutation(__m512i rank)
{
    const __m512i lane = lane_numbers();
    const __m512i nibble =
        _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
    __m512i shift = _mm512_slli_epi32(rank, 2);
    __m512i low = _mm512_sllv_epi32(lane, shift);
    __m512i high = _mm512_sllv_epi32(lane, _mm512_sub_epi32(shift, _mm512_set1_epi32(32)));
    __m512i all = _mm512_or_si512(_mm512_shuffle_i32x4(low, high, _MM_SHUFFLE(1, 0, 1, 0)),
                                  _mm512_shuffle_i32x4(low, high, _MM_SHUFFLE(3, 2, 3, 2)));
    all = _mm512_or_si512(all, _mm512_shuffle_i32x4(all, all, _MM_SHUFFLE(2, 3, 0, 1)));
    all = _mm512_or_si512(all, _mm512_shuffle_epi32(all, _MM_PERM_BADC));
    all = _mm512_or_si512(all, _mm512_shuffle_epi32(all, _MM_PERM_CDAB));
    return _mm512_srlv_epi32(all, nibble); /* permutations take it modulo 16 */
}

/* At most 16 candidates: how many come before each, by logit, then by index, which is the order of
 * lanes. In the rotation by i, the last i lanes see lanes before them: those come from keys + 1, so
 * that equal ones count. */
ALWAYS_INLINE void select_by_rank(struct row *row, int64_t top_k)
{
    const __m512i one = _mm512_set1_epi32(1);
    __m512 v = _mm512_mask_load_ps(_mm512_set1_ps(-INFINITY), first_lanes(row->n), row->candidates);
    __m512i keys = sort_keys(v), or_equal = _mm512_add_epi32(keys, one);
    __m512i from = lane_numbers(), rank = _mm512_setzero_si512();
    UNROLL
    for (int i = 1; i < LANES; i++) {
        from = _mm512_add_epi32(from, one); /* 16 and above: of or_equal */
        __m512i other = _mm512_permutex2var_epi32(keys, from, or_equal);
        __mmask16 before = _mm512_cmpgt_epi32_mask(other, keys);
        rank = _mm512_mask_add_epi32(rank, before, rank, one);
    }
    __m512i order = inverse_permutation(rank);
    __mmask16 selected = first_lanes(top_k);
    __m512i ids = _mm512_load_si512(row->candidate_ids);
    _mm512_mask_storeu_epi32(row->ids, selected, _mm512_permutexvar_epi32(order, ids));
    _mm512_store_ps(row->selected, _mm512_permutexvar_ps(order, v));
}

/* Takes the first of the largest candidates top_k times; NaN marks those taken. */
static void select_by_search(struct row *row, int64_t top_k, void *scratch)
{
    float *logits = scratch;
    int32_t *ids = (int32_t *)(logits + row->experts + LANES);
    int64_t n = 0;
    for (int64_t e = 0; e < row->experts; e++) {
        ids[n] = (int32_t)e;
        logits[n] = row->logits[e];
        n += row->logits[e] >= row->bound;
    }
    _mm512_storeu_ps(logits + n, _mm512_set1_ps(NAN)); /* their tail */
    for (int64_t slot = 0; slot < top_k; slot++) {
        __m512 max = _mm512_set1_ps(-INFINITY);
        for (int64_t i = 0; i < n; i += LANES) /* NaN first: the other operand is kept */
            max = _mm512_max_ps(_mm512_loadu_ps(logits + i), max);
        max = _mm512_set1_ps(_mm512_reduce_max_ps(max));
        __mmask16 found = 0;
        int64_t i = -LANES;
        while (found == 0) {
            i += LANES;
            found = _mm512_cmp_ps_mask(_mm512_loadu_ps(logits + i), max, _CMP_EQ_OQ);
        }
        i += __builtin_ctz(found);
        row->ids[slot] = ids[i];
        row->selected[slot] = logits[i];
        logits[i] = NAN;
    }
}

/* Sorts all experts: keys that rise as logits fall, above the index; radix 256, stable. */
static void select_by_sort(struct row *row, int64_t top_k, void *scratch)
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
    row->selected = (float *)sorted;
    for (int64_t slot = 0; slot < top_k; slot++) {
        row->ids[slot] = (int32_t)(uint32_t)keys[slot];
        row->selected[slot] = row->logits[row->ids[slot]];
    }
}

/* Quotients that are small, in double. */
static void divide_small(const struct row *row, int64_t first, __mmask16 small, double divisor)
{
    for (; small != 0; small &= (__mmask16)(small - 1)) {
        int64_t i = first + __builtin_ctz(small);
        double logit = (double)row->logits[row->ids[i]];
        row->weights[i] = (float)(exp(logit - (double)row->max) / divisor);
    }
}

/* From the logits of the selected experts to their weights. The divisor is at least 1: the sum
 * and, if it is taken of the selected, that too, have the maximum's exp(0) in them. */
ALWAYS_INLINE void finish_row(const shape_t *s, const struct row *row)
{
    const __m512 max = _mm512_set1_ps(row->max);
    __m512d selected = _mm512_setzero_pd();
    for (int64_t i = 0; i < s->top_k; i += LANES) {
        __m512 x = _mm512_sub_ps(_mm512_loadu_ps(row->selected + i), max);
        __m512 e = _mm512_maskz_mov_ps(first_lanes(min_i64(LANES, s->top_k - i)), expf_lanes(x));
        selected = add_as_double(selected, e);
        _mm512_storeu_ps(row->selected + i, e);
    }
    double divisor = row->sum;
    if (s->norm) {
        double sum = _mm512_reduce_add_pd(selected), least = (double)MOE_ROUTER_MIN_SUM * row->sum;
        divisor = sum > least ? sum : least;
    }
    const __m512 divide_by = _mm512_set1_ps((float)divisor);
    for (int64_t i = 0; i < s->top_k; i += LANES) {
        __mmask16 lanes = first_lanes(min_i64(LANES, s->top_k - i));
        __m512 weight = _mm512_div_ps(_mm512_loadu_ps(row->selected + i), divide_by);
        __mmask16 small =
            _mm512_mask_cmp_ps_mask(lanes, weight, _mm512_set1_ps(SMALL_WEIGHT), _CMP_LT_OQ);
        _mm512_mask_storeu_ps(row->weights + i, lanes, weight);
        if (small)
            divide_small(row, i, small, divisor);
    }
}

static void select_row(struct row *row, int64_t top_k, void *scratch)
{
    if (top_k > SMALL_TOP_K)
        select_by_sort(row, top_k, scratch);
    else if (row->n <= LANES)
        select_by_rank(row, top_k);
    else
        select_by_search(row, top_k, scratch);
}

static void invalidate(const struct row *row, int64_t top_k)
{
    memset(row->ids, 0xff, (size_t)top_k * sizeof(*row->ids));
    memset(row->weights, 0, (size_t)top_k * sizeof(*row->weights));
}

/* Not inlined: it must stay between the changes of MXCSR. */
static __attribute__((noinline)) void route_batch(const shape_t *s,
                                                  const struct moe_router_topk_softmax_args *a,
                                                  int64_t first, int n, void *scratch)
{
    struct row rows[BATCH];
    for (int i = 0; i < n; i++) {
        struct row *row = &rows[i];
        int64_t token = first + i;
        row->experts = s->experts;
        row->logits = a->logits + token * s->experts;
        row->ids = a->ids + token * s->top_k;
        row->weights = a->weights + token * s->top_k;
        row->selected = row->candidates;
        scan_row(row, s->top_k);
    }
    for (int i = 0; i < n; i++)
        sum_and_compress(&rows[i]);
    for (int i = 0; i < n; i++) {
        if (rows[i].sum < INFINITY)
            select_row(&rows[i], s->top_k, scratch);
    }
    for (int i = 0; i < n; i++) {
        if (rows[i].sum < INFINITY)
            finish_row(s, &rows[i]);
        else
            invalidate(&rows[i], s->top_k);
    }
}

void avx512vnni_moe_route(const shape_t *s, const struct moe_router_topk_softmax_args *a,
                          int64_t first, int64_t last, void *scratch)
{
    unsigned mxcsr = _mm_getcsr();
    _mm_setcsr(DEFAULT_MXCSR);
    /* Sorting leaves what it selected in scratch. */
    const int64_t batch = s->top_k <= SMALL_TOP_K ? BATCH : 1;
    for (int64_t t = first; t < last; t += batch)
        route_batch(s, a, t, (int)min_i64(batch, last - t), scratch);
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
