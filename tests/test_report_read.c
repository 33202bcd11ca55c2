/* SPDX-License-Identifier: MIT */
/* harness/report_read.h: all that a report holds, and every rule of one that is spoilt. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/report_read.h"
#include "tests/cunit_main.h"
#include "tests/tiny_report.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static char directory[] = "/tmp/assay-test-report-XXXXXX";
static char path[64];
static struct error error;

static int set_up(void)
{
    if (!mkdtemp(directory))
        return 1;
    snprintf(path, sizeof(path), "%s/a.json", directory);
    return 0;
}

static int clean_up(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -r '%s'", directory);
    return system(command);
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "wb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_TRUE_FATAL(fputs(text, file) >= 0);
    CU_ASSERT_EQUAL_FATAL(fclose(file), 0);
}

/* The report with the first `from` as `to`. */
static char *spoilt(const char *from, const char *to)
{
    const char *at = strstr(tiny_report, from);
    char *text = NULL;
    CU_ASSERT_PTR_NOT_NULL_FATAL(at);
    CU_ASSERT_TRUE_FATAL(asprintf(&text, "%.*s%s%s", (int)(at - tiny_report), tiny_report, to,
                                  at + strlen(from)) > 0);
    return text;
}

/* ---- what is read ---- */

static void check_context(const struct report *report)
{
    const struct report_context *c = &report->context;
    CU_ASSERT_STRING_EQUAL(report->command, "assay bench");
    CU_ASSERT_EQUAL(report->elapsed_seconds, 1.5);
    CU_ASSERT_TRUE(report->complete);
    CU_ASSERT_STRING_EQUAL(c->cpu, "CPU");
    CU_ASSERT_STRING_EQUAL(c->machine, "Linux 6.1 x86_64");
    CU_ASSERT_STRING_EQUAL(c->features, "avx2 fma");
    CU_ASSERT_STRING_EQUAL(c->time, "2026-11-25T03:00:00Z");
    CU_ASSERT_STRING_EQUAL(c->commit, "0123abc");
    CU_ASSERT_STRING_EQUAL(c->compiler, "GNU 12.2.0");
    CU_ASSERT_STRING_EQUAL(c->flags, "-O3");
    CU_ASSERT_PTR_NULL(c->governor);
    CU_ASSERT_EQUAL(c->cpus, 2);
    CU_ASSERT_EQUAL(c->l1d_bytes, 32768);
    CU_ASSERT_EQUAL(c->l2_bytes, 1048576);
    CU_ASSERT_EQUAL(c->llc_bytes, 0);
    CU_ASSERT_EQUAL(c->memory_bytes, 8589934592);
    CU_ASSERT_EQUAL(c->load, 0.25);
    CU_ASSERT_TRUE(isnan(c->steal_share));
}

static void check_machine(const struct report *report)
{
    const struct report_ceilings *c = &report->ceilings;
    const struct report_noise *n = &report->noise;
    CU_ASSERT_TRUE(report->has_ceilings && report->has_noise);
    CU_ASSERT_EQUAL(c->call_ns, 1.9);
    CU_ASSERT_EQUAL_FATAL(c->n_levels, 1);
    CU_ASSERT_EQUAL(c->levels[0].threads, 1);
    CU_ASSERT_EQUAL_FATAL(c->levels[0].read.count, 2);
    CU_ASSERT_EQUAL(c->levels[0].read.points[0].gb_per_s, 200.5);
    CU_ASSERT_EQUAL(c->levels[0].read.points[1].bytes, 1e8);
    CU_ASSERT_EQUAL(c->levels[0].store.count, 0);
    CU_ASSERT_EQUAL_FATAL(c->levels[0].copy.count, 1);
    CU_ASSERT_TRUE(isnan(c->levels[0].copy.points[0].gb_per_s));
    CU_ASSERT_EQUAL(c->levels[0].nt_store_gb_per_s, 14);
    CU_ASSERT_TRUE(isnan(c->levels[0].fork_join_ns));
    CU_ASSERT_EQUAL_FATAL(c->n_peaks, 1);
    CU_ASSERT_STRING_EQUAL(c->peaks[0].tier, "avx2");
    CU_ASSERT_EQUAL(c->peaks[0].threads, 1);
    CU_ASSERT_EQUAL(c->peaks[0].f32_gflops, 112);
    CU_ASSERT_TRUE(isnan(c->peaks[0].int8_gops));
    CU_ASSERT_EQUAL(n->chain_ghz_best, 3.5);
    CU_ASSERT_EQUAL(n->chain_ghz_median, 3.25);
    CU_ASSERT_TRUE(n->samples == 60 && n->disturbed == 4);
    CU_ASSERT_TRUE(n->switched == 1 && n->slowed == 2 && n->gated == 1);
    CU_ASSERT_EQUAL(n->steal_share, 0.001);
    CU_ASSERT_EQUAL(n->aa_spread, 0.004);
    CU_ASSERT_FALSE(n->too_noisy);
}

