/* SPDX-License-Identifier: MIT */
/*
 * affine_gemv: lanes are elements of a row.
 *
 * v3: 8 rows a task, which share x; rows past the last multiple of 8 one by one, in the same order
 * of operations. The two parts of a weight are summed apart: y = sum_g scale_g * (sum q*x) + bias_g *
 * (sum x), where the group's sum of x is taken once per call, into scratch. A group is summed in two
 * chains of 4, lane by lane; times the scale it is added to the row's 8 sums; they are added up at the
 * end. For 4 bits x is cached in scratch in the order in which the nibbles come: lane i of step s
 * is element 8*i + s of the group, for word i has it at bit 4*s.
 *
 * fast: one row a task, x in place. A word is broadcast and shifted lane by lane, so that elements
 * come in order, and dequantized; 4 chains go through the row.
 *
 * in_dim is a multiple of 64 and has no tail; groups past a multiple of 8 are zeros in scratch, and
 * their biases are copied before they are loaded.
 */
#include "ref/affine_gemv.h"
#include "opt/avx2/common.h"
#include "opt/avx2/kernels.h"

typedef struct affine_gemv_shape shape_t;
typedef struct affine_gemv_args args_t;

/* Weights below which threads cost more than they save. */
#define PARALLEL_WEIGHTS 65536

#define TASK_ROWS 8
#define STEPS     (AFFINE_GROUP / 8) /* registers of a group */

static int team(const shape_t *s, int threads)
{
    return s->out_dim <= PARALLEL_WEIGHTS / s->in_dim ? 1 : threads;
}

static int64_t groups_of(const shape_t *s)
{
    return s->in_dim / AFFINE_GROUP;
}

/* The bf16 at p in every lane. */
AVX2_INLINE __m256 broadcast_bf16(const uint16_t *p)
{
    __m256i twice = _mm256_set1_epi16((short)*p);
    return _mm256_castsi256_ps(_mm256_and_si256(twice, _mm256_set1_epi32((int)0xffff0000u)));
}

/* The first `count` of 8 bf16, then zeros. */
AVX2_INLINE __m256 load_bf16(const uint16_t *p, int64_t count)
{
    uint16_t copy[8] = {0};
    memcpy(copy, p, (size_t)(count < 8 ? count : 8) * sizeof(*p));
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)copy));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

/* Three additions deep. */
AVX2_INLINE float sum_lanes(__m256 v)
{
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/* ---- v3 ---- */

struct cache {
    float *sums; /* of x, by group; zeros up to a multiple of 8 */
    float *x;    /* 4 bits: in the order of the nibbles */
};

static int64_t sums_bytes(const shape_t *s)
{
    return line_bytes(groups_of(s) + 7, sizeof(float));
}

static struct cache cache_of(const shape_t *s, void *scratch)
{
    return (struct cache){scratch, (float *)((char *)scratch + sums_bytes(s))};
}

static void fill_cache(const shape_t *s, const float *x, struct cache *cache)
{
    int64_t groups = groups_of(s);
    for (int64_t g = 0; g < groups; g++, x += AFFINE_GROUP) {
        __m256 v[STEPS];
        for (int i = 0; i < STEPS; i++)
            v[i] = _mm256_loadu_ps(x + 8 * i);
        for (int half = STEPS / 2; half > 0; half /= 2) {
            for (int i = 0; i < half; i++)
                v[i] = _mm256_add_ps(v[i], v[i + half]);
        }
        cache->sums[g] = sum_lanes(v[0]);
        for (int i = 0; s->bits == 4 && i < AFFINE_GROUP; i++)
            cache->x[g * AFFINE_GROUP + i] = x[i % 8 * 8 + i / 8];
    }
    for (int64_t g = groups; g % 8 != 0; g++)
        cache->sums[g] = 0;
}

/* Eight codes of step i of a group. */
AVX2_INLINE __m256 codes_4bit(__m256i words, int i)
{
    __m256i q = _mm256_and_si256(_mm256_srli_epi32(words, 4 * i), _mm256_set1_epi32(15));
    return _mm256_cvtepi32_ps(q);
}

AVX2_INLINE __m256 codes_8bit(const uint32_t *w, int i)
{
    const __m128i *bytes = (const __m128i *)(w + 2 * i);
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(bytes)));
}

