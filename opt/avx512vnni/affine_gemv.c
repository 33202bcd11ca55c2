/* SPDX-License-Identifier: MIT */
/*
 * affine_gemv: lanes are elements of a row.
 *
 * v3: 8 rows a task, which share x; rows past the last multiple of 8 one by one, in the same order
 * of operations. The two parts of a weight are summed apart: y = sum_g scale_g * (sum q*x) + bias_g *
 * (sum x), where the group's sum of x is taken once per call, into scratch.
 *   4 bits  Two groups at a time, 16 words; x is cached in scratch in the order in which the nibbles
 *           come: lane i of step s is element 8*i + s of the pair, for word i has it at bit 4*s. An odd
 *           last group has zeros beside it: masked words, zeros in scratch, scale 0.
 *   8 bits  A group is four registers of 16 codes, in order.
 * They are summed in two chains, lane by lane; times the scales that is added to the row's 16 sums,
 * which are added up at the end.
 *
 * fast: one row a task, x in place. Eight bytes become 16 indices in element order, which look the
 * weights up in a table of the group's 16; each of its four registers has its own chain.
 */
#include "ref/affine_gemv.h"

#include <omp.h>
#include <string.h>

#include "opt/avx512vnni/common.h"
#include "opt/avx512vnni/kernels.h"

typedef struct affine_gemv_shape shape_t;
typedef struct affine_gemv_args args_t;

#define THREAD_WEIGHTS 131072 /* fewer than this are not worth a thread */
#define TASK_ROWS      8
#define PAIR           (2 * AFFINE_GROUP)
#define PAIR_STEPS     (PAIR / LANES)

static int team_size(const shape_t *s, int threads)
{
    int64_t share = ceil_div(THREAD_WEIGHTS, s->in_dim);
    return (int)min_i64(threads, ceil_div(s->out_dim, share));
}

static int64_t groups_of(const shape_t *s)
{
    return s->in_dim / AFFINE_GROUP;
}

ALWAYS_INLINE __m512 broadcast_bf16(const uint16_t *p)
{
    return _mm512_set1_ps(assay_bf16_to_f32(*p));
}

/* p[0] in lanes 0-7, p[1] in lanes 8-15, where it is 0 if `count` is 1. */
ALWAYS_INLINE __m512 broadcast_two_bf16(const uint16_t *p, int64_t count)
{
    uint32_t two = *p;
    if (count > 1)
        memcpy(&two, p, sizeof(two));
    const __m512i shifts =
        _mm512_setr_epi32(16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0);
    __m512i bits = _mm512_sllv_epi32(_mm512_set1_epi32((int)two), shifts);
    return _mm512_castsi512_ps(_mm512_and_si512(bits, _mm512_set1_epi32((int)0xffff0000u)));
}

/* ---- v3 ---- */

struct cache {
    float *sums; /* of x, by group */
    float *x;    /* 4 bits: in the order of the nibbles, zeros beside an odd last group */
};

static int64_t sums_bytes(const shape_t *s)
{
    return line_bytes(groups_of(s), sizeof(float));
}

static struct cache cache_of(const shape_t *s, void *scratch)
{
    return (struct cache){scratch, (float *)((char *)scratch + sums_bytes(s))};
}

static void fill_cache(const shape_t *s, const float *x, struct cache *cache)
{
    for (int64_t g = 0; g < groups_of(s); g++) {
        const float *at = x + g * AFFINE_GROUP;
        __m512 low = _mm512_add_ps(_mm512_loadu_ps(at), _mm512_loadu_ps(at + LANES));
        __m512 high =
            _mm512_add_ps(_mm512_loadu_ps(at + 2 * LANES), _mm512_loadu_ps(at + 3 * LANES));
        cache->sums[g] = sum_lanes(_mm512_add_ps(low, high));
    }
    for (int64_t p = 0; s->bits == 4 && p < s->in_dim; p += PAIR) {
        for (int64_t i = 0; i < PAIR; i++) {
            int64_t from = p + i % LANES * PAIR_STEPS + i / LANES;
            cache->x[p + i] = from < s->in_dim ? x[from] : 0;
        }
    }
}

/* Lane sums of q*x of a pair of groups, or of the last one alone. */
ALWAYS_INLINE __m512 pair_dot(const uint32_t *w, int64_t groups, const float *x)
{
    const __m512 nibble = _mm512_cvtepi32_ps(lane_numbers());
    __m512i words = _mm512_maskz_loadu_epi32(groups > 1 ? 0xffff : 0xff, w);
    __m512 chain[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    UNROLL
    for (unsigned i = 0; i < PAIR_STEPS; i++) {
        __m512 q = _mm512_permutexvar_ps(_mm512_srli_epi32(words, 4 * i), nibble);
        chain[i % 2] = _mm512_fmadd_ps(q, _mm512_loadu_ps(x + LANES * i), chain[i % 2]);
    }
    return _mm512_add_ps(chain[0], chain[1]);
}

/* The same of one group of 8-bit codes. */
ALWAYS_INLINE __m512 group_dot(const uint32_t *w, const float *x)
{
    __m512 chain[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    UNROLL
    for (int i = 0; i < AFFINE_GROUP / LANES; i++) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(w + 4 * i));
        __m512 q = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
        chain[i % 2] = _mm512_fmadd_ps(q, _mm512_loadu_ps(x + LANES * i), chain[i % 2]);
    }
    return _mm512_add_ps(chain[0], chain[1]);
}

