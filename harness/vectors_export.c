/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/case_parse.h"
#include "harness/context.h"
#include "harness/output.h"
#include "harness/random.h"
#include "harness/vectors.h"

/* File names of 255 bytes, minus the longest ending. */
#define MAX_ID 220

/* Of an output: value and rule; of the one that is real also those of f16, columns, and a twin, sigma
 * and tolerance for each class. */
enum { MAX_TENSORS = 2 * ASSAY_MAX_TENSORS + 3 + 3 * ASSAY_NUMERICS_COUNT };

enum rule { NOT_COMPARED, COMPARED, NOT_FINITE };

static const char rules[] =
    "T.rule of an element: 0 not compared, because the contract does not write it or because it "
    "may "
    "overflow on the way; 1 compared: equal bits, any F32 NaN equal to any, or, where there is a "
    "T.tolerance, |got - T| <= T.tolerance; 2 must be NaN or infinite; class f16 has its own T.f16 "
    "and T.rule.f16";
static const char choices[] =
    "the contract leaves a choice between near ties: T has the reference's, and assay judge also "
    "permits the others";

#define MORE_DIGITS(two_tops)                                                               \
    "step/" two_tops " + 3*u*step + flushed + gamma * (magnitude + reach/126) + slack; on " \
    "fill model as i8"

static const char *const tolerances[ASSAY_NUMERICS_COUNT] = {
    [ASSAY_F32] =
        "gamma * magnitude + slack, gamma = D*u / (1 - D*u), u = 2^-24, D the depth; 0 on "
        "fill exact; on fill model assay judge also bounds the NMSE",
    [ASSAY_I8] = "step/254 + 3*u*step + flushed + gamma * (magnitude + reach/254) + slack; on fill "
                 "model assay judge also tests the mean square and the mean of (got - T) / T.sigma",
    [ASSAY_F16] = "as f32, of T.f16: weights and activations are rounded to f16 first",
    [ASSAY_I16] = MORE_DIGITS("65276"),
    [ASSAY_I24] = MORE_DIGITS("16710000"),
};

/* The tensors of a file. */
struct bundle {
    struct safetensor items[MAX_TENSORS];
    char names[MAX_TENSORS][64];
    void *owned[MAX_TENSORS];
    size_t count;
};

static void bundle_free(struct bundle *bundle)
{
    for (size_t i = 0; i < bundle->count; i++)
        free(bundle->owned[i]);
    *bundle = (struct bundle){0};
}

/* Adds a tensor [rows, columns], or [columns] if rows is 0; allocates its data if `data` is NULL.
 * NULL: out of memory. */
static void *add(struct bundle *bundle, const char *tensor, const char *what, const char *dtype,
                 int64_t rows, int64_t columns, const void *data)
{
    size_t i = bundle->count, d = 0;
    struct safetensor *item = &bundle->items[i];
    snprintf(bundle->names[i], sizeof(bundle->names[i]), "%s%s", tensor, what);
    *item = (struct safetensor){.name = bundle->names[i], .data = data};
    snprintf(item->dtype, sizeof(item->dtype), "%s", dtype);
    if (rows > 0)
        item->shape[d++] = rows;
    item->shape[d++] = columns;
    item->rank = d;
    if (!data) {
        bundle->owned[i] =
            calloc((size_t)safetensor_count(item), (size_t)safetensor_dtype_bytes(dtype));
        item->data = bundle->owned[i];
    }
    bundle->count++;
    return bundle->owned[i];
}

static void add_inputs(const struct expectation *x, struct bundle *inputs)
{
    const struct assay_op *op = x->item->op;
    for (size_t i = 0; i < op->n_tensors; i++) {
        int64_t count = op->tensors[i].count(x->item->shape);
        if (!is_output(&op->tensors[i]) && count > 0)
            add(inputs, op->tensors[i].name, "", vectors_dtype(&op->tensors[i]), 0, count,
                x->inputs[0].pointers[i]);
    }
}

