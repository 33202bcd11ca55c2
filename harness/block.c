/* SPDX-License-Identifier: MIT */
#include "harness/block.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "harness/sampling.h"

#define SAMPLE_NS    1e6    /* a batch lasts at least this long */
#define SLOW_CALL_NS 0.1e9  /* from here on a call is slow */
#define REHEARSAL_NS 0.25e9 /* of a contender's calls; other variants are verified when they come */
#define MAX_CALLS    (1 << 24)

const char *const bench_mode_names[] = {"hot", "cold"};

static bool sampling_open(struct sampling *sampling, struct blocks *blocks)
{
    uint64_t seed;
    *sampling =
        (struct sampling){.blocks = blocks, .own = calloc(blocks->n_arms, sizeof(*sampling->own))};
    if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
        seed = (uint64_t)getpid();
    if (sampling->own && random_open(&sampling->random, seed))
        return true;
    free(sampling->own);
    return fail(&blocks->notes->error, "out of memory");
}

static void sampling_close(struct sampling *sampling)
{
    for (size_t a = 0; a < sampling->blocks->n_arms; a++)
        own_free(&sampling->own[a]);
    free(sampling->own);
    random_close(&sampling->random);
}

/* Makes a sample long enough for the clock; as a side effect, warms up. */
static void size_batch(struct sampling *sampling, size_t a)
{
    struct contender *contender = sampling_contender(sampling, a);
    enum bench_mode mode = sampling->blocks->arms[a].mode;
    int *calls = &contender->calls[mode];
    *calls = 1;
    struct sample sample;
    sampling_take(sampling, &a, 1, &sample);
    double ns = sample.ns; /* slower than those that follow */
    sampling_take(sampling, &a, 1, &sample);
    ns = fmin(ns, sample.ns);
    while (ns * *calls < SAMPLE_NS && *calls < MAX_CALLS) {
        double wanted = ceil(1.2 * SAMPLE_NS / fmax(ns, 1));
        *calls = wanted > *calls ? (int)wanted : 2 * *calls;
        sampling_take(sampling, &a, 1, &sample);
        ns = sample.ns;
    }
    contender->call_ns[mode] = ns;
}

/* The first arm of a contender's mode that is not off; n_arms: none. */
static size_t arm_of(const struct blocks *blocks, size_t contender, enum bench_mode mode)
{
    size_t a = 0;
    while (a < blocks->n_arms && (blocks->arms[a].off || blocks->arms[a].contender != contender ||
                                  blocks->arms[a].mode != mode))
        a++;
    return a;
}

/* Calls a contender once on the case's own data, whose outputs passed the check, and once on the
 * others if that is quick; then sizes its batches. */
static bool rehearse(struct sampling *sampling, size_t c, struct error *error)
{
    const struct variants *v = sampling->blocks->variants;
    struct contender *contender = &sampling->blocks->contenders[c];
    size_t arms[] = {arm_of(sampling->blocks, c, HOT), arm_of(sampling->blocks, c, COLD)};
    bool cold = arms[COLD] < sampling->blocks->n_arms;
    size_t a = cold ? arms[COLD] : arms[HOT];
    contender->prepare_ns = NAN;
    if (a == sampling->blocks->n_arms)
        return true;
    if (!sampling_equip(sampling, a, cold ? sampling->blocks->n_packed : 1, error))
        return false;
    sampling_prepare(sampling, a);
    sampling->blocks->first[c * (size_t)v->count] = contender->result->output_hash;
    double ns = 0, spent = 0;
    for (int i = 0; i < (cold ? v->count : 1) && spent < REHEARSAL_NS; i++, spent += ns)
        ns = sampling_try(sampling, a, i);
    contender->slow = ns >= SLOW_CALL_NS;
    for (int mode = HOT; mode < BENCH_MODES; mode++) {
        contender->calls[mode] = 1;
        contender->call_ns[mode] = ns;
        if (contender->slow || arms[mode] == sampling->blocks->n_arms)
            continue;
        sampling->own[arms[mode]] = sampling->own[a];
        size_batch(sampling, arms[mode]);
        if (arms[mode] != a)
            sampling->own[arms[mode]] = (struct own){0};
    }
    own_free(&sampling->own[a]);
    return true;
}

static void rehearse_all(void *context)
{
    struct blocks *blocks = context;
    struct sampling sampling;
    if (!sampling_open(&sampling, blocks))
        return;
    bool done = true;
    for (size_t c = 0; done && c < blocks->n_contenders; c++)
        done = rehearse(&sampling, c, &blocks->notes->error);
    sampling_close(&sampling);
    blocks->notes->running = blocks->n_contenders;
}

/* What an arm has had so far. */
struct share {
    size_t arm;
    double all_ns, used_ns;
    int used;
};

/* Disturbed samples are taken again, but no more than once each. */
static bool satisfied(const struct sampling *sampling, const struct share *share)
{
    const struct arm *arm = &sampling->blocks->arms[share->arm];
    if (sampling->blocks->together)
        return arm->count >= arm->min_count;
    return arm->count >= BLOCK_MAX_SAMPLES ||
           (share->used >= arm->min_count && share->used_ns >= arm->budget_ns) ||
           (arm->count >= 2 * arm->min_count && share->all_ns >= 2 * arm->budget_ns);
}

static void note(struct sampling *sampling, struct share *share, const struct sample *sample)
{
    struct arm *arm = &sampling->blocks->arms[share->arm];
    double spent = sample->ns * sampling_contender(sampling, share->arm)->calls[arm->mode];
    arm->ns[arm->count] = sample->ns;
    arm->chain_ghz[arm->count] = sample->chain_ghz;
    arm->disturbed[arm->count++] = sample->disturbed;
    share->all_ns += spent;
    share->used += !sample->disturbed;
    share->used_ns += sample->disturbed ? 0 : spent;
}

