/* SPDX-License-Identifier: MIT */
/* Weights that a case takes from a GGUF file: in JSON, in keys, and what they decide. */
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "harness/case_parse.h"
#include "harness/stored.h"

bool case_ties(const struct assay_case *item, size_t dim)
{
    return item->weights && stored_source(item->op, dim) < item->op->n_stored;
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

/* The names of the op's weights: a string, or one for each where they are several. */
static bool read_names(const struct site *site, const json_t *weights, const struct assay_op *op,
                       const char **names)
{
    const char *known[ASSAY_MAX_STORED];
    const json_t *tensors = json_object_get(weights, "tensor");
    struct site at = site_key(site, "tensor");
    if (op->n_stored == 1) {
        names[0] = read_string(site, weights, "tensor");
        return names[0];
    }
    for (size_t i = 0; i < op->n_stored; i++)
        known[i] = stored_name(op, i);
    if (!tensors)
        return refuse(site, "\"tensor\" is missing");
    if (!check_object(&at, tensors, "tensor", known, op->n_stored))
        return false;
    for (size_t i = 0; i < op->n_stored; i++) {
        names[i] = read_string(&at, tensors, known[i]);
        if (!names[i])
            return false;
    }
    return true;
}

static struct case_tensor place_of(const struct gguf_tensor *tensor)
{
    struct case_tensor place = {.offset = tensor->offset, .bytes = tensor->bytes};
    memcpy(place.name, tensor->name, sizeof(place.name));
    return place;
}

static bool add_tensors(const struct site *site, const char *const *names, struct case_spec *spec)
{
    const struct assay_op *op = spec->op;
    struct site tensor_site = site_key(site, "tensor");
    for (size_t i = 0; i < op->n_stored; i++) {
        struct site at =
            op->n_stored == 1 ? tensor_site : site_key(&tensor_site, stored_name(op, i));
        const struct gguf_tensor *tensor = find_tensor(&at, &spec->gguf, names[i]);
        struct error error;
        if (!tensor)
            return false;
        if (!stored_add(op, i, tensor, spec->tied, &error))
            return refuse(&at, "\"%s\" of %s: %s", names[i], spec->weights.file, error.text);
        spec->weights.tensors[i] = place_of(tensor);
    }
    return true;
}

bool parse_weights(const struct site *site, const json_t *object, struct case_spec *spec)
{
    static const char *const keys[] = {"gguf", "tensor"};
    const char *names[ASSAY_MAX_STORED];
    const json_t *weights = json_object_get(object, "weights");
    struct site at = site_key(site, "weights"), file_site = site_key(&at, "gguf");
    struct error error;
    stored_unknown(spec->tied);
    if (!weights)
        return true;
    if (spec->op->n_stored == 0)
        return refuse(&at, "op %s takes no weights from a file", spec->op->name);
    if (!check_object(&at, weights, "key", keys, sizeof(keys) / sizeof(*keys)))
        return false;
    const char *file = read_string(&at, weights, "gguf");
    if (!file || !read_names(&at, weights, spec->op, names) || !resolve(&at, file, &spec->weights))
        return false;
    if (!gguf_open(&spec->gguf, spec->weights.file, &error))
        return refuse(&file_site, "%s", error.text);
    return add_tensors(&at, names, spec);
}

/* The op's dimension of that name; ASSAY_UNSET if it has none. */
static int64_t named_dim(const struct assay_case *item, const char *name)
{
    for (size_t d = 0; d < item->op->n_dims; d++) {
        if (strcmp(item->op->dims[d].name, name) == 0)
            return item->shape[d];
    }
    return ASSAY_UNSET;
}

bool read_router(const struct site *site, const struct gguf *gguf, const char *name,
                 struct assay_case *item)
{
    if (!item->weights)
        return refuse(site, "a router needs \"weights\", whose file it is in");
    const struct gguf_tensor *router = find_tensor(site, gguf, name);
    if (!router)
        return false;
    int64_t experts = named_dim(item, "experts"), hidden = named_dim(item, "hidden");
    if (strcmp(router->type->name, "f32") != 0)
        return refuse(site, "the router \"%s\" must be f32, not %s", name, router->type->name);
    if (router->ne[1] != experts || router->ne[2] != 1 || router->ne[3] != 1)
        return refuse(site, "the router \"%s\" must be for %" PRId64 " experts", name, experts);
    if (hidden != ASSAY_UNSET && router->ne[0] != hidden)
        return refuse(site, "the router \"%s\" must be for %" PRId64 " activations, not %" PRId64,
                      name, hidden, router->ne[0]);
    item->weights->router = place_of(router);
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

void print_weights(FILE *out, const struct assay_op *op, const char *file,
                   const char *const *tensors)
{
    fputs(" weights=", out);
    print_escaped(out, file);
    for (size_t i = 0; i < op->n_stored; i++) {
        fputc(':', out);
        if (op->n_stored > 1)
            fprintf(out, "%s=", stored_name(op, i));
        print_escaped(out, tensors[i]);
    }
}

/* "NAME=TENSOR:NAME=TENSOR..." as an object; NULL after a message. */
static json_t *json_of_tensors(const struct site *site, char *text)
{
    json_t *object = json_object();
    char *rest = text;
    for (char *part; object && (part = strsep(&rest, ":"));) {
        char *equals = strchr(part, '=');
        const char *rule = equals ? NULL : "is not NAME=TENSOR";
        if (equals)
            *equals = '\0';
        if (equals && json_object_get(object, part))
            rule = "is there twice";
        if (rule) {
            refuse(site, "weights: \"%.80s\" %s", part, rule);
            json_decref(object);
            return NULL;
        }
        unescape(equals + 1);
        if (json_object_set_new(object, part, json_string_nocheck(equals + 1)) != 0) {
            json_decref(object);
            object = NULL;
        }
    }
    if (!object)
        out_of_memory(site);
    return object;
}

json_t *json_of_weights(const struct site *site, char *text)
{
    char *colon = strchr(text, ':');
    json_t *tensor;
    if (!colon)
        return json_string(text);
    *colon = '\0';
    unescape(text);
    if (strchr(colon + 1, '=')) {
        tensor = json_of_tensors(site, colon + 1);
        if (!tensor)
            return NULL;
    } else {
        unescape(colon + 1);
        tensor = json_string_nocheck(colon + 1);
    }
    return json_pack("{s:o, s:o}", "gguf", json_string_nocheck(text), "tensor", tensor);
}
