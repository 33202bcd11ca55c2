/* SPDX-License-Identifier: MIT */
/* A small GGUF file made in memory, for tests to spoil. */
#ifndef ASSAY_TESTS_TINY_GGUF_H
#define ASSAY_TESTS_TINY_GGUF_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { TINY_MAX_BYTES = 1 << 14 };

struct tiny_gguf {
    uint8_t bytes[TINY_MAX_BYTES];
    size_t size;
    /* Where things are, to be overwritten. */
    size_t tensors, keys;  /* the two counts */
    size_t used, used_key; /* the value of ...expert_used_count, and its name's last byte */
    size_t alignment;      /* its value */
    size_t depth;          /* the type of what is in the nested array */
    size_t array;          /* the count of an array of u64 */
    size_t boolean;        /* the value of a bool */
    size_t first;          /* the first tensor's name, with its length */
    size_t n_dims, ne, type, offset;
    size_t second_offset;
    size_t data;
};

static inline void tiny_put(struct tiny_gguf *file, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        file->bytes[file->size++] = (uint8_t)(value >> 8 * i);
}

static inline void tiny_string(struct tiny_gguf *file, const char *text)
{
    tiny_put(file, strlen(text), 8);
    memcpy(file->bytes + file->size, text, strlen(text));
    file->size += strlen(text);
}

static inline void tiny_key(struct tiny_gguf *file, const char *name, uint32_t type)
{
    tiny_string(file, name);
    tiny_put(file, type, 4);
}

static inline void tiny_align(struct tiny_gguf *file, size_t alignment)
{
    while (file->size % alignment != 0)
        file->bytes[file->size++] = 0;
}

/* Overwrites `bytes` bytes. */
static inline void tiny_set(struct tiny_gguf *file, size_t at, uint64_t value, size_t bytes)
{
    size_t size = file->size;
    file->size = at;
    tiny_put(file, value, bytes);
    file->size = size;
}

static inline void tiny_keys(struct tiny_gguf *file)
{
    tiny_key(file, "general.architecture", 8);
    tiny_string(file, "tiny");
    tiny_key(file, "tiny.expert_used_count", 4);
    file->used = file->size;
    file->used_key = file->size - 5;
    tiny_put(file, 2, 4);
    tiny_key(file, "general.alignment", 4);
    file->alignment = file->size;
    tiny_put(file, 64, 4);
    tiny_key(file, "nested", 9); /* [["a", ""], []] */
    tiny_put(file, 9, 4);
    tiny_put(file, 2, 8);
    file->depth = file->size;
    tiny_put(file, 8, 4);
    tiny_put(file, 2, 8);
    tiny_string(file, "a");
    tiny_string(file, "");
    tiny_put(file, 4, 4);
    tiny_put(file, 0, 8);
    tiny_key(file, "numbers", 9);
    tiny_put(file, 10, 4);
    file->array = file->size;
    tiny_put(file, 3, 8);
    for (int i = 0; i < 3; i++)
        tiny_put(file, (uint64_t)i, 8);
    tiny_key(file, "yes", 7);
    file->boolean = file->size;
    tiny_put(file, 1, 1);
}

/* Version 3, alignment 64; a router [3, 2] f32 and experts [256, 1, 2] q4_K of layer 0, by the name
 * `second`. */
static inline void tiny_make_named(struct tiny_gguf *file, const char *second)
{
    memset(file, 0, sizeof(*file));
    tiny_put(file, 0x46554747, 4);
    tiny_put(file, 3, 4);
    file->tensors = file->size;
    tiny_put(file, 2, 8);
    file->keys = file->size;
    tiny_put(file, 6, 8);
    tiny_keys(file);
    file->first = file->size;
    tiny_string(file, "blk.0.ffn_gate_inp.weight");
    file->n_dims = file->size;
    tiny_put(file, 2, 4);
    file->ne = file->size;
    tiny_put(file, 3, 8);
    tiny_put(file, 2, 8);
    file->type = file->size;
    tiny_put(file, 0, 4);
    file->offset = file->size;
    tiny_put(file, 320, 8);
    tiny_string(file, second);
    tiny_put(file, 3, 4);
    tiny_put(file, 256, 8);
    tiny_put(file, 1, 8);
    tiny_put(file, 2, 8);
    tiny_put(file, 12, 4);
    file->second_offset = file->size;
    tiny_put(file, 0, 8);
    tiny_align(file, 64);
    file->data = file->size;
    for (int i = 0; i < 288; i++)
        tiny_put(file, (uint64_t)(i % 144 == 1 || i % 144 == 3 ? 0x24 : 37 * i % 251), 1);
    tiny_align(file, 64);
    for (int i = 0; i < 6; i++)
        tiny_put(file, i % 2 ? 0x3f800000 : 0xbf000000, 4); /* 1 and -0.5 */
}

static inline void tiny_make(struct tiny_gguf *file)
{
    tiny_make_named(file, "blk.0.ffn_up_exps.weight");
}

#endif
