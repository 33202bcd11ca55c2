/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/bench.h"
#include "harness/report_parse.h"

#define TIME FIELD_REAL, .above = true

static bool read_disturbed(const struct site *site, const json_t *item, struct report_block *block)
{
    static const struct field index = {"disturbed", FIELD_REAL};
    struct items items = {0};
    struct site at = site_key(site, "disturbed");
    bool good = fields_numbers(site, item, &index, 0, &items);
    const double *indices = items.data;
    for (size_t i = 0; good && i < items.count; i++) {
        if (indices[i] != floor(indices[i]) || indices[i] >= (double)block->count)
            good = refuse(&at, "%g is not the index of a sample", indices[i]);
        else if (block->disturbed[(size_t)indices[i]])
            good = refuse(&at, "%g is there twice", indices[i]);
        else
            block->disturbed[(size_t)indices[i]] = true;
    }
    free(items.data);
    return good;
}

static bool read_block(const struct site *site, json_t *item, void *into, void *context)
{
    static const struct field fields[] = {
        FIELD(struct report_block, pass, FIELD_COUNT),
        FIELD(struct report_block, chain_ghz, TIME, .nullable = true),
    };
    static const struct field ns = {"ns", TIME};
    struct report_block *block = into;
    struct items items;
    (void)context;
    bool good = fields_numbers(site, item, &ns, 1, &items);
    block->ns = items.data;
    block->count = items.count;
    block->disturbed = calloc(items.count + 1, sizeof(bool));
    if (good && !block->disturbed)
        return out_of_memory(site);
    return good && fields_read(site, item, FIELDS(fields), block) &&
           read_disturbed(site, item, block);
}

/* The array's items, as many as there are in `into`, ascending. */
static bool read_ascending(const struct site *site, const json_t *item, const char *key,
                           double *into, size_t count)
{
    const struct field field = {key, TIME};
    struct items items;
    bool good = fields_numbers(site, item, &field, 0, &items);
    struct site at = site_key(site, key);
    const double *values = items.data;
    if (good && items.count != count)
        good = refuse(&at, "must have %zu items, not %zu", count, items.count);
    for (size_t i = 1; good && i < count; i++) {
        if (values[i] < values[i - 1])
            good = refuse(&at, "must be ascending");
    }
    if (good)
        memcpy(into, values, count * sizeof(*into));
    free(items.data);
    return good;
}

static bool read_interval(const struct site *site, const json_t *item, struct interval *into)
{
    static const struct field coverage = {"interval_coverage", .kind = FIELD_NUMBER, .high = 1,
                                          .offset = offsetof(struct interval, coverage)};
    double ends[2];
    if (!read_ascending(site, item, "interval_ns", ends, 2))
        return false;
    into->low = ends[0];
    into->high = ends[1];
    return fields_read(site, item, &coverage, 1, into);
}

static bool read_ceiling(const struct site *site, const json_t *item, struct report_bound *into)
{
    static const char *const kinds[] = {"f32", "int8", "read", "store"};
    static const struct field fields[] = {
        FIELD(struct report_bound, name, .kind = FIELD_TEXT),
        FIELD(struct report_bound, kind, .kind = FIELD_TEXT),
        FIELD(struct report_bound, ns, FIELD_REAL),
        FIELD(struct report_bound, fraction, FIELD_REAL),
    };
    struct site at;
    const json_t *ceiling = field_member(site, item, "ceiling", &at);
    *into = (struct report_bound){.ns = NAN, .fraction = NAN};
    if (!ceiling || json_is_null(ceiling))
        return ceiling != NULL;
    if (!fields_read(&at, ceiling, FIELDS(fields), into))
        return false;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        if (strcmp(into->kind, kinds[i]) == 0)
            return true;
    }
    struct site kind = site_key(&at, "kind");
    return refuse_unknown(&kind, "kind of ceiling", into->kind, kinds,
                          sizeof(kinds) / sizeof(*kinds));
}

static bool read_mode(const struct site *site, const struct report_timing *timing)
{
    struct site at = site_key(site, "mode");
    return strcmp(timing->mode, bench_mode_names[HOT]) == 0 ||
           strcmp(timing->mode, bench_mode_names[COLD]) == 0 ||
           refuse_unknown(&at, "mode", timing->mode, bench_mode_names, 2);
}

/* Finds its result and claims its place. */
static bool place(const struct site *site, const json_t *item, struct report *report,
                  struct report_timing *timing)
{
    static const struct field fields[] = {{"case", .kind = FIELD_TEXT},
                                          {"kernel", .kind = FIELD_TEXT, .offset = sizeof(char *)}};
    const char *names[2];
    char arm[64];
    if (!fields_read(site, item, FIELDS(fields), names))
        return false;
    timing->result = report_find_result(report, names[0], names[1]);
    if (!timing->result)
        return refuse(site, "there is no result of kernel \"%.80s\" on case \"%.200s\"", names[1],
                      names[0]);
    snprintf(arm, sizeof(arm), "%s %d %d", timing->mode, (int)timing->threads, timing->aa);
    char *words = NULL;
    if (asprintf(&words, "%s %s", names[1], arm) < 0)
        return out_of_memory(site);
    bool good = report_index(site, report->index, (const char *[3]){"timing", names[0], words},
                             report->n_timings++, "timing");
    free(words);
    return good;
}

static bool read_timing(const struct site *site, json_t *item, void *into, void *context)
{
    static const struct field fields[] = {
        FIELD(struct report_timing, mode, .kind = FIELD_TEXT),
        FIELD(struct report_timing, threads, FIELD_FROM_TO(1, REPORT_MAX_THREADS)),
        FIELD(struct report_timing, aa, .kind = FIELD_BOOL),
        FIELD(struct report_timing, calls_per_sample, FIELD_COUNT, .low = 1),
        FIELD(struct report_timing, samples, FIELD_COUNT, .low = 1),
        FIELD(struct report_timing, discarded, FIELD_COUNT),
        FIELD(struct report_timing, noisy, .kind = FIELD_BOOL),
        FIELD(struct report_timing, median_ns, TIME),
        FIELD(struct report_timing, mad_ns, FIELD_REAL, .nullable = true),
        FIELD(struct report_timing, minimum_ns, TIME),
        FIELD(struct report_timing, prepare_ns, FIELD_REAL, .nullable = true),
        FIELD(struct report_timing, flop, FIELD_REAL, .nullable = true),
        FIELD(struct report_timing, products, FIELD_REAL, .nullable = true),
        FIELD(struct report_timing, read_bytes, FIELD_REAL, .nullable = true),
        FIELD(struct report_timing, written_bytes, FIELD_REAL, .nullable = true),
    };
    struct report_timing *timing = into;
    if (!fields_read(site, item, FIELDS(fields), timing) || !read_mode(site, timing) ||
        !place(site, item, context, timing))
        return false;
    struct items items;
    bool good =
        fields_items(site, item, "blocks", 1, sizeof(*timing->blocks), read_block, NULL, &items);
    timing->blocks = items.data;
    timing->n_blocks = items.count;
    return good && read_interval(site, item, &timing->interval) &&
           read_ascending(site, item, "quantiles_ns", timing->quantiles_ns, 4) &&
           read_ceiling(site, item, &timing->ceiling);
}

bool report_parse_timings(const struct site *site, const json_t *root, struct report *report)
{
    struct items items;
    bool good = fields_items(site, root, "timings", 0, sizeof(*report->timings), read_timing,
                             report, &items);
    report->timings = items.data;
    report->n_timings = items.count;
    return good;
}
