/* SPDX-License-Identifier: MIT */
#include "harness/bench.h"

#include <gsl/gsl_randist.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness/random.h"
#include "harness/sandbox.h"
#include "harness/variants.h"

#define MAX_VARIANTS 4096
#define CACHES       4      /* cold rotates over this many last-level caches */
#define SAMPLE_NS    1e6    /* a batch lasts at least this long */
#define SLOW_CALL_NS 0.25e9 /* from here on, three samples, cold only */
#define MIN_SAMPLES  5
#define SLOW_SAMPLES 3

const char *const bench_mode_names[] = {"hot", "cold"};

/* What the child works with. */
struct arena {
    const struct variants *variants;
    struct tensors outputs;
    struct guarded scratch; /* large enough for every kernel */
    struct guarded memory;  /* SHARED, of the timings */
    struct timing *timings; /* two for each kernel: hot, cold */
    size_t n_timings;
    uint64_t *first;          /* [kernel * count + variant]: hash of the first call's outputs */
    struct guarded *prepared; /* [kernel * n_copies + copy] */
    int next_variant;
    volatile size_t *running; /* the kernel that was called last, or how many there are at the end;
                               * seen by the parent */
};

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void call(struct arena *arena, const struct timing *timing, size_t kernel, int variant)
{
    void *pointers[ASSAY_MAX_TENSORS];
    variants_pointers(arena->variants, variant, &arena->outputs, pointers);
    const struct guarded *prepared =
        &arena->prepared[kernel * (size_t)arena->variants->n_copies +
                         (size_t)(variant % arena->variants->n_copies)];
    *arena->running = kernel;
    if (timing->result->kernel->abi->prepare)
        pointers_after_prepare(arena->variants->item->op, pointers);
    timing->result->kernel->abi->run(arena->variants->item->shape, pointers, prepared->data,
                                     arena->scratch.data, timing->threads);
}

/* Compares the outputs of a variant with those of its first call; -1 if they differ. */
static int verify(struct arena *arena, size_t kernel, int variant)
{
    uint64_t *first = &arena->first[kernel * (size_t)arena->variants->count + (size_t)variant];
    uint64_t hash = outputs_hash(arena->variants->item->op, &arena->outputs);
    if (*first == 0)
        *first = hash;
    return *first == hash ? 0 : -1;
}

/* Packs the weights of every copy, and calls the kernel untimed: once on the case's own data, whose
 * outputs passed the check, and once on the others if that is quick. Returns a call's time. */
static double rehearse(struct arena *arena, size_t kernel)
{
    const struct variants *v = arena->variants;
    struct timing *hot = &arena->timings[2 * kernel], *cold = hot + 1;
    const struct assay_kernel *abi = hot->result->kernel->abi;
    hot->prepare_ns = cold->prepare_ns = NAN;
    *arena->running = kernel;
    for (int c = 0; c < v->n_copies && abi->prepare; c++) {
        void *pointers[ASSAY_MAX_TENSORS];
        variants_pointers(v, c, NULL, pointers);
        pointers_for_prepare(v->item->op, pointers);
        double start = now_ns();
        abi->prepare(v->item->shape, pointers,
                     arena->prepared[kernel * (size_t)v->n_copies + (size_t)c].data, hot->threads);
        hot->prepare_ns = cold->prepare_ns = now_ns() - start;
    }
    arena->first[kernel * (size_t)v->count] = hot->result->output_hash;
    double ns = 0;
    for (int i = 0; i < v->count && ns < SLOW_CALL_NS; i++) {
        tensors_poison(&arena->outputs, POISON_A);
        double start = now_ns();
        call(arena, hot, kernel, i);
        ns = now_ns() - start;
        hot->wrong -= verify(arena, kernel, i);
    }
    return ns;
}

/* Times one batch, then checks the outputs of its last call, or of one more call if others of the
 * batch may have left theirs. */
static double sample(struct arena *arena, size_t t)
{
    struct timing *timing = &arena->timings[t];
    size_t kernel = t / 2;
    bool single = timing->mode == COLD && timing->calls == 1;
    int variant = 0;
    if (single)
        tensors_poison(&arena->outputs, POISON_A);
    if (timing->mode == HOT)
        call(arena, timing, kernel, 0); /* back into the cache */
    double start = now_ns();
    for (int i = 0; i < timing->calls; i++) {
        variant = timing->mode == HOT ? 0 : arena->next_variant++ % arena->variants->count;
        call(arena, timing, kernel, variant);
    }
    double ns = (now_ns() - start) / timing->calls;
    if (!single) {
        tensors_poison(&arena->outputs, POISON_A);
        call(arena, timing, kernel, variant);
    }
    timing->wrong -= verify(arena, kernel, variant);
    return ns;
}

