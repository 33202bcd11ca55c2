/* SPDX-License-Identifier: MIT */
#include "harness/gguf.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ref/op.h"

enum { ALIGNMENT_MIN = 8, ALIGNMENT_DEFAULT = 32, KEY_MAX = 65535, DEPTH_MAX = 8 };

/* The least that a key and a tensor take: lengths, types, a byte of name, a value, a dimension. */
enum { KEY_MIN_BYTES = 8 + 1 + 4 + 1, TENSOR_MIN_BYTES = 8 + 1 + 4 + 8 + 4 + 8 };

/* Of values whose size does not vary. */
static const uint8_t value_bytes[GGUF_VALUES] = {
    [GGUF_U8] = 1,  [GGUF_I8] = 1,   [GGUF_U16] = 2, [GGUF_I16] = 2, [GGUF_U32] = 4, [GGUF_I32] = 4,
    [GGUF_F32] = 4, [GGUF_BOOL] = 1, [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8};

static const struct gguf_type types[] = {
    {"f32", 0, 1, 4},         {"f16", 1, 1, 2},         {"q4_0", 2, 32, 18},
    {"q4_1", 3, 32, 20},      {"q5_0", 6, 32, 22},      {"q5_1", 7, 32, 24},
    {"q8_0", 8, 32, 34},      {"q8_1", 9, 32, 36},      {"q2_K", 10, 256, 84},
    {"q3_K", 11, 256, 110},   {"q4_K", 12, 256, 144},   {"q5_K", 13, 256, 176},
    {"q6_K", 14, 256, 210},   {"q8_K", 15, 256, 292},   {"iq2_xxs", 16, 256, 66},
    {"iq2_xs", 17, 256, 74},  {"iq3_xxs", 18, 256, 98}, {"iq1_s", 19, 256, 50},
    {"iq4_nl", 20, 32, 18},   {"iq3_s", 21, 256, 110},  {"iq2_s", 22, 256, 82},
    {"iq4_xs", 23, 256, 136}, {"i8", 24, 1, 1},         {"i16", 25, 1, 2},
    {"i32", 26, 1, 4},        {"i64", 27, 1, 8},        {"f64", 28, 1, 8},
    {"iq1_m", 29, 256, 56},   {"bf16", 30, 1, 2},       {"tq1_0", 34, 256, 54},
    {"tq2_0", 35, 256, 66},   {"mxfp4", 39, 32, 17},    {"nvfp4", 40, 64, 36},
    {"q1_0", 41, 128, 18},    {"q2_0", 42, 64, 18},
};

/* ---- reading ---- */

struct reader {
    struct gguf *gguf;
    size_t at;
    struct error *error;
};

/* The next `bytes` bytes; NULL after a message if the file ends before. */
static const uint8_t *take(struct reader *reader, uint64_t bytes, const char *what)
{
    const struct gguf *gguf = reader->gguf;
    if (bytes > gguf->size - reader->at) {
        fail(reader->error, "%s: byte %zu: %s of %" PRIu64 " bytes does not fit into the file",
             gguf->file, reader->at, what, bytes);
        return NULL;
    }
    const uint8_t *start = gguf->data + reader->at;
    reader->at += (size_t)bytes;
    return start;
}

static bool take_number(struct reader *reader, size_t bytes, const char *what, uint64_t *value)
{
    const uint8_t *from = take(reader, bytes, what);
    if (from)
        *value = gguf_number(from, bytes);
    return from;
}

static bool take_string(struct reader *reader, const char *what, const char **text,
                        uint64_t *length)
{
    if (!take_number(reader, 8, what, length))
        return false;
    *text = (const char *)take(reader, *length, what);
    return *text;
}

/* A string of 1 to `max` printable characters, so that it can be shown as it is. */
static bool take_name(struct reader *reader, const char *what, uint64_t max, const char **text,
                      uint64_t *length)
{
    size_t start = reader->at;
    if (!take_string(reader, what, text, length))
        return false;
    if (*length < 1 || *length > max)
        return fail(reader->error,
                    "%s: byte %zu: %s must have 1 to %" PRIu64 " bytes, not %" PRIu64,
                    reader->gguf->file, start, what, max, *length);
    for (uint64_t i = 0; i < *length; i++) {
        if ((*text)[i] <= ' ' || (*text)[i] > '~')
            return fail(reader->error, "%s: byte %zu: %s has a byte that is not printable ASCII",
                        reader->gguf->file, start, what);
    }
    return true;
}

/* ---- keys ---- */

static bool take_type(struct reader *reader, enum gguf_value *type)
{
    size_t start = reader->at;
    uint64_t number = 0;
    if (!take_number(reader, 4, "a value's type", &number))
        return false;
    if (number >= GGUF_VALUES)
        return fail(reader->error, "%s: byte %zu: unknown type of value %" PRIu64,
                    reader->gguf->file, start, number);
    *type = (enum gguf_value)number;
    return true;
}

/* `count` values that lie one after the other. */
static bool skip_numbers(struct reader *reader, enum gguf_value type, uint64_t count)
{
    size_t start = reader->at;
    uint64_t bytes;
    if (__builtin_mul_overflow(count, (uint64_t)value_bytes[type], &bytes))
        return fail(reader->error, "%s: byte %zu: an array of %" PRIu64 " values overflows",
                    reader->gguf->file, start, count);
    const uint8_t *values = take(reader, bytes, count == 1 ? "a value" : "an array");
    for (uint64_t i = 0; values && type == GGUF_BOOL && i < count; i++) {
        if (values[i] > 1)
            return fail(reader->error, "%s: byte %zu: a bool must be 0 or 1, not %d",
                        reader->gguf->file, start + (size_t)i, values[i]);
    }
    return values;
}

static bool skip_value(struct reader *reader, enum gguf_value type, int depth)
{
    const char *text;
    uint64_t count = 0;
    if (type == GGUF_STRING)
        return take_string(reader, "a string", &text, &count);
    if (type != GGUF_ARRAY)
        return skip_numbers(reader, type, 1);
    size_t start = reader->at;
    if (depth == DEPTH_MAX)
        return fail(reader->error, "%s: byte %zu: arrays are nested more than %d deep",
                    reader->gguf->file, start, DEPTH_MAX);
    if (!take_type(reader, &type) || !take_number(reader, 8, "an array's count", &count))
        return false;
    if (type != GGUF_STRING && type != GGUF_ARRAY)
        return skip_numbers(reader, type, count);
    /* Each takes at least 8 bytes, so that the file's end is met before long. */
    for (uint64_t i = 0; i < count; i++) {
        if (!skip_value(reader, type, depth + 1))
            return false;
    }
    return true;
}

static bool read_keys(struct reader *reader)
{
    struct gguf *gguf = reader->gguf;
    gguf->keys = calloc(gguf->n_keys + 1, sizeof(*gguf->keys));
    if (!gguf->keys)
        return fail(reader->error, "%s: out of memory", gguf->file);
    for (size_t i = 0; i < gguf->n_keys; i++) {
        struct gguf_key *key = &gguf->keys[i];
        uint64_t length;
        if (!take_name(reader, "a key", KEY_MAX, &key->name, &length) ||
            !take_type(reader, &key->type))
            return false;
        key->length = (size_t)length;
        key->value = gguf->data + reader->at;
        if (!skip_value(reader, key->type, 0))
            return false;
    }
    qsort(gguf->keys, gguf->n_keys, sizeof(*gguf->keys), gguf_compare_keys);
    for (size_t i = 1; i < gguf->n_keys; i++) {
        const struct gguf_key *key = &gguf->keys[i];
        if (gguf_compare_keys(key - 1, key) == 0)
            return fail(reader->error, "%s: key \"%.*s\" is there twice", gguf->file,
                        (int)(key->length < 80 ? key->length : 80), key->name);
    }
    return true;
}

static bool read_alignment(struct reader *reader)
{
    struct gguf *gguf = reader->gguf;
    const char *name = "general.alignment";
    gguf->alignment = ALIGNMENT_DEFAULT;
    if (!gguf_key(gguf, name))
        return true;
    if (!gguf_u32(gguf, name, &gguf->alignment))
        return fail(reader->error, "%s: %s must be a u32", gguf->file, name);
    uint32_t a = gguf->alignment;
    if (a < ALIGNMENT_MIN || (a & (a - 1)) != 0)
        return fail(reader->error, "%s: %s must be a power of two from %d on, not %" PRIu32,
                    gguf->file, name, ALIGNMENT_MIN, a);
    return true;
}

/* ---- tensors ---- */

static bool reject(const struct reader *reader, const struct gguf_tensor *tensor, const char *rule)
{
    return fail(reader->error, "%s: tensor \"%s\": %s", reader->gguf->file, tensor->name, rule);
}

static bool read_dims(struct reader *reader, struct gguf_tensor *tensor)
{
    uint64_t n_dims = 0, length = 0;
    if (!take_number(reader, 4, "a tensor's dimensions", &n_dims))
        return false;
    if (n_dims < 1 || n_dims > GGUF_DIMS)
        return reject(reader, tensor, "must have 1 to 4 dimensions");
    for (uint64_t i = 0; i < GGUF_DIMS; i++) {
        tensor->ne[i] = 1;
        if (i >= n_dims)
            continue;
        if (!take_number(reader, 8, "a tensor's dimension", &length))
            return false;
        if (length == 0)
            return reject(reader, tensor, "has a dimension of 0");
        if (length > INT64_MAX)
            return reject(reader, tensor, "has a dimension above 2^63 - 1");
        tensor->ne[i] = (int64_t)length;
    }
    return true;
}

static bool read_type(struct reader *reader, struct gguf_tensor *tensor)
{
    uint64_t id = 0;
    if (!take_number(reader, 4, "a tensor's type", &id))
        return false;
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
        if (types[i].id == id)
            tensor->type = &types[i];
    }
    if (!tensor->type)
        return fail(reader->error, "%s: tensor \"%s\": unknown type %" PRIu64, reader->gguf->file,
                    tensor->name, id);
    if (tensor->ne[0] % tensor->type->block != 0)
        return fail(reader->error, "%s: tensor \"%s\": rows of %s must be a multiple of %u long",
                    reader->gguf->file, tensor->name, tensor->type->name, tensor->type->block);
    tensor->bytes = assay_mul(tensor->ne[0] / tensor->type->block, tensor->type->block_bytes);
    for (size_t i = 1; i < GGUF_DIMS; i++)
        tensor->bytes = assay_mul(tensor->bytes, tensor->ne[i]);
    return tensor->bytes >= 0 || reject(reader, tensor, "its size overflows");
}

