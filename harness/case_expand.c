/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/case_parse.h"
#include "harness/stored.h"

/* The axes of a spec, slowest first: one for each dimension, then these. */
enum { ZIP, ROUTING, FILL, THREADS, OTHER_AXES };

struct axes {
    size_t count;
    size_t length[ASSAY_MAX_DIMS + OTHER_AXES];
    size_t index[ASSAY_MAX_DIMS + OTHER_AXES]; /* of the case being made */
};

static size_t values_length(const json_t *values)
{
    return json_is_array(values) ? json_array_size(values) : 1;
}

static const json_t *value_at(const json_t *values, size_t index)
{
    return json_is_array(values) ? json_array_get(values, index) : values;
}

static struct axes axes_of(const struct case_spec *spec)
{
    size_t n = spec->op->n_dims;
    struct axes axes = {.count = n + OTHER_AXES};
    for (size_t d = 0; d < n; d++)
        axes.length[d] = spec->zipped[d] ? 1 : values_length(spec->dims[d]);
    axes.length[n + ZIP] = spec->zip_length;
    axes.length[n + ROUTING] = values_length(spec->routing);
    axes.length[n + FILL] = values_length(spec->fill);
    axes.length[n + THREADS] = values_length(spec->threads);
    return axes;
}

/* The product of the lengths, SIZE_MAX if it overflows. */
static size_t axes_product(const struct axes *axes)
{
    size_t product = 1;
    for (size_t a = 0; a < axes->count; a++) {
        if (__builtin_mul_overflow(product, axes->length[a], &product))
            return SIZE_MAX;
    }
    return product;
}

static void axes_advance(struct axes *axes)
{
    for (size_t a = axes->count; a-- > 0;) {
        if (++axes->index[a] < axes->length[a])
            return;
        axes->index[a] = 0;
    }
}

static struct site axis_site(const struct site *site, const json_t *values, const char *key,
                             size_t index)
{
    struct site at = site_key(site, key);
    return json_is_array(values) ? site_item(&at, index) : at;
}

static size_t dim_index(const struct case_spec *spec, const struct axes *axes, size_t d)
{
    return axes->index[spec->zipped[d] ? spec->op->n_dims + ZIP : d];
}

static struct site dim_site(const struct site *site, const struct case_spec *spec,
                            const struct axes *axes, size_t d)
{
    struct site at = site_key(site, spec->zipped[d] ? "zip" : "shape");
    return axis_site(&at, spec->dims[d], spec->op->dims[d].name, dim_index(spec, axes, d));
}

/* The dimension as the weights' file has it; a case may repeat it. */
static bool tie_dim(const struct site *site, const struct case_spec *spec, const struct axes *axes,
                    size_t d, int64_t *value)
{
    int64_t given = *value;
    *value = spec->tied[d];
    if (!spec->dims[d])
        return true;
    struct site at = dim_site(site, spec, axes, d);
    size_t source = stored_source(spec->op, d);
    if (d == spec->op->stored[source].offset_dim)
        return refuse(&at, "follows from \"weights\"");
    return given == *value ||
           refuse(&at, "%" PRId64 ", but \"%s\" of %s has %" PRId64, given,
                  spec->weights.tensors[source].name, spec->weights.file, *value);
}

static bool read_dims(const struct site *site, const struct case_spec *spec,
                      const struct axes *axes, int64_t *shape)
{
    for (size_t d = 0; d < spec->op->n_dims; d++) {
        shape[d] = ASSAY_UNSET;
        if (spec->dims[d]) {
            const json_t *value = value_at(spec->dims[d], dim_index(spec, axes, d));
            struct site at = dim_site(site, spec, axes, d);
            if (!read_integer(&at, value, &shape[d]))
                return false;
            if (shape[d] == ASSAY_UNSET) /* would silently become the default */
                return refuse(&at, "%" PRId64 " is not a size", shape[d]);
        }
        if (spec->tied[d] != ASSAY_UNSET && !tie_dim(site, spec, axes, d, &shape[d]))
            return false;
    }
    if (spec->op->defaults)
        spec->op->defaults(shape);
    return true;
}

/* A dimension is beyond its own limits. */
static bool refuse_dim(const struct site *site, const struct case_spec *spec,
                       const struct axes *axes, const int64_t *shape, const char *name,
                       const char *rule)
{
    size_t d = 0;
    while (strcmp(spec->op->dims[d].name, name) != 0)
        d++;
    const struct assay_dim *dim = &spec->op->dims[d];
    struct site at = spec->dims[d] ? dim_site(site, spec, axes, d) : site_key(site, "weights");
    if (shape[d] < dim->min || shape[d] > dim->max)
        return refuse(&at, "%" PRId64 " %s (%" PRId64 ")", shape[d], rule,
                      shape[d] < dim->min ? dim->min : dim->max);
    return refuse(&at, "%" PRId64 " %s", shape[d], rule);
}