/* Makes a sample long enough for the clock; as a side effect, warms up. */
static void size_batch(struct arena *arena, size_t t)
{
    struct timing *timing = &arena->timings[t];
    timing->calls = 1;
    double ns = sample(arena, t);
    while (ns * timing->calls < SAMPLE_NS && timing->calls < 1 << 24) {
        double wanted = ceil(1.2 * SAMPLE_NS / fmax(ns, 1));
        timing->calls = wanted > timing->calls ? (int)wanted : 2 * timing->calls;
        ns = sample(arena, t);
    }
}

/* An arm is a kernel in a mode: timings[t]. Its share of time, and whether it has had it. */
struct arm {
    size_t t;
    double spent_ns, budget_ns;
    int wanted; /* samples at least */
};

static size_t choose_arms(struct arena *arena, double seconds, struct arm *arms)
{
    size_t count = 0;
    for (size_t kernel = 0; kernel < arena->n_timings / 2; kernel++) {
        bool slow = rehearse(arena, kernel) >= SLOW_CALL_NS;
        for (size_t t = 2 * kernel; t < 2 * kernel + 2; t++) {
            struct timing *timing = &arena->timings[t];
            bool cold = timing->mode == COLD;
            timing->calls = 1;
            if (cold ? !arena->variants->has_weights && !slow : slow)
                continue;
            if (!slow)
                size_batch(arena, t);
            arms[count++] =
                (struct arm){t, 0, slow ? 0 : seconds * 1e9, slow ? SLOW_SAMPLES : MIN_SAMPLES};
        }
    }
    return count;
}

static bool arm_done(const struct arena *arena, const struct arm *arm)
{
    int count = arena->timings[arm->t].count;
    return count >= BENCH_MAX_SAMPLES || (count >= arm->wanted && arm->spent_ns >= arm->budget_ns);
}

struct child {
    struct arena *arena;
    double seconds;
};

/* In the child. */
static void take_samples(void *context)
{
    struct child *child = context;
    struct arena *arena = child->arena;
    struct arm arms[2 * BENCH_MAX_KERNELS];
    struct random random;
    if (!random_open(&random, case_hash(arena->variants->item)))
        return;
    size_t left = choose_arms(arena, child->seconds, arms);
    while (left > 0) {
        gsl_ran_shuffle(random.generator, arms, left, sizeof(*arms));
        for (size_t i = 0; i < left; i++) {
            struct timing *timing = &arena->timings[arms[i].t];
            double ns = sample(arena, arms[i].t);
            arms[i].spent_ns += ns * timing->calls;
            timing->ns[timing->count++] = ns;
        }
        size_t kept = 0;
        for (size_t i = 0; i < left; i++) {
            if (!arm_done(arena, &arms[i]))
                arms[kept++] = arms[i];
        }
        left = kept;
    }
    random_close(&random);
    *arena->running = arena->n_timings / 2;
}

/* What the calls of a mode cost on average. */
static struct assay_cost mean_cost(const struct variants *v, enum bench_mode mode)
{
    struct assay_cost sum = {0};
    int count = mode == HOT ? 1 : v->count;
    for (int i = 0; i < count; i++) {
        void *pointers[ASSAY_MAX_TENSORS];
        variants_pointers(v, i, NULL, pointers);
        struct assay_cost cost = v->item->op->cost(v->item->shape, pointers);
        sum.flop += cost.flop / count;
        sum.products += cost.products / count;
        sum.read_bytes += cost.read_bytes / count;
        sum.weight_bytes += cost.weight_bytes / count;
        sum.written_bytes += cost.written_bytes / count;
    }
    return sum;
}

static bool summarize(struct timing *timing, struct error *error)
{
    double *sorted = malloc((size_t)timing->count * sizeof(*sorted));
    if (!sorted)
        return fail(error, "out of memory");
    memcpy(sorted, timing->ns, (size_t)timing->count * sizeof(*sorted));
    sort_samples(sorted, (size_t)timing->count);
    timing->minimum = sorted[0];
    timing->median = quantile(sorted, (size_t)timing->count, 0.5);
    timing->interval = median_interval(sorted, (size_t)timing->count, 0.95);
    free(sorted);
    return true;
}

/* Takes what the child measured over into `timings`. */
static bool collect(const struct arena *arena, struct timings *timings, struct error *error)
{
    struct timing *items =
        realloc(timings->items, (timings->count + arena->n_timings) * sizeof(*items));
    if (!items)
        return fail(error, "out of memory");
    timings->items = items;
    for (size_t t = 0; t < arena->n_timings; t++) {
        struct timing *timing = &arena->timings[t];
        struct result *result = timing->result;
        if (timing->wrong > 0) {
            result->verdict = FAIL;
            judge_say(&result->judgement, LAYER_AGAIN,
                      "computes something else when it is timed (%s)",
                      bench_mode_names[timing->mode]);
        }
        if (timing->count == 0)
            continue;
        timing->cost = mean_cost(arena->variants, timing->mode);
        if (!summarize(timing, error))
            return false;
        items[timings->count++] = *timing;
    }
    return true;
}

