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
#define SHIFTS 1024

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

static const struct assay_kernel *abi_of(const struct contender *contender)
{
    return contender->result->kernel->abi;
}

/* ---- memory ---- */

static bool make_shifted(struct sampling *sampling, struct guarded *buffer, int64_t bytes,
                         struct error *error)
{
    size_t shift = (size_t)assay_below(&sampling->random.source, SHIFTS) * ASSAY_BUFFER_ALIGN;
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
        if (!make_shifted(sampling, &outputs->buffers[i], bytes, error))
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
    own->n_copies = abi_of(contender)->prepare ? n_copies : 0;
    own->prepared = calloc((size_t)n_copies, sizeof(*own->prepared));
    if (!own->prepared)
        return fail(error, "out of memory");
    for (int c = 0; c < own->n_copies; c++) {
        if (!make_shifted(sampling, &own->prepared[c], needs->prepared_bytes, error))
            return false;
    }
    if (!make_outputs(sampling, &own->outputs, error) ||
        !make_shifted(sampling, &own->scratch, needs->scratch_bytes, error))
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
    const struct contender *contender = sampling_contender(sampling, a);
    struct own *own = &sampling->own[a];
    void *pointers[ASSAY_MAX_TENSORS];
    const void *prepared = NULL;
    variants_pointers(v, variant, &own->outputs, pointers);
    if (own->n_copies > 0) {
        prepared = own->prepared[own->next_copy++ % (unsigned)own->n_copies].data;
        pointers_after_prepare(v->item->op, pointers);
    }
    *(volatile size_t *)&sampling->blocks->notes->running = sampling->blocks->arms[a].contender;
    abi_of(contender)->run(v->item->shape, pointers, prepared, own->scratch.data,
                           contender->threads);
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
        abi_of(contender)->prepare(v->item->shape, pointers, sampling->own[a].prepared[c].data,
                                   contender->threads);
        contender->prepare_ns = now_ns() - start;
    }
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

struct sample sampling_take(struct sampling *sampling, size_t a)
{
    const struct arm *arm = &sampling->blocks->arms[a];
    const struct contender *contender = sampling_contender(sampling, a);
    int calls = contender->calls[arm->mode], variant = 0;
    bool single = arm->mode == COLD && calls == 1;
    struct noise noise;
    if (single)
        tensors_poison(&sampling->own[a].outputs, POISON_A);
    if (arm->mode == HOT)
        call(sampling, a, 0); /* back into the cache */
    noise_begin(&noise, contender->threads);
    double start = now_ns();
    for (int i = 0; i < calls; i++) {
        variant =
            arm->mode == HOT ? 0 : sampling->next_variant++ % sampling->blocks->variants->count;
        call(sampling, a, variant);
    }
    double ns = (now_ns() - start) / calls;
    noise_end(&noise);
    if (single)
        verify(sampling, a, variant);
    else
        sampling_try(sampling, a, variant);
    return (struct sample){ns, noise.chain_ghz, disturbance(sampling, a, &noise)};
}
