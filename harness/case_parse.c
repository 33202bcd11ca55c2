/* SPDX-License-Identifier: MIT */
#include "harness/case_parse.h"

#include <string.h>

static bool parse_op(const struct site *site, const json_t *object, struct case_spec *spec)
{
    const json_t *name = json_object_get(object, "op");
    struct site at = site_key(site, "op");
    if (!name)
        return refuse(site, "\"op\" is missing");
    if (!json_is_string(name))
        return refuse_type(&at, "a string", name);
    spec->op = assay_find_op(json_string_value(name));
    return spec->op || refuse(&at, "unknown op \"%.80s\"", json_string_value(name));
}

static bool parse_name(const struct site *site, const json_t *object, struct case_spec *spec)
{
    const json_t *name = json_object_get(object, "name");
    struct site at = site_key(site, "name");
    if (!name)
        return refuse(site, "\"name\" is missing");
    spec->name = json_string_value(name);
    return check_word(&at, name);
}

static bool parse_tags(const struct site *site, const json_t *object, struct case_spec *spec)
{
    struct site at = site_key(site, "tags");
    spec->tags = json_object_get(object, "tags");
    if (!spec->tags)
        return true;
    if (!check_array(&at, spec->tags))
        return false;
    size_t i;
    const json_t *tag;
    json_array_foreach(spec->tags, i, tag)
    {
        struct site item = site_item(&at, i);
        if (!check_word(&item, tag))
            return false;
        for (size_t j = 0; j < i; j++) {
            if (json_equal(tag, json_array_get(spec->tags, j)))
                return refuse(&item, "\"%s\" is there twice", json_string_value(tag));
        }
    }
    return true;
}

/* Records the dimensions of the object at `key`, which may be missing. */
static bool parse_dims(const struct site *site, const json_t *object, const char *key, bool zipped,
                       struct case_spec *spec)
{
    const json_t *dims = json_object_get(object, key);
    struct site at = site_key(site, key);
    const char *names[ASSAY_MAX_DIMS];
    for (size_t d = 0; d < spec->op->n_dims; d++)
        names[d] = spec->op->dims[d].name;
    if (!dims)
        return true;
    if (!check_object(&at, dims, "dimension", names, spec->op->n_dims))
        return false;
    if (json_object_size(dims) == 0)
        return refuse(&at, "must not be empty");
    for (size_t d = 0; d < spec->op->n_dims; d++) {
        const json_t *values = json_object_get(dims, names[d]);
        if (!values)
            continue;
        struct site axis = site_key(&at, names[d]);
        if (spec->dims[d])
            return refuse(&axis, "is in shape already");
        if ((zipped || json_is_array(values)) && !check_array(&axis, values))
            return false;
        spec->dims[d] = values;
        spec->zipped[d] = zipped;
    }
    return true;
}

/* The arrays of zip have the same length. */
static bool parse_zip(const struct site *site, const json_t *object, struct case_spec *spec)
{
    const char *first = NULL;
    struct site at = site_key(site, "zip");
    spec->zip_length = 1;
    if (!parse_dims(site, object, "zip", true, spec))
        return false;
    for (size_t d = 0; d < spec->op->n_dims; d++) {
        if (!spec->zipped[d])
            continue;
        size_t length = json_array_size(spec->dims[d]);
        if (!first) {
            first = spec->op->dims[d].name;
            spec->zip_length = length;
        } else if (length != spec->zip_length) {
            struct site axis = site_key(&at, spec->op->dims[d].name);
            return refuse(&axis, "has %zu values, but %s has %zu", length, first, spec->zip_length);
        }
    }
    return true;
}

static bool parse_shape(const struct site *site, const json_t *object, struct case_spec *spec)
{
    if (!parse_dims(site, object, "shape", false, spec) || !parse_zip(site, object, spec))
        return false;
    struct site at = site_key(site, "shape");
    for (size_t d = 0; d < spec->op->n_dims; d++) {
        const struct assay_dim *dim = &spec->op->dims[d];
        if (!spec->dims[d] && !dim->optional && spec->tied[d] == ASSAY_UNSET)
            return refuse(&at, "dimension \"%s\" is missing", dim->name);
    }
    return true;
}

/* An axis other than a dimension; `values` NULL if it is left out. */
static bool parse_axis(const struct site *site, const json_t *object, const char *key,
                       const json_t **values)
{
    struct site at = site_key(site, key);
    *values = json_object_get(object, key);
    return !json_is_array(*values) || check_array(&at, *values);
}

static bool parse_axes(const struct site *site, const json_t *object, struct case_spec *spec)
{
    if (!parse_axis(site, object, "routing", &spec->routing) ||
        !parse_axis(site, object, "fill", &spec->fill) ||
        !parse_axis(site, object, "threads", &spec->threads))
        return false;
    struct site routing = site_key(site, "routing");
    if (spec->routing && !spec->op->routed)
        return refuse(&routing, "op %s has no routing", spec->op->name);
    if (!spec->routing && spec->op->routed)
        return refuse(site, "\"routing\" is missing");
    return spec->fill || refuse(site, "\"fill\" is missing");
}

static bool parse_seed(const struct site *site, const json_t *object, struct case_spec *spec)
{
    const json_t *value = json_object_get(object, "seed");
    struct site at = site_key(site, "seed");
    int64_t seed = 1;
    bool legal = !value || read_limited(&at, value, 0, CASE_SEED_MAX, &seed);
    spec->seed = (uint64_t)seed;
    return legal;
}

bool case_spec_parse(const struct site *site, const json_t *object, struct case_spec *spec)
{
    static const char *const keys[] = {"name", "op",      "tags", "weights", "shape",
                                       "zip",  "routing", "fill", "threads", "seed"};
    *spec = (struct case_spec){0};
    return check_object(site, object, "key", keys, sizeof(keys) / sizeof(*keys)) &&
           parse_name(site, object, spec) && parse_op(site, object, spec) &&
           parse_tags(site, object, spec) && parse_weights(site, object, spec) &&
           parse_shape(site, object, spec) && parse_axes(site, object, spec) &&
           parse_seed(site, object, spec);
}

void case_spec_free(struct case_spec *spec)
{
    gguf_close(&spec->gguf);
}