/* All but the tensor's place; its offset is left as the file has it. */
static bool read_tensor(struct reader *reader, struct gguf_tensor *tensor)
{
    const char *name;
    uint64_t length, offset = 0;
    if (!take_name(reader, "a tensor's name", GGUF_NAME_MAX, &name, &length))
        return false;
    memcpy(tensor->name, name, (size_t)length);
    if (!read_dims(reader, tensor) || !read_type(reader, tensor) ||
        !take_number(reader, 8, "a tensor's offset", &offset))
        return false;
    if (offset % reader->gguf->alignment != 0)
        return reject(reader, tensor, "its offset is not a multiple of the alignment");
    tensor->offset = (int64_t)offset; /* negative if it was beyond, which check_places refuses */
    return true;
}

static int compare_names(const void *a, const void *b, void *gguf)
{
    const struct gguf_tensor *tensors = ((const struct gguf *)gguf)->tensors;
    return strcmp(tensors[*(const size_t *)a].name, tensors[*(const size_t *)b].name);
}

static int compare_places(const void *a, const void *b, void *gguf)
{
    const struct gguf_tensor *tensors = ((const struct gguf *)gguf)->tensors;
    int64_t x = tensors[*(const size_t *)a].offset, y = tensors[*(const size_t *)b].offset;
    return (x > y) - (x < y);
}

