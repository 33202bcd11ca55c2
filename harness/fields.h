/* SPDX-License-Identifier: MIT */
/* JSON that is read into structs: the members of an object by a table, the items of an array by a
 * function. */
#ifndef ASSAY_HARNESS_FIELDS_H
#define ASSAY_HARNESS_FIELDS_H

#include "harness/case_parse.h"

enum field_kind {
    FIELD_TEXT,    /* const char *, by which things are found: 1 to 4096 printable bytes */
    FIELD_PROSE,   /* const char *, any; what could steer a terminal becomes '?' */
    FIELD_NUMBER,  /* double */
    FIELD_INTEGER, /* int64_t */
    FIELD_BOOL,    /* bool */
};

struct field {
    const char *key;
    enum field_kind kind;
    size_t offset; /* of the struct's member */
    bool nullable; /* null is NULL, NAN, 0 or false */
    bool above;    /* a number must be above `low`, not just at least */
    double low, high;
};

/* Table lines: the JSON's key is the member's name. Numbers are 0 or more, integers also at most
 * 2^53. */
#define FIELD(type, member, ...)                                      \
    {                                                                 \
        .key = #member, .offset = offsetof(type, member), __VA_ARGS__ \
    }
#define FIELD_REAL              .kind = FIELD_NUMBER, .high = INFINITY
#define FIELD_COUNT             .kind = FIELD_INTEGER, .high = (double)CASE_SEED_MAX
#define FIELD_FROM_TO(from, to) .kind = FIELD_INTEGER, .low = from, .high = to
#define FIELD_ANY               .kind = FIELD_NUMBER, .low = -INFINITY, .high = INFINITY

/* Every member of the table must be there; others are ignored. */
bool fields_read(const struct site *site, const json_t *object, const struct field *fields,
                 size_t n_fields, void *into);

/* A member, and its site; it must be there. NULL after a message. */
json_t *field_member(const struct site *site, const json_t *object, const char *key,
                     struct site *at);

struct items {
    void *data; /* zeroed before they are read; to be freed, after a failure too */
    size_t count;
};

typedef bool item_reader(const struct site *site, json_t *item, void *into, void *context);

/* The items of the array at `key`, `least` of them at least; each is `size` bytes of data. */
bool fields_items(const struct site *site, const json_t *object, const char *key, size_t least,
                  size_t size, item_reader *read, void *context, struct items *items);

/* An array of doubles, which the FIELD_NUMBER says the range of. */
bool fields_numbers(const struct site *site, const json_t *object, const struct field *field,
                    size_t least, struct items *items);

#endif
