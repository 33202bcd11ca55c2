/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>

#include "harness/report_parse.h"

#define RATE FIELD_REAL, .above = true, .nullable = true

static bool read_point(const struct site *site, json_t *item, void *into, void *context)
{
    static const struct field fields[] = {
        FIELD(struct report_point, bytes, FIELD_REAL, .above = true),
        FIELD(struct report_point, gb_per_s, RATE),
    };
    (void)context;
    return fields_read(site, item, FIELDS(fields), into);
}

static bool read_curve(const struct site *site, json_t *item, const char *key,
                       struct report_curve *curve)
{
    struct items items;
    bool good = fields_items(site, item, key, 0, sizeof(*curve->points), read_point, NULL, &items);
    *curve = (struct report_curve){items.data, items.count};
    return good;
}

static bool read_level(const struct site *site, json_t *item, void *into, void *context)
{
    static const struct field fields[] = {
        FIELD(struct report_level, threads, FIELD_FROM_TO(1, REPORT_MAX_THREADS)),
        FIELD(struct report_level, nt_store_gb_per_s, RATE),
        FIELD(struct report_level, fork_join_ns, RATE),
    };
    struct report_level *level = into;
    (void)context;
    return fields_read(site, item, FIELDS(fields), level) &&
           read_curve(site, item, "read", &level->read) &&
           read_curve(site, item, "store", &level->store) &&
           read_curve(site, item, "copy", &level->copy);
}

static bool read_peak(const struct site *site, json_t *item, void *into, void *context)
{
    static const struct field fields[] = {
        FIELD(struct report_peak, tier, .kind = FIELD_TEXT),
        FIELD(struct report_peak, threads, FIELD_FROM_TO(1, REPORT_MAX_THREADS)),
        FIELD(struct report_peak, f32_gflops, RATE),
        FIELD(struct report_peak, int8_gops, RATE),
    };
    (void)context;
    return fields_read(site, item, FIELDS(fields), into);
}

bool report_parse_ceilings(const struct site *site, const json_t *root, struct report *report)
{
    static const struct field fields[] = {FIELD(struct report_ceilings, call_ns, RATE)};
    struct report_ceilings *into = &report->ceilings;
    struct site at;
    const json_t *ceilings = field_member(site, root, "ceilings", &at);
    report->has_ceilings = ceilings && !json_is_null(ceilings);
    if (!report->has_ceilings)
        return ceilings != NULL;
    struct items items;
    if (!fields_read(&at, ceilings, FIELDS(fields), into))
        return false;
    bool good =
        fields_items(&at, ceilings, "threads", 0, sizeof(*into->levels), read_level, NULL, &items);
    into->levels = items.data;
    into->n_levels = items.count;
    if (!good)
        return false;
    good = fields_items(&at, ceilings, "peaks", 0, sizeof(*into->peaks), read_peak, NULL, &items);
    into->peaks = items.data;
    into->n_peaks = items.count;
    return good;
}

void report_free_ceilings(struct report_ceilings *ceilings)
{
    for (size_t i = 0; i < ceilings->n_levels; i++) {
        free(ceilings->levels[i].read.points);
        free(ceilings->levels[i].store.points);
        free(ceilings->levels[i].copy.points);
    }
    free(ceilings->levels);
    free(ceilings->peaks);
}