/* Each tensor is inside the file and overlaps no other. */
static bool check_places(const struct reader *reader, size_t *order)
{
    struct gguf *gguf = reader->gguf;
    int64_t start = assay_add((int64_t)reader->at, gguf->alignment - 1);
    start -= start % gguf->alignment;
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        struct gguf_tensor *tensor = &gguf->tensors[i];
        tensor->offset = assay_add(start, tensor->offset);
        int64_t end = assay_add(tensor->offset, tensor->bytes);
        if (end < 0 || (uint64_t)end > gguf->size)
            return reject(reader, tensor, "its data is not inside the file");
        order[i] = i;
    }
    qsort_r(order, gguf->n_tensors, sizeof(*order), compare_places, gguf);
    for (size_t i = 1; i < gguf->n_tensors; i++) {
        const struct gguf_tensor *first = &gguf->tensors[order[i - 1]];
        const struct gguf_tensor *second = &gguf->tensors[order[i]];
        if (second->offset < first->offset + first->bytes)
            return fail(reader->error, "%s: tensor \"%s\": overlaps \"%s\"", gguf->file,
                        second->name, first->name);
    }
    return true;
}

static bool read_tensors(struct reader *reader)
{
    struct gguf *gguf = reader->gguf;
    gguf->tensors = calloc(gguf->n_tensors + 1, sizeof(*gguf->tensors));
    gguf->by_name = calloc(gguf->n_tensors + 1, sizeof(*gguf->by_name));
    if (!gguf->tensors || !gguf->by_name)
        return fail(reader->error, "%s: out of memory", gguf->file);
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        if (!read_tensor(reader, &gguf->tensors[i]))
            return false;
    }
    if (!check_places(reader, gguf->by_name))
        return false;
    qsort_r(gguf->by_name, gguf->n_tensors, sizeof(*gguf->by_name), compare_names, gguf);
    for (size_t i = 1; i < gguf->n_tensors; i++) {
        const size_t *pair = &gguf->by_name[i - 1];
        if (compare_names(&pair[0], &pair[1], gguf) == 0)
            return reject(reader, &gguf->tensors[pair[0]], "is there twice");
    }
    return true;
}

