/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "harness/case_parse.h"

struct site site_key(const struct site *parent, const char *key)
{
    struct site site = *parent;
    size_t used = strlen(site.path);
    snprintf(site.path + used, sizeof(site.path) - used, "%s%s", used ? "." : "", key);
    return site;
}

struct site site_item(const struct site *parent, size_t index)
{
    struct site site = *parent;
    size_t used = strlen(site.path);
    snprintf(site.path + used, sizeof(site.path) - used, "[%zu]", index);
    return site;
}

bool refuse(const struct site *site, const char *format, ...)
{
    char rule[sizeof(site->error->text)];
    va_list args;
    va_start(args, format);
    vsnprintf(rule, sizeof(rule), format, args);
    va_end(args);
    return fail(site->error, "%s: %s%s%s", site->file, site->path, *site->path ? ": " : "", rule);
}

bool refuse_type(const struct site *site, const char *wanted, const json_t *got)
{
    static const char *const types[] = {
        [JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array",     [JSON_STRING] = "a string",
        [JSON_INTEGER] = "a number", [JSON_REAL] = "a real number", [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",      [JSON_NULL] = "null",
    };
    return refuse(site, "must be %s, not %s", wanted, types[json_typeof(got)]);
}

bool refuse_unknown(const struct site *site, const char *what, const char *got,
                    const char *const *known, size_t n_known)
{
    char list[512] = "";
    for (size_t i = 0; i < n_known; i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "", known[i]);
    }
    return refuse(site, "unknown %s \"%.80s\", known: %s", what, got, list);
}

bool out_of_memory(const struct site *site)
{
    return refuse(site, "out of memory");
}

bool check_object(const struct site *site, const json_t *object, const char *what,
                  const char *const *known, size_t n_known)
{
    if (!json_is_object(object))
        return refuse_type(site, "an object", object);
    /* jansson's iterators take no const object, although they only read it. */
    json_t *keys = (json_t *)(uintptr_t)object;
    for (void *at = json_object_iter(keys); at; at = json_object_iter_next(keys, at)) {
        bool found = false;
        for (size_t i = 0; i < n_known && !found; i++)
            found = strcmp(json_object_iter_key(at), known[i]) == 0;
        if (!found)
            return refuse_unknown(site, what, json_object_iter_key(at), known, n_known);
    }
    return true;
}

bool check_array(const struct site *site, const json_t *array)
{
    if (!json_is_array(array))
        return refuse_type(site, "an array", array);
    return json_array_size(array) > 0 || refuse(site, "must not be empty");
}

bool check_word(const struct site *site, const json_t *value)
{
    if (!json_is_string(value))
        return refuse_type(site, "a string", value);
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "_.-";
    const char *word = json_string_value(value);
    if (*word == '\0' || word[strspn(word, allowed)] != '\0')
        return refuse(site, "must consist of letters, digits, '_', '.' and '-', not \"%.80s\"",
                      word);
    if (strlen(word) > CASE_NAME_MAX)
        return refuse(site, "must have at most %d characters, not %zu", CASE_NAME_MAX,
                      strlen(word));
    return true;
}

bool read_integer(const struct site *site, const json_t *value, int64_t *out)
{
    if (!json_is_integer(value))
        return refuse_type(site, "an integer", value);
    *out = json_integer_value(value);
    return true;
}

bool read_limited(const struct site *site, const json_t *value, int64_t min, int64_t max,
                  int64_t *out)
{
    if (!read_integer(site, value, out))
        return false;
    if (*out < min || *out > max)
        return refuse(site, "must be %" PRId64 " to %" PRId64 ", not %" PRId64, min, max, *out);
    return true;
}

bool read_fill(const struct site *site, const json_t *value, enum assay_fill_kind *out)
{
    if (!json_is_string(value))
        return refuse_type(site, "a string", value);
    for (int kind = 0; kind < ASSAY_FILL_COUNT; kind++) {
        if (strcmp(json_string_value(value), assay_fill_names[kind]) == 0) {
            *out = (enum assay_fill_kind)kind;
            return true;
        }
    }
    return refuse_unknown(site, "fill", json_string_value(value), assay_fill_names,
                          ASSAY_FILL_COUNT);
}

static bool read_zipf(const struct site *site, const json_t *object, struct assay_fill *fill)
{
    if (!check_object(site, object, "key", &assay_routing_names[ASSAY_ROUTE_ZIPF], 1))
        return false;
    struct site at = site_key(site, "zipf");
    const json_t *exponent = json_object_get(object, "zipf");
    if (!exponent)
        return refuse(site, "\"zipf\" is missing");
    if (!json_is_number(exponent))
        return refuse_type(&at, "a number", exponent);
    fill->routing = ASSAY_ROUTE_ZIPF;
    fill->zipf = json_number_value(exponent);
    if (!(fill->zipf > 0 && fill->zipf <= 4))
        return refuse(&at, "must be above 0 and at most 4, not %g", fill->zipf);
    return true;
}

bool read_routing(const struct site *site, const json_t *value, struct assay_fill *fill)
{
    if (json_is_object(value))
        return read_zipf(site, value, fill);
    if (!json_is_string(value))
        return refuse_type(site, "a string or {\"zipf\": exponent}", value);
    const char *name = json_string_value(value);
    if (strcmp(name, "zipf") == 0)
        return refuse(site, "\"zipf\" needs its exponent, as in {\"zipf\": 1.1}");
    for (int routing = 0; routing < ASSAY_ROUTE_COUNT; routing++) {
        if (strcmp(name, assay_routing_names[routing]) == 0) {
            fill->routing = (enum assay_routing)routing;
            fill->zipf = 0;
            return true;
        }
    }
    return refuse_unknown(site, "routing", name, assay_routing_names, ASSAY_ROUTE_COUNT);
}