static bool check_shape(const struct site *site, const struct case_spec *spec,
                        const struct axes *axes, const int64_t *shape)
{
    const char *name = NULL;
    const char *rule = assay_illegal(spec->op, shape, &name);
    if (rule && name)
        return refuse_dim(site, spec, axes, shape, name, rule);
    if (!rule && shape_bytes(spec->op, shape) < 0)
        rule = "byte size overflows";
    if (!rule)
        return true;
    struct site at = site_key(site, "shape");
    char *text = case_shape_text(spec->op, shape);
    if (!text)
        return out_of_memory(&at);
    refuse(&at, "%s (%s)", rule, text);
    free(text);
    return false;
}

/* Routing and fill, which weights of a file may take part in or forbid. */
static bool read_fills(const struct site *site, const struct case_spec *spec,
                       const struct axes *axes, struct assay_case *item)
{
    const size_t *index = &axes->index[spec->op->n_dims];
    struct site fill = axis_site(site, spec->fill, "fill", index[FILL]);
    struct site routing = axis_site(site, spec->routing, "routing", index[ROUTING]);
    const char *router = NULL;
    if (spec->routing &&
        !read_routing(&routing, value_at(spec->routing, index[ROUTING]), &item->fill, &router))
        return false;
    if (router && !read_router(&routing, &spec->gguf, router, item))
        return false;
    if (!read_fill(&fill, value_at(spec->fill, index[FILL]), &item->fill.kind))
        return false;
    return !item->weights || item->fill.kind != ASSAY_FILL_EXACT ||
           refuse(&fill, "\"exact\" needs exact weights, not those of a file");
}

/* What depends on the indices of the axes. */
static bool read_axes(const struct site *site, const struct case_spec *spec,
                      const struct axes *axes, struct assay_case *item)
{
    const size_t *index = &axes->index[spec->op->n_dims];
    struct site threads = axis_site(site, spec->threads, "threads", index[THREADS]);
    int64_t n_threads = 0;
    bool good = read_dims(site, spec, axes, item->shape) &&
                check_shape(site, spec, axes, item->shape) && read_fills(site, spec, axes, item) &&
                (!spec->threads || read_limited(&threads, value_at(spec->threads, index[THREADS]),
                                                1, CASE_THREADS_MAX, &n_threads));
    item->threads = (int)n_threads;
    return good;
}

static bool copy_tags(const json_t *tags, struct assay_case *item)
{
    size_t n = json_array_size(tags);
    item->tags = calloc(n + 1, sizeof(*item->tags));
    if (!item->tags)
        return false;
    for (; item->n_tags < n; item->n_tags++) {
        item->tags[item->n_tags] = strdup(json_string_value(json_array_get(tags, item->n_tags)));
        if (!item->tags[item->n_tags])
            return false;
    }
    return true;
}

static bool copy_strings(const struct site *site, const struct case_spec *spec,
                         struct assay_case *item)
{
    item->name = strdup(spec->name);
    item->key = case_key(item);
    item->source = spec->source ? strdup(spec->source) : NULL;
    if (asprintf(&item->where, "%s%s%s", site->file, *site->path ? ": " : "", site->path) < 0)
        item->where = NULL;
    bool copied = item->name && item->key && item->where && (item->source || !spec->source);
    return (copied && copy_tags(spec->tags, item)) || out_of_memory(site);
}

static bool copy_weights(const struct site *site, const struct case_spec *spec,
                         struct assay_case *item)
{
    item->weights = malloc(sizeof(*item->weights));
    if (!item->weights)
        return out_of_memory(site);
    *item->weights = spec->weights;
    return true;
}

bool case_spec_expand(const struct site *site, const struct case_spec *spec, size_t room,
                      struct cases *cases)
{
    struct axes axes = axes_of(spec);
    size_t product = axes_product(&axes);
    if (product > room - cases->count)
        return refuse(site, "more than %d cases in all", CASES_MAX);
    struct assay_case *items =
        realloc(cases->items, (cases->count + product) * sizeof(*cases->items));
    if (!items)
        return out_of_memory(site);
    cases->items = items;
    for (; product > 0; product--) {
        struct assay_case *item = &items[cases->count++];
        *item = (struct assay_case){.op = spec->op, .seed = spec->seed};
        if (spec->weights.file[0] && !copy_weights(site, spec, item))
            return false;
        if (!read_axes(site, spec, &axes, item) || !copy_strings(site, spec, item))
            return false;
        axes_advance(&axes);
    }
    return true;
}
