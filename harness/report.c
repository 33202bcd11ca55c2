/* SPDX-License-Identifier: MIT */
#include "harness/report.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/case_parse.h"
#include "harness/output.h"
#include "harness/report_bench.h"

/* Unknown where it is 0. */
static json_t *known(int64_t value)
{
    return value ? json_integer(value) : json_null();
}

static json_t *context_json(const struct run *run)
{
    const struct context *c = &run->context;
    double steal = steal_share(run->start, run->end);
    return json_pack(
        "{s:s, s:s, s:i, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:{s:s, s:s, s:s}}", "cpu",
        c->cpu, "machine", c->machine, "cpus", c->cpus, "features", c->features, "l1d_bytes",
        known(c->l1d_bytes), "l2_bytes", known(c->l2_bytes), "llc_bytes", known(c->llc_bytes),
        "memory_bytes", known(c->memory_bytes), "governor",
        c->governor[0] ? json_string(c->governor) : json_null(), "load_1min",
        report_number(c->load < 0 ? NAN : c->load), "steal_share",
        report_number(steal < 0 ? NAN : steal), "time", c->time, "build", "commit", build_commit,
        "compiler", build_compiler, "flags", build_flags);
}

static json_t *case_json(const struct assay_case *item, const struct coverage *coverage)
{
    json_t *judged = NULL;
    if (coverage->judged) {
        judged = json_array();
        for (int64_t i = 0; i < coverage->n_judged; i++)
            json_array_append_new(judged, json_integer(coverage->judged[i]));
    }
    json_t *margins = item->op->margins ? json_array() : json_null();
    for (int i = 0; i < ASSAY_MARGIN_BINS; i++)
        json_array_append_new(margins, json_integer(coverage->margins[i]));
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:s?, s:I, s:o, s:{s:I, s:I, s:o}}", "key",
                     item->key, "name", item->name, "where", item->where, "op", item->op->name,
                     "shape", case_shape_json(item), "source", item->source, "seed",
                     (json_int_t)item->seed, "margins", margins, "coverage", "columns",
                     (json_int_t)coverage->columns, "judged_columns",
                     (json_int_t)coverage->n_judged, "which", judged ? judged : json_string("all"));
}

static json_t *worst_json(const struct worst *worst)
{
    if (!worst->tensor)
        return json_null();
    return json_pack("{s:s, s:I, s:I, s:o, s:o, s:o}", "tensor", worst->tensor, "row",
                     (json_int_t)worst->row, "column", (json_int_t)worst->column, "got",
                     report_number(worst->got), "expected", report_number(worst->expected),
                     "tolerance", report_number(worst->tolerance));
}

/* Null where nothing has a tolerance. */
static json_t *histogram_json(const struct judgement *j)
{
    json_t *bins = json_array();
    int64_t count = 0;
    for (int i = 0; i < JUDGE_BINS; i++) {
        count += j->histogram[i];
        json_array_append_new(bins, json_integer(j->histogram[i]));
    }
    if (count > 0)
        return bins;
    json_decref(bins);
    return json_null();
}

static json_t *judgement_json(const struct judgement *j)
{
    return json_pack("{s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:o}",
                     "judged", (json_int_t)j->judged, "excused", (json_int_t)j->excused, "bad",
                     (json_int_t)j->bad, "utilisation_max", report_number(j->utilisation),
                     "utilisation_p99", report_number(j->utilisation_p99), "utilisation_median",
                     report_number(j->utilisation_median), "utilisation_histogram",
                     histogram_json(j), "nmse", report_number(j->nmse), "max_ulp",
                     report_number(j->max_ulp), "z_mean_square", report_number(j->z_mean_square),
                     "z_mean", report_number(j->z_mean), "z_max", report_number(j->z_max),
                     "tie_swaps", (json_int_t)j->tie_swaps, "worst", worst_json(&j->worst));
}

/* The names of what found fault. */
static json_t *layers_json(uint32_t layers)
{
    json_t *names = json_array();
    for (int layer = 0; layer < LAYERS; layer++) {
        if (layers >> layer & 1)
            json_array_append_new(names, json_string(layer_names[layer]));
    }
    return names;
}

static json_t *result_json(const struct result *result)
{
    char hash[17];
    snprintf(hash, sizeof(hash), "%016llx", (unsigned long long)result->output_hash);
    const struct assay_kernel *abi = result->kernel->abi;
    const char *reason = result->judgement.reason;
    const char *explanation = result->judgement.explanation;
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:s?, s:s, s:o}", "case",
                     result->item->key, "kernel", result->kernel->label, "library",
                     result->kernel->library, "tier", abi->tier, "numerics",
                     assay_numerics_names[abi->numerics], "verdict", verdict_names[result->verdict],
                     "reason", reason[0] ? json_string(reason) : json_null(), "explanation",
                     explanation[0] ? json_string(explanation) : json_null(), "layers",
                     layers_json(result->judgement.layers), "smallest_failing", result->smallest,
                     "output_hash", hash, "judgement", judgement_json(&result->judgement));
}

static json_t *run_json(const struct run *run)
{
    json_t *cases = json_array(), *results = json_array(), *timings = json_array();
    for (size_t i = 0; i < run->cases.count; i++)
        json_array_append_new(cases, case_json(&run->cases.items[i], &run->coverage[i]));
    for (size_t i = 0; i < run->n_results; i++)
        json_array_append_new(results, result_json(&run->results[i]));
    for (size_t i = 0; i < run->timings.count; i++)
        json_array_append_new(timings, report_timing(&run->timings.items[i]));
    return json_pack("{s:i, s:b, s:s, s:o, s:f, s:o, s:o, s:o, s:o, s:o}", "assay_report",
                     REPORT_VERSION, "complete", run->complete, "command", run->command, "context",
                     context_json(run), "elapsed_seconds", run->elapsed_seconds, "ceilings",
                     run->has_ceilings ? ceilings_json(&run->ceilings) : json_null(), "noise",
                     run->timings.count > 0 ? report_noise(run) : json_null(), "cases", cases,
                     "results", results, "timings", timings);
}

/* Whether a file may be replaced: it is a report, or empty. */
static bool is_report(const char *path)
{
    char start[64] = {0};
    FILE *file = fopen(path, "r");
    if (!file)
        return false;
    size_t count = fread(start, 1, sizeof(start) - 1, file);
    fclose(file);
    return count == 0 || strstr(start, "\"assay_report\"") != NULL;
}

static bool open_report(struct output *output, const char *path, struct error *error)
{
    struct stat status;
    bool there = stat(path, &status) == 0;
    if (!path[0])
        return fail(error, "the report's path is empty");
    if (there && !S_ISREG(status.st_mode))
        return fail(error, "%s: is not a regular file", path);
    if (there && !is_report(path))
        return fail(error, "%s: exists and is not a report", path);
    return output_open(output, path, error);
}

bool report_writable(const char *path, struct error *error)
{
    struct output output;
    if (!open_report(&output, path, error))
        return false;
    output_drop(&output);
    return true;
}

bool report_write(const struct run *run, const char *path, struct error *error)
{
    struct output output;
    json_t *json = run_json(run);
    if (!json)
        return fail(error, "%s: out of memory", path);
    bool written = open_report(&output, path, error);
    if (written)
        written = output_close(
            &output,
            json_dumpfd(json, output.fd, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) == 0 &&
                write(output.fd, "\n", 1) == 1,
            error);
    json_decref(json);
    return written;
}
