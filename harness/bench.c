/* SPDX-License-Identifier: MIT */
#include "harness/bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/interrupt.h"
#include "harness/noise.h"
#include "harness/plain_read.h"

#define MIN_SAMPLES 1 /* in a block */
#define SLOW_BLOCKS 3 /* of one sample each */

/* What a case's timing works with. */
struct bench {
    const struct bench_options *options;
    struct variants variants;
    struct blocks blocks;
    int pass;
    struct bench_noise *noise;
    struct timings *timings;
    bool reads; /* the last contender is harness/plain_read.h's */
    double read_ns[BLOCK_MAX_SAMPLES];
    size_t n_read_ns;
};

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

/* Arms 2c and 2c + 1 are contender c's, hot and cold; the last two the A/A arms. */
static size_t aa_arm(const struct bench *bench, enum bench_mode mode)
{
    return 2 * bench->blocks.n_contenders + (size_t)mode;
}

static bool is_aa(const struct bench *bench, size_t a)
{
    return a >= 2 * bench->blocks.n_contenders;
}

static bool is_plain_read(const struct bench *bench, size_t contender)
{
    return bench->reads && contender == bench->blocks.n_contenders - 1;
}

/* Before the rehearsal: what is not slow is cold only if it has weights. */
static void plan(struct bench *bench, struct result **passed, int threads)
{
    struct blocks *blocks = &bench->blocks;
    for (size_t a = 0; a < blocks->n_arms; a++) {
        struct arm *arm = &blocks->arms[a];
        arm->contender = is_aa(bench, a) ? 0 : a / 2;
        arm->mode = a % 2 == 0 ? HOT : COLD;
        arm->off = is_aa(bench, a) || (arm->mode == COLD ? !bench->variants.has_weights
                                                         : is_plain_read(bench, arm->contender));
    }
    for (size_t c = 0; c < blocks->n_contenders; c++) {
        blocks->contenders[c].result = passed[c];
        blocks->contenders[c].threads = threads;
    }
}

/* The fastest contender in a mode that is not slow, and not the reference unless it is alone. */
static size_t fastest(const struct bench *bench, enum bench_mode mode)
{
    const struct blocks *blocks = &bench->blocks;
    size_t best = blocks->n_contenders;
    for (size_t c = 0; c < blocks->n_contenders; c++) {
        const struct contender *contender = &blocks->contenders[c];
        bool reference = contender->result->kernel->abi == bench->variants.item->op->reference;
        bool alone = blocks->n_contenders == 1 + (size_t)bench->reads;
        if (blocks->arms[2 * c + mode].off || contender->slow || (reference && !alone) ||
            is_plain_read(bench, c))
            continue;
        if (best == blocks->n_contenders ||
            contender->call_ns[mode] < blocks->contenders[best].call_ns[mode])
            best = c;
    }
    return best;
}

/* After the rehearsal: who takes part in what. */
static void plan_arms(struct bench *bench)
{
    struct blocks *blocks = &bench->blocks;
    const struct bench_options *options = bench->options;
    double budget = options->seconds * 1e9 / options->blocks / options->passes;
    for (size_t a = 0; a < 2 * blocks->n_contenders; a++) {
        struct arm *arm = &blocks->arms[a];
        const struct contender *contender = &blocks->contenders[arm->contender];
        bool slow = contender->slow;
        if (slow && contender->result->verdict == PASS)
            arm->off = arm->mode == HOT;
        arm->min_count = MIN_SAMPLES;
        arm->budget_ns = slow ? 0 : budget;
    }
    for (int mode = HOT; mode < BENCH_MODES; mode++) {
        struct arm *aa = &blocks->arms[aa_arm(bench, (enum bench_mode)mode)];
        aa->contender = fastest(bench, (enum bench_mode)mode);
        aa->off = aa->contender == blocks->n_contenders;
        aa->min_count = MIN_SAMPLES;
        aa->budget_ns = budget;
    }
}

/* A contender that did not return, or whose results changed, is out. */
static void fail_contender(struct bench *bench, size_t c)
{
    for (size_t a = 0; a < bench->blocks.n_arms; a++)
        bench->blocks.arms[a].off |= bench->blocks.arms[a].contender == c;
    timings_drop(bench->timings, bench->blocks.contenders[c].result);
}

