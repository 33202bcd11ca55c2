/* SPDX-License-Identifier: MIT */
/*
 * moe_router_topk_softmax: a row is copied to scratch, its tail padded with -Inf to whole pairs of
 * vectors, -0 made +0. An expert's key is its logit's bits made to order as an integer, with the
 * complement of its index below: keys are distinct and the larger comes first.
 *
 * Selection: element e of the row belongs to lane e % 16. The top_k-th largest of the 16 lanes'
 * maxima bounds the top_k-th largest logit from below, so few experts pass it; each is ranked by
 * the number of keys above its own. Larger top_k, or many ties, take a heap of the top_k best.
 *
 * Softmax: exp(x - max) in f32, summed in f32 over 512 experts at most, from there on in double:
 * weights are rounded once, as subnormals too. MXCSR is set to its default for the call.
 */
#include <math.h>

#include "opt/avx2/common.h"
#include "opt/avx2/exp_f32.h"
#include "opt/avx2/kernels.h"
#include "opt/avx2/tier.h"
#include "ref/moe_router_topk_softmax.h"

typedef struct moe_router_topk_softmax_shape shape_t;

#define MXCSR_DEFAULT   0x1f80
#define LANES           16 /* two vectors */
#define SUM_EXPERTS     512
#define FEW_TOP_K       16 /* no more than lanes */
#define CANDIDATES      64
#define FAR             (-80.0f) /* from here down, exp in double: 2^-115 leaves room */
#define PARALLEL_LOGITS 16384    /* below this, threads cost more than they save */

/* A thread's scratch. */
struct room {
    float *row;       /* padded_experts */
    int64_t *keys;    /* top_k */
    double *selected; /* top_k */
};

static int64_t padded_experts(const shape_t *s)
{
    return ceil_div(s->experts, LANES) * LANES;
}

static int64_t row_bytes(const shape_t *s)
{
    return line_bytes(padded_experts(s), sizeof(float));
}

static int64_t list_bytes(const shape_t *s)
{
    return line_bytes(s->top_k, sizeof(double));
}

static int64_t room_bytes(const shape_t *s)
{
    return assay_add(row_bytes(s), assay_mul(2, list_bytes(s)));
}

/* An involution: integers that order like the floats. */
static inline int32_t ordered(int32_t bits)
{
    return bits ^ (int32_t)((uint32_t)(bits >> 31) >> 1);
}

static inline int64_t key_of(const float *row, int64_t e)
{
    uint64_t logit = (uint32_t)ordered((int32_t)assay_f32_bits(row[e]));
    return (int64_t)(logit << 32 | (uint32_t) ~(uint32_t)e);
}

static inline int32_t key_expert(int64_t key)
{
    return (int32_t) ~(uint32_t)key;
}

static inline float key_logit(int64_t key)
{
    return assay_f32_from_bits((uint32_t)ordered((int32_t)(key >> 32)));
}

static inline __m256 load_logits(const float *logits, int64_t count)
{
    const __m256 none = _mm256_set1_ps(-INFINITY);
    if (count >= 8)
        return _mm256_loadu_ps(logits);
    if (count <= 0)
        return none;
    __m256i mask = first_lanes(count);
    return _mm256_blendv_ps(none, _mm256_maskload_ps(logits, mask), _mm256_castsi256_ps(mask));
}

/* Copies a row and takes the lanes' maxima. False: a NaN or +Inf among the logits. */
static bool load_row(const float *logits, int64_t experts, float *row, __m256 max[2])
{
    const __m256 infinity = _mm256_set1_ps(INFINITY);
    __m256 bad = _mm256_setzero_ps();
    max[0] = max[1] = _mm256_set1_ps(-INFINITY);
    for (int64_t e = 0; e < experts; e += LANES) {
        for (int i = 0; i < 2; i++) {
            int64_t first = e + 8 * i < experts ? e + 8 * i : experts;
            __m256 v = load_logits(logits + first, experts - first);
            v = _mm256_add_ps(v, _mm256_setzero_ps());
            bad = _mm256_or_ps(bad, _mm256_cmp_ps(v, infinity, _CMP_NLT_UQ));
            max[i] = _mm256_max_ps(max[i], v);
            _mm256_storeu_ps(row + e + 8 * i, v);
        }
    }
    return _mm256_movemask_ps(bad) == 0;
}

static inline float largest_lane(__m256 v)
{
    __m128 max = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    max = _mm_max_ps(max, _mm_movehl_ps(max, max));
    return _mm_cvtss_f32(_mm_max_ss(max, _mm_movehdup_ps(max)));
}

