/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/case_parse.h"

/* Required dimensions, then optional ones unless they have the value that they would get when none
 * is given. */
static void print_shape(FILE *out, const struct assay_op *op, const int64_t *shape,
                        const struct case_weights *weights)
{
    int64_t plain[ASSAY_MAX_DIMS];
    for (size_t d = 0; d < op->n_dims; d++)
        plain[d] = op->dims[d].optional ? ASSAY_UNSET : shape[d];
    if (op->defaults)
        op->defaults(plain);
    for (size_t i = 0; weights && i < op->n_stored; i++) {
        size_t d = op->stored[i].offset_dim;
        if (d != ASSAY_NO_DIM) /* the tensor's name says it */
            plain[d] = shape[d];
    }
    const char *separator = "";
    for (int optional = 0; optional <= 1; optional++) {
        for (size_t d = 0; d < op->n_dims; d++) {
            if (op->dims[d].optional != optional || (optional && shape[d] == plain[d]))
                continue;
            fprintf(out, "%s%s=%" PRId64, separator, op->dims[d].name, shape[d]);
            separator = " ";
        }
    }
}

/* The fewest digits that read back as the same number. */
static void print_shortest(FILE *out, double value)
{
    char text[32];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    char *comma = strchr(text, ','); /* the decimal point of some locales */
    if (comma)
        *comma = '.';
    fputs(text, out);
}

static void print_key(FILE *out, const struct assay_case *item)
{
    fprintf(out, "%s ", item->op->name);
    print_shape(out, item->op, item->shape, item->weights);
    if (item->op->routed) {
        fprintf(out, " routing=%s", assay_routing_names[item->fill.routing]);
        if (item->fill.routing == ASSAY_ROUTE_ZIPF) {
            fputc(':', out);
            print_shortest(out, item->fill.zipf);
        } else if (item->fill.routing == ASSAY_ROUTE_ROUTER) {
            fputc(':', out);
            print_escaped(out, item->weights->router.name);
        }
    }
    fprintf(out, " fill=%s", assay_fill_names[item->fill.kind]);
    if (item->weights) {
        const char *names[ASSAY_MAX_STORED];
        for (size_t i = 0; i < item->op->n_stored; i++)
            names[i] = item->weights->tensors[i].name;
        print_weights(out, item->op, item->weights->file, names);
    }
    if (item->threads)
        fprintf(out, " threads=%d", item->threads);
    fprintf(out, " seed=%" PRIu64, item->seed);
}

/* Closes a memory stream; frees and forgets its text if anything went wrong. */
static char *finish(FILE *stream, char **text)
{
    bool failed = ferror(stream);
    if (fclose(stream) != 0 || failed) {
        free(*text);
        return NULL;
    }
    return *text;
}

char *case_shape_text(const struct assay_op *op, const int64_t *shape)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (!stream)
        return NULL;
    print_shape(stream, op, shape, NULL);
    return finish(stream, &text);
}

char *case_key(const struct assay_case *item)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (!stream)
        return NULL;
    print_key(stream, item);
    return finish(stream, &text);
}

json_t *case_shape_json(const struct assay_case *item)
{
    json_t *shape = json_object();
    for (size_t i = 0; i < item->op->n_dims; i++)
        json_object_set_new(shape, item->op->dims[i].name, json_integer(item->shape[i]));
    return shape;
}

uint64_t case_hash(const struct assay_case *item)
{
    const char *threads = strstr(item->key, " threads=");
    uint64_t hash = 0xcbf29ce484222325; /* FNV-1a */
    for (const char *c = item->key; *c; c++) {
        if (c == threads)
            c += 1 + strcspn(c + 1, " ");
        hash = (hash ^ (unsigned char)*c) * 0x100000001b3;
    }
    /* FNV leaves similar keys with similar high bits; the finalizer of splitmix64 mixes them. */
    hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9;
    hash = (hash ^ hash >> 27) * 0x94d049bb133111eb;
    return hash ^ hash >> 31;
}

/* A value of a key as JSON: a number where one can be read, else a string for the validator to
 * judge. */