static void check_results(const struct report *report)
{
    CU_ASSERT_EQUAL_FATAL(report->n_cases, 1);
    const struct report_case *item = &report->cases[0];
    CU_ASSERT_STRING_EQUAL(item->key, TINY_KEY);
    CU_ASSERT_STRING_EQUAL(item->name, "tiny");
    CU_ASSERT_STRING_EQUAL(item->op, "op_a");
    CU_ASSERT_PTR_NULL(item->source);
    CU_ASSERT_EQUAL(item->seed, 1);
    CU_ASSERT_EQUAL_FATAL(item->n_dims, 2);
    CU_ASSERT_STRING_EQUAL(item->shape[0].name, "n");
    CU_ASSERT_TRUE(item->shape[0].size == 17 && item->shape[1].size == 256);
    CU_ASSERT_EQUAL_FATAL(report->n_results, 2);
    const struct report_result *ref = &report->results[0], *fast = &report->results[1];
    CU_ASSERT_TRUE(ref->item == item && fast->item == item);
    CU_ASSERT_STRING_EQUAL(ref->kernel, "op_a/ref");
    CU_ASSERT_STRING_EQUAL(ref->library, "assay");
    CU_ASSERT_STRING_EQUAL(fast->tier, "avx2");
    CU_ASSERT_STRING_EQUAL(fast->numerics, "i8");
    CU_ASSERT_TRUE(ref->verdict == PASS && fast->verdict == CRASHED);
    CU_ASSERT_PTR_NULL(ref->reason);
    CU_ASSERT_STRING_EQUAL(fast->reason, "it?crashed");
    CU_ASSERT_STRING_EQUAL(fast->explanation, "there");
    CU_ASSERT_TRUE(ref->output_hash == 255 && fast->output_hash == 0);
    CU_ASSERT_TRUE(ref->judged == 17 && ref->bad == 0 && ref->excused == 0);
    CU_ASSERT_TRUE(ref->utilisation == 0.5 && ref->utilisation_p99 == 0.4);
    CU_ASSERT_TRUE(ref->utilisation_median == 0.1 && ref->nmse == 1e-15);
    CU_ASSERT_TRUE(ref->max_ulp == 3 && ref->z_mean == -0.5);
    CU_ASSERT_TRUE(isnan(ref->z_mean_square) && isnan(fast->nmse) && isnan(fast->utilisation));
    CU_ASSERT_TRUE(ref->has_histogram && !fast->has_histogram);
    CU_ASSERT_TRUE(ref->histogram[0] == 9 && ref->histogram[1] == 8 && ref->histogram[10] == 0);
    CU_ASSERT_PTR_EQUAL(report_find_result(report, TINY_KEY, "op_a/fast"), fast);
    CU_ASSERT_PTR_NULL(report_find_result(report, TINY_KEY, "op_a"));
}

