/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/output.h"
#include "harness/safetensors.h"
#include "ref/op.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors are written as they lie in memory, which must be little-endian"
#endif

static const struct {
    const char *name;
    int bytes;
} dtypes[] = {
    {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1},
    {"U16", 2},  {"I16", 2}, {"F16", 2}, {"BF16", 2},    {"U32", 4},
    {"I32", 4},  {"F32", 4}, {"U64", 8}, {"I64", 8},     {"F64", 8},
};

int64_t safetensor_dtype_bytes(const char *dtype)
{
    for (size_t i = 0; i < sizeof(dtypes) / sizeof(*dtypes); i++) {
        if (strcmp(dtypes[i].name, dtype) == 0)
            return dtypes[i].bytes;
    }
    return 0;
}

int64_t safetensor_count(const struct safetensor *tensor)
{
    int64_t count = 1;
    for (size_t i = 0; i < tensor->rank; i++)
        count = assay_mul(count, tensor->shape[i]);
    return count;
}

static size_t bytes_of(const struct safetensor *tensor)
{
    return (size_t)(safetensor_count(tensor) * safetensor_dtype_bytes(tensor->dtype));
}

static int larger_type_first(const void *a, const void *b)
{
    const struct safetensor *x = a, *y = b;
    int64_t difference = safetensor_dtype_bytes(y->dtype) - safetensor_dtype_bytes(x->dtype);
    return difference ? (difference > 0) - (difference < 0) : strcmp(x->name, y->name);
}

/* The header, padded to a multiple of 8; NULL: out of memory. */
static char *header_text(const struct safetensor *tensors, size_t count, const char *key)
{
    json_t *header = json_pack("{s:{s:s}}", "__metadata__", "key", key);
    int64_t begin = 0;
    for (size_t i = 0; header && i < count; i++) {
        json_t *shape = json_array();
        for (size_t d = 0; d < tensors[i].rank; d++)
            json_array_append_new(shape, json_integer(tensors[i].shape[d]));
        int64_t end = begin + (int64_t)bytes_of(&tensors[i]);
        json_object_set_new(header, tensors[i].name,
                            json_pack("{s:s, s:o, s:[I, I]}", "dtype", tensors[i].dtype, "shape",
                                      shape, "data_offsets", (json_int_t)begin, (json_int_t)end));
        begin = end;
    }
    /* jansson copies no string into a NULL object, and leaves out what it could not make. */
    char *text = json_object_size(header) == count + 1
                     ? json_dumps(header, JSON_COMPACT | JSON_PRESERVE_ORDER)
                     : NULL;
    json_decref(header);
    char *padded = NULL;
    if (text && (padded = malloc(strlen(text) + 8))) {
        strcpy(padded, text);
        while (strlen(padded) % 8 != 0)
            strcat(padded, " ");
    }
    free(text);
    return padded;
}

static bool write_all(int fd, const void *from, size_t bytes)
{
    const char *at = from;
    while (bytes > 0) {
        ssize_t written = write(fd, at, bytes);
        if (written < 0)
            return false;
        at += written;
        bytes -= (size_t)written;
    }
    return true;
}

static bool write_file(const char *path, const struct safetensor *tensors, size_t count,
                       const char *header, struct error *error)
{
    struct output output;
    uint64_t length = strlen(header);
    if (!output_open(&output, path, error))
        return false;
    bool written =
        write_all(output.fd, &length, sizeof(length)) && write_all(output.fd, header, length);
    for (size_t i = 0; written && i < count; i++)
        written = write_all(output.fd, tensors[i].data, bytes_of(&tensors[i]));
    return output_close(&output, written, error);
}

bool safetensors_write(const char *path, const struct safetensor *tensors, size_t count,
                       const char *key, struct error *error)
{
    struct safetensor *sorted = malloc((count + 1) * sizeof(*sorted));
    if (!sorted)
        return fail(error, "%s: out of memory", path);
    if (count > 0)
        memcpy(sorted, tensors, count * sizeof(*sorted));
    qsort(sorted, count, sizeof(*sorted), larger_type_first);
    char *header = header_text(sorted, count, key);
    bool written = header ? write_file(path, sorted, count, header, error)
                          : fail(error, "%s: out of memory", path);
    free(header);
    free(sorted);
    return written;
}
