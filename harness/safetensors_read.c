/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/case_parse.h"
#include "harness/safetensors.h"

/* Whether all the bytes are there. */
static bool read_at(int fd, void *to, size_t bytes, int64_t offset)
{
    char *at = to;
    errno = 0;
    while (bytes > 0) {
        ssize_t count = pread(fd, at, bytes, (off_t)offset);
        if (count <= 0)
            return false;
        at += count;
        bytes -= (size_t)count;
        offset += count;
    }
    return true;
}

static bool refuse_end(const struct site *site)
{
    return errno ? refuse(site, "cannot be read: %s", strerror(errno))
                 : refuse(site, "ends too early");
}

static bool read_shape(const struct site *site, const json_t *shape, struct safetensor *tensor)
{
    if (!json_is_array(shape))
        return shape ? refuse_type(site, "an array", shape) : refuse(site, "is missing");
    tensor->rank = json_array_size(shape);
    if (tensor->rank > SAFETENSORS_MAX_RANK)
        return refuse(site, "has %zu dimensions, more than %d", tensor->rank, SAFETENSORS_MAX_RANK);
    for (size_t i = 0; i < tensor->rank; i++) {
        struct site at = site_item(site, i);
        if (!read_limited(&at, json_array_get(shape, i), 0, INT64_MAX, &tensor->shape[i]))
            return false;
    }
    return true;
}

static bool read_offsets(const struct site *site, const json_t *offsets, int64_t data_bytes,
                         struct safetensor *tensor)
{
    if (!json_is_array(offsets) || json_array_size(offsets) != 2)
        return refuse(site, "must be an array of two");
    struct site begin = site_item(site, 0), end = site_item(site, 1);
    return read_limited(&begin, json_array_get(offsets, 0), 0, data_bytes, &tensor->begin) &&
           read_limited(&end, json_array_get(offsets, 1), tensor->begin, data_bytes, &tensor->end);
}

static bool read_tensor(const struct site *site, const json_t *value, int64_t data_bytes,
                        struct safetensor *tensor)
{
    static const char *const keys[] = {"dtype", "shape", "data_offsets"};
    if (!check_object(site, value, "key", keys, sizeof(keys) / sizeof(*keys)))
        return false;
    const char *dtype = json_string_value(json_object_get(value, "dtype"));
    struct site dtype_site = site_key(site, "dtype"), shape_site = site_key(site, "shape");
    struct site offsets_site = site_key(site, "data_offsets");
    int64_t bytes = dtype ? safetensor_dtype_bytes(dtype) : 0;
    if (bytes == 0)
        return refuse(&dtype_site, "\"%.40s\" is no type that this reads", dtype ? dtype : "");
    strcpy(tensor->dtype, dtype);
    if (!read_shape(&shape_site, json_object_get(value, "shape"), tensor) ||
        !read_offsets(&offsets_site, json_object_get(value, "data_offsets"), data_bytes, tensor))
        return false;
    if (assay_mul(safetensor_count(tensor), bytes) != tensor->end - tensor->begin)
        return refuse(&offsets_site, "hold %lld bytes, which dtype and shape do not make",
                      (long long)(tensor->end - tensor->begin));
    return true;
}

static bool check_metadata(const struct site *site, const json_t *metadata)
{
    struct site at = site_key(site, "__metadata__");
    const char *key;
    json_t *value;
    if (!json_is_object(metadata))
        return refuse_type(&at, "an object", metadata);
    json_object_foreach((json_t *)(uintptr_t)metadata, key, value)
    {
        if (!json_is_string(value))
            return refuse(&at, "\"%.80s\" is not a string", key);
    }
    return true;
}

static bool read_tensors(const struct site *site, const json_t *header, int64_t data_bytes,
                         struct safetensors *file)
{
    const char *name;
    json_t *value;
    file->items = calloc(json_object_size(header) + 1, sizeof(*file->items));
    if (!file->items)
        return out_of_memory(site);
    json_object_foreach((json_t *)(uintptr_t)header, name, value)
    {
        if (strcmp(name, "__metadata__") == 0) {
            if (!check_metadata(site, value))
                return false;
            continue;
        }
        char place[100];
        snprintf(place, sizeof(place), "\"%.80s\"", name);
        struct site at = site_key(site, place);
        struct safetensor *tensor = &file->items[file->count++];
        if (!(tensor->name = strdup(name)))
            return out_of_memory(site);
        if (!read_tensor(&at, value, data_bytes, tensor))
            return false;
    }
    return true;
}