static void check_timings(const struct report *report)
{
    CU_ASSERT_EQUAL_FATAL(report->n_timings, 2);
    const struct report_timing *t = &report->timings[0], *again = &report->timings[1];
    CU_ASSERT_TRUE(t->result == &report->results[0] && again->result == t->result);
    CU_ASSERT_STRING_EQUAL(t->mode, "hot");
    CU_ASSERT_TRUE(t->threads == 2 && t->calls_per_sample == 12 && !t->aa && again->aa);
    CU_ASSERT_EQUAL_FATAL(t->n_blocks, 3);
    CU_ASSERT_TRUE(t->blocks[0].pass == 0 && t->blocks[1].pass == 1);
    CU_ASSERT_TRUE(t->blocks[0].chain_ghz == 3.5 && isnan(t->blocks[1].chain_ghz));
    CU_ASSERT_EQUAL_FATAL(t->blocks[0].count, 3);
    CU_ASSERT_EQUAL(t->blocks[0].ns[1], 101.5);
    CU_ASSERT_TRUE(!t->blocks[0].disturbed[0] && t->blocks[0].disturbed[1]);
    CU_ASSERT_TRUE(!t->blocks[1].disturbed[0] && again->blocks[0].disturbed[0]);
    CU_ASSERT_TRUE(t->samples == 5 && t->discarded == 1 && !t->noisy && again->noisy);
    CU_ASSERT_TRUE(t->median_ns == 100 && t->mad_ns == 0 && t->minimum_ns == 99);
    CU_ASSERT_TRUE(isnan(t->prepare_ns) && again->prepare_ns == 5);
    CU_ASSERT_TRUE(t->interval.low == 99 && t->interval.high == 100 &&
                   t->interval.coverage == 0.95);
    CU_ASSERT_TRUE(t->quantiles_ns[0] == 99 && t->quantiles_ns[3] == 100);
    CU_ASSERT_TRUE(t->flop == 8704 && t->products == 4352);
    CU_ASSERT_TRUE(t->read_bytes == 2448 && t->written_bytes == 68);
    CU_ASSERT_STRING_EQUAL(t->ceiling.name, "int8 dot, avx2");
    CU_ASSERT_STRING_EQUAL(t->ceiling.kind, "int8");
    CU_ASSERT_TRUE(t->ceiling.ns == 80 && t->ceiling.fraction == 0.8);
    CU_ASSERT_TRUE(!again->ceiling.name && isnan(again->ceiling.ns));
}

static void test_whole(void)
{
    struct reports reports = {0};
    write_file(path, tiny_report);
    bool good = reports_add(&reports, path, &error);
    if (!good)
        printf("\n%s\n", error.text);
    CU_ASSERT_TRUE_FATAL(good);
    CU_ASSERT_EQUAL(reports.count, 1);
    CU_ASSERT_STRING_EQUAL(reports.items[0].path, path);
    check_context(&reports.items[0]);
    check_machine(&reports.items[0]);
    check_results(&reports.items[0]);
    check_timings(&reports.items[0]);
    reports_free(&reports);
}

/* Members that a later writer may add, and what may be null. */
static void test_tolerated(void)
{
    static const char *const changes[][2] = {
        {"\"complete\"", "\"new\": [{}], \"complete\""},
        {"\"cpu\"", "\"sockets\": 1, \"cpu\""},
        {"\"judged\"", "\"new\": null, \"judged\""},
        {"\"chain_ghz\"", "\"new\": null, \"chain_ghz\""},
        {"\"call_ns\"", "\"new\": null, \"call_ns\""},
        {"\"call_ns\": 1.9", "\"call_ns\": null"},
        {"\"load_1min\": 0.25", "\"load_1min\": null"},
        {"\"aa_spread\": 0.004", "\"aa_spread\": null"},
        {"\"complete\": true", "\"complete\": false"},
        {"[9, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0]", "null"},
        {"\"cpu\": \"CPU\"", "\"cpu\": \"\""},
    };
    for (size_t i = 0; i < COUNT(changes); i++) {
        struct reports reports = {0};
        char *text = spoilt(changes[i][0], changes[i][1]);
        write_file(path, text);
        bool good = reports_add(&reports, path, &error);
        if (!good)
            printf("\n  %s: %s\n", changes[i][1], error.text);
        CU_ASSERT_TRUE(good);
        reports_free(&reports);
        free(text);
    }
}

static void test_null_parts(void)
{
    static const char *const parts[][2] = {{"\"ceilings\": {", "\"noise\""},
                                           {"\"noise\": {", "\"cases\""}};
    for (size_t i = 0; i < COUNT(parts); i++) {
        struct reports reports = {0};
        const char *from = strstr(tiny_report, parts[i][0]), *to = strstr(from, parts[i][1]);
        char name[16], *text = NULL;
        snprintf(name, sizeof(name), "%.*s", (int)strcspn(from + 1, "\""), from + 1);
        CU_ASSERT_TRUE_FATAL(asprintf(&text, "%.*s\"%s\": null, %s", (int)(from - tiny_report),
                                      tiny_report, name, to) > 0);
        write_file(path, text);
        CU_ASSERT_TRUE_FATAL(reports_add(&reports, path, &error));
        CU_ASSERT_EQUAL(reports.items[0].has_ceilings, i != 0);
        CU_ASSERT_EQUAL(reports.items[0].has_noise, i != 1);
        reports_free(&reports);
        free(text);
    }
}