/* Lane sums of a row's bias * (sum x). */
ALWAYS_INLINE __m512 bias_dot(const uint16_t *biases, const float *sums, int64_t groups)
{
    __m512 sum = _mm512_setzero_ps();
    for (int64_t g = 0; g < groups; g += LANES) {
        __mmask16 mask = first_lanes(min_i64(groups - g, LANES));
        __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, biases + g));
        __m512 bias = _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
        sum = _mm512_fmadd_ps(bias, _mm512_maskz_loadu_ps(mask, sums + g), sum);
    }
    return sum;
}

ALWAYS_INLINE void v3_rows(const int rows, const int bits, const shape_t *s, const args_t *a,
                           const struct cache *cache, int64_t first)
{
    int64_t groups = groups_of(s), words = affine_words(bits);
    __m512 sum[TASK_ROWS];
    UNROLL
    for (int r = 0; r < rows; r++)
        sum[r] = _mm512_setzero_ps();
    for (int64_t g = 0; g < groups; g += bits == 4 ? 2 : 1) {
        UNROLL
        for (int r = 0; r < rows; r++) {
            int64_t at = (first + r) * groups + g;
            const uint32_t *w = a->w + at * words;
            __m512 dot = bits == 4 ? pair_dot(w, groups - g, cache->x + g * AFFINE_GROUP)
                                   : group_dot(w, a->x + g * AFFINE_GROUP);
            __m512 scale = bits == 4 ? broadcast_two_bf16(a->scales + at, groups - g)
                                     : broadcast_bf16(a->scales + at);
            sum[r] = _mm512_fmadd_ps(scale, dot, sum[r]);
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        __m512 bias = bias_dot(a->biases + (first + r) * groups, cache->sums, groups);
        a->y[first + r] = sum_lanes(_mm512_add_ps(sum[r], bias));
    }
}

ALWAYS_INLINE void v3_tasks(const int bits, const shape_t *s, const args_t *a,
                            const struct cache *cache, int64_t first, int64_t last)
{
    for (int64_t row = first * TASK_ROWS; row < last * TASK_ROWS; row += TASK_ROWS) {
        if (s->out_dim - row >= TASK_ROWS) {
            v3_rows(TASK_ROWS, bits, s, a, cache, row);
            continue;
        }
        for (int64_t r = row; r < s->out_dim; r++)
            v3_rows(1, bits, s, a, cache, r);
    }
}

/* This thread's share of the tasks. */
static void v3_share(const shape_t *s, const args_t *a, const struct cache *cache)
{
    int64_t tasks = ceil_div(s->out_dim, TASK_ROWS);
    int rank = omp_get_thread_num(), team = omp_get_num_threads();
    int64_t first = share_start(tasks, rank, team), last = share_start(tasks, rank + 1, team);
    if (s->bits == 4)
        v3_tasks(4, s, a, cache, first, last);
    else
        v3_tasks(8, s, a, cache, first, last);
}

static const char *run_v3(const shape_t *s, const args_t *a, void *scratch, int threads)
{
    struct cache cache = cache_of(s, scratch);
    int team = team_size(s, threads);
    fill_cache(s, a->x, &cache);
#pragma omp parallel num_threads(team) if (team > 1)
    v3_share(s, a, &cache);
    return NULL;
}

/* ---- fast ---- */

/* The low 4 bits of lane i: code i of the 16 at w. */
ALWAYS_INLINE __m512i code_indices(const uint32_t *w)
{
    __m512i bytes = _mm512_cvtepu8_epi64(_mm_loadl_epi64((const __m128i *)w));
    return _mm512_or_si512(bytes, _mm512_slli_epi64(bytes, 28));
}

static float fast_row(const shape_t *s, const args_t *a, int64_t row)
{
    const __m512 nibble = _mm512_cvtepi32_ps(lane_numbers());
    int64_t groups = groups_of(s);
    __m512 chain[4];
    UNROLL
    for (int i = 0; i < 4; i++)
        chain[i] = _mm512_setzero_ps();
    for (int64_t g = 0; g < groups; g++) {
        int64_t at = row * groups + g;
        const uint32_t *w = a->w + at * affine_words(4);
        const float *x = a->x + g * AFFINE_GROUP;
        __m512 table =
            _mm512_fmadd_ps(nibble, broadcast_bf16(a->scales + at), broadcast_bf16(a->biases + at));
        UNROLL
        for (int i = 0; i < 4; i++) {
            __m512 weight = _mm512_permutexvar_ps(code_indices(w + 2 * i), table);
            chain[i] = _mm512_fmadd_ps(weight, _mm512_loadu_ps(x + LANES * i), chain[i]);
        }
    }
    return sum_lanes(
        _mm512_add_ps(_mm512_add_ps(chain[0], chain[1]), _mm512_add_ps(chain[2], chain[3])));
}

static void fast_share(const shape_t *s, const args_t *a)
{
    int rank = omp_get_thread_num(), team = omp_get_num_threads();
    int64_t last = share_start(s->out_dim, rank + 1, team);
    for (int64_t row = share_start(s->out_dim, rank, team); row < last; row++)
        a->y[row] = fast_row(s, a, row);
}

static const char *run_fast(const shape_t *s, const args_t *a, int threads)
{
    int team = team_size(s, threads);
#pragma omp parallel num_threads(team) if (team > 1)
    fast_share(s, a);
    return NULL;
}

/* ---- kernels ---- */

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    (void)prepared;
    const char *illegal = assay_illegal(&affine_gemv_op, shape, NULL);
    if (illegal)
        return illegal;
    if (affine_gemv_pipeline(shape) == AFFINE_GEMV_FAST_4BIT)
        return run_fast(shape, args, threads);
    return run_v3(shape, args, scratch, threads);
}