static json_t *json_value(const char *text)
{
    json_t *number = json_loads(text, JSON_DECODE_ANY, NULL);
    if (json_is_number(number))
        return number;
    json_decref(number);
    return json_string(text);
}

static json_t *json_routing(char *text)
{
    if (strncmp(text, "zipf:", 5) == 0)
        return json_pack("{s:o}", "zipf", json_value(text + 5));
    if (strncmp(text, "router:", 7) != 0)
        return json_string(text);
    unescape(text + 7);
    return json_pack("{s:o}", "router", json_string_nocheck(text + 7));
}

/* Whether it is an integer that no int64_t holds, which JSON's reader takes for no number at all. */
static bool is_beyond_int64(const char *text)
{
    char *end;
    errno = 0;
    strtoll(text, &end, 10);
    return errno == ERANGE && *end == '\0';
}

/* Puts the token "name=value" where a case file has it. */
static bool add_token(const struct site *site, const struct assay_op *op, char *token,
                      json_t *object)
{
    char *equals = strchr(token, '=');
    bool is_dim = false;
    if (!equals)
        return refuse(site, "unknown token \"%.80s\"", token);
    *equals = '\0';
    for (size_t d = 0; d < op->n_dims; d++)
        is_dim = is_dim || strcmp(token, op->dims[d].name) == 0;
    bool routing = strcmp(token, "routing") == 0, fill = strcmp(token, "fill") == 0;
    bool weights = strcmp(token, "weights") == 0;
    if (!is_dim && !routing && !fill && !weights && strcmp(token, "threads") != 0 &&
        strcmp(token, "seed") != 0)
        return refuse(site, "unknown token \"%.80s=%.80s\"", token, equals + 1);
    json_t *target = is_dim ? json_object_get(object, "shape") : object;
    if (json_object_get(target, token))
        return refuse(site, "%s is there twice", token);
    bool text = weights || fill || routing;
    if (!text && is_beyond_int64(equals + 1))
        return refuse(site, "%s: too big integer \"%.80s\"", token, equals + 1);
    json_t *value = routing   ? json_routing(equals + 1)
                    : weights ? json_of_weights(site, equals + 1)
                    : fill    ? json_string(equals + 1)
                              : json_value(equals + 1);
    if (!value && weights) /* the message is made */
        return false;
    return json_object_set_new(target, token, value) == 0 || out_of_memory(site);
}

/* Takes `text`, a copy of the key, to pieces. */
static json_t *json_of_key(const struct site *site, char *text)
{
    char *rest = NULL;
    const char *separators = " \t\n";
    const char *name = strtok_r(text, separators, &rest);
    const struct assay_op *op = name ? assay_find_op(name) : NULL;
    if (!op) {
        refuse(site, "unknown op \"%.80s\"", name ? name : "");
        return NULL;
    }
    json_t *object = json_pack("{s:s, s:s, s:{}}", "name", op->name, "op", op->name, "shape");
    if (!object) {
        out_of_memory(site);
        return NULL;
    }
    for (char *token; (token = strtok_r(NULL, separators, &rest));) {
        if (!add_token(site, op, token, object)) {
            json_decref(object);
            return NULL;
        }
    }
    if (json_object_size(json_object_get(object, "shape")) == 0) /* weights may say all of it */
        json_object_del(object, "shape");
    return object;
}

bool cases_from_key(const char *key, struct cases *cases, struct error *error)
{
    struct site site = {.file = "key", .error = error};
    struct cases added = {0};
    struct case_spec spec = {0};
    for (const char *c = key; *c; c++) {
        if (!isspace((unsigned char)*c) && ((unsigned char)*c < ' ' || (unsigned char)*c > '~'))
            return refuse(&site, "has a character that is not printable ASCII");
    }
    char *text = strdup(key);
    if (!text)
        return out_of_memory(&site);
    json_t *object = json_of_key(&site, text);
    size_t room = CASES_MAX - cases->count;
    bool made = object && case_spec_parse(&site, object, &spec) &&
                case_spec_expand(&site, &spec, room, &added);
    case_spec_free(&spec);
    free(text);
    json_decref(object);
    if (made)
        return cases_append(cases, &added, error);
    cases_free(&added);
    return false;
}