/* The reference's bits; zeros where it does not write. */
static bool add_bits(const struct expectation *x, size_t index, struct bundle *expected)
{
    const struct assay_tensor *tensor = &x->item->op->tensors[index];
    int64_t count = tensor->count(x->item->shape), columns = tensor->columns(x->item->shape);
    size_t bytes = assay_dtype_bytes(tensor->dtype);
    char *value =
        add(expected, tensor->name, "", vectors_dtype(tensor), count / columns, columns, NULL);
    uint8_t *rule = add(expected, tensor->name, ".rule", "U8", count / columns, columns, NULL);
    for (int64_t i = 0; value && rule && i < count; i++) {
        rule[i] = expectation_untouched(x, index, i) ? NOT_COMPARED : COMPARED;
        if (rule[i] == COMPARED)
            memcpy(value + (size_t)i * bytes,
                   (const char *)x->reference.pointers[index] + (size_t)i * bytes, bytes);
    }
    return value && rule;
}

static enum rule rule_of(const struct assay_expected *expected)
{
    if (expected->untouched)
        return NOT_COMPARED;
    if (!isfinite(expected->value))
        return NOT_FINITE;
    return judge_may_overflow(expected) ? NOT_COMPARED : COMPARED;
}

/* The value and the rule, as tensors whose names end in `suffix`. */
static bool add_values(const struct expectation *x, const struct assay_expected *expected,
                       const char *suffix, struct bundle *bundle)
{
    const char *name = x->item->op->tensors[x->real].name;
    char what[32];
    double *value = add(bundle, name, suffix, "F64", x->rows, x->n_columns, NULL);
    snprintf(what, sizeof(what), ".rule%s", suffix);
    uint8_t *rule = add(bundle, name, what, "U8", x->rows, x->n_columns, NULL);
    if (!value || !rule)
        return false;
    for (int64_t i = 0; i < x->rows * x->n_columns; i++) {
        rule[i] = (uint8_t)rule_of(&expected[i]);
        value[i] = expected[i].untouched ? 0 : expected[i].value;
    }
    return true;
}

static bool add_tolerance(const struct expectation *x, const struct promise *promise,
                          enum assay_numerics numerics, struct bundle *expected)
{
    const char *name = x->item->op->tensors[x->real].name;
    const struct assay_expected *of_class =
        expected_of(x, &(struct assay_kernel){.numerics = numerics});
    const struct judge_input in = {
        .numerics = numerics,
        .depth = promise_depth(promise, x->item),
        .exact = case_exact(x->item),
    };
    const char *class = assay_numerics_names[numerics];
    bool integer = assay_digits(numerics) > 0;
    double *sigma = NULL;
    char what[32];
    snprintf(what, sizeof(what), ".tolerance.%s", class);
    double *tolerance = add(expected, name, what, "F64", x->rows, x->n_columns, NULL);
    if (integer) {
        snprintf(what, sizeof(what), ".sigma.%s", class);
        sigma = add(expected, name, what, "F64", x->rows, x->n_columns, NULL);
    }
    if (x->twin[numerics]) {
        snprintf(what, sizeof(what), ".twin.%s", class);
        add(expected, name, what, "F32", x->rows, x->n_columns, x->twin[numerics]);
    }
    if (!tolerance || (integer && !sigma))
        return false;
    for (int64_t i = 0; i < x->rows * x->n_columns; i++) {
        if (rule_of(&of_class[i]) != COMPARED)
            continue;
        tolerance[i] = judge_allowed(&in, &of_class[i]);
        if (sigma)
            sigma[i] = judge_sigma(&of_class[i], numerics, in.depth);
    }
    return true;
}

static bool add_real(const struct expectation *x, const struct promise *promise,
                     struct bundle *expected)
{
    const struct assay_tensor *tensor = &x->item->op->tensors[x->real];
    if (!add_values(x, x->expected, "", expected) ||
        (x->rounded && !add_values(x, x->rounded, ".f16", expected)))
        return false;
    if (x->n_columns < tensor->columns(x->item->shape))
        add(expected, tensor->name, ".columns", "I64", 0, x->n_columns, x->columns);
    for (int n = 0; n < ASSAY_NUMERICS_COUNT; n++) {
        enum assay_numerics numerics = (enum assay_numerics)n;
        if (promise->numerics >> n & 1 && op_has_class(x->item->op, numerics) &&
            !add_tolerance(x, promise, numerics, expected))
            return false;
    }
    return true;
}

