/* SPDX-License-Identifier: MIT */
/* Kernels that compute what the reference computes and behave wrongly as a call: what they read,
 * write, remember and leave behind. */
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "ref/f16.h"
#include "ref/q4_K.h"
#include "ref/q4_K_gemm_moe_id.h"
#include "ref/q4_K_gemv.h"
#include "tests/wrong/float_control.h"
#include "tests/wrong/wrong.h"

/* A call of gemv, as its kernel gets it. */
struct call {
    const struct q4_K_gemv_shape *s;
    const struct q4_K_gemv_args *a;
    const void *prepared;
    void *scratch;
    int threads;
};

/* An odd size, so that there is a canary behind it. */
enum { SCRATCH_BYTES = 60 };

static void right(const struct call *c)
{
    q4_K_gemv_ref.run(c->s, c->a, NULL, NULL, 1);
}

static int64_t weight_bytes(const struct q4_K_gemv_shape *s)
{
    return s->n * (s->k / Q4_K_BLOCK) * Q4_K_BLOCK_BYTES;
}

static void flip_last_bit(float *y)
{
    *y = assay_f32_from_bits(assay_f32_bits(*y) ^ 1);
}

/* ---- reads and writes ---- */

static void over_read(const struct call *c)
{
    volatile uint8_t sink = c->a->w[c->s->w_offset + weight_bytes(c->s)];
    (void)sink;
    right(c);
}

static void under_read(const struct call *c)
{
    volatile float sink = c->a->x[-1];
    (void)sink;
    right(c);
}

static void write_past_end(const struct call *c)
{
    right(c);
    c->a->y[c->s->n] = 0;
}

static void tail_by_thread(const struct call *c)
{
    right(c);
    if (c->threads > 1)
        c->a->y[c->s->n] = 0;
}

static void head_by_thread(const struct call *c)
{
    right(c);
    if (c->threads == 1)
        c->a->y[-1] = 0;
}

static void scratch_overrun(const struct call *c)
{
    ((uint8_t *)c->scratch)[SCRATCH_BYTES] = 0;
    right(c);
}

static void accumulated(const struct call *c)
{
    float before[1024];
    size_t count = c->s->n < 1024 ? (size_t)c->s->n : 1024;
    memcpy(before, c->a->y, count * sizeof(float));
    right(c);
    for (size_t i = 0; i < count; i++)
        c->a->y[i] += before[i];
}

static void nan_not_written(const struct call *c)
{
    float before[1024];
    size_t count = c->s->n < 1024 ? (size_t)c->s->n : 1024;
    memcpy(before, c->a->y, count * sizeof(float));
    right(c);
    for (size_t i = 0; i < count; i++)
        c->a->y[i] = isfinite(c->a->y[i]) ? c->a->y[i] : before[i];
}

static void input_written(const struct call *c)
{
    right(c);
    volatile uint8_t *w = (uint8_t *)(uintptr_t)c->a->w;
    if (c->threads > 1)
        *w = *w; /* no result shows it */
}

static void aligned_loads(const struct call *c)
{
    if ((uintptr_t)c->a->x % 16 != 0)
        raise(SIGSEGV); /* what movaps does */
    right(c);
}

/* ---- threads and memory ---- */

static void threads_differ(const struct call *c)
{
    right(c);
    if (c->threads > 1)
        flip_last_bit(c->a->y);
}

static void scratch_added(const struct call *c)
{
    right(c);
    c->a->y[0] += *(const float *)c->scratch * 1e-30f;
}

static void scratch_bit(const struct call *c)
{
    right(c);
    if (!(*(const uint8_t *)c->scratch & 1))
        flip_last_bit(c->a->y);
}

static void output_bit(const struct call *c)
{
    bool odd = *(const uint8_t *)c->a->y & 1;
    right(c);
    if (odd)
        flip_last_bit(c->a->y);
}

