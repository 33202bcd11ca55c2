/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/case_parse.h"
#include "harness/context.h"
#include "harness/random.h"
#include "harness/vectors.h"

enum { CHUNK = 1 << 16 };

struct given {
    struct promise promise;
    char *directory, *manifest_path;
    json_t *manifest;
    json_t *entries; /* of its cases, by id */
    struct safetensors file;
    size_t n_kernels;
    struct assay_kernel *kernels; /* one for each op */
};

static bool read_entry(const struct site *site, json_t *entry, json_t *entries, struct cases *cases)
{
    struct site key_site = site_key(site, "key");
    const char *key = json_string_value(json_object_get(entry, "key"));
    if (!key)
        return refuse(&key_site, "must be a string");
    struct error why = {{0}};
    if (!cases_from_key(key, cases, &why))
        return refuse(site, "%s", why.text);
    if (!vectors_made(&cases->items[cases->count - 1], &why))
        return refuse(site, "%s", why.text);
    char *id = vectors_id(&cases->items[cases->count - 1]);
    bool set = id && json_object_set(entries, id, entry) == 0;
    free(id);
    return set || out_of_memory(site);
}

static bool read_manifest(struct given *given, struct cases *cases, struct error *error)
{
    struct site site = {.file = given->manifest_path, .error = error};
    given->manifest = load_json(&site, VECTORS_MAX_MANIFEST);
    if (!given->manifest)
        return false;
    struct site version_site = site_key(&site, "assay_vectors"),
                cases_site = site_key(&site, "cases");
    const json_t *version = json_object_get(given->manifest, "assay_vectors");
    if (!json_is_integer(version) || json_integer_value(version) != VECTORS_VERSION)
        return refuse(&version_site, "must be %d: only directories of assay export are judged",
                      VECTORS_VERSION);
    json_t *array = json_object_get(given->manifest, "cases");
    if (!json_is_array(array))
        return refuse(&cases_site, "must be an array");
    if (json_array_size(array) == 0)
        return refuse(&cases_site, "is empty: the export did not come to its end");
    for (size_t i = 0; i < json_array_size(array); i++) {
        struct site at = site_item(&cases_site, i);
        if (!read_entry(&at, json_array_get(array, i), given->entries, cases))
            return false;
    }
    return true;
}

/* With one case, its tensors may go by their own names. */
static const struct safetensor *find_output(const struct given *given,
                                            const struct assay_case *item, const char *tensor)
{
    const struct safetensor *found = NULL;
    if (json_object_size(given->entries) == 1)
        found = safetensors_find(&given->file, tensor);
    char *id = found ? NULL : vectors_id(item);
    char *name = id ? vectors_path(id, tensor, "") : NULL;
    if (name)
        found = safetensors_find(&given->file, name);
    free(name);
    free(id);
    return found;
}

/* The file has nothing that no case asks for. */
static bool check_names(const struct given *given, const struct cases *cases, struct error *error)
{
    struct site site = {.file = given->file.path, .error = error};
    bool *asked = calloc(given->file.count + 1, sizeof(*asked));
    if (!asked)
        return fail(error, "out of memory");
    for (size_t c = 0; c < cases->count; c++) {
        const struct assay_op *op = cases->items[c].op;
        for (size_t i = 0; i < op->n_tensors; i++) {
            const struct safetensor *found =
                is_output(&op->tensors[i]) && op->tensors[i].count(cases->items[c].shape) > 0
                    ? find_output(given, &cases->items[c], op->tensors[i].name)
                    : NULL;
            if (found)
                asked[found - given->file.items] = true;
        }
    }
    size_t i = 0;
    while (i < given->file.count && asked[i])
        i++;
    free(asked);
    return i == given->file.count || refuse(&site, "\"%.200s\" is no output of a case of %s",
                                            given->file.items[i].name, given->directory);
}

struct given *given_open(const char *directory, const char *path, const struct promise *promise,
                         struct cases *cases, struct error *error)
{
    struct given *given = calloc(1, sizeof(*given));
    if (!given) {
        fail(error, "out of memory");
        return NULL;
    }
    given->file.fd = -1;
    given->promise = *promise;
    given->directory = strdup(directory);
    given->manifest_path = vectors_path(directory, "manifest", ".json");
    given->entries = json_object();
    bool opened = (given->directory && given->manifest_path && given->entries) ||
                  fail(error, "out of memory");
    opened = opened && read_manifest(given, cases, error) &&
             safetensors_open(&given->file, path, error) && check_names(given, cases, error);
    if (opened)
        return given;
    given_close(given);
    return NULL;
}