static int by_begin(const void *a, const void *b)
{
    const struct safetensor *x = a, *y = b;
    if (x->begin != y->begin)
        return (x->begin > y->begin) - (x->begin < y->begin);
    return (x->end > y->end) - (x->end < y->end);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct safetensor *)a)->name, ((const struct safetensor *)b)->name);
}

static bool check_cover(const struct site *site, int64_t data_bytes, struct safetensors *file)
{
    int64_t end = 0;
    qsort(file->items, file->count, sizeof(*file->items), by_begin);
    for (size_t i = 0; i < file->count; i++) {
        const struct safetensor *tensor = &file->items[i];
        if (tensor->begin != end)
            return refuse(site, "\"%.80s\" begins at byte %lld of the data, %s at %lld",
                          tensor->name, (long long)tensor->begin,
                          tensor->begin < end ? "inside another that ends" : "after a hole",
                          (long long)end);
        end = tensor->end;
    }
    if (end != data_bytes)
        return refuse(site, "its tensors cover %lld of %lld bytes of data", (long long)end,
                      (long long)data_bytes);
    qsort(file->items, file->count, sizeof(*file->items), by_name);
    return true;
}

static bool read_header(const struct site *site, int64_t file_bytes, struct safetensors *file)
{
    uint64_t length;
    if (!read_at(file->fd, &length, sizeof(length), 0))
        return refuse_end(site);
    if (length > SAFETENSORS_MAX_HEADER)
        return refuse(site, "its header's length, %llu, is above %d", (unsigned long long)length,
                      SAFETENSORS_MAX_HEADER);
    if ((int64_t)length > file_bytes - (int64_t)sizeof(length))
        return refuse(site, "is shorter than its header of %llu bytes", (unsigned long long)length);
    char *text = malloc(length + 1);
    if (!text)
        return out_of_memory(site);
    json_t *header = NULL;
    if (!read_at(file->fd, text, length, sizeof(length)))
        refuse_end(site);
    else if (length == 0 || text[0] != '{')
        refuse(site, "its header does not begin with {");
    else
        header = parse_json(site, text, length);
    file->data = (int64_t)(sizeof(length) + length);
    bool good = header && read_tensors(site, header, file_bytes - file->data, file) &&
                check_cover(site, file_bytes - file->data, file);
    json_decref(header);
    free(text);
    return good;
}

bool safetensors_open(struct safetensors *file, const char *path, struct error *error)
{
    struct site site = {.file = path, .error = error};
    struct stat status;
    *file = (struct safetensors){.path = strdup(path)};
    file->fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* a FIFO must not block */
    bool good = file->path || out_of_memory(&site);
    if (good && (file->fd < 0 || fstat(file->fd, &status) != 0))
        good = refuse(&site, "cannot be read: %s", strerror(errno));
    if (good && !S_ISREG(status.st_mode))
        good = refuse(&site, "is not a regular file");
    good = good && read_header(&site, status.st_size, file);
    if (!good)
        safetensors_close(file);
    return good;
}

void safetensors_close(struct safetensors *file)
{
    for (size_t i = 0; i < file->count; i++)
        free((char *)(uintptr_t)file->items[i].name);
    free(file->items);
    free(file->path);
    if (file->fd >= 0)
        close(file->fd);
    *file = (struct safetensors){.fd = -1};
}

const struct safetensor *safetensors_find(const struct safetensors *file, const char *name)
{
    struct safetensor key = {.name = name};
    return file->count ? bsearch(&key, file->items, file->count, sizeof(key), by_name) : NULL;
}

bool safetensors_read(const struct safetensors *file, const struct safetensor *tensor,
                      int64_t offset, void *to, size_t bytes, struct error *error)
{
    struct site site = {.file = file->path, .error = error};
    return read_at(file->fd, to, bytes, file->data + tensor->begin + offset) || refuse_end(&site);
}