static void blame(struct bench *bench, const struct sandbox_result *end)
{
    size_t running = bench->blocks.notes->running;
    size_t c = running < bench->blocks.n_contenders ? running : 0;
    struct result *result = bench->blocks.contenders[c].result;
    bool crashed = end->end != SANDBOX_TIMED_OUT;
    result->verdict = crashed ? CRASHED : TIMEOUT;
    judge_say(&result->judgement, crashed ? LAYER_CRASH : LAYER_TIME,
              "did not return when it was timed: %s",
              !crashed      ? "the time was up"
              : end->signal ? strsignal(end->signal)
                            : "ended the process");
    fail_contender(bench, c);
}

static void fail_wrong(struct bench *bench)
{
    for (size_t c = 0; c < bench->blocks.n_contenders; c++) {
        struct contender *contender = &bench->blocks.contenders[c];
        for (int mode = HOT; mode < BENCH_MODES; mode++) {
            if (contender->wrong[mode] == 0 || contender->result->verdict != PASS)
                continue;
            contender->result->verdict = FAIL;
            judge_say(&contender->result->judgement, LAYER_AGAIN,
                      "computes something else when it is timed (%s)", bench_mode_names[mode]);
            fail_contender(bench, c);
        }
    }
}

/* Disturbed samples too: their median is for what memory did, not for what it can do. */
static void collect_read(struct bench *bench, const struct arm *arm)
{
    for (int i = 0; i < arm->count; i++) {
        if (bench->n_read_ns < BLOCK_MAX_SAMPLES)
            bench->read_ns[bench->n_read_ns++] = arm->ns[i];
    }
}

/* The cold timings of the case learn what memory did beside them. */
static void note_read(struct bench *bench)
{
    if (bench->n_read_ns == 0)
        return;
    sort_samples(bench->read_ns, bench->n_read_ns);
    double rate = plain_read_bytes() / quantile(bench->read_ns, bench->n_read_ns, 0.5);
    for (size_t t = 0; t < bench->timings->count; t++) {
        struct timing *timing = &bench->timings->items[t];
        if (timing->result->item == bench->variants.item && timing->mode == COLD)
            timing->plain_read = rate;
    }
}

/* Takes what a block measured over into the timings. */
static bool collect(struct bench *bench, struct error *error)
{
    for (size_t a = 0; a < bench->blocks.n_arms; a++) {
        const struct arm *arm = &bench->blocks.arms[a];
        if (arm->off)
            continue;
        struct contender *contender = &bench->blocks.contenders[arm->contender];
        if (is_plain_read(bench, arm->contender)) {
            collect_read(bench, arm);
            continue;
        }
        struct timing *timing =
            timings_get(bench->timings, contender->result, arm->mode, is_aa(bench, a), error);
        if (!timing)
            return false;
        if (timing->n_blocks == 0) {
            timing->threads = contender->threads;
            timing->calls = contender->calls[arm->mode];
            timing->cost = mean_cost(&bench->variants, arm->mode);
        }
        timing->prepare_ns = contender->prepare_ns;
        if (!timing_add(timing, arm, bench->pass, error))
            return false;
    }
    return true;
}

static bool any_on(const struct blocks *blocks)
{
    for (size_t a = 0; a < blocks->n_arms; a++) {
        if (!blocks->arms[a].off)
            return true;
    }
    return false;
}

/* Runs a child until it returns without a contender to blame, or none is left. */
static bool run_child(struct bench *bench,
                      bool (*child)(struct blocks *, struct sandbox_result *, struct error *),
                      struct error *error)
{
    struct sandbox_result end = {.end = SANDBOX_CRASHED};
    while (end.end != SANDBOX_RETURNED && any_on(&bench->blocks)) {
        if (!child(&bench->blocks, &end, error))
            return false;
        if (end.end == SANDBOX_INTERRUPTED)
            return true;
        if (end.end != SANDBOX_RETURNED)
            blame(bench, &end);
        fail_wrong(bench);
    }
    return true;
}

static bool take_blocks(struct bench *bench, struct error *error)
{
    struct blocks *blocks = &bench->blocks;
    for (int b = 0; b < bench->options->blocks && any_on(blocks); b++) {
        for (size_t c = 0; b == SLOW_BLOCKS && c < blocks->n_contenders; c++)
            blocks->arms[2 * c + COLD].off |= blocks->contenders[c].slow;
        if (!run_child(bench, blocks_take, error))
            return false;
        if (interrupted())
            return true;
        if (!collect(bench, error))
            return false;
    }
    return true;
}