/* Lane sums of a group's q*x. */
AVX2_INLINE __m256 group_dot(const int bits, const uint32_t *w, const float *x)
{
    __m256i words = load_bytes(w);
    __m256 chain[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    for (int i = 0; i < STEPS; i++) {
        __m256 q = bits == 4 ? codes_4bit(words, i) : codes_8bit(w, i);
        chain[i % 2] = _mm256_fmadd_ps(q, _mm256_loadu_ps(x + 8 * i), chain[i % 2]);
    }
    return _mm256_add_ps(chain[0], chain[1]);
}

/* Lane sums of a row's bias * (sum x). */
AVX2_INLINE __m256 bias_dot(const uint16_t *biases, const float *sums, int64_t groups)
{
    __m256 sum = _mm256_setzero_ps();
    for (int64_t g = 0; g < groups; g += 8)
        sum = _mm256_fmadd_ps(load_bf16(biases + g, groups - g), _mm256_loadu_ps(sums + g), sum);
    return sum;
}

AVX2_INLINE void v3_rows(const int rows, const int bits, const shape_t *s, const args_t *a,
                         const struct cache *cache, int64_t first)
{
    const float *x = bits == 4 ? cache->x : a->x;
    int64_t groups = groups_of(s), words = affine_words(bits);
    __m256 sum[TASK_ROWS];
    for (int r = 0; r < rows; r++)
        sum[r] = _mm256_setzero_ps();
    for (int64_t g = 0; g < groups; g++) {
        for (int r = 0; r < rows; r++) {
            int64_t at = (first + r) * groups + g;
            __m256 dot = group_dot(bits, a->w + at * words, x + g * AFFINE_GROUP);
            sum[r] = _mm256_fmadd_ps(broadcast_bf16(a->scales + at), dot, sum[r]);
        }
    }
    for (int r = 0; r < rows; r++) {
        __m256 bias = bias_dot(a->biases + (first + r) * groups, cache->sums, groups);
        a->y[first + r] = sum_lanes(_mm256_add_ps(sum[r], bias));
    }
}

AVX2_INLINE void v3_tasks(const int bits, const shape_t *s, const args_t *a,
                          const struct cache *cache, struct range tasks)
{
    for (int64_t row = tasks.first * TASK_ROWS; row < tasks.last * TASK_ROWS; row += TASK_ROWS) {
        if (s->out_dim - row >= TASK_ROWS) {
            v3_rows(TASK_ROWS, bits, s, a, cache, row);
            continue;
        }
        for (int64_t r = row; r < s->out_dim; r++)
            v3_rows(1, bits, s, a, cache, r);
    }
}

static const char *run_v3(const shape_t *s, const args_t *a, void *scratch, int threads)
{
    struct cache cache = cache_of(s, scratch);
    int64_t tasks = ceil_div(s->out_dim, TASK_ROWS);
    fill_cache(s, a->x, &cache);
    threads = team(s, threads);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        if (s->bits == 4)
            v3_tasks(4, s, a, &cache, thread_range(tasks));
        else
            v3_tasks(8, s, a, &cache, thread_range(tasks));
    }
    return NULL;
}

/* ---- fast ---- */

