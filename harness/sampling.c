/* SPDX-License-Identifier: MIT */
#include "harness/sampling.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness/noise.h"
#include "harness/statistics.h"

/* Buffers start at a random multiple of ASSAY_BUFFER_ALIGN below this: any line of any of 16
 * pages, so that both sets of an 8-way L1 cache and of a 1 MB L2 cache vary. */
#define SHIFTS            1024
#define MAX_LAPS          16
/* Up to 4 MB between libraries that are loaded again. */
#define MAX_PAGES_BETWEEN 1024

/* Purposes of buffers: outputs by their index, then these. */
enum { SCRATCH = ASSAY_MAX_TENSORS, PREPARED };

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

struct contender *sampling_contender(const struct sampling *sampling, size_t a)
{
    return &sampling->blocks->contenders[sampling->blocks->arms[a].contender];
}

/* ---- memory ---- */

/* The same offset for every arm's buffer of a purpose: what the layout does to a kernel is then in all
 * of a block's arms, and in none of their ratios. */
static bool make_shifted(struct sampling *sampling, size_t purpose, struct guarded *buffer,
                         int64_t bytes, struct error *error)
{
    uint64_t drawn = hash_mix(hash_mix(sampling->random.seed + sampling->layout) + purpose);
    size_t shift = drawn % SHIFTS * ASSAY_BUFFER_ALIGN;
    return guarded_make_shifted(buffer, bytes, shift, error);
}

static bool make_outputs(struct sampling *sampling, struct tensors *outputs, struct error *error)
{
    const struct assay_case *item = sampling->blocks->variants->item;
    const struct assay_op *op = item->op;
    *outputs = (struct tensors){.op = op};
    for (size_t i = 0; i < op->n_tensors; i++) {
        const struct assay_tensor *tensor = &op->tensors[i];
        int64_t bytes = is_output(tensor) ? assay_mul(tensor->count(item->shape),
                                                      (int64_t)assay_dtype_bytes(tensor->dtype))
                                          : 0;
        if (!make_shifted(sampling, i, &outputs->buffers[i], bytes, error))
            return false;
        outputs->pointers[i] = outputs->buffers[i].data;
    }
    return true;
}

bool sampling_equip(struct sampling *sampling, size_t a, int n_copies, struct error *error)
{
    struct own *own = &sampling->own[a];
    const struct contender *contender = sampling_contender(sampling, a);
    const struct needs *needs = &contender->result->needs;
    const int *files = sampling->blocks->files;
    own->abi = contender->result->kernel->abi;
    if (files) {
        size_t pages = (size_t)assay_below(&sampling->random.source, MAX_PAGES_BETWEEN);
        own->abi = kernel_load_again(files[sampling->blocks->arms[a].contender],
                                     contender->result->kernel, pages, error);
    }
    if (!own->abi)
        return false;
    own->n_copies = own->abi->prepare ? n_copies : 0;
    own->prepared = calloc((size_t)n_copies, sizeof(*own->prepared));
    if (!own->prepared)
        return fail(error, "out of memory");
    for (int c = 0; c < own->n_copies; c++) {
        if (!make_shifted(sampling, PREPARED + (size_t)c, &own->prepared[c], needs->prepared_bytes,
                          error))
            return false;
    }
    if (!make_outputs(sampling, &own->outputs, error) ||
        !make_shifted(sampling, SCRATCH, &own->scratch, needs->scratch_bytes, error))
        return false;
    poison_fill(own->scratch.data, own->scratch.bytes, POISON_B); /* and so backed by pages */
    return true;
}

void own_free(struct own *own)
{
    for (int c = 0; own->prepared && c < own->n_copies; c++)
        guarded_free(&own->prepared[c]);
    free(own->prepared);
    tensors_free(&own->outputs);
    guarded_free(&own->scratch);
    *own = (struct own){0};
}

/* ---- calls ---- */

static void call(struct sampling *sampling, size_t a, int variant)
{
    const struct variants *v = sampling->blocks->variants;
    struct own *own = &sampling->own[a];
    void *pointers[ASSAY_MAX_TENSORS];
    const void *prepared = NULL;
    variants_pointers(v, variant, &own->outputs, pointers);
    if (own->n_copies > 0) {
        prepared = own->prepared[own->next_copy++ % (unsigned)own->n_copies].data;
        pointers_after_prepare(v->item->op, pointers);
    }
    *(volatile size_t *)&sampling->blocks->notes->running = sampling->blocks->arms[a].contender;
    own->abi->run(v->item->shape, pointers, prepared, own->scratch.data,
                  sampling_contender(sampling, a)->threads);
}

/* Compares the outputs of a variant with those of its first call. */
static void verify(struct sampling *sampling, size_t a, int variant)
{
    const struct arm *arm = &sampling->blocks->arms[a];
    uint64_t *first =
        &sampling->blocks
             ->first[arm->contender * (size_t)sampling->blocks->variants->count + (size_t)variant];
    uint64_t hash = outputs_hash(sampling->blocks->variants->item->op, &sampling->own[a].outputs);
    if (*first == 0)
        *first = hash;
    sampling_contender(sampling, a)->wrong[arm->mode] += *first != hash;
}