/* ---- the file ---- */

static bool check_version(const struct reader *reader, uint32_t version)
{
    const char *file = reader->gguf->file;
    if (version == 2 || version == 3)
        return true;
    if ((version & 0xffff) == 0 && version >> 16)
        return fail(reader->error, "%s: byte 4: a big-endian file; only little-endian is read",
                    file);
    return fail(reader->error, "%s: byte 4: version %" PRIu32 "; only 2 and 3 are read", file,
                version);
}

/* A count of things that take at least so many bytes each. */
static bool take_count(struct reader *reader, const char *what, size_t least, size_t *count)
{
    size_t start = reader->at;
    uint64_t number = 0;
    if (!take_number(reader, 8, what, &number))
        return false;
    if (number > GGUF_COUNT_MAX || number > (reader->gguf->size - reader->at) / least)
        return fail(reader->error,
                    "%s: byte %zu: %s is %" PRIu64 ", more than the file can hold or are read (%d)",
                    reader->gguf->file, start, what, number, GGUF_COUNT_MAX);
    *count = (size_t)number;
    return true;
}

bool gguf_read(struct gguf *gguf, const char *file, const uint8_t *data, size_t size,
               struct error *error)
{
    *gguf = (struct gguf){.file = file, .data = data, .size = size};
    struct reader reader = {.gguf = gguf, .error = error};
    uint64_t version = 0;
    bool good = false;
    const uint8_t *magic = take(&reader, 4, "the magic number");
    if (magic && memcmp(magic, "GGUF", 4) != 0)
        fail(error, "%s: byte 0: does not begin with \"GGUF\"", file);
    else if (magic && take_number(&reader, 4, "the version", &version))
        good = check_version(&reader, (uint32_t)version) &&
               take_count(&reader, "the number of tensors", TENSOR_MIN_BYTES, &gguf->n_tensors) &&
               take_count(&reader, "the number of keys", KEY_MIN_BYTES, &gguf->n_keys) &&
               read_keys(&reader) && read_alignment(&reader) && read_tensors(&reader);
    gguf->version = (uint32_t)version;
    if (!good)
        gguf_close(gguf);
    return good;
}
