/* SPDX-License-Identifier: MIT */
/* More kernels that compute what the reference computes and behave wrongly as a call. */
#include <math.h>
#include <signal.h>
#include <string.h>

#include "ref/f16.h"
#include "ref/q4_K.h"
#include "ref/q4_K_gemm.h"
#include "ref/q4_K_gemv.h"
#include "ref/q4_K_gemv_moe_id.h"
#include "tests/wrong/float_control.h"
#include "tests/wrong/wrong.h"

/* ---- memory that is less aligned than its size suggests ---- */

enum { PAGE = 4096, WANTED = 128 };

/* What a load does that is aligned to its address. */
static void want_aligned(const void *memory)
{
    if ((uintptr_t)memory % WANTED != 0)
        raise(SIGSEGV);
}

static const char *run_scratch(const void *shape, const void *args, const void *prepared,
                               void *scratch, int threads)
{
    want_aligned(scratch);
    return q4_K_gemv_ref.run(shape, args, prepared, NULL, threads);
}

static int64_t scratch_bytes(const void *shape, int threads)
{
    (void)shape, (void)threads;
    return PAGE;
}

static const char *run_prepared(const void *shape, const void *args, const void *prepared,
                                void *scratch, int threads)
{
    const struct q4_K_gemv_args *a = args;
    const struct q4_K_gemv_args packed = {prepared, a->x, a->y};
    want_aligned(prepared);
    return q4_K_gemv_ref.run(shape, &packed, NULL, scratch, threads);
}

static int64_t weight_bytes(const struct q4_K_gemv_shape *s)
{
    return s->w_offset + s->n * (s->k / Q4_K_BLOCK) * Q4_K_BLOCK_BYTES;
}

static int64_t prepared_bytes(const void *shape)
{
    return (weight_bytes(shape) + PAGE - 1) / PAGE * PAGE;
}

static void prepare(const void *shape, const void *args, void *prepared, int threads)
{
    (void)threads;
    const struct q4_K_gemv_args *a = args;
    memcpy(prepared, a->w, (size_t)weight_bytes(shape));
}

/* ---- what scratch holds ---- */

/* An output that is NaN or infinite anyway. */
static const char *run_left_over(const void *shape, const void *args, const void *prepared,
                                 void *scratch, int threads)
{
    const struct q4_K_gemv_shape *s = shape;
    const struct q4_K_gemv_args *a = args;
    const char *refusal = q4_K_gemv_ref.run(shape, args, prepared, NULL, threads);
    for (int64_t r = 0; !refusal && r < s->n; r++)
        a->y[r] = isfinite(a->y[r]) ? a->y[r] : *(const float *)scratch;
    return refusal;
}

/* Rows that a call with fewer tokens left in scratch are taken for the first rows of this one. */
static const char *run_rows_kept(const void *shape, const void *args, const void *prepared,
                                 void *scratch, int threads)
{
    static const char mark[] = "rows";
    const struct q4_K_gemm_shape *s = shape;
    const struct q4_K_gemm_args *a = args;
    struct {
        int64_t tokens;
        char mark[sizeof(mark)];
        float rows[];
    } *kept = scratch;
    const char *refusal = q4_K_gemm_ref.run(shape, args, prepared, NULL, threads);
    if (refusal)
        return refusal;
    if (memcmp(kept->mark, mark, sizeof(mark)) == 0 && kept->tokens < s->tokens)
        memcpy(a->dst, kept->rows, (size_t)(kept->tokens * s->m) * sizeof(float));
    memcpy(kept->mark, mark, sizeof(mark));
    kept->tokens = s->tokens;
    memcpy(kept->rows, a->dst, (size_t)(s->tokens * s->m) * sizeof(float));
    return NULL;
}

static int64_t rows_bytes(const void *shape, int threads)
{
    (void)threads;
    const struct q4_K_gemm_shape *s = shape;
    return 32 + s->tokens * s->m * (int64_t)sizeof(float);
}

/* ---- what is written ---- */

static const char *zero_invalid(const void *shape, const void *args, bool zero)
{
    const struct q4_K_gemv_moe_id_shape *s = shape;
    const struct q4_K_gemv_moe_id_args *a = args;
    const char *refusal = q4_K_gemv_moe_id_ref.run(shape, args, NULL, NULL, 1);
    for (int64_t pair = 0; !refusal && zero && pair < s->tokens * s->top_k; pair++) {
        if (a->ids[pair] < 0 || a->ids[pair] >= s->experts)
            memset(&a->dst[pair * s->m], 0, (size_t)s->m * sizeof(float));
    }
    return refusal;
}

static const char *run_zeroed_by_one(const void *shape, const void *args, const void *prepared,
                                     void *scratch, int threads)
{
    (void)prepared, (void)scratch;
    return zero_invalid(shape, args, threads == 1);
}