void given_close(struct given *given)
{
    if (!given)
        return;
    safetensors_close(&given->file);
    json_decref(given->entries);
    json_decref(given->manifest);
    free(given->kernels);
    free(given->manifest_path);
    free(given->directory);
    free(given);
}

static bool given_kernel(struct given *given, const struct assay_case *item,
                         struct kernels *kernels, struct error *error)
{
    const struct assay_op *op = item->op;
    for (size_t k = 0; k < kernels->count; k++) {
        if (kernels->items[k].op == op)
            return true;
    }
    enum assay_numerics numerics;
    if (!promise_class(&given->promise, item, &numerics, error))
        return false;
    bool twin = given->promise.twin && assay_digits(numerics) > 0;
    if (twin && !op->twin)
        return fail(error, "%s has no scalar twin: %s", op->name, item->key);
    struct assay_kernel *abi = &given->kernels[given->n_kernels++];
    *abi = (struct assay_kernel){
        .op = op->name,
        .name = "given",
        .tier = "elsewhere",
        .numerics = (uint32_t)numerics,
        .twin = twin,
    };
    struct kernel *kernel = &kernels->items[kernels->count];
    *kernel = (struct kernel){.abi = abi, .op = op, .library = given->file.path};
    if (asprintf(&kernel->label, "%s/given", op->name) < 0)
        return fail(error, "out of memory");
    kernels->count++;
    return true;
}

bool given_kernels(struct given *given, const struct cases *cases, struct kernels *kernels,
                   struct error *error)
{
    given->kernels = calloc(assay_n_ops, sizeof(*given->kernels));
    kernels->items = calloc(assay_n_ops, sizeof(*kernels->items));
    if (!given->kernels || !kernels->items)
        return fail(error, "out of memory");
    for (size_t c = 0; c < cases->count; c++) {
        if (!given_kernel(given, &cases->items[c], kernels, error))
            return false;
    }
    return true;
}

/* The hash that the manifest has for an input; NULL if none. */
static const char *exported_hash(const json_t *entry, const char *tensor)
{
    const json_t *inputs = json_object_get(json_object_get(entry, "inputs"), "tensors");
    for (size_t i = 0; i < json_array_size(inputs); i++) {
        const json_t *item = json_array_get(inputs, i);
        const char *name = json_string_value(json_object_get(item, "name"));
        if (name && strcmp(name, tensor) == 0)
            return json_string_value(json_object_get(item, "hash"));
    }
    return NULL;
}

/* The input in the exported file is what the key makes. */
static bool check_input(const struct safetensors *file, const struct assay_tensor *tensor,
                        const struct guarded *made, struct error *error)
{
    struct site site = {.file = file->path, .error = error};
    const struct safetensor *item = safetensors_find(file, tensor->name);
    if (!item || strcmp(item->dtype, vectors_dtype(tensor)) != 0 ||
        item->end - item->begin != (int64_t)made->bytes)
        return refuse(&site, "has no %s of the exported type and size", tensor->name);
    uint8_t chunk[CHUNK];
    for (size_t at = 0; at < made->bytes; at += CHUNK) {
        size_t bytes = made->bytes - at < CHUNK ? made->bytes - at : CHUNK;
        if (!safetensors_read(file, item, (int64_t)at, chunk, bytes, error))
            return false;
        if (memcmp(chunk, made->data + at, bytes) != 0)
            return refuse(&site, "%s is not as it was exported", tensor->name);
    }
    return true;
}