void sampling_prepare(struct sampling *sampling, size_t a)
{
    const struct variants *v = sampling->blocks->variants;
    struct contender *contender = sampling_contender(sampling, a);
    *(volatile size_t *)&sampling->blocks->notes->running = sampling->blocks->arms[a].contender;
    for (int c = 0; c < sampling->own[a].n_copies; c++) {
        void *pointers[ASSAY_MAX_TENSORS];
        variants_pointers(v, c % v->n_copies, NULL, pointers);
        pointers_for_prepare(v->item->op, pointers);
        double start = now_ns();
        sampling->own[a].abi->prepare(v->item->shape, pointers, sampling->own[a].prepared[c].data,
                                      contender->threads);
        contender->prepare_ns = now_ns() - start;
    }
}

bool sampling_renew(struct sampling *sampling, size_t a, struct error *error)
{
    own_free(&sampling->own[a]);
    if (!sampling_equip(sampling, a, 1, error))
        return false;
    sampling_prepare(sampling, a);
    return true;
}

/* Calls untimed, over poison; returns the call's time. */
double sampling_try(struct sampling *sampling, size_t a, int variant)
{
    tensors_poison(&sampling->own[a].outputs, POISON_A);
    double start = now_ns();
    call(sampling, a, variant);
    double ns = now_ns() - start;
    verify(sampling, a, variant);
    return ns;
}

/* Median share of CPU time of the arm's samples so far; NAN: none. */
static double usual_share(struct own *own)
{
    double sorted[RECENT];
    int count = own->n_shares < RECENT ? own->n_shares : RECENT;
    if (count == 0)
        return NAN;
    memcpy(sorted, own->cpu_share, (size_t)count * sizeof(*sorted));
    sort_samples(sorted, (size_t)count);
    return quantile(sorted, (size_t)count, 0.5);
}

/* What disturbed a sample, as far as those before it tell. */
static uint8_t disturbance(struct sampling *sampling, size_t a, const struct noise *noise)
{
    struct block_notes *notes = sampling->blocks->notes;
    struct own *own = &sampling->own[a];
    const struct noise_usual usual = {
        .chain_ghz = notes->chain_ghz = fmax(notes->chain_ghz, noise->chain_ghz),
        .gate = notes->gate = fmax(notes->gate, noise->gate),
        .cpu_share = noise->threads == 1 ? 1 : usual_share(own),
    };
    own->cpu_share[own->n_shares++ % RECENT] = noise_cpu_share(noise);
    return (uint8_t)noise_disturbed(noise, &usual);
}

/* Calls of an arm, one after the other; returns a call's time. */
static double time_calls(struct sampling *sampling, size_t a, int calls)
{
    struct own *own = &sampling->own[a];
    bool hot = sampling->blocks->arms[a].mode == HOT;
    int count = sampling->blocks->variants->count;
    double start = now_ns();
    for (int i = 0; i < calls; i++) {
        own->last_variant = hot ? 0 : sampling->next_variant++ % count;
        call(sampling, a, own->last_variant);
    }
    return (now_ns() - start) / calls;
}

/* What stops a core for microseconds, an interrupt say, is in few laps: the slowest do not count. */
static double without_slowest(double *laps, int count)
{
    double sum = 0;
    int kept = count - count / 4;
    sort_samples(laps, (size_t)count);
    for (int i = 0; i < kept; i++)
        sum += laps[i];
    return sum / kept;
}

static bool is_single(const struct sampling *sampling, size_t a)
{
    return sampling->blocks->arms[a].mode == COLD &&
           sampling_contender(sampling, a)->calls[COLD] == 1;
}

/* The laps of all arms take turns, in random order. */
static void time_laps(struct sampling *sampling, const size_t *arms, size_t count, int n_laps,
                      struct sample *samples)
{
    double laps[SAMPLING_MAX_TOGETHER][MAX_LAPS];
    size_t order[SAMPLING_MAX_TOGETHER];
    for (size_t i = 0; i < count; i++)
        order[i] = i;
    for (int lap = 0; lap < n_laps; lap++) {
        if (count > 1)
            random_shuffle(&sampling->random, order, count, sizeof(*order));
        for (size_t i = 0; i < count; i++) {
            size_t a = arms[order[i]];
            int calls = sampling_contender(sampling, a)->calls[sampling->blocks->arms[a].mode];
            calls = calls * (lap + 1) / n_laps - calls * lap / n_laps;
            laps[order[i]][lap] = time_calls(sampling, a, calls);
        }
    }
    for (size_t i = 0; i < count; i++)
        samples[i].ns = without_slowest(laps[i], n_laps);
}

void sampling_take(struct sampling *sampling, const size_t *arms, size_t count,
                   struct sample *samples)
{
    struct noise noise;
    const struct contender *first = sampling_contender(sampling, arms[0]);
    int n_laps = MAX_LAPS;
    for (size_t i = 0; i < count; i++) {
        int calls =
            sampling_contender(sampling, arms[i])->calls[sampling->blocks->arms[arms[i]].mode];
        n_laps = calls < n_laps ? calls : n_laps;
        if (is_single(sampling, arms[i]))
            tensors_poison(&sampling->own[arms[i]].outputs, POISON_A);
        if (sampling->blocks->arms[arms[i]].mode == HOT)
            call(sampling, arms[i], 0); /* back into the cache */
    }
    noise_begin(&noise, first->threads);
    time_laps(sampling, arms, count, n_laps, samples);
    noise_end(&noise);
    uint8_t disturbed = disturbance(sampling, arms[0], &noise);
    for (size_t i = 0; i < count; i++) {
        if (is_single(sampling, arms[i]))
            verify(sampling, arms[i], sampling->own[arms[i]].last_variant);
        else
            sampling_try(sampling, arms[i], sampling->own[arms[i]].last_variant);
        samples[i].chain_ghz = noise.chain_ghz;
        samples[i].disturbed = disturbed;
    }
}