/* A stale cache: leaves a mark in scratch and does not compute again where it finds it. */
static void scratch_remembered(const struct call *c)
{
    static const char mark[] = "activations quantized";
    if (memcmp(c->scratch, mark, sizeof(mark)) != 0)
        right(c);
    memcpy(c->scratch, mark, sizeof(mark));
}

/* The outputs of the last call, and the address of its activations: a cache with the wrong key. */
static struct {
    const float *x;
    int64_t n;
    float y[1024];
} last_call;

static void address_remembered(const struct call *c)
{
    size_t bytes = (size_t)c->s->n * sizeof(float);
    if (last_call.x == c->a->x && last_call.n == c->s->n) {
        memcpy(c->a->y, last_call.y, bytes);
        return;
    }
    right(c);
    if (bytes > sizeof(last_call.y))
        return;
    last_call.x = c->a->x;
    last_call.n = c->s->n;
    memcpy(last_call.y, c->a->y, bytes);
}

/* Half of the inner dimension's sum for every row, added to y without a lock. */
struct half {
    const struct call *call;
    pthread_barrier_t *barrier;
    int64_t first, last; /* super-blocks */
};

static void *add_half(void *context)
{
    const struct half *half = context;
    const struct q4_K_gemv_shape *s = half->call->s;
    const struct q4_K_gemv_shape one = {1, Q4_K_BLOCK, 0};
    int64_t blocks = s->k / Q4_K_BLOCK;
    pthread_barrier_wait(half->barrier);
    for (int64_t b = half->first; b < half->last; b++) {
        for (int64_t r = 0; r < s->n; r++) {
            volatile float *y = &half->call->a->y[r];
            float part;
            const struct q4_K_gemv_args block = {half->call->a->w + s->w_offset +
                                                     (r * blocks + b) * Q4_K_BLOCK_BYTES,
                                                 &half->call->a->x[b * Q4_K_BLOCK], &part};
            q4_K_gemv_ref.run(&one, &block, NULL, NULL, 1);
            *y = *y + part;
        }
    }
    return NULL;
}

static void race(const struct call *c)
{
    pthread_t other;
    pthread_barrier_t barrier;
    int64_t blocks = c->s->k / Q4_K_BLOCK;
    struct half low = {c, &barrier, 0, blocks / 2}, high = {c, &barrier, blocks / 2, blocks};
    if (c->threads == 1) {
        right(c);
        return;
    }
    memset(c->a->y, 0, (size_t)c->s->n * sizeof(float));
    pthread_barrier_init(&barrier, NULL, 2);
    if (pthread_create(&other, NULL, add_half, &low) == 0) {
        add_half(&high);
        pthread_join(other, NULL);
    }
    pthread_barrier_destroy(&barrier);
}

static void hangs(const struct call *c)
{
    (void)c;
    for (;;)
        pause();
}

/* ---- what the caller finds afterwards ---- */

#if defined(__x86_64__)
static void x87_left(const struct call *c)
{
    right(c);
    x87_to_double();
}
#endif

/* ---- prepared weights: all of w, and a byte that is not written ---- */

static void right_prepared(const struct call *c)
{
    const struct q4_K_gemv_args packed = {c->prepared, c->a->x, c->a->y};
    q4_K_gemv_ref.run(c->s, &packed, NULL, NULL, 1);
}

static void unprepared_bit(const struct call *c)
{
    right_prepared(c);
    if (!(((const uint8_t *)c->prepared)[(c->s->w_offset + weight_bytes(c->s) + 3) / 4 * 4] & 1))
        flip_last_bit(c->a->y);
}

static int64_t prepared_bytes(const void *shape)
{
    const struct q4_K_gemv_shape *s = shape;
    return (s->w_offset + weight_bytes(s) + 3) / 4 * 4 + 1;
}

static void prepare(const void *shape, const void *args, void *prepared, int threads)
{
    (void)threads;
    const struct q4_K_gemv_shape *s = shape;
    const struct q4_K_gemv_args *a = args;
    memcpy(prepared, a->w, (size_t)(s->w_offset + weight_bytes(s)));
}