/* ---- what is refused ---- */

static const struct fault {
    const char *from, *to, *message;
} faults[] = {
    {"\"assay_report\": 2", "\"assay_report\": 1",
     "assay_report: is version 1, and this assay reads version 2: measure again"},
    {"\"assay_report\": 2", "\"assay_report\": 3",
     "assay_report: is version 3, and this assay reads version 2: a newer assay wrote it"},
    {"\"assay_report\": 2", "\"assay_report\": \"2\"",
     "assay_report: must be an integer, not a string"},
    {"\"assay_report\"", "\"report\"", "is not a report: it has no \"assay_report\""},
    {"\"complete\": true, ", "", "\"complete\" is missing"},
    {"\"complete\": true", "\"complete\": 1", "complete: must be true or false, not a number"},
    {"\"complete\": true", "\"complete\": null", "complete: must be true or false, not null"},
    {"\"command\": \"assay bench\"", "\"command\": null", "command: must be a string, not null"},
    {"\"cpu\": \"CPU\"", "\"cpu\": 5", "context.cpu: must be a string, not a number"},
    {"\"cpus\": 2", "\"cpus\": 0", "context.cpus: must be 1 to 65536, not 0"},
    {"\"cpus\": 2", "\"cpus\": 2.5", "context.cpus: must be an integer, not a real number"},
    {"\"l1d_bytes\": 32768", "\"l1d_bytes\": -1",
     "context.l1d_bytes: must be 0 to 9007199254740992, not -1"},
    {"\"build\": {", "\"build\": [], \"x\": {", "context.build: must be an object, not an array"},
    {"\"commit\": \"0123abc\", ", "", "context.build: \"commit\" is missing"},
    {"\"noise\": {", "\"noise\": 3, \"x\": {", "noise: must be an object, not a number"},
    {"\"aa_spread\": 0.004", "\"aa_spread\": -0.004",
     "noise.aa_spread: must be at least 0, not -0.004"},
    {"\"ceilings\"", "\"ceiling\"", "\"ceilings\" is missing"},
    {"\"read\": [{\"bytes\": 16384", "\"read\": [{\"bytes\": 0",
     "ceilings.threads[0].read[0].bytes: must be above 0, not 0"},
    {"\"gb_per_s\": 20}", "\"gb_per_s\": true}",
     "ceilings.threads[0].read[1].gb_per_s: must be a number, not true"},
    {"\"tier\": \"avx2\", \"threads\": 1", "\"tier\": \"\", \"threads\": 1",
     "ceilings.peaks[0].tier: must have 1 to 4096 bytes, not 0"},
    {"\"cases\": [", "\"cases\": {}, \"x\": [", "cases: must be an array, not an object"},
    {"\"key\": \"op_a", "\"key\": \"\\u001b[31mop_a", "cases[0].key: has a control character"},
    {"{\"n\": 17", "{\"n\": \"17\"", "cases[0].shape.n: must be an integer, not a string"},
    {"\"source\": null, \"seed\": 1", "\"source\": null, \"seed\": -1",
     "cases[0].seed: must be 0 to 9007199254740992, not -1"},
    {"\"seed\": 1}]",
     "\"seed\": 1}, {\"key\": \"" TINY_KEY
     "\", \"name\": \"b\", \"op\": \"b\", \"shape\": {}, \"source\": null, \"seed\": 1}]",
     "cases[1]: is the same case as number 0"},
    {"\"results\": [{\"case\": \"op_a", "\"results\": [{\"case\": \"op_b",
     "results[0]: no case has the key \"op_b n=17 k=256 fill=model seed=1\""},
    {"\"kernel\": \"op_a/fast\"", "\"kernel\": \"op_a/ref\"",
     "results[1]: is the same case and kernel as number 0"},
    {"\"PASS\"", "\"GOOD\"",
     "results[0].verdict: unknown verdict \"GOOD\", known: PASS, FAIL, CRASHED, TIMEOUT, "
     "MISTRUSTED, SKIPPED"},
    {"00000000000000ff", "0x000000000000ff",
     "results[0].output_hash: must be 16 hexadecimal digits"},
    {"\"00000000000000ff\"", "255", "results[0].output_hash: must be 16 hexadecimal digits"},
    {"[9, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0]", "[9, 8]",
     "results[0].judgement.utilisation_histogram: must be an array of 11 counts"},
    {"[9, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0]", "[9, 8, 0, 0, 0, 0, 0, 0, 0, 0, -1]",
     "results[0].judgement.utilisation_histogram[10]: must be 0 to 9007199254740992, not -1"},
    {"\"nmse\": 1e-15", "\"nmse\": \"NaN\"",
     "results[0].judgement.nmse: must be a number, not a string"},
    {"\"timings\": [{\"case\": \"op_a", "\"timings\": [{\"case\": \"op_b",
     "timings[0]: there is no result of kernel \"op_a/ref\" on case "
     "\"op_b n=17 k=256 fill=model seed=1\""},
    {"\"hot\"", "\"warm\"", "timings[0].mode: unknown mode \"warm\", known: hot, cold"},
    {"\"aa\": true", "\"aa\": false", "timings[1]: is the same timing as number 0"},
    {"\"threads\": 2, \"aa\"", "\"threads\": 0, \"aa\"",
     "timings[0].threads: must be 1 to 65536, not 0"},
    {"[100, 101.5, 99]", "[]", "timings[0].blocks[0].ns: must have 1 or more items, not 0"},
    {"[100, 101.5, 99]", "[100, 0, 99]", "timings[0].blocks[0].ns[1]: must be above 0, not 0"},
    {"[100, 101.5, 99]", "[100, null, 99]",
     "timings[0].blocks[0].ns[1]: must be a number, not null"},
    {"\"disturbed\": [1]", "\"disturbed\": [3]",
     "timings[0].blocks[0].disturbed: 3 is not the index of a sample"},
    {"\"disturbed\": [1]", "\"disturbed\": [-1]",
     "timings[0].blocks[0].disturbed[0]: must be at least 0, not -1"},
    {"\"disturbed\": [1]", "\"disturbed\": [1, 1]",
     "timings[0].blocks[0].disturbed: 1 is there twice"},
    {"\"median_ns\": 100", "\"median_ns\": null",
     "timings[0].median_ns: must be a number, not null"},
    {"[99, 100], ", "[100, 99], ", "timings[0].interval_ns: must be ascending"},
    {"[99, 100], ", "[99, 100, 101], ", "timings[0].interval_ns: must have 2 items, not 3"},
    {"\"interval_coverage\": 0.95", "\"interval_coverage\": 95",
     "timings[0].interval_coverage: must be 0 to 1, not 95"},
    {"[99, 99.5, 100, 100]", "[99]", "timings[0].quantiles_ns: must have 4 items, not 1"},
    {"\"kind\": \"int8\"", "\"kind\": \"int4\"",
     "timings[0].ceiling.kind: unknown kind of ceiling \"int4\", known: f32, int8, read, store"},
    {"\"blocks\": [{", "\"blocks\": [], \"x\": [{",
     "timings[0].blocks: must have 1 or more items, not 0"},
    {"\"blocks\": [{", "\"blocks\": [7, {",
     "timings[0].blocks[0]: must be an object, not a number"},
};

