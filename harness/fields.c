/* SPDX-License-Identifier: MIT */
#include "harness/fields.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/text.h"

enum { MAX_TEXT = 4096 };

static bool read_text(const struct site *site, const json_t *value, const char **into)
{
    if (!json_is_string(value))
        return refuse_type(site, "a string", value);
    *into = json_string_value(value);
    size_t length = json_string_length(value);
    if (length < 1 || length > MAX_TEXT)
        return refuse(site, "must have 1 to %d bytes, not %zu", MAX_TEXT, length);
    return text_is_printable(*into) || refuse(site, "has a control character");
}

static bool read_prose(const struct site *site, json_t *value, const char **into)
{
    if (!json_is_string(value))
        return refuse_type(site, "a string", value);
    if (!text_is_printable(json_string_value(value))) {
        char *text = strdup(json_string_value(value));
        if (text)
            text_make_printable(text);
        bool set = text && json_string_set(value, text) == 0;
        free(text);
        if (!set)
            return out_of_memory(site);
    }
    *into = json_string_value(value);
    return true;
}

static bool in_range(const struct site *site, const struct field *field, double value)
{
    bool low = field->above ? value > field->low : value >= field->low;
    if (low && value <= field->high)
        return true;
    if (!low && isinf(field->high))
        return refuse(site, "must be %s %g, not %g", field->above ? "above" : "at least",
                      field->low, value);
    return refuse(site, "must be %g to %.16g, not %.16g", field->low, field->high, value);
}

static bool read_number(const struct site *site, const json_t *value, const struct field *field,
                        double *into)
{
    if (!json_is_number(value))
        return refuse_type(site, "a number", value);
    *into = json_number_value(value);
    return in_range(site, field, *into);
}

static bool read_count(const struct site *site, const json_t *value, const struct field *field,
                       int64_t *into)
{
    return read_integer(site, value, into) && in_range(site, field, (double)*into);
}

static bool read_null(const struct site *site, const struct field *field, void *into)
{
    static const char *const wanted[] = {"a string", "a string", "a number", "an integer",
                                         "true or false"};
    if (!field->nullable)
        return refuse(site, "must be %s, not null", wanted[field->kind]);
    switch (field->kind) {
    case FIELD_TEXT:
    case FIELD_PROSE: *(const char **)into = NULL; break;
    case FIELD_NUMBER: *(double *)into = NAN; break;
    case FIELD_INTEGER: *(int64_t *)into = 0; break;
    default: *(bool *)into = false;
    }
    return true;
}

static bool read_value(const struct site *site, json_t *value, const struct field *field,
                       void *into)
{
    if (json_is_null(value))
        return read_null(site, field, into);
    switch (field->kind) {
    case FIELD_TEXT: return read_text(site, value, into);
    case FIELD_PROSE: return read_prose(site, value, into);
    case FIELD_NUMBER: return read_number(site, value, field, into);
    case FIELD_INTEGER: return read_count(site, value, field, into);
    default:
        if (!json_is_boolean(value))
            return refuse_type(site, "true or false", value);
        *(bool *)into = json_is_true(value);
        return true;
    }
}

json_t *field_member(const struct site *site, const json_t *object, const char *key,
                     struct site *at)
{
    if (!json_is_object(object)) {
        refuse_type(site, "an object", object);
        return NULL;
    }
    json_t *value = json_object_get(object, key);
    if (value)
        *at = site_key(site, key);
    else
        refuse(site, "\"%s\" is missing", key);
    return value;
}

bool fields_read(const struct site *site, const json_t *object, const struct field *fields,
                 size_t n_fields, void *into)
{
    for (size_t i = 0; i < n_fields; i++) {
        struct site at;
        json_t *value = field_member(site, object, fields[i].key, &at);
        if (!value || !read_value(&at, value, &fields[i], (char *)into + fields[i].offset))
            return false;
    }
    return true;
}

bool fields_items(const struct site *site, const json_t *object, const char *key, size_t least,
                  size_t size, item_reader *read, void *context, struct items *items)
{
    struct site at;
    *items = (struct items){0};
    json_t *array = field_member(site, object, key, &at);
    if (!array)
        return false;
    if (!json_is_array(array))
        return refuse_type(&at, "an array", array);
    size_t count = json_array_size(array);
    if (count < least)
        return refuse(&at, "must have %zu or more items, not %zu", least, count);
    items->data = calloc(count ? count : 1, size);
    if (!items->data)
        return out_of_memory(&at);
    items->count = count;
    for (size_t i = 0; i < count; i++) {
        struct site item = site_item(&at, i);
        if (!read(&item, json_array_get(array, i), (char *)items->data + i * size, context))
            return false;
    }
    return true;
}

static bool read_one_number(const struct site *site, json_t *item, void *into, void *context)
{
    return read_value(site, item, context, into);
}

bool fields_numbers(const struct site *site, const json_t *object, const struct field *field,
                    size_t least, struct items *items)
{
    struct field copy = *field;
    return fields_items(site, object, field->key, least, sizeof(double), read_one_number, &copy,
                        items);
}