static void fast_rows(const shape_t *s, const args_t *a, struct range rows)
{
    const __m256i shifts = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
    const __m256i low4 = _mm256_set1_epi32(15);
    int64_t groups = groups_of(s);
    for (int64_t row = rows.first; row < rows.last; row++) {
        __m256 chain[4];
        for (int i = 0; i < 4; i++)
            chain[i] = _mm256_setzero_ps();
        for (int64_t g = 0; g < groups; g++) {
            const uint32_t *w = a->w + (row * groups + g) * STEPS;
            __m256 scale = broadcast_bf16(a->scales + row * groups + g);
            __m256 bias = broadcast_bf16(a->biases + row * groups + g);
            for (int i = 0; i < STEPS; i++) {
                __m256i q =
                    _mm256_and_si256(_mm256_srlv_epi32(broadcast_dword(w + i), shifts), low4);
                __m256 weight = _mm256_fmadd_ps(_mm256_cvtepi32_ps(q), scale, bias);
                __m256 x = _mm256_loadu_ps(a->x + g * AFFINE_GROUP + 8 * i);
                chain[i % 4] = _mm256_fmadd_ps(weight, x, chain[i % 4]);
            }
        }
        a->y[row] = sum_lanes(
            _mm256_add_ps(_mm256_add_ps(chain[0], chain[1]), _mm256_add_ps(chain[2], chain[3])));
    }
}

static const char *run_fast(const shape_t *s, const args_t *a, int threads)
{
    threads = team(s, threads);
#pragma omp parallel num_threads(threads) if (threads > 1)
    fast_rows(s, a, thread_range(s->out_dim));
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

static int64_t scratch_v3(const void *shape, int threads)
{
    (void)threads;
    const shape_t *s = shape;
    return assay_add(sums_bytes(s), s->bits == 4 ? line_bytes(s->in_dim, 4) : 0);
}

static int64_t scratch(const void *shape, int threads)
{
    bool fast = affine_gemv_pipeline(shape) == AFFINE_GEMV_FAST_4BIT;
    return fast ? 0 : scratch_v3(shape, threads);
}

/* q*x: 4 in a chain, 1 to join, one fma per group. bias*x: 6 for the sum, one fma per 8 groups. Then
 * 1 to add the parts and 3 across lanes. */
static int64_t depth_v3(const void *shape)
{
    return 4 + 1 + groups_of(shape) + 1 + 1 + 3;
}

/* The weight, a chain of 2 per group, 2 to join and 3 across lanes. */
static int64_t depth_fast(const void *shape)
{
    return 1 + 2 * groups_of(shape) + 2 + 3;
}

static int64_t depth(const void *shape)
{
    bool fast = affine_gemv_pipeline(shape) == AFFINE_GEMV_FAST_4BIT;
    return fast ? depth_fast(shape) : depth_v3(shape);
}

const struct assay_kernel affine_gemv_avx2 = {
    .op = "affine_gemv",
    .name = "avx2",
    .tier = "avx2",
    .numerics = ASSAY_F32,
    .depth = depth,
    .scratch_bytes = scratch,
    .run = run,
};

const struct assay_kernel affine_gemv_avx2_v3_4bit = {
    .op = "affine_gemv",
    .name = "avx2-v3_4bit",
    .tier = "avx2",
    .numerics = ASSAY_F32,
    .depth = depth_v3,
    .unsupported = affine_gemv_not_4bit,
    .scratch_bytes = scratch_v3,
    .run = run_v3_4bit,
};

const struct assay_kernel affine_gemv_avx2_fast_4bit = {
    .op = "affine_gemv",
    .name = "avx2-fast_4bit",
    .tier = "avx2",
    .numerics = ASSAY_F32,
    .depth = depth_fast,
    .unsupported = affine_gemv_not_4bit,
    .run = run_fast_4bit,
};

const struct assay_kernel affine_gemv_avx2_v3_8bit = {
    .op = "affine_gemv",
    .name = "avx2-v3_8bit",
    .tier = "avx2",
    .numerics = ASSAY_F32,
    .depth = depth_v3,
    .unsupported = affine_gemv_not_8bit,
    .scratch_bytes = scratch_v3,
    .run = run_v3_8bit,
};