static void refuses(const char *text, const char *message)
{
    struct reports reports = {0};
    char whole[512];
    write_file(path, text);
    snprintf(whole, sizeof(whole), "%s: %s", path, message);
    CU_ASSERT_FALSE(reports_add(&reports, path, &error));
    if (strcmp(error.text, whole) != 0)
        printf("\n  wanted: %s\n  got:    %s\n", whole, error.text);
    CU_ASSERT_STRING_EQUAL(error.text, whole);
    CU_ASSERT_EQUAL(reports.count, 0);
    reports_free(&reports);
}

static void test_faults(void)
{
    for (size_t i = 0; i < COUNT(faults); i++) {
        char *text = spoilt(faults[i].from, faults[i].to);
        refuses(text, faults[i].message);
        free(text);
    }
    refuses("[]", "must be an object, not an array");
    refuses("", "is empty");
    CU_ASSERT_PTR_NOT_NULL(strstr(error.text, path));
}

/* Cut anywhere: one line that names the file. */
static void test_truncated(void)
{
    for (size_t size = 0; size + 2 < sizeof(tiny_report); size += 7) {
        struct reports reports = {0};
        char *text = strndup(tiny_report, size);
        write_file(path, text);
        CU_ASSERT_FALSE(reports_add(&reports, path, &error));
        CU_ASSERT_PTR_EQUAL(strstr(error.text, path), error.text);
        reports_free(&reports);
        free(text);
    }
}