static bool arena_make(struct arena *arena, const struct variants *v, struct result **passed,
                       size_t n_passed, int threads, struct error *error)
{
    const struct assay_case *item = v->item;
    *arena = (struct arena){.variants = v, .n_timings = 2 * n_passed};
    arena->first = calloc(n_passed * (size_t)v->count, sizeof(*arena->first));
    arena->prepared = calloc(n_passed * (size_t)v->n_copies, sizeof(*arena->prepared));
    if (!arena->first || !arena->prepared)
        return fail(error, "out of memory");
    size_t bytes = arena->n_timings * sizeof(*arena->timings) + sizeof(*arena->running);
    if (!guarded_make_aligned(&arena->memory, (int64_t)bytes, error) ||
        !tensors_make(&arena->outputs, item->op, item->shape, OUTPUTS, AT_START, PRIVATE, error))
        return false;
    arena->timings = (struct timing *)arena->memory.data;
    arena->running = (size_t *)(arena->timings + arena->n_timings);
    memset(arena->timings, 0, arena->memory.bytes);
    int64_t scratch = 0;
    for (size_t k = 0; k < n_passed; k++) {
        const struct assay_kernel *abi = passed[k]->kernel->abi;
        const struct needs *needs = &passed[k]->needs;
        scratch = needs->scratch_bytes > scratch ? needs->scratch_bytes : scratch;
        for (int c = 0; c < v->n_copies && abi->prepare; c++) {
            struct guarded *prepared = &arena->prepared[k * (size_t)v->n_copies + (size_t)c];
            if (!guarded_make_aligned(prepared, needs->prepared_bytes, error))
                return false;
        }
        for (size_t t = 2 * k; t < 2 * k + 2; t++) {
            arena->timings[t].result = passed[k];
            arena->timings[t].mode = t % 2 == 0 ? HOT : COLD;
            arena->timings[t].threads = threads;
        }
    }
    return guarded_make_aligned(&arena->scratch, scratch, error);
}

static void arena_free(struct arena *arena, size_t n_passed)
{
    for (size_t i = 0; arena->prepared && i < n_passed * (size_t)arena->variants->n_copies; i++)
        guarded_free(&arena->prepared[i]);
    tensors_free(&arena->outputs);
    guarded_free(&arena->scratch);
    guarded_free(&arena->memory);
    free(arena->prepared);
    free(arena->first);
}

/* Times the kernels; `culprit` gets the index of one that did not return, otherwise n_passed. */
static bool time_passed(const struct variants *v, struct result **passed, size_t n_passed,
                        const struct check_options *check, const struct bench_options *options,
                        struct timings *timings, size_t *culprit, struct error *error)
{
    struct arena arena = {0};
    struct child child = {&arena, options->seconds};
    struct sandbox_result end;
    double limit = check->seconds * (double)n_passed;
    bool done = arena_make(&arena, v, passed, n_passed, threads_of(v->item, check), error) &&
                sandbox_run(take_samples, &child, limit, &end, error);
    *culprit = n_passed;
    if (done && (end.end != SANDBOX_RETURNED || *arena.running < n_passed)) {
        *culprit = *arena.running < n_passed ? *arena.running : 0;
        struct result *result = passed[*culprit];
        bool crashed = end.end != SANDBOX_TIMED_OUT;
        result->verdict = crashed ? CRASHED : TIMEOUT;
        judge_say(&result->judgement, crashed ? LAYER_CRASH : LAYER_TIME,
                  "did not return when it was timed: %s",
                  !crashed     ? "the time was up"
                  : end.signal ? strsignal(end.signal)
                               : "ended the process");
    } else if (done) {
        done = collect(&arena, timings, error);
    }
    arena_free(&arena, n_passed);
    return done;
}

bool bench_case(const struct assay_case *item, struct result *results, size_t n_results,
                const struct check_options *check, const struct bench_options *options,
                struct timings *timings, struct error *error)
{
    struct result *passed[BENCH_MAX_KERNELS];
    size_t n_passed = 0;
    for (size_t i = 0; i < n_results; i++) {
        if (results[i].verdict != PASS)
            continue;
        if (n_passed == BENCH_MAX_KERNELS)
            return fail(error, "%s: more than %d kernels to time", item->key, BENCH_MAX_KERNELS);
        passed[n_passed++] = &results[i];
    }
    if (n_passed == 0)
        return true;
    struct variants v;
    bool done = variants_make(&v, item, options->llc_bytes, error), again = true;
    while (done && again && n_passed > 0) {
        size_t culprit;
        done = time_passed(&v, passed, n_passed, check, options, timings, &culprit, error);
        again = culprit < n_passed;
        if (again) {
            n_passed--;
            memmove(&passed[culprit], &passed[culprit + 1], (n_passed - culprit) * sizeof(*passed));
        }
    }
    variants_free(&v);
    return done;
}

void timings_free(struct timings *timings)
{
    free(timings->items);
    *timings = (struct timings){0};
}