static const char *refused(const void *shape, const char *(*unsupported)(const void *shape))
{
    const char *illegal = assay_illegal(&affine_gemv_op, shape, NULL);
    return illegal ? illegal : unsupported(shape);
}

static const char *run_v3_4bit(const void *shape, const void *args, const void *prepared,
                               void *scratch, int threads)
{
    (void)prepared;
    const char *rule = refused(shape, affine_gemv_not_4bit);
    return rule ? rule : run_v3(shape, args, scratch, threads);
}

static const char *run_v3_8bit(const void *shape, const void *args, const void *prepared,
                               void *scratch, int threads)
{
    (void)prepared;
    const char *rule = refused(shape, affine_gemv_not_8bit);
    return rule ? rule : run_v3(shape, args, scratch, threads);
}

static const char *run_fast_4bit(const void *shape, const void *args, const void *prepared,
                                 void *scratch, int threads)
{
    (void)prepared, (void)scratch;
    const char *rule = refused(shape, affine_gemv_not_4bit);
    return rule ? rule : run_fast(shape, args, threads);
}

/* Pairs of groups, for 4 bits. */
static int64_t cached_bytes(const shape_t *s)
{
    return s->bits == 4 ? line_bytes(ceil_div(s->in_dim, PAIR), PAIR * sizeof(float)) : 0;
}

static int64_t scratch_v3(const void *shape, int threads)
{
    (void)threads;
    const shape_t *s = shape;
    return assay_add(sums_bytes(s), cached_bytes(s));
}

static int64_t scratch(const void *shape, int threads)
{
    bool fast = affine_gemv_pipeline(shape) == AFFINE_GEMV_FAST_4BIT;
    return fast ? 0 : scratch_v3(shape, threads);
}

/* q*x: 4 in a chain, 1 to join, one fma per group or pair. bias*x: 6 for the sum, one fma per 16
 * groups. Then 1 to add the parts and 4 across lanes. */
static int64_t depth_v3(const void *shape)
{
    const shape_t *s = shape;
    return 4 + 1 + ceil_div(groups_of(s), s->bits == 4 ? 2 : 1) + 1 + 1 + 4;
}

/* The weight, a chain of 1 per group, 2 to join and 4 across lanes. */
static int64_t depth_fast(const void *shape)
{
    return 1 + groups_of(shape) + 2 + 4;
}

static int64_t depth(const void *shape)
{
    bool fast = affine_gemv_pipeline(shape) == AFFINE_GEMV_FAST_4BIT;
    return fast ? depth_fast(shape) : depth_v3(shape);
}

const struct assay_kernel affine_gemv_avx512vnni = {
    .op = "affine_gemv",
    .name = "avx512vnni",
    .tier = "avx512vnni",
    .numerics = ASSAY_F32,
    .depth = depth,
    .scratch_bytes = scratch,
    .run = run,
};

const struct assay_kernel affine_gemv_avx512vnni_v3_4bit = {
    .op = "affine_gemv",
    .name = "avx512vnni-v3_4bit",
    .tier = "avx512vnni",
    .numerics = ASSAY_F32,
    .depth = depth_v3,
    .unsupported = affine_gemv_not_4bit,
    .scratch_bytes = scratch_v3,
    .run = run_v3_4bit,
};

const struct assay_kernel affine_gemv_avx512vnni_fast_4bit = {
    .op = "affine_gemv",
    .name = "avx512vnni-fast_4bit",
    .tier = "avx512vnni",
    .numerics = ASSAY_F32,
    .depth = depth_fast,
    .unsupported = affine_gemv_not_4bit,
    .run = run_fast_4bit,
};

const struct assay_kernel affine_gemv_avx512vnni_v3_8bit = {
    .op = "affine_gemv",
    .name = "avx512vnni-v3_8bit",
    .tier = "avx512vnni",
    .numerics = ASSAY_F32,
    .depth = depth_v3,
    .unsupported = affine_gemv_not_8bit,
    .scratch_bytes = scratch_v3,
    .run = run_v3_8bit,
};
