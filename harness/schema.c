/* SPDX-License-Identifier: MIT */
#include "harness/schema.h"

#include "harness/case_parse.h"
#include "harness/stored.h"

/*
 * All of these return NULL if memory ran out, and take over the parts they are given, of which any
 * may be NULL for that reason: json_pack, `with` and `append` then free the others. So the root is
 * NULL if anything failed.
 */
static json_t *with(json_t *object, const char *key, json_t *value)
{
    if (object && json_object_set_new(object, key, value) == 0)
        return object;
    if (!object)
        json_decref(value);
    json_decref(object);
    return NULL;
}

static json_t *append(json_t *array, json_t *value)
{
    if (array && json_array_append_new(array, value) == 0)
        return array;
    if (!array)
        json_decref(value);
    json_decref(array);
    return NULL;
}

/* The item or an array of different ones. */
static json_t *axis_of(json_t *item)
{
    return json_pack("{s:[O, {s:s, s:i, s:b, s:o}]}", "anyOf", item, "type", "array", "minItems", 1,
                     "uniqueItems", 1, "items", item);
}

static json_t *dim_value(const struct assay_dim *dim)
{
    json_t *value = json_pack("{s:s, s:I}", "type", "integer", "minimum", (json_int_t)dim->min);
    if (dim->max != INT64_MAX)
        value = with(value, "maximum", json_integer(dim->max));
    if (dim->multiple != 1)
        value = with(value, "multipleOf", json_integer(dim->multiple));
    return value;
}

static json_t *dim_in_shape(const struct assay_dim *dim)
{
    return axis_of(dim_value(dim));
}

/* Always an array, in which values may repeat. */
static json_t *dim_in_zip(const struct assay_dim *dim)
{
    return json_pack("{s:s, s:i, s:o}", "type", "array", "minItems", 1, "items", dim_value(dim));
}

static json_t *dims_object(const struct assay_op *op, json_t *(*make)(const struct assay_dim *dim))
{
    json_t *dims = json_object();
    for (size_t d = 0; d < op->n_dims; d++)
        dims = with(dims, op->dims[d].name, make(&op->dims[d]));
    return json_pack("{s:s, s:o, s:b, s:i}", "type", "object", "properties", dims,
                     "additionalProperties", 0, "minProperties", 1);
}

static json_t *has_weights(void)
{
    return json_pack("{s:[s]}", "required", "weights");
}

/* That the case's object at `key` has the dimension. */
static json_t *has_dim(const char *key, const char *name)
{
    return json_pack("{s:[s], s:{s:{s:[s]}}}", "required", key, "properties", key, "required",
                     name);
}

/* A required dimension stands in either shape or zip, an optional one not in both. */
static json_t *dim_places(const struct assay_op *op)
{
    json_t *rules = json_array();
    for (size_t d = 0; d < op->n_dims; d++) {
        const struct assay_dim *dim = &op->dims[d];
        json_t *shape = has_dim("shape", dim->name), *zip = has_dim("zip", dim->name);
        json_t *rule = dim->optional ? json_pack("{s:{s:[o, o]}}", "not", "allOf", shape, zip)
                                     : json_pack("{s:[o, o]}", "oneOf", shape, zip);
        if (stored_source(op, d) < op->n_stored)
            rule = dim->optional ? json_pack("{s:[o, {s:{s:[o, {s:[o, o]}]}}]}", "allOf", rule,
                                             "not", "allOf", has_weights(), "anyOf",
                                             has_dim("shape", dim->name), has_dim("zip", dim->name))
                                 : json_pack("{s:[o, o]}", "anyOf", rule, has_weights());
        rules = append(rules, rule);
    }
    return rules;
}

/* A name for each of the op's weights. */
static json_t *tensor_names(const struct assay_op *op)
{
    json_t *names = json_object(), *required = json_array();
    for (size_t i = 0; i < op->n_stored; i++) {
        names = with(names, stored_name(op, i), json_pack("{s:s}", "type", "string"));
        required = append(required, json_string(stored_name(op, i)));
    }
    return json_pack("{s:s, s:o, s:o, s:b}", "type", "object", "properties", names, "required",
                     required, "additionalProperties", 0);
}

static json_t *weights_value(const struct assay_op *op)
{
    if (op->n_stored == 0)
        return json_false();
    json_t *tensor = op->n_stored > 1 ? tensor_names(op) : json_pack("{s:s}", "type", "string");
    return json_pack("{s:s, s:{s:{s:s}, s:o}, s:[s, s], s:b}", "type", "object", "properties",
                     "gguf", "type", "string", "tensor", tensor, "required", "gguf", "tensor",
                     "additionalProperties", 0);
}

/* What an op demands of its cases. */
static json_t *op_rules(const struct assay_op *op)
{
    json_t *properties = json_pack("{s:o, s:o}", "shape", dims_object(op, dim_in_shape), "zip",
                                   dims_object(op, dim_in_zip));
    if (!op->routed)
        properties = with(properties, "routing", json_false());
    properties = with(properties, "weights", weights_value(op));
    json_t *rules = json_pack("{s:o, s:o}", "properties", properties, "allOf", dim_places(op));
    return op->routed ? with(rules, "required", json_pack("[s]", "routing")) : rules;
}