/* Batches stay as long as they were in the pass before. */
static void keep_calls(struct bench *bench)
{
    for (size_t i = 0; i < bench->timings->count; i++) {
        const struct timing *timing = &bench->timings->items[i];
        for (size_t c = 0; c < bench->blocks.n_contenders; c++) {
            if (bench->blocks.contenders[c].result == timing->result)
                bench->blocks.contenders[c].calls[timing->mode] = timing->calls;
        }
    }
}

static bool time_passed(struct bench *bench, struct result **passed, size_t n_passed,
                        const struct check_options *check, struct error *error)
{
    if (!blocks_make(&bench->blocks, &bench->variants, n_passed, 2 * n_passed + 2,
                     check->seconds * (double)n_passed, error))
        return false;
    int threads = threads_of(bench->variants.item, check);
    bench->blocks.notes->chain_ghz = bench->noise->chain_ghz;
    bench->blocks.notes->gate = threads == bench->noise->threads ? bench->noise->gate : 0;
    plan(bench, passed, threads);
    if (!run_child(bench, blocks_rehearse, error))
        return false;
    plan_arms(bench);
    keep_calls(bench);
    bool taken = interrupted() || take_blocks(bench, error);
    note_read(bench);
    *bench->noise =
        (struct bench_noise){bench->blocks.notes->chain_ghz, bench->blocks.notes->gate, threads};
    return taken;
}

bool bench_case(const struct assay_case *item, struct result *results, size_t n_results,
                const struct check_options *check, const struct bench_options *options, int pass,
                struct bench_noise *noise, struct timings *timings, struct error *error)
{
    struct result *passed[BLOCK_MAX_CONTENDERS + 1];
    size_t n_passed = 0;
    for (size_t i = 0; i < n_results; i++) {
        if (results[i].verdict != PASS)
            continue;
        if (n_passed == BLOCK_MAX_CONTENDERS)
            return fail(error, "%s: more than %d kernels to time", item->key, BLOCK_MAX_CONTENDERS);
        passed[n_passed++] = &results[i];
    }
    if (n_passed == 0)
        return true;
    struct bench bench = {.options = options, .pass = pass, .noise = noise, .timings = timings};
    bool done = variants_make(&bench.variants, item, options->llc_bytes, error);
    if (done && bench.variants.has_weights) {
        double bytes = mean_cost(&bench.variants, COLD).weight_bytes;
        passed[n_passed] = plain_read_of(item, bytes, options->features);
        bench.reads = passed[n_passed] != NULL;
        n_passed += bench.reads;
    }
    done = done && time_passed(&bench, passed, n_passed, check, error);
    blocks_free(&bench.blocks);
    variants_free(&bench.variants);
    return done;
}

/* NAN: out of memory, or no block. */
static double median_clock(const struct timings *timings)
{
    size_t count = 0;
    for (size_t t = 0; t < timings->count; t++)
        count += timings->items[t].n_blocks;
    double *ghz = malloc((count + 1) * sizeof(*ghz)), median = NAN;
    if (!ghz || count == 0) {
        free(ghz);
        return NAN;
    }
    count = 0;
    for (size_t t = 0; t < timings->count; t++) {
        for (size_t b = 0; b < timings->items[t].n_blocks; b++)
            ghz[count++] = timings->items[t].blocks[b].chain_ghz;
    }
    sort_samples(ghz, count);
    median = quantile(ghz, count, 0.5);
    free(ghz);
    return median;
}

void bench_judge_noise(const struct timings *timings, struct bench_quality *quality)
{
    *quality = (struct bench_quality){.chain_ghz = median_clock(timings),
                                      .aa_spread = timings_aa_spread(timings)};
    for (size_t t = 0; t < timings->count; t++) {
        const struct timing *timing = &timings->items[t];
        for (size_t b = 0; b < timing->n_blocks; b++) {
            const struct timing_block *block = &timing->blocks[b];
            quality->samples += block->count;
            for (int i = 0; i < block->count; i++) {
                uint8_t by = block->disturbed[i];
                quality->disturbed += by != 0;
                quality->switched += (by & NOISE_SWITCHED) != 0;
                quality->slowed += (by & NOISE_SLOWED) != 0;
                quality->gated += (by & NOISE_GATED) != 0;
                quality->starved += (by & NOISE_STARVED) != 0;
            }
        }
    }
    quality->too_noisy = quality->aa_spread > BENCH_MAX_AA ||
                         quality->disturbed > BENCH_MAX_DISTURBED * quality->samples;
}
