/* SPDX-License-Identifier: MIT */
#include "harness/report_bench.h"

#include <math.h>

json_t *report_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *block_json(const struct timing_block *block)
{
    json_t *samples = json_array(), *disturbed = json_array();
    for (int i = 0; i < block->count; i++) {
        json_array_append_new(samples, report_number(block->ns[i]));
        if (block->disturbed[i])
            json_array_append_new(disturbed, json_integer(i));
    }
    return json_pack("{s:i, s:o, s:o, s:o}", "pass", block->pass, "chain_ghz",
                     report_number(block->chain_ghz), "ns", samples, "disturbed", disturbed);
}

static json_t *ceiling_json(const struct timing *timing)
{
    if (!timing->has_ceiling)
        return json_null();
    const struct binding *ceiling = &timing->ceiling;
    return json_pack("{s:s, s:s, s:o, s:o}", "name", ceiling->name, "kind", ceiling->kind, "ns",
                     report_number(ceiling->ns), "fraction",
                     report_number(ceiling->ns / timing->median));
}

json_t *report_timing(const struct timing *t)
{
    json_t *blocks = json_array(), *quantiles = json_array();
    for (size_t b = 0; b < t->n_blocks; b++)
        json_array_append_new(blocks, block_json(&t->blocks[b]));
    for (int q = 0; q < TIMING_QUANTILES; q++)
        json_array_append_new(quantiles, report_number(t->quantiles[q]));
    const struct assay_cost *cost = &t->cost;
    double bytes = cost->read_bytes + cost->written_bytes;
    return json_pack(
        "{s:s, s:s, s:s, s:i, s:b, s:i, s:o, s:i, s:i, s:b, s:o, s:[o, o], s:o, s:o, s:o, s:o, s:o,"
        " s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
        "case", t->result->item->key, "kernel", t->result->kernel->label, "mode",
        bench_mode_names[t->mode], "threads", t->threads, "aa", t->aa, "calls_per_sample", t->calls,
        "blocks", blocks, "samples", t->samples, "discarded", t->discarded, "noisy", t->noisy,
        "median_ns", report_number(t->median), "interval_ns", report_number(t->interval.low),
        report_number(t->interval.high), "interval_coverage", report_number(t->interval.coverage),
        "mad_ns", report_number(t->deviation), "quantiles_ns", quantiles, "minimum_ns",
        report_number(t->minimum), "prepare_ns", report_number(t->prepare_ns), "flop",
        report_number(cost->flop), "products", report_number(cost->products), "read_bytes",
        report_number(cost->read_bytes), "written_bytes", report_number(cost->written_bytes),
        "gflops", report_number(cost->flop / t->median), "gb_per_s",
        report_number(bytes / t->median), "plain_read_gb_per_s", report_number(t->plain_read),
        "ceiling", ceiling_json(t));
}

json_t *report_noise(const struct run *run)
{
    struct bench_quality quality;
    double steal = steal_share(run->start, run->end);
    bench_judge_noise(&run->timings, &quality);
    return json_pack("{s:o, s:o, s:i, s:i, s:i, s:i, s:i, s:i, s:o, s:o, s:b}", "chain_ghz_best",
                     report_number(run->noise.chain_ghz), "chain_ghz_median",
                     report_number(quality.chain_ghz), "samples", quality.samples, "disturbed",
                     quality.disturbed, "switched", quality.switched, "slowed", quality.slowed,
                     "gated", quality.gated, "starved", quality.starved, "steal_share",
                     report_number(steal < 0 ? NAN : steal), "aa_spread",
                     report_number(quality.aa_spread), "too_noisy", quality.too_noisy);
}