static json_t *op_choices(void)
{
    json_t *choices = json_array();
    for (size_t i = 0; i < assay_n_ops; i++) {
        const char *name = assay_ops[i]->name;
        json_t *rules = json_pack("{s:o}", "$ref", json_sprintf("#/definitions/%s", name));
        choices = append(choices, json_pack("{s:{s:{s:{s:s}}, s:[s]}, s:o}", "if", "properties",
                                            "op", "const", name, "required", "op", "then", rules));
    }
    return choices;
}

/* That the value at `key` neither is such an item nor has one in its array. */
static json_t *without(const char *key, json_t *item)
{
    return json_pack("{s:{s:{s:{s:[O, {s:s, s:o}]}}}}", "properties", key, "not", "anyOf", item,
                     "type", "array", "contains", item);
}

/* A file has no exact weights, and a router is in the weights' file. */
static json_t *weights_rule(void)
{
    json_t *exact = json_pack("{s:s}", "const", assay_fill_names[ASSAY_FILL_EXACT]);
    json_t *router = json_pack("{s:s, s:[s]}", "type", "object", "required", "router");
    return json_pack("{s:o, s:o, s:o}", "if", has_weights(), "then", without("fill", exact), "else",
                     without("routing", router));
}

static json_t *op_names(void)
{
    json_t *names = json_array();
    for (size_t i = 0; i < assay_n_ops; i++)
        names = append(names, json_string(assay_ops[i]->name));
    return names;
}

static json_t *fill_value(void)
{
    json_t *names = json_array();
    for (int i = 0; i < ASSAY_FILL_COUNT; i++)
        names = append(names, json_string(assay_fill_names[i]));
    return json_pack("{s:o}", "enum", names);
}

static json_t *routing_value(void)
{
    json_t *names = json_array();
    for (int i = 0; i < ASSAY_ROUTE_COUNT; i++) {
        if (i != ASSAY_ROUTE_ZIPF && i != ASSAY_ROUTE_ROUTER)
            names = append(names, json_string(assay_routing_names[i]));
    }
    json_t *zipf = json_pack("{s:s, s:{s:{s:s, s:i, s:i}}, s:[s], s:b}", "type", "object",
                             "properties", "zipf", "type", "number", "exclusiveMinimum", 0,
                             "maximum", 4, "required", "zipf", "additionalProperties", 0);
    json_t *router =
        json_pack("{s:s, s:{s:{s:s}}, s:[s], s:b}", "type", "object", "properties", "router",
                  "type", "string", "required", "router", "additionalProperties", 0);
    return json_pack("{s:[{s:o}, o, o]}", "anyOf", "enum", names, zipf, router);
}

static json_t *integer_value(json_int_t min, json_int_t max)
{
    return json_pack("{s:s, s:I, s:I}", "type", "integer", "minimum", min, "maximum", max);
}

static json_t *word_value(void)
{
    return json_pack("{s:s, s:s, s:i}", "type", "string", "pattern", "^[A-Za-z0-9_.-]+$",
                     "maxLength", CASE_NAME_MAX);
}

static json_t *case_schema(void)
{
    json_t *properties = json_object();
    properties = with(properties, "name", word_value());
    properties = with(properties, "op", json_pack("{s:o}", "enum", op_names()));
    properties = with(properties, "tags",
                      json_pack("{s:s, s:i, s:b, s:o}", "type", "array", "minItems", 1,
                                "uniqueItems", 1, "items", word_value()));
    properties = with(properties, "weights", json_pack("{s:s}", "type", "object"));
    properties = with(properties, "shape", json_pack("{s:s}", "type", "object"));
    properties = with(properties, "zip", json_pack("{s:s}", "type", "object"));
    properties = with(properties, "routing", axis_of(routing_value()));
    properties = with(properties, "fill", axis_of(fill_value()));
    properties = with(properties, "threads", axis_of(integer_value(1, CASE_THREADS_MAX)));
    properties = with(properties, "seed", integer_value(0, CASE_SEED_MAX));
    return json_pack("{s:s, s:o, s:[s, s, s], s:b, s:o}", "type", "object", "properties",
                     properties, "required", "name", "op", "fill", "additionalProperties", 0,
                     "allOf", append(op_choices(), weights_rule()));
}

json_t *schema_make(void)
{
    json_t *definitions = with(json_object(), "case", case_schema());
    for (size_t i = 0; i < assay_n_ops; i++)
        definitions = with(definitions, assay_ops[i]->name, op_rules(assay_ops[i]));
    json_t *cases = json_pack("{s:s, s:i, s:{s:s}}", "type", "array", "minItems", 1, "items",
                              "$ref", "#/definitions/case");
    json_t *properties = json_pack("{s:{s:i}, s:{s:s}, s:o}", "schema", "const", 1, "source",
                                   "type", "string", "cases", cases);
    return json_pack("{s:s, s:s, s:s, s:o, s:[s, s], s:b, s:o}", "$schema",
                     "http://json-schema.org/draft-07/schema#", "title", "assay cases", "type",
                     "object", "properties", properties, "required", "schema", "cases",
                     "additionalProperties", 0, "definitions", definitions);
}