static bool add_expected(const struct expectation *x, const struct promise *promise,
                         struct bundle *expected)
{
    const struct assay_op *op = x->item->op;
    for (size_t i = 0; i < op->n_tensors; i++) {
        if (!is_output(&op->tensors[i]) || op->tensors[i].count(x->item->shape) == 0)
            continue;
        if (!(op->tensors[i].role == ASSAY_OUT_BITS ? add_bits(x, i, expected)
                                                    : add_real(x, promise, expected)))
            return false;
    }
    return true;
}

/* {"file", "tensors": [{"name", "dtype", "shape", "hash"}]} */
static json_t *bundle_json(const struct bundle *bundle, const char *file)
{
    json_t *tensors = json_array();
    for (size_t i = 0; i < bundle->count; i++) {
        const struct safetensor *item = &bundle->items[i];
        json_t *shape = json_array();
        for (size_t d = 0; d < item->rank; d++)
            json_array_append_new(shape, json_integer(item->shape[d]));
        size_t bytes = (size_t)(safetensor_count(item) * safetensor_dtype_bytes(item->dtype));
        char hash[17];
        snprintf(hash, sizeof(hash), "%016" PRIx64, hash_bytes(item->data, bytes, 0));
        json_array_append_new(tensors,
                              json_pack("{s:s, s:s, s:o, s:s}", "name", item->name, "dtype",
                                        item->dtype, "shape", shape, "hash", hash));
    }
    return json_pack("{s:s, s:o}", "file", file, "tensors", tensors);
}

/* What the file of results must have. */
static json_t *outputs_json(const struct assay_case *item, const char *id)
{
    json_t *outputs = json_array();
    for (size_t i = 0; i < item->op->n_tensors; i++) {
        const struct assay_tensor *tensor = &item->op->tensors[i];
        int64_t count = tensor->count(item->shape);
        if (!is_output(tensor) || count == 0)
            continue;
        int64_t columns = tensor->columns(item->shape);
        json_array_append_new(outputs,
                              json_pack("{s:s++, s:s, s:[I, I]}", "name", id, "/", tensor->name,
                                        "dtype", vectors_dtype(tensor), "shape",
                                        (json_int_t)(count / columns), (json_int_t)columns));
    }
    return outputs;
}

static json_t *case_json(const struct expectation *x, const struct promise *promise, const char *id,
                         const struct bundle *inputs, const struct bundle *expected)
{
    const struct assay_case *item = x->item;
    const char *routing = item->op->routed ? assay_routing_names[item->fill.routing] : NULL;
    char in[256], out[256];
    snprintf(in, sizeof(in), "%s.inputs.safetensors", id);
    snprintf(out, sizeof(out), "%s.expected.safetensors", id);
    json_t *depth = x->rows > 0 ? json_integer(promise_depth(promise, item)) : json_null();
    return json_pack("{s:s, s:s, s:s, s:o, s:s?, s:s, s:o, s:s?, s:o, s:o, s:o}", "id", id, "key",
                     item->key, "op", item->op->name, "shape", case_shape_json(item), "routing",
                     routing, "fill", assay_fill_names[item->fill.kind], "depth", depth, "choice",
                     item->op->reconcile ? choices : NULL, "inputs", bundle_json(inputs, in),
                     "expected", bundle_json(expected, out), "outputs", outputs_json(item, id));
}

/* Files first: what the manifest names is there. */
static bool export_bundles(const struct expectation *x, const struct promise *promise,
                           const char *directory, const char *id, json_t *cases,
                           struct error *error)
{
    struct bundle inputs = {0}, expected = {0};
    char *in = vectors_path(directory, id, ".inputs.safetensors");
    char *out = vectors_path(directory, id, ".expected.safetensors");
    add_inputs(x, &inputs);
    bool done = false;
    if (!in || !out || !add_expected(x, promise, &expected))
        fail(error, "%s: out of memory", x->item->key);
    else
        done = safetensors_write(in, inputs.items, inputs.count, x->item->key, error) &&
               safetensors_write(out, expected.items, expected.count, x->item->key, error) &&
               (json_array_append_new(cases, case_json(x, promise, id, &inputs, &expected)) == 0 ||
                fail(error, "%s: out of memory", x->item->key));
    bundle_free(&inputs);
    bundle_free(&expected);
    free(in);
    free(out);
    return done;
}

