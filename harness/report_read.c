/* SPDX-License-Identifier: MIT */
#include "harness/report_read.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "harness/report_parse.h"

/* ---- a report ---- */

static bool read_version(const struct site *site, const json_t *root)
{
    struct site at = site_key(site, "assay_report");
    const json_t *version = json_object_get(root, "assay_report");
    if (!version)
        return refuse(site, "is not a report: it has no \"assay_report\"");
    if (!json_is_integer(version))
        return refuse_type(&at, "an integer", version);
    json_int_t number = json_integer_value(version);
    return number == REPORT_READS ||
           refuse(&at, "is version %lld, and this assay reads version %d: %s", (long long)number,
                  REPORT_READS, number < REPORT_READS ? "measure again" : "a newer assay wrote it");
}

static bool read_context(const struct site *site, const json_t *root, struct report_context *into)
{
#define TEXT(key, member)                                                           \
    {                                                                               \
        key, .kind = FIELD_PROSE, .offset = offsetof(struct report_context, member) \
    }
#define SIZE(key) FIELD(struct report_context, key, FIELD_COUNT, .nullable = true)
    static const struct field fields[] = {
        TEXT("cpu", cpu),
        TEXT("machine", machine),
        TEXT("features", features),
        TEXT("time", time),
        FIELD(struct report_context, governor, .kind = FIELD_PROSE, .nullable = true),
        FIELD(struct report_context, cpus, FIELD_FROM_TO(1, REPORT_MAX_THREADS)),
        SIZE(l1d_bytes),
        SIZE(l2_bytes),
        SIZE(llc_bytes),
        SIZE(memory_bytes),
        {"load_1min", FIELD_REAL, .nullable = true,
         .offset = offsetof(struct report_context, load)},
        FIELD(struct report_context, steal_share, FIELD_REAL, .nullable = true),
    };
    static const struct field build[] = {
        TEXT("commit", commit),
        TEXT("compiler", compiler),
        TEXT("flags", flags),
    };
#undef TEXT
#undef SIZE
    struct site at, inner;
    const json_t *context = field_member(site, root, "context", &at);
    const json_t *built = context ? field_member(&at, context, "build", &inner) : NULL;
    return built && fields_read(&at, context, FIELDS(fields), into) &&
           fields_read(&inner, built, FIELDS(build), into);
}

static bool read_noise(const struct site *site, const json_t *root, struct report *report)
{
    static const struct field fields[] = {
        FIELD(struct report_noise, chain_ghz_best, FIELD_REAL, .above = true, .nullable = true),
        FIELD(struct report_noise, chain_ghz_median, FIELD_REAL, .above = true, .nullable = true),
        FIELD(struct report_noise, samples, FIELD_COUNT),
        FIELD(struct report_noise, disturbed, FIELD_COUNT),
        FIELD(struct report_noise, switched, FIELD_COUNT),
        FIELD(struct report_noise, slowed, FIELD_COUNT),
        FIELD(struct report_noise, gated, FIELD_COUNT),
        FIELD(struct report_noise, steal_share, FIELD_REAL, .nullable = true),
        FIELD(struct report_noise, aa_spread, FIELD_REAL, .nullable = true),
        FIELD(struct report_noise, too_noisy, .kind = FIELD_BOOL),
    };
    struct site at;
    const json_t *noise = field_member(site, root, "noise", &at);
    report->has_noise = noise && !json_is_null(noise);
    return report->has_noise ? fields_read(&at, noise, FIELDS(fields), &report->noise)
                             : noise != NULL;
}

static bool read_root(const struct site *site, struct report *report)
{
    static const struct field fields[] = {
        FIELD(struct report, complete, .kind = FIELD_BOOL),
        FIELD(struct report, command, .kind = FIELD_PROSE),
        FIELD(struct report, elapsed_seconds, FIELD_REAL, .nullable = true),
    };
    json_t *root = report->json;
    if (!json_is_object(root))
        return refuse_type(site, "an object", root);
    report->index = json_object();
    if (!report->index)
        return out_of_memory(site);
    return read_version(site, root) && fields_read(site, root, FIELDS(fields), report) &&
           read_context(site, root, &report->context) &&
           report_parse_ceilings(site, root, report) && read_noise(site, root, report) &&
           report_parse_results(site, root, report) && report_parse_timings(site, root, report);
}