static bool check_inputs(const struct given *given, const struct expectation *x, const char *id,
                         struct error *error)
{
    struct site site = {.file = given->manifest_path, .error = error};
    const struct assay_op *op = x->item->op;
    const char *commit = json_string_value(json_object_get(given->manifest, "commit"));
    for (size_t i = 0; i < op->n_tensors; i++) {
        const struct guarded *made = &x->inputs[0].buffers[i];
        if (is_output(&op->tensors[i]) || !made->data)
            continue;
        const char *hash = exported_hash(json_object_get(given->entries, id), op->tensors[i].name);
        char wanted[17];
        snprintf(wanted, sizeof(wanted), "%016" PRIx64, hash_bytes(made->data, made->bytes, 0));
        if (!hash || strcmp(hash, wanted) != 0)
            return refuse(&site, "%s: %s is not what assay %s makes of the key; exported by %.40s",
                          x->item->key, op->tensors[i].name, build_commit,
                          commit ? commit : "an unknown version");
    }
    struct safetensors file;
    char *path = vectors_path(given->directory, id, ".inputs.safetensors");
    if (!path)
        return fail(error, "out of memory");
    bool good = safetensors_open(&file, path, error);
    for (size_t i = 0; good && i < op->n_tensors; i++) {
        if (!is_output(&op->tensors[i]) && x->inputs[0].buffers[i].data)
            good = check_input(&file, &op->tensors[i], &x->inputs[0].buffers[i], error);
    }
    safetensors_close(&file);
    free(path);
    return good;
}

/* The tensor as [count] or [..., columns]. */
static bool check_type(const struct given *given, const struct safetensor *item,
                       const struct assay_tensor *tensor, const void *shape, struct error *error)
{
    struct site site = {.file = given->file.path, .error = error};
    int64_t count = tensor->count(shape), columns = tensor->columns(shape);
    int64_t last = item->rank > 0 ? item->shape[item->rank - 1] : 0;
    if (strcmp(item->dtype, vectors_dtype(tensor)) != 0)
        return refuse(&site, "\"%.200s\" is %s and must be %s", item->name, item->dtype,
                      vectors_dtype(tensor));
    if (safetensor_count(item) == count && (last == columns || item->rank == 1))
        return true;
    return refuse(&site, "\"%.200s\" is not of shape [%lld, %lld]", item->name,
                  (long long)(count / columns), (long long)columns);
}

/* Reads an output; what the contract leaves alone becomes that of the reference. */
static bool read_output(const struct given *given, const struct expectation *x, size_t index,
                        const struct safetensor *item, const struct tensors *outputs,
                        struct error *error)
{
    const struct assay_tensor *tensor = &x->item->op->tensors[index];
    const struct guarded *to = &outputs->buffers[index];
    size_t bytes = assay_dtype_bytes(tensor->dtype);
    if (!check_type(given, item, tensor, x->item->shape, error) ||
        !safetensors_read(&given->file, item, 0, to->data, to->bytes, error))
        return false;
    for (int64_t i = 0; i < (int64_t)(to->bytes / bytes); i++) {
        if (expectation_untouched(x, index, i))
            memcpy(to->data + (size_t)i * bytes,
                   x->reference.buffers[index].data + (size_t)i * bytes, bytes);
    }
    return true;
}

/* *missing: the first output that is not there, or NULL. */
static bool read_outputs(const struct given *given, const struct expectation *x,
                         const struct tensors *outputs, const char **missing, struct error *error)
{
    const struct assay_op *op = x->item->op;
    *missing = NULL;
    for (size_t i = 0; i < op->n_tensors; i++) {
        if (!outputs->buffers[i].data)
            continue;
        const struct safetensor *item = find_output(given, x->item, op->tensors[i].name);
        if (item && !read_output(given, x, i, item, outputs, error))
            return false;
        if (!item && !*missing)
            *missing = op->tensors[i].name;
    }
    return true;
}

bool given_judge(const struct given *given, const struct expectation *x,
                 const struct kernel *kernel, struct result *result, struct error *error)
{
    struct tensors outputs = {0};
    const char *missing;
    char *id = vectors_id(x->item);
    bool judged =
        (id || fail(error, "out of memory")) && check_inputs(given, x, id, error) &&
        tensors_make(&outputs, x->item->op, x->item->shape, OUTPUTS, AT_END, PRIVATE, error) &&
        read_outputs(given, x, &outputs, &missing, error);
    if (judged && missing) {
        *result = (struct result){.item = x->item, .kernel = kernel, .verdict = FAIL};
        result->judgement.z_mean = result->judgement.z_mean_square = result->judgement.z_max = NAN;
        judge_say(&result->judgement, LAYER_WRITES, "%s has no tensor %s of this case",
                  given->file.path, missing);
    } else if (judged) {
        judged = check_outputs(x, kernel, promise_depth(&given->promise, x->item), &outputs, result,
                               error);
    }
    tensors_free(&outputs);
    free(id);
    return judged;
}