static bool export_case(const struct assay_case *item, const struct promise *promise,
                        const struct check_options *options, const char *directory, json_t *cases,
                        struct error *error)
{
    struct expectation x;
    unsigned needs = promise->numerics;
    if (!op_has_class(item->op, ASSAY_F16))
        needs &= ~(1u << ASSAY_F16);
    char *id = vectors_id(item);
    if (!id)
        return fail(error, "out of memory");
    bool done = strlen(id) <= MAX_ID ||
                fail(error, "%s: its name makes no file name of at most %d bytes", id, MAX_ID);
    if (done && (done = expectation_make(&x, item, needs, options, error))) {
        done = export_bundles(&x, promise, directory, id, cases, error);
        expectation_free(&x);
    }
    free(id);
    return done;
}

static json_t *manifest_json(const struct promise *promise, json_t *cases)
{
    json_t *classes = json_object();
    for (int n = 0; n < ASSAY_NUMERICS_COUNT; n++) {
        if (promise->numerics >> n & 1 && tolerances[n])
            json_object_set_new(classes, assay_numerics_names[n], json_string(tolerances[n]));
    }
    return json_pack("{s:i, s:s, s:s, s:o, s:O}", "assay_vectors", VECTORS_VERSION, "commit",
                     build_commit, "rules", rules, "tolerances", classes, "cases", cases);
}

static bool write_manifest(const char *path, const struct promise *promise, json_t *cases,
                           struct error *error)
{
    struct output output;
    json_t *manifest = manifest_json(promise, cases);
    if (!manifest)
        return fail(error, "%s: out of memory", path);
    bool written = output_open(&output, path, error);
    if (written)
        written = output_close(&output,
                               json_dumpfd(manifest, output.fd, JSON_INDENT(1)) == 0 &&
                                   write(output.fd, "\n", 1) == 1,
                               error);
    json_decref(manifest);
    return written;
}

static bool is_empty(const char *directory)
{
    DIR *entries = opendir(directory);
    bool empty = entries != NULL;
    for (struct dirent *entry; empty && (entry = readdir(entries));)
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    if (entries)
        closedir(entries);
    return empty;
}

static bool make_directory(const char *directory, const char *manifest, struct error *error)
{
    struct error ignored;
    struct site site = {.file = manifest, .error = &ignored};
    if (mkdir(directory, 0777) == 0)
        return true;
    if (errno != EEXIST)
        return fail(error, "%s: cannot make it: %s", directory, strerror(errno));
    if (is_empty(directory))
        return true;
    json_t *old = load_json(&site, VECTORS_MAX_MANIFEST);
    bool ours = json_is_integer(json_object_get(old, "assay_vectors"));
    json_decref(old);
    return ours || fail(error, "%s: is not empty, and not an export of assay", directory);
}

bool vectors_export(const struct cases *cases, const struct promise *promise,
                    const struct check_options *options, const char *directory,
                    void (*progress)(size_t done, size_t count, const char *what),
                    struct error *error)
{
    char *path = vectors_path(directory, "manifest", ".json");
    json_t *exported = json_array();
    bool done = (path && exported) || fail(error, "out of memory");
    /* Until all is there, a manifest without cases says whose directory this is. */
    done = done && make_directory(directory, path, error) &&
           write_manifest(path, promise, exported, error);
    for (size_t i = 0; done && i < cases->count; i++) {
        if (progress)
            progress(i, cases->count, cases->items[i].key);
        done = export_case(&cases->items[i], promise, options, directory, exported, error);
    }
    done = done && write_manifest(path, promise, exported, error);
    json_decref(exported);
    free(path);
    return done;
}
