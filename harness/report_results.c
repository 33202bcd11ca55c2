/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/report_parse.h"

/* ---- what is there ---- */

/* Words that others are found by have no control characters, so a newline keeps them apart. */
static char *join(const char *const words[3])
{
    char *name = NULL;
    const char *last = words[2] ? words[2] : "";
    return asprintf(&name, "%s\n%s\n%s", words[0], words[1], last) < 0 ? NULL : name;
}

bool report_index(const struct site *site, json_t *names, const char *const words[3], size_t index,
                  const char *what)
{
    char *name = join(words);
    const json_t *earlier = name ? json_object_get(names, name) : NULL;
    bool good =
        name && (earlier || json_object_set_new(names, name, json_integer((json_int_t)index)) == 0);
    free(name);
    if (!good)
        return out_of_memory(site);
    return !earlier || refuse(site, "is the same %s as number %lld", what,
                              (long long)json_integer_value(earlier));
}

int64_t report_index_of(const json_t *names, const char *const words[3])
{
    char *name = join(words);
    const json_t *index = name ? json_object_get(names, name) : NULL;
    free(name);
    return index ? json_integer_value(index) : -1;
}

/* ---- cases ---- */

static bool read_shape(const struct site *site, json_t *item, struct report_case *into)
{
    struct site at;
    json_t *shape = field_member(site, item, "shape", &at);
    if (!shape)
        return false;
    if (!json_is_object(shape))
        return refuse_type(&at, "an object", shape);
    into->shape = calloc(json_object_size(shape) + 1, sizeof(*into->shape));
    if (!into->shape)
        return out_of_memory(&at);
    for (void *i = json_object_iter(shape); i; i = json_object_iter_next(shape, i)) {
        struct report_dim *dim = &into->shape[into->n_dims++];
        dim->name = json_object_iter_key(i);
        struct site size = site_key(&at, dim->name);
        if (!read_integer(&size, json_object_iter_value(i), &dim->size))
            return false;
    }
    return true;
}

static bool read_case(const struct site *site, json_t *item, void *into, void *context)
{
    static const struct field fields[] = {
        FIELD(struct report_case, key, .kind = FIELD_TEXT),
        FIELD(struct report_case, name, .kind = FIELD_PROSE),
        FIELD(struct report_case, op, .kind = FIELD_TEXT),
        FIELD(struct report_case, source, .kind = FIELD_PROSE, .nullable = true),
        FIELD(struct report_case, seed, FIELD_COUNT),
    };
    struct report *report = context;
    struct report_case *entry = into;
    return fields_read(site, item, FIELDS(fields), entry) && read_shape(site, item, entry) &&
           report_index(site, report->index, (const char *[3]){"case", entry->key},
                        report->n_cases++, "case");
}

/* ---- results ---- */

static bool read_verdict(const struct site *site, const json_t *item, struct report_result *into)
{
    struct site at;
    const json_t *name = field_member(site, item, "verdict", &at);
    if (!name)
        return false;
    if (!json_is_string(name))
        return refuse_type(&at, "a string", name);
    for (int v = 0; v < VERDICTS; v++) {
        if (strcmp(json_string_value(name), verdict_names[v]) == 0) {
            into->verdict = (enum verdict)v;
            return true;
        }
    }
    return refuse_unknown(&at, "verdict", json_string_value(name), verdict_names, VERDICTS);
}

static bool read_hash(const struct site *site, const json_t *item, struct report_result *into)
{
    struct site at;
    const json_t *hash = field_member(site, item, "output_hash", &at);
    if (!hash)
        return false;
    const char *digits = json_string_value(hash);
    if (!digits || strlen(digits) != 16 || digits[strspn(digits, "0123456789abcdef")])
        return refuse(&at, "must be 16 hexadecimal digits");
    into->output_hash = strtoull(digits, NULL, 16);
    return true;
}

/* A report without it, or with null, has none. */
static bool read_histogram(const struct site *site, const json_t *judgement,
                           struct report_result *into)
{
    const json_t *bins = json_object_get(judgement, "utilisation_histogram");
    struct site at = site_key(site, "utilisation_histogram");
    into->has_histogram = bins && !json_is_null(bins);
    if (!into->has_histogram)
        return true;
    if (!json_is_array(bins) || json_array_size(bins) != REPORT_BINS)
        return refuse(&at, "must be an array of %d counts", REPORT_BINS);
    for (size_t i = 0; i < REPORT_BINS; i++) {
        struct site bin = site_item(&at, i);
        if (!read_limited(&bin, json_array_get(bins, i), 0, CASE_SEED_MAX, &into->histogram[i]))
            return false;
    }
    return true;
}

static bool read_judgement(const struct site *site, const json_t *item, struct report_result *into)
{
#define REAL(key, member)                                                                   \
    {                                                                                       \
        key, FIELD_REAL, .offset = offsetof(struct report_result, member), .nullable = true \
    }
    static const struct field fields[] = {
        FIELD(struct report_result, judged, FIELD_COUNT),
        FIELD(struct report_result, excused, FIELD_COUNT),
        FIELD(struct report_result, bad, FIELD_COUNT),
        REAL("utilisation_max", utilisation),
        REAL("utilisation_p99", utilisation_p99),
        REAL("utilisation_median", utilisation_median),
        REAL("nmse", nmse),
        REAL("max_ulp", max_ulp),
        REAL("z_mean_square", z_mean_square),
        FIELD(struct report_result, z_mean, FIELD_ANY, .nullable = true),
    };
#undef REAL
    struct site at;
    const json_t *judgement = field_member(site, item, "judgement", &at);
    return judgement && fields_read(&at, judgement, FIELDS(fields), into) &&
           read_histogram(&at, judgement, into);
}

static bool read_result(const struct site *site, json_t *item, void *into, void *context)
{
    static const struct field fields[] = {
        FIELD(struct report_result, kernel, .kind = FIELD_TEXT),
        FIELD(struct report_result, library, .kind = FIELD_TEXT),
        FIELD(struct report_result, tier, .kind = FIELD_TEXT),
        FIELD(struct report_result, numerics, .kind = FIELD_TEXT),
        FIELD(struct report_result, reason, .kind = FIELD_PROSE, .nullable = true),
        FIELD(struct report_result, explanation, .kind = FIELD_PROSE, .nullable = true),
    };
    static const struct field key = {"case", .kind = FIELD_TEXT};
    struct report *report = context;
    struct report_result *result = into;
    const char *name;
    if (!fields_read(site, item, &key, 1, &name) ||
        !fields_read(site, item, FIELDS(fields), result) || !read_verdict(site, item, result) ||
        !read_hash(site, item, result) || !read_judgement(site, item, result))
        return false;
    int64_t index = report_index_of(report->index, (const char *[3]){"case", name});
    if (index < 0)
        return refuse(site, "no case has the key \"%.200s\"", name);
    result->item = &report->cases[index];
    return report_index(site, report->index, (const char *[3]){"result", name, result->kernel},
                        report->n_results++, "case and kernel");
}

bool report_parse_results(const struct site *site, const json_t *root, struct report *report)
{
    struct items items;
    bool good =
        fields_items(site, root, "cases", 0, sizeof(*report->cases), read_case, report, &items);
    report->cases = items.data;
    report->n_cases = items.count;
    if (!good)
        return false;
    good = fields_items(site, root, "results", 0, sizeof(*report->results), read_result, report,
                        &items);
    report->results = items.data;
    report->n_results = items.count;
    return good;
}
