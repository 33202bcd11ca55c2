/* SPDX-License-Identifier: MIT */
/* More kernels that compute what the reference computes and behave wrongly as a call. */
#include <signal.h>
#include <string.h>

#include "ref/q4_K.h"
#include "ref/q4_K_gemv.h"
#include "ref/q4_K_gemv_moe_id.h"
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
    {.bug = "a division by the number of valid pairs",
     .only = ONLY(CRASH),
     KERNEL(share, "q4_K_gemv_moe_id", .twin = 0)},
};
const size_t n_wrong_calls_more = sizeof(wrong_calls_more) / sizeof(*wrong_calls_more);
