/* SPDX-License-Identifier: MIT */
/*
 * safetensors files: the length of a header, 8 bytes, little-endian; the header, a JSON object that
 * may end in spaces; the data. The header maps a tensor's name to {"dtype", "shape", "data_offsets":
 * [begin, end]}, offsets counting from the data's start; "__metadata__", if there, maps strings
 * to strings. Tensors are row-major, little-endian, and cover the data without overlap or hole.
 */
#ifndef ASSAY_HARNESS_SAFETENSORS_H
#define ASSAY_HARNESS_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "harness/error.h"

enum { SAFETENSORS_MAX_RANK = 8, SAFETENSORS_MAX_HEADER = 100000000 };

struct safetensor {
    const char *name;
    char dtype[8]; /* "U8", "F32", ... */
    size_t rank;
    int64_t shape[SAFETENSORS_MAX_RANK];
    const void *data;   /* to be written */
    int64_t begin, end; /* of its data in a file that is read */
};

/* Elements; -1 on overflow. */
int64_t safetensor_count(const struct safetensor *tensor);
/* Bytes of an element; 0 if there is no such type. */
int64_t safetensor_dtype_bytes(const char *dtype);

/* The larger element types come first, so that all are aligned in a mapped file. `key` becomes
 * metadata. */
bool safetensors_write(const char *path, const struct safetensor *tensors, size_t count,
                       const char *key, struct error *error);

struct safetensors {
    char *path;
    int fd;
    int64_t data; /* where it starts in the file */
    size_t count;
    struct safetensor *items; /* by name */
};

/* Believes nothing: a file that breaks a rule above is refused with the rule. */
bool safetensors_open(struct safetensors *file, const char *path, struct error *error);
void safetensors_close(struct safetensors *file);

/* NULL if there is none of that name. */
const struct safetensor *safetensors_find(const struct safetensors *file, const char *name);

/* Bytes of a tensor from `offset` on. */
bool safetensors_read(const struct safetensors *file, const struct safetensor *tensor,
                      int64_t offset, void *to, size_t bytes, struct error *error);

#endif