static void prepare_in_front(const void *shape, const void *args, void *prepared, int threads)
{
    prepare(shape, args, prepared, threads);
    ((uint8_t *)prepared)[-1] = 0;
}

static void prepare_with_x(const void *shape, const void *args, void *prepared, int threads)
{
    const struct q4_K_gemv_args *a = args;
    volatile float sink = a->x[0];
    (void)sink;
    prepare(shape, args, prepared, threads);
}

/* The last rows are no thread's. */
static void prepare_by_threads(const void *shape, const void *args, void *prepared, int threads)
{
    const struct q4_K_gemv_shape *s = shape;
    const struct q4_K_gemv_args *a = args;
    int64_t row = s->k / Q4_K_BLOCK * Q4_K_BLOCK_BYTES;
    memcpy(prepared, a->w, (size_t)(s->w_offset + s->n / threads * threads * row));
}

/* ---- a smaller batch in between ---- */

/* Does not compute where scratch says that the call before had fewer tokens. */
static const char *run_batch_remembered(const void *shape, const void *args, const void *prepared,
                                        void *scratch, int threads)
{
    (void)threads;
    static const char mark[] = "tokens";
    struct {
        int64_t tokens;
        char mark[sizeof(mark)];
    } *last = scratch;
    int64_t tokens = ((const struct q4_K_gemm_moe_id_shape *)shape)->tokens;
    bool fewer = memcmp(last->mark, mark, sizeof(mark)) == 0 && last->tokens < tokens;
    memcpy(last->mark, mark, sizeof(mark));
    last->tokens = tokens;
    return fewer ? NULL : q4_K_gemm_moe_id_ref_i8.run(shape, args, prepared, NULL, 1);
}

/* ---- the table ---- */

static int64_t depth(const void *shape)
{
    (void)shape;
    return 2;
}

static int64_t depth_i8(const void *shape)
{
    return q4_K_gemm_moe_id_ref_i8.depth(shape);
}

static int64_t depth_beyond_reason(const void *shape)
{
    (void)shape;
    return (int64_t)1 << 21;
}

static int64_t scratch_bytes(const void *shape, int threads)
{
    (void)shape, (void)threads;
    return SCRATCH_BYTES;
}

#define RUN(what)                                                                            \
    static const char *run_##what(const void *shape, const void *args, const void *prepared, \
                                  void *scratch, int threads)                                \
    {                                                                                        \
        const struct call call = {shape, args, prepared, scratch, threads};                  \
        const char *illegal = assay_illegal(&q4_K_gemv_op, shape, NULL);                     \
        if (!illegal)                                                                        \
            what(&call);                                                                     \
        return illegal;                                                                      \
    }
RUN(right)
RUN(over_read)
RUN(under_read)
RUN(write_past_end)
RUN(tail_by_thread)
RUN(head_by_thread)
RUN(scratch_overrun)
RUN(accumulated)
RUN(nan_not_written)
RUN(input_written)
RUN(aligned_loads)
RUN(threads_differ)
RUN(scratch_added)
RUN(scratch_bit)
RUN(output_bit)
RUN(scratch_remembered)
RUN(address_remembered)
RUN(race)
RUN(hangs)
#if defined(__x86_64__)
RUN(x87_left)
#endif
RUN(right_prepared)
RUN(unprepared_bit)

#define KERNEL(name_, what, depth_, ...)       \
    .kernel = {.op = "q4_K_gemv",              \
               .name = name_,                  \
               .tier = "ref",                  \
               .numerics = ASSAY_F32,          \
               .depth = depth_,                \
               .scratch_bytes = scratch_bytes, \
               .run = run_##what,              \
               __VA_ARGS__}