static void report_free(struct report *report)
{
    for (size_t i = 0; i < report->n_timings; i++) {
        struct report_timing *timing = &report->timings[i];
        for (size_t b = 0; b < timing->n_blocks; b++) {
            free(timing->blocks[b].ns);
            free(timing->blocks[b].disturbed);
        }
        free(timing->blocks);
    }
    for (size_t i = 0; i < report->n_cases; i++)
        free(report->cases[i].shape);
    report_free_ceilings(&report->ceilings);
    free(report->timings);
    free(report->results);
    free(report->cases);
    free(report->path);
    json_decref(report->index);
    json_decref(report->json);
}

const struct report_result *report_find_result(const struct report *report, const char *case_key,
                                               const char *kernel)
{
    int64_t index = report_index_of(report->index, (const char *[3]){"result", case_key, kernel});
    return index < 0 ? NULL : &report->results[index];
}

/* ---- a set of them ---- */

static bool is_same_file(const char *a, const char *b)
{
    struct stat first, second;
    return stat(a, &first) == 0 && stat(b, &second) == 0 && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
}

static bool add_file(struct reports *reports, const char *path, struct error *error)
{
    struct site site = {.file = path, .error = error};
    for (size_t i = 0; i < reports->count; i++) {
        if (is_same_file(reports->items[i].path, path))
            return refuse(&site, "is there twice, also as %s", reports->items[i].path);
    }
    struct report *items = realloc(reports->items, (reports->count + 1) * sizeof(*items));
    if (!items)
        return out_of_memory(&site);
    reports->items = items;
    struct report *report = &items[reports->count];
    *report = (struct report){.path = strdup(path), .json = load_json(&site, REPORT_MAX_BYTES)};
    if (report->path && report->json && read_root(&site, report)) {
        reports->count++;
        return true;
    }
    if (report->json && !report->path)
        out_of_memory(&site);
    report_free(report);
    return false;
}

static int is_report_name(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);
    return entry->d_name[0] != '.' && length > 5 &&
           strcmp(entry->d_name + length - 5, ".json") == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name); /* alphasort depends on the locale */
}

static bool add_directory(struct reports *reports, const char *path, struct error *error)
{
    struct site site = {.file = path, .error = error};
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, is_report_name, by_name);
    if (count < 0)
        return refuse(&site, "cannot be read: %s", strerror(errno));
    bool good = count > 0 || refuse(&site, "there is no *.json file in it");
    const char *slash = path[strlen(path) - 1] == '/' ? "" : "/";
    for (int i = 0; i < count; i++) {
        char *file = NULL;
        if (good && asprintf(&file, "%s%s%s", path, slash, entries[i]->d_name) < 0) {
            file = NULL;
            good = out_of_memory(&site);
        }
        good = good && add_file(reports, file, error);
        free(file);
        free(entries[i]);
    }
    free(entries);
    return good;
}

bool reports_add(struct reports *reports, const char *path, struct error *error)
{
    struct site site = {.file = path, .error = error};
    struct stat status;
    if (!path[0])
        return fail(error, "the path of a report is empty");
    if (stat(path, &status) != 0)
        return refuse(&site, "cannot be read: %s", strerror(errno));
    return S_ISDIR(status.st_mode) ? add_directory(reports, path, error)
                                   : add_file(reports, path, error);
}

bool reports_add_list(struct reports *reports, const char *list, struct error *error)
{
    struct stat status;
    if (stat(list, &status) == 0 || !strchr(list, ','))
        return reports_add(reports, list, error); /* a name may have a comma */
    char *copy = strdup(list), *rest = copy;
    if (!copy)
        return fail(error, "out of memory");
    bool good = true;
    while (good && rest)
        good = reports_add(reports, strsep(&rest, ","), error);
    free(copy);
    return good;
}

void reports_free(struct reports *reports)
{
    for (size_t i = 0; i < reports->count; i++)
        report_free(&reports->items[i]);
    free(reports->items);
    *reports = (struct reports){0};
}
