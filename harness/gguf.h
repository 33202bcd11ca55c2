/* SPDX-License-Identifier: MIT */
/*
 * Reads what a GGUF file says of itself: versions 2 and 3, little-endian.
 *
 *   "GGUF"  u32 version  u64 tensors  u64 keys
 *   keys     string key, u32 type, value; a string is a u64 length and its bytes, an array a u32
 *            type, a u64 count and that many values
 *   tensors  string name, u32 dimensions, a u64 for each, fastest first, u32 type, u64 offset
 *   data     from the next multiple of general.alignment (32) on, which the offsets count from
 *
 * The file is mapped, and nothing of it is copied but the table of tensors. Whatever does not
 * follow the format is refused: a place outside the file, two tensors that overlap, an offset that
 * is not aligned, a count or size that overflows, an unknown type, a repeated name. Memory is
 * bounded by a small multiple of the file's size, and by the limits below. A file that another
 * process cuts short while it is mapped ends this one with SIGBUS, as it would an engine.
 */
#ifndef ASSAY_HARNESS_GGUF_H
#define ASSAY_HARNESS_GGUF_H

#include <stddef.h>
#include <stdint.h>

#include "harness/error.h"

enum {
    GGUF_DIMS = 4,
    GGUF_NAME_MAX = 64,      /* bytes of a tensor's name */
    GGUF_COUNT_MAX = 1 << 20 /* of keys, and of tensors; large models have thousands */
};

struct gguf_type {
    const char *name; /* "q4_K" */
    uint32_t id;
    uint32_t block, block_bytes; /* a row is so many weights in so many bytes, repeated */
};

struct gguf_tensor {
    char name[GGUF_NAME_MAX + 1]; /* printable ASCII without space */
    const struct gguf_type *type;
    int64_t ne[GGUF_DIMS]; /* fastest first, then ones */
    int64_t offset, bytes; /* in the file */
};

/* Types of keys' values, numbered as in the file. */
enum gguf_value {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_VALUES
};

struct gguf_key {
    const char *name; /* in the file, without NUL */
    size_t length;
    enum gguf_value type;
    const uint8_t *value; /* of a string: its length */
};

struct gguf {
    const char *file; /* borrowed */
    const uint8_t *data;
    size_t size;
    bool mapped;
    uint32_t version, alignment;
    size_t n_keys, n_tensors;
    struct gguf_key *keys;       /* in the order of their names */
    struct gguf_tensor *tensors; /* in the file's order */
    size_t *by_name;             /* indices of tensors in the order of their names */
};

/* Maps a file and reads it; gguf_close is due unless it failed. `file` must outlive `gguf`. */
bool gguf_open(struct gguf *gguf, const char *file, struct error *error);
/* The same of a file's bytes, which must outlive `gguf`. */
bool gguf_read(struct gguf *gguf, const char *file, const uint8_t *data, size_t size,
               struct error *error);
void gguf_close(struct gguf *gguf);

/* NULL if there is none of that name. */
const struct gguf_tensor *gguf_find(const struct gguf *gguf, const char *name);

/* A key's value; false if there is no such key of that type, or if the text does not fit. */
bool gguf_text(const struct gguf *gguf, const char *key, char *text, size_t size);
bool gguf_u32(const struct gguf *gguf, const char *key, uint32_t *value);

/* For the reader: the key of that name or NULL, the order of keys, a little-endian number. */
const struct gguf_key *gguf_key(const struct gguf *gguf, const char *name);
int gguf_compare_keys(const void *a, const void *b);
uint64_t gguf_number(const uint8_t *from, size_t bytes);

#endif