/* A sample of every arm. */
static void take_round(struct sampling *sampling, struct share *shares, size_t left)
{
    struct sample samples[SAMPLING_MAX_TOGETHER];
    size_t together[SAMPLING_MAX_TOGETHER], arms[SAMPLING_MAX_TOGETHER], count = 0;
    for (size_t i = 0; i < left; i++) {
        if (sampling->blocks->together && sampling->blocks->arms[shares[i].arm].mode == COLD) {
            together[count] = i;
            arms[count++] = shares[i].arm;
        } else {
            sampling_take(sampling, &shares[i].arm, 1, samples);
            note(sampling, &shares[i], samples);
        }
    }
    if (count > 0)
        sampling_take(sampling, arms, count, samples);
    for (size_t i = 0; i < count; i++)
        note(sampling, &shares[together[i]], &samples[i]);
}

/* A layout lasts a block where a block is what counts, and a round where arms are compared: the more
 * of them the better. But for cold arms, whose many copies cost time. */
static bool renew(struct sampling *sampling, const struct share *shares, size_t count,
                  struct error *error)
{
    sampling->layout++;
    for (size_t i = 0; i < count; i++) {
        if (sampling->blocks->arms[shares[i].arm].mode == HOT &&
            !sampling_renew(sampling, shares[i].arm, error))
            return false;
    }
    return true;
}

static void take_rounds(struct sampling *sampling, struct share *shares, size_t left)
{
    bool right = true;
    while (left > 0 && right) {
        random_shuffle(&sampling->random, shares, left, sizeof(*shares));
        take_round(sampling, shares, left);
        size_t kept = 0;
        for (size_t i = 0; i < left; i++) {
            if (!satisfied(sampling, &shares[i]))
                shares[kept++] = shares[i];
        }
        left = kept;
        if (sampling->blocks->together)
            right = renew(sampling, shares, left, &sampling->blocks->notes->error);
    }
}

/* Allocates what every arm needs and calls it once, in random order. */
static bool set_up(struct sampling *sampling, struct share *shares, size_t count,
                   struct error *error)
{
    random_shuffle(&sampling->random, shares, count, sizeof(*shares));
    for (size_t i = 0; i < count; i++) {
        bool cold = sampling->blocks->arms[shares[i].arm].mode == COLD;
        if (!sampling_equip(sampling, shares[i].arm, cold ? sampling->blocks->n_packed : 1, error))
            return false;
    }
    for (size_t i = 0; i < count; i++) {
        sampling_prepare(sampling, shares[i].arm);
        if (!sampling_contender(sampling, shares[i].arm)->slow)
            sampling_try(sampling, shares[i].arm, 0);
    }
    return true;
}

static void take_block(void *context)
{
    struct blocks *blocks = context;
    struct sampling sampling;
    struct share *shares = calloc(blocks->n_arms, sizeof(*shares));
    size_t count = 0;
    if (!shares || !sampling_open(&sampling, blocks)) {
        free(shares);
        fail(&blocks->notes->error, "out of memory");
        return;
    }
    for (size_t a = 0; a < blocks->n_arms; a++) {
        blocks->arms[a].count = 0;
        if (!blocks->arms[a].off)
            shares[count++].arm = a;
    }
    sampling.next_variant = (int)assay_below(&sampling.random.source, blocks->variants->count);
    if (set_up(&sampling, shares, count, &blocks->notes->error))
        take_rounds(&sampling, shares, count);
    sampling_close(&sampling);
    free(shares);
    blocks->notes->running = blocks->n_contenders;
}

/* ---- the parent ---- */

bool blocks_make(struct blocks *blocks, const struct variants *variants, size_t n_contenders,
                 size_t n_arms, double seconds, struct error *error)
{
    size_t n_first = n_contenders * (size_t)variants->count;
    *blocks = (struct blocks){.variants = variants,
                              .seconds = seconds,
                              .n_packed = variants->n_copies,
                              .n_contenders = n_contenders,
                              .n_arms = n_arms};
    size_t bytes = n_arms * sizeof(*blocks->arms) + n_contenders * sizeof(*blocks->contenders) +
                   sizeof(*blocks->notes) + n_first * sizeof(*blocks->first);
    if (!guarded_make_aligned(&blocks->memory, (int64_t)bytes, error))
        return false;
    memset(blocks->memory.data, 0, bytes);
    blocks->arms = (struct arm *)blocks->memory.data;
    blocks->contenders = (struct contender *)(blocks->arms + n_arms);
    blocks->notes = (struct block_notes *)(blocks->contenders + n_contenders);
    blocks->first = (uint64_t *)(blocks->notes + 1);
    return true;
}

void blocks_free(struct blocks *blocks)
{
    guarded_free(&blocks->memory);
    *blocks = (struct blocks){0};
}

static bool run_child(struct blocks *blocks, void (*work)(void *), struct sandbox_result *end,
                      struct error *error)
{
    blocks->notes->running = 0;
    if (!sandbox_run(work, blocks, blocks->seconds, end, error))
        return false;
    if (blocks->notes->error.text[0])
        return fail(error, "%s: %s", blocks->variants->item->key, blocks->notes->error.text);
    if (end->end == SANDBOX_RETURNED && blocks->notes->running < blocks->n_contenders)
        end->end = SANDBOX_CRASHED; /* it ended by itself, e.g. by exit(0) */
    return true;
}

bool blocks_rehearse(struct blocks *blocks, struct sandbox_result *end, struct error *error)
{
    return run_child(blocks, rehearse_all, end, error);
}

bool blocks_take(struct blocks *blocks, struct sandbox_result *end, struct error *error)
{
    return run_child(blocks, take_block, end, error);
}