/* Each of them renamed. */
static void test_missing_members(void)
{
    /* A timing's rates follow from the rest; a shape's dimensions have any names. */
    static const char *const optional[] = {"where", "utilisation_histogram", "gflops", "n", "k"};
    size_t members = 0;
    for (const char *at = tiny_report; (at = strstr(at, "\": ")); at++) {
        const char *start = at;
        while (start[-1] != '"')
            start--;
        char name[64], *text = NULL;
        snprintf(name, sizeof(name), "%.*s", (int)(at - start), start);
        bool of_timing = start > strstr(tiny_report, "\"timings\"");
        bool needed = strcmp(name, "gb_per_s") != 0 || !of_timing;
        for (size_t i = 0; i < COUNT(optional); i++)
            needed = needed && strcmp(name, optional[i]) != 0;
        struct reports reports = {0};
        CU_ASSERT_TRUE_FATAL(
            asprintf(&text, "%.*s_%s", (int)(start - tiny_report), tiny_report, start) > 0);
        write_file(path, text);
        bool read = reports_add(&reports, path, &error);
        if (read == needed)
            printf("\n  without %s at %td\n", name, start - tiny_report);
        CU_ASSERT_EQUAL(read, !needed);
        members++;
        reports_free(&reports);
        free(text);
    }
    CU_ASSERT_TRUE(members > 120);
}

/* ---- sets ---- */

static void test_sets(void)
{
    char other[64], hidden[80], both[160], folder[64];
    struct reports reports = {0};
    snprintf(other, sizeof(other), "%s/b.json", directory);
    snprintf(hidden, sizeof(hidden), "%s/.hidden.json", directory);
    snprintf(folder, sizeof(folder), "%s/", directory);
    write_file(path, tiny_report);
    write_file(other, tiny_report);
    write_file(hidden, "no report");
    CU_ASSERT_TRUE(reports_add_list(&reports, directory, &error));
    CU_ASSERT_EQUAL_FATAL(reports.count, 2);
    CU_ASSERT_STRING_EQUAL(reports.items[0].path, path);
    CU_ASSERT_STRING_EQUAL(reports.items[1].path, other);
    CU_ASSERT_FALSE(reports_add(&reports, other, &error));
    CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "is there twice"));
    CU_ASSERT_EQUAL(reports.count, 2);
    reports_free(&reports);

    snprintf(both, sizeof(both), "%s,%s", other, path);
    CU_ASSERT_TRUE(reports_add_list(&reports, both, &error));
    CU_ASSERT_EQUAL_FATAL(reports.count, 2);
    CU_ASSERT_STRING_EQUAL(reports.items[0].path, other);
    reports_free(&reports);
    CU_ASSERT_TRUE(reports_add(&reports, folder, &error));
    CU_ASSERT_EQUAL(reports.count, 2);
    reports_free(&reports);

    snprintf(both, sizeof(both), "%s,", path);
    CU_ASSERT_FALSE(reports_add_list(&reports, both, &error));
    CU_ASSERT_STRING_EQUAL(error.text, "the path of a report is empty");
    reports_free(&reports);
    CU_ASSERT_FALSE(reports_add_list(&reports, "/nosuch.json", &error));
    CU_ASSERT_STRING_EQUAL(error.text, "/nosuch.json: cannot be read: No such file or directory");
    write_file(other, "{}");
    CU_ASSERT_FALSE(reports_add(&reports, directory, &error));
    CU_ASSERT_PTR_EQUAL(strstr(error.text, other), error.text);
    reports_free(&reports);
    unlink(path);
    unlink(other);
    CU_ASSERT_FALSE(reports_add(&reports, directory, &error));
    CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "there is no *.json file in it"));
    reports_free(&reports);
}

static CU_TestInfo tests[] = {
    {"whole", test_whole},
    {"tolerated", test_tolerated},
    {"null parts", test_null_parts},
    {"faults", test_faults},
    {"truncated", test_truncated},
    {"missing members", test_missing_members},
    {"sets", test_sets},
    CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
    {"reading reports", set_up, clean_up, NULL, NULL, tests},
    CU_SUITE_INFO_NULL,
};

int main(void)
{
    return cunit_main(suites);
}