#define CALL(what, only_, text)                                                    \
    {                                                                              \
        .bug = text, .only = only_, KERNEL("wrong-" #what, what, depth, .twin = 0) \
    }
#define PREPARED(what, prepare_, run_, only_, text)                                               \
    {                                                                                             \
        .bug = text, .only = only_,                                                               \
        KERNEL("wrong-" what, run_, depth, .prepared_bytes = prepared_bytes, .prepare = prepare_) \
    }

const struct wrong wrong_calls[] = {
    CALL(over_read, ONLY(CRASH), "one byte read past the weights"),
    CALL(under_read, ONLY(CRASH), "one element read before x"),
    CALL(write_past_end, ONLY(CRASH), "one element written past y"),
    CALL(tail_by_thread, ONLY(CANARY), "one element written past y by the last of several threads"),
    CALL(head_by_thread, ONLY(CANARY), "one element written before y by a single thread"),
    CALL(scratch_overrun, ONLY(CANARY), "one byte written past scratch"),
    CALL(accumulated, ONLY(BOUND) | ONLY(PROPERTY) | ONLY(WRITES), "adds to y"),
    CALL(nan_not_written, ONLY(WRITES), "results that are not finite are not written"),
    CALL(input_written, ONLY(CRASH), "several threads write to an input what it held"),
    CALL(aligned_loads, ONLY(CRASH), "x loaded as if it were aligned to 16 bytes"),
    CALL(threads_differ, ONLY(AGAIN), "last bit depends on the number of threads"),
    CALL(scratch_added, ONLY(BOUND) | ONLY(PROPERTY) | ONLY(WRITES),
         "scratch read before it is written"),
    CALL(scratch_bit, ONLY(AGAIN), "last bit depends on what scratch held"),
    CALL(output_bit, ONLY(AGAIN), "last bit depends on what y held"),
    CALL(scratch_remembered, ONLY(AGAIN), "not computed where scratch is from an earlier call"),
    CALL(address_remembered, ONLY(AGAIN), "last result given again for the same address of x"),
    CALL(race, ONLY(AGAIN) | ONLY(FLUSHING), "two threads add to y without a lock"),
    CALL(hangs, ONLY(TIME), "never returns"),
#if defined(__x86_64__)
    CALL(x87_left, ONLY(FLOAT_STATE), "the x87 unit left at double precision"),
#endif
    {.bug = "declares two million roundings",
     .only = ONLY(BOUND),
     KERNEL("wrong-depth", right, depth_beyond_reason, .twin = 0)},
    PREPARED("prepared", prepare, right_prepared, 0, NULL),
    PREPARED("unprepared_bit", prepare, unprepared_bit, ONLY(AGAIN),
             "last bit depends on a byte that prepare did not write"),
    PREPARED("prepare_in_front", prepare_in_front, right_prepared, ONLY(CANARY),
             "one byte written before the prepared weights"),
    PREPARED("prepare_with_x", prepare_with_x, right_prepared, ONLY(CRASH), "prepare reads x"),
    PREPARED("not_prepared", prepare, right, ONLY(CRASH), "w read although it was prepared"),
    PREPARED("prepare_by_threads", prepare_by_threads, right_prepared, ONLY(AGAIN) | ONLY(FLUSHING),
             "several threads prepare all but the last rows"),
    {.bug = "the same, of weights too large to be packed twice",
     .only = ONLY(AGAIN),
     .uncopied = true,
     KERNEL("wrong-prepare_by_threads_large", right_prepared, depth,
            .prepared_bytes = prepared_bytes, .prepare = prepare_by_threads)},
    {.bug = "not computed where scratch is from a smaller batch",
     .only = ONLY(AGAIN),
     .kernel = {.op = "q4_K_gemm_moe_id",
                .name = "wrong-batch_remembered",
                .tier = "ref",
                .numerics = ASSAY_I8,
                .twin = 1,
                .depth = depth_i8,
                .scratch_bytes = scratch_bytes,
                .run = run_batch_remembered}},
};
const size_t n_wrong_calls = sizeof(wrong_calls) / sizeof(*wrong_calls);