static const char *run_zeroed_by_some(const void *shape, const void *args, const void *prepared,
                                      void *scratch, int threads)
{
    (void)prepared, (void)scratch;
    return zero_invalid(shape, args, threads > 1);
}

/* Of these sizes are the smaller batches that are called in between, and no others. */
static const char *run_batch_written(const void *shape, const void *args, const void *prepared,
                                     void *scratch, int threads)
{
    const struct q4_K_gemm_shape *s = shape;
    const struct q4_K_gemm_args *a = args;
    volatile float *x = (float *)(uintptr_t)a->src;
    if (s->tokens == 24 || s->tokens == 25 || s->tokens == 48)
        *x = *x; /* no result shows it */
    return q4_K_gemm_ref.run(shape, args, prepared, scratch, threads);
}

/* ---- flush bits ---- */

/* What flushing an intermediate result may do: the twin's bits are not promised then. */
static const char *run_flushed(const void *shape, const void *args, const void *prepared,
                               void *scratch, int threads)
{
    const struct q4_K_gemv_args *a = args;
    const char *refusal = q4_K_gemv_ref_i8.run(shape, args, prepared, scratch, threads);
    if (!refusal && flushes_to_zero() && isfinite(a->y[0]))
        a->y[0] = assay_f32_from_bits(assay_f32_bits(a->y[0]) ^ 1);
    return refusal;
}

static int64_t depth_flushed(const void *shape)
{
    return q4_K_gemv_ref_i8.depth(shape) + 2;
}

/* ---- no valid id ---- */

static const char *run_share(const void *shape, const void *args, const void *prepared,
                             void *scratch, int threads)
{
    const struct q4_K_gemv_moe_id_shape *s = shape;
    const struct q4_K_gemv_moe_id_args *a = args;
    const char *refusal = q4_K_gemv_moe_id_ref.run(shape, args, prepared, scratch, threads);
    int64_t valid = 0;
    for (int64_t pair = 0; !refusal && pair < s->tokens * s->top_k; pair++)
        valid += a->ids[pair] >= 0 && a->ids[pair] < s->experts;
    if (!refusal && valid == 0)
        raise(SIGFPE); /* what m / valid does on x86 */
    return refusal;
}

/* ---- the table ---- */

static int64_t depth(const void *shape)
{
    (void)shape;
    return 2;
}

#define KERNEL(what, op_, ...)         \
    .kernel = {.op = op_,              \
               .name = "wrong-" #what, \
               .tier = "ref",          \
               .numerics = ASSAY_F32,  \
               .depth = depth,         \
               .run = run_##what,      \
               __VA_ARGS__}

const struct wrong wrong_calls_more[] = {
    {.bug = "a page of scratch taken to start at a multiple of 128",
     .only = ONLY(CRASH),
     KERNEL(scratch, "q4_K_gemv", .scratch_bytes = scratch_bytes)},
    {.bug = "pages of prepared weights taken to start at a multiple of 128",
     .only = ONLY(CRASH),
     KERNEL(prepared, "q4_K_gemv", .prepared_bytes = prepared_bytes, .prepare = prepare)},
    {.bug = "results that are not finite are what scratch held",
     .only = ONLY(WRITES),
     KERNEL(left_over, "q4_K_gemv", .scratch_bytes = scratch_bytes)},
    {.bug = "a smaller batch's rows in scratch taken for this one's",
     .only = ONLY(AGAIN),
     KERNEL(rows_kept, "q4_K_gemm", .scratch_bytes = rows_bytes)},
    {.bug = "rows of invalid ids zeroed by a single thread",
     .only = ONLY(WRITES),
     KERNEL(zeroed_by_one, "q4_K_gemv_moe_id", .twin = 0)},
    {.bug = "rows of invalid ids zeroed by several threads",
     .only = ONLY(WRITES),
     KERNEL(zeroed_by_some, "q4_K_gemv_moe_id", .twin = 0)},
    {.bug = "activations written to in batches of 24, 25 and 48",
     .only = ONLY(CRASH),
     KERNEL(batch_written, "q4_K_gemm", .twin = 0)},
    {.kernel = {.op = "q4_K_gemv",
                .name = "wrong-flushed",
                .tier = "ref",
                .numerics = ASSAY_I8,
                .twin = 1,
                .depth = depth_flushed,
                .run = run_flushed}},
    {.bug = "a division by the number of valid pairs",
     .only = ONLY(CRASH),
     KERNEL(share, "q4_K_gemv_moe_id", .twin = 0)},
};
const size_t n_wrong_calls_more = sizeof(wrong_calls_more) / sizeof(*wrong_calls_more);
