/* SPDX-License-Identifier: MIT */
/* Weights that a case takes from a GGUF file: in JSON, in keys, and what they decide. */
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "harness/case_parse.h"
#include "harness/stored.h"

bool case_ties(const struct assay_case *item, size_t dim)
{
    return item->weights && stored_ties(item->op->stored, dim);
}

/* The string at `key` of an object. */
static const char *read_string(const struct site *site, const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    struct site at = site_key(site, key);
    if (!value)
        refuse(site, "\"%s\" is missing", key);
    else if (!json_is_string(value))
        refuse_type(&at, "a string", value);
    return json_string_value(value);
}

/* A relative path starts from the case file's directory. */
static bool resolve(const struct site *site, const char *file, struct case_weights *weights)
{
    struct site at = site_key(site, "gguf");
    const char *slash = *file == '/' ? NULL : strrchr(site->file, '/');
    int length = slash ? (int)(slash + 1 - site->file) : 0;
    int written =
        snprintf(weights->file, sizeof(weights->file), "%.*s%s", length, site->file, file);
    return (size_t)written < sizeof(weights->file) || refuse(&at, "the path is too long");
}

/* The tensor of that name. */
static const struct gguf_tensor *find_tensor(const struct site *site, const struct gguf *gguf,
                                             const char *name)
{
    const struct gguf_tensor *tensor = gguf_find(gguf, name);
    if (!tensor)
        refuse(site, "%s has no tensor \"%.80s\"", gguf->file, name);
    return tensor;
}

bool parse_weights(const struct site *site, const json_t *object, struct case_spec *spec)
{
    static const char *const keys[] = {"gguf", "tensor"};
    const json_t *weights = json_object_get(object, "weights");
    struct site at = site_key(site, "weights"), tensor_site = site_key(&at, "tensor");
    struct error error;
    for (size_t d = 0; d < ASSAY_MAX_DIMS; d++)
        spec->tied[d] = ASSAY_UNSET;
    if (!weights)
        return true;
    if (!spec->op->stored)
        return refuse(&at, "op %s takes no weights from a file", spec->op->name);
    if (!check_object(&at, weights, "key", keys, sizeof(keys) / sizeof(*keys)))
        return false;
    const char *file = read_string(&at, weights, "gguf");
    const char *name = file ? read_string(&at, weights, "tensor") : NULL;
    if (!name || !resolve(&at, file, &spec->weights))
        return false;
    struct site file_site = site_key(&at, "gguf");
    if (!gguf_open(&spec->gguf, spec->weights.file, &error))
        return refuse(&file_site, "%s", error.text);
    const struct gguf_tensor *tensor = find_tensor(&tensor_site, &spec->gguf, name);
    if (!tensor)
        return false;
    if (!stored_shape(spec->op, tensor, spec->tied, &error))
        return refuse(&tensor_site, "\"%s\" of %s: %s", name, spec->weights.file, error.text);
    memcpy(spec->weights.tensor, tensor->name, sizeof(tensor->name));
    spec->weights.offset = tensor->offset;
    spec->weights.bytes = tensor->bytes;
    return true;
}

bool read_router(const struct site *site, const struct gguf *gguf, const char *name,
                 struct assay_case *item)
{
    size_t d = 0;
    if (!item->weights)
        return refuse(site, "a router needs \"weights\", whose file it is in");
    const struct gguf_tensor *router = find_tensor(site, gguf, name);
    if (!router)
        return false;
    while (strcmp(item->op->dims[d].name, "experts") != 0)
        d++;
    if (strcmp(router->type->name, "f32") != 0)
        return refuse(site, "the router \"%s\" must be f32, not %s", name, router->type->name);
    if (router->ne[1] != item->shape[d] || router->ne[2] != 1 || router->ne[3] != 1)
        return refuse(site, "the router \"%s\" must be for %" PRId64 " experts", name,
                      item->shape[d]);
    memcpy(item->weights->router, router->name, sizeof(router->name));
    item->weights->router_offset = router->offset;
    item->weights->router_bytes = router->bytes;
    item->fill.hidden = router->ne[0];
    return true;
}

/* ---- in keys ---- */

void print_escaped(FILE *out, const char *text)
{
    for (const char *c = text; *c; c++)
        fprintf(out, isalnum((unsigned char)*c) || strchr("_./-+,@", *c) ? "%c" : "%%%02X",
                (unsigned char)*c);
}

void unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from; to++) {
        unsigned byte;
        bool escaped = *from == '%' && isxdigit((unsigned char)from[1]) &&
                       isxdigit((unsigned char)from[2]) && sscanf(from + 1, "%2x", &byte) == 1 &&
                       byte != 0;
        *to = escaped ? (char)byte : *from;
        from += escaped ? 3 : 1;
    }
    *to = '\0';
}