/* The count-th largest of the 16 lanes: the largest that `count` lanes reach. */
static float lower_bound(const __m256 max[2], int64_t count)
{
    float lanes[LANES];
    _mm256_storeu_ps(lanes, max[0]);
    _mm256_storeu_ps(lanes + 8, max[1]);
    __m256i reached[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (int lane = 0; lane < LANES; lane++) {
        __m256 other = _mm256_broadcast_ss(&lanes[lane]);
        for (int i = 0; i < 2; i++) {
            __m256 reaches = _mm256_cmp_ps(other, max[i], _CMP_GE_OQ);
            reached[i] = _mm256_sub_epi32(reached[i], _mm256_castps_si256(reaches));
        }
    }
    const __m256i enough = _mm256_set1_epi32((int32_t)count - 1);
    __m256 best = _mm256_set1_ps(-INFINITY);
    for (int i = 0; i < 2; i++) {
        __m256 counts = _mm256_castsi256_ps(_mm256_cmpgt_epi32(reached[i], enough));
        best = _mm256_max_ps(best, _mm256_blendv_ps(best, max[i], counts));
    }
    return largest_lane(best);
}

/* The keys of experts whose logit is at least `bound`; -1 if they are more than CANDIDATES. */
static int64_t candidates(const float *row, int64_t experts, float bound, int64_t *keys)
{
    const __m256 least = _mm256_set1_ps(bound);
    int64_t n = 0;
    for (int64_t first = 0; first < experts; first += 8) {
        __m256 passes = _mm256_cmp_ps(_mm256_loadu_ps(row + first), least, _CMP_GE_OQ);
        unsigned mask = (unsigned)_mm256_movemask_ps(passes);
        if (experts - first < 8) /* the padding passes a bound of -Inf */
            mask &= (1u << (experts - first)) - 1;
        if (mask != 0 && n > CANDIDATES - 8)
            return -1;
        for (; mask != 0; mask &= mask - 1)
            keys[n++] = key_of(row, first + __builtin_ctz(mask));
    }
    return n;
}

/* The top_k largest of n keys in falling order; `keys` has room up to a multiple of 4. */
static void rank(int64_t *keys, int64_t n, int64_t top_k, int64_t *to)
{
    for (int64_t i = n; i % 4 != 0; i++)
        keys[i] = INT64_MIN; /* below all keys, and not copied */
    for (int64_t i = 0; i < n; i += 4) {
        __m256i four = load_bytes(keys + i), above = _mm256_setzero_si256();
        for (int64_t other = 0; other < n; other++) {
            __m256i greater = _mm256_cmpgt_epi64(_mm256_set1_epi64x(keys[other]), four);
            above = _mm256_sub_epi64(above, greater);
        }
        int64_t ranks[4];
        store_bytes(ranks, above);
        for (int64_t lane = 0; lane < 4 && i + lane < n; lane++) {
            if (ranks[lane] < top_k)
                to[ranks[lane]] = keys[i + lane];
        }
    }
}

/* Restores a heap with the smallest key on top below position i. */
static void sift_down(int64_t *heap, int64_t n, int64_t i)
{
    int64_t key = heap[i];
    for (;;) {
        int64_t child = 2 * i + 1;
        if (child >= n)
            break;
        if (child + 1 < n && heap[child + 1] < heap[child])
            child++;
        if (heap[child] >= key)
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = key;
}

/* The top_k largest keys of a row in falling order. */
static void select_by_heap(const float *row, int64_t experts, int64_t top_k, int64_t *keys)
{
    for (int64_t e = 0; e < top_k; e++)
        keys[e] = key_of(row, e);
    for (int64_t i = top_k / 2 - 1; i >= 0; i--)
        sift_down(keys, top_k, i);
    for (int64_t first = top_k / 8 * 8; first < experts; first += 8) {
        /* An equal logit of a larger index never enters. */
        __m256 least = _mm256_set1_ps(key_logit(keys[0]));
        __m256 enters = _mm256_cmp_ps(_mm256_loadu_ps(row + first), least, _CMP_GT_OQ);
        unsigned mask = (unsigned)_mm256_movemask_ps(enters);
        for (; mask != 0; mask &= mask - 1) {
            int64_t e = first + __builtin_ctz(mask);
            int64_t key = key_of(row, e);
            if (e < top_k || key < keys[0])
                continue;
            keys[0] = key;
            sift_down(keys, top_k, 0);
        }
    }
    for (int64_t n = top_k - 1; n > 0; n--) {
        int64_t least = keys[0];
        keys[0] = keys[n];
        keys[n] = least;
        sift_down(keys, n, 0);
    }
}

static void select_experts(const shape_t *s, const float *row, const __m256 max[2], int64_t *keys)
{
    if (s->top_k <= FEW_TOP_K) {
        int64_t few[CANDIDATES];
        int64_t n = candidates(row, s->experts, lower_bound(max, s->top_k), few);
        if (n >= 0) {
            rank(few, n, s->top_k, keys);
            return;
        }
    }
    select_by_heap(row, s->experts, s->top_k, keys);
}

static double sum_exp(const float *row, int64_t padded, float max)
{
    const __m256 top = _mm256_set1_ps(max);
    double total = 0;
    for (int64_t first = 0; first < padded; first += SUM_EXPERTS) {
        int64_t last = first + SUM_EXPERTS < padded ? first + SUM_EXPERTS : padded;
        __m256 sum0 = _mm256_setzero_ps(), sum1 = sum0;
        for (int64_t e = first; e < last; e += LANES) {
            __m256 x0 = _mm256_sub_ps(_mm256_loadu_ps(row + e), top);
            __m256 x1 = _mm256_sub_ps(_mm256_loadu_ps(row + e + 8), top);
            sum0 = _mm256_add_ps(sum0, exp_f32(x0));
            sum1 = _mm256_add_ps(sum1, exp_f32(x1));
        }
        sum0 = _mm256_add_ps(sum0, sum1);
        __m128 sum = _mm_add_ps(_mm256_castps256_ps128(sum0), _mm256_extractf128_ps(sum0, 1));
        sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
        total += (double)_mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
    }
    return total;
}

/* exp(logit - max) of the selected experts; returns their sum. */
static double exp_selected(const int64_t *keys, int64_t top_k, float max, double *selected)
{
    double sum = 0;
    for (int64_t first = 0; first < top_k; first += 8) {
        int64_t n = top_k - first < 8 ? top_k - first : 8;
        float x[8] = {0}, y[8];
        for (int64_t i = 0; i < n; i++)
            x[i] = key_logit(keys[first + i]) - max;
        _mm256_storeu_ps(y, exp_f32(_mm256_loadu_ps(x)));
        for (int64_t i = 0; i < n; i++) {
            double far_exponent = (double)key_logit(keys[first + i]) - (double)max;
            selected[first + i] = x[i] < FAR ? exp(far_exponent) : (double)y[i];
            sum += selected[first + i];
        }
    }
    return sum;
}

static void route_row(const shape_t *s, const float *logits, int32_t *ids, float *weights,
                      const struct room *room)
{
    __m256 lanes[2];
    bool valid = load_row(logits, s->experts, room->row, lanes);
    float max = largest_lane(_mm256_max_ps(lanes[0], lanes[1]));
    if (!valid || max == -INFINITY) {
        for (int64_t slot = 0; slot < s->top_k; slot++) {
            ids[slot] = -1;
            weights[slot] = 0;
        }
        return;
    }
    select_experts(s, room->row, lanes, room->keys);
    double sum = sum_exp(room->row, padded_experts(s), max);
    double sum_selected = exp_selected(room->keys, s->top_k, max, room->selected);
    /* p * 1 / max(sum of p, 2^-14), where p = e / sum */
    double least = sum * (double)MOE_ROUTER_MIN_SUM;
    double divisor = !s->norm ? sum : sum_selected > least ? sum_selected : least;
    double factor = 1 / divisor;
    for (int64_t slot = 0; slot < s->top_k; slot++) {
        ids[slot] = key_expert(room->keys[slot]);
        weights[slot] = (float)(room->selected[slot] * factor);
    }
}

/* Not inlined, so that no arithmetic moves out of the caller's change of MXCSR. */
static __attribute__((noinline)) void route_rows(const shape_t *s,
                                                 const struct moe_router_topk_softmax_args *a,
                                                 int64_t first, int64_t last,
                                                 const struct room *room)
{
    for (int64_t token = first; token < last; token++)
        route_row(s, a->logits + token * s->experts, a->ids + token * s->top_k,
                  a->weights + token * s->top_k, room);
}

void avx2_moe_route(const shape_t *s, const struct moe_router_topk_softmax_args *a, int64_t first,
                    int64_t last, void *scratch)
{
    unsigned saved = _mm_getcsr();
    uint8_t *own = scratch;
    struct room room = {
        .row = (float *)(void *)own,
        .keys = (int64_t *)(void *)(own + row_bytes(s)),
        .selected = (double *)(void *)(own + row_bytes(s) + list_bytes(s)),
    };
    _mm_setcsr(MXCSR_DEFAULT);
    route_rows(s, a, first, last, &room);
    _mm_setcsr(saved);
}

int64_t avx2_moe_route_bytes(const shape_t *s)
{
    return room_bytes(s);
}

static int64_t scratch_bytes(const void *shape, int threads)
{
    return assay_mul(threads, room_bytes(shape));
}

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    (void)prepared;
    const shape_t *s = shape;
    const char *illegal = assay_illegal(&moe_router_topk_softmax_op, shape, NULL);
    if (illegal)
        return illegal;
    threads = s->tokens <= PARALLEL_LOGITS / s->experts ? 1 : threads;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        int rank = omp_get_thread_num(), team = omp_get_num_threads();
        avx2_moe_route(s, args, share_start(s->tokens, rank, team),
                       share_start(s->tokens, rank + 1, team),
                       (uint8_t *)scratch + rank * room_bytes(s));
    }
    return NULL;
}

/* exp: difference, two steps of the reduction, eight of the polynomial; the sum: a lane's share of
 * up to 512, four levels; the weight. Errors of the numerator, about two roundings, fit beside. */
static int64_t depth(const void *shape)
{
    int64_t chain = ceil_div(((const shape_t *)shape)->experts, LANES);
    return 11 + (chain < SUM_EXPERTS / LANES ? chain : SUM_EXPERTS / LANES) + 4 + 1;
}

const struct assay_kernel moe_router_topk_softmax_avx2 = {
    .op = "moe_router_topk_softmax",
    .name = "avx2",
    .tier = "avx2",
    .numerics = ASSAY_F32,
    .depth = depth,
    .scratch_bytes = scratch_bytes,
    .run = run,
};
