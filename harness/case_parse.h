/* SPDX-License-Identifier: MIT */
/*
 * What the files of the case parser share: where a message points, checks of JSON values, a parsed
 * case object, and keys. For harness/case*.c, and for others that read or write JSON.
 */
#ifndef ASSAY_HARNESS_CASE_PARSE_H
#define ASSAY_HARNESS_CASE_PARSE_H

#include <jansson.h>
#include <stdio.h>

#include "harness/case.h"

/* Larger seeds are not exact in every JSON reader. */
#define CASE_SEED_MAX (INT64_C(1) << 53)

/* A JSON value's place, for messages "FILE: PATH: rule". Paths hold only known names and indices,
 * hence the fixed size. */
struct site {
    const char *file;
    struct error *error;
    char path[128];
};

struct site site_key(const struct site *parent, const char *key);
struct site site_item(const struct site *parent, size_t index);

/* Writes the message and returns false. */
bool refuse(const struct site *site, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "must be `wanted`, not a string": the type of `got` is wrong. */
bool refuse_type(const struct site *site, const char *wanted, const json_t *got);
bool refuse_unknown(const struct site *site, const char *what, const char *got,
                    const char *const *known, size_t n_known);
bool out_of_memory(const struct site *site);

/* JSON text, and that of the site's file; NULL: refused. Keys must not stand twice. */
json_t *parse_json(const struct site *site, const char *text, size_t size);
json_t *load_json(const struct site *site, size_t max_bytes);

/* `object` is an object and all its keys are among `known`. */
bool check_object(const struct site *site, const json_t *object, const char *what,
                  const char *const *known, size_t n_known);
bool check_array(const struct site *site, const json_t *array);
/* A string of letters, digits, '_', '.' and '-', at most CASE_NAME_MAX long. */
bool check_word(const struct site *site, const json_t *value);

bool read_integer(const struct site *site, const json_t *value, int64_t *out);
bool read_limited(const struct site *site, const json_t *value, int64_t min, int64_t max,
                  int64_t *out);
bool read_fill(const struct site *site, const json_t *value, enum assay_fill_kind *out);
/* Sets fill->routing and fill->zipf; `router` gets the name of a router's tensor, or NULL. */
bool read_routing(const struct site *site, const json_t *value, struct assay_fill *fill,
                  const char **router);

/* A case object whose keys, op, name, tags, weights and dimension names are right. Values of axes
 * are checked when they are read. All pointers point into the JSON. */
struct case_spec {
    const char *name;
    const char *source; /* NULL: none */
    const struct assay_op *op;
    const json_t *dims[ASSAY_MAX_DIMS]; /* an integer or an array; NULL: left out */
    bool zipped[ASSAY_MAX_DIMS];
    size_t zip_length;                             /* 1 without a zip */
    const json_t *tags, *routing, *fill, *threads; /* all but fill may be NULL */
    uint64_t seed;
    struct gguf gguf;             /* open if the case has weights: gguf.file is set */
    struct case_weights weights;  /* but for the router */
    int64_t tied[ASSAY_MAX_DIMS]; /* dimensions as the weights have them, else ASSAY_UNSET */
};

/* On failure, too, case_spec_free is due. */
bool case_spec_parse(const struct site *site, const json_t *object, struct case_spec *spec);
void case_spec_free(struct case_spec *spec);

/* Opens the file of the case object's "weights", if it has them, and ties the shape to them. */
bool parse_weights(const struct site *site, const json_t *object, struct case_spec *spec);
/* Where the matrix of that name is; item->weights must be set. */
bool read_router(const struct site *site, const struct gguf *gguf, const char *name,
                 struct assay_case *item);
/* What print_weights wrote, as a case file has it; a string, which the validator refuses, if it is
 * not of that form; NULL after a message. */
json_t *json_of_weights(const struct site *site, char *text);
/* Undoes print_escaped, in place. */
void unescape(char *text);

/* Appends the cases that a spec stands for, as long as there are at most `room` in `cases`. After a
 * failure, those made so far are there; the caller drops them. */
bool case_spec_expand(const struct site *site, const struct case_spec *spec, size_t room,
                      struct cases *cases);

/* Moves `added` to the end of `cases` if no two have the same key, else frees it. */
bool cases_append(struct cases *cases, struct cases *added, struct error *error);

/* The dimensions as a key has them; the key. To be freed; NULL: out of memory. */
char *case_shape_text(const struct assay_op *op, const int64_t *shape);
char *case_key(const struct assay_case *item);
/* {"n": 4096, "k": 4096} */
json_t *case_shape_json(const struct assay_case *item);

void case_free(struct assay_case *item);

#endif
