/* SPDX-License-Identifier: MIT */
#include "harness/gguf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Maps a regular file that is not empty. */
static const uint8_t *map_file(int fd, const char *file, size_t *size, struct error *error)
{
    struct stat status;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        fail(error, "%s: is not a regular file", file);
        return NULL;
    }
    *size = (size_t)status.st_size;
    if (*size == 0) {
        fail(error, "%s: is empty", file);
        return NULL;
    }
    void *map = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map != MAP_FAILED)
        return map;
    fail(error, "%s: cannot be mapped: %s", file, strerror(errno));
    return NULL;
}

bool gguf_open(struct gguf *gguf, const char *file, struct error *error)
{
    size_t size = 0;
    int fd = open(file, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* a FIFO must not block */
    if (fd < 0)
        return fail(error, "%s: cannot be read: %s", file, strerror(errno));
    const uint8_t *data = map_file(fd, file, &size, error);
    close(fd);
    if (!data)
        return false;
    if (gguf_read(gguf, file, data, size, error)) {
        gguf->mapped = true;
        return true;
    }
    munmap((void *)(uintptr_t)data, size);
    return false;
}

void gguf_close(struct gguf *gguf)
{
    if (gguf->mapped)
        munmap((void *)(uintptr_t)gguf->data, gguf->size);
    free(gguf->keys);
    free(gguf->tensors);
    free(gguf->by_name);
    *gguf = (struct gguf){0};
}

const struct gguf_tensor *gguf_find(const struct gguf *gguf, const char *name)
{
    size_t low = 0, high = gguf->n_tensors;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct gguf_tensor *tensor = &gguf->tensors[gguf->by_name[middle]];
        int order = strcmp(name, tensor->name);
        if (order == 0)
            return tensor;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

uint64_t gguf_number(const uint8_t *from, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = bytes; i-- > 0;)
        value = value << 8 | from[i];
    return value;
}

int gguf_compare_keys(const void *a, const void *b)
{
    const struct gguf_key *x = a, *y = b;
    int order = memcmp(x->name, y->name, x->length < y->length ? x->length : y->length);
    return order ? order : (x->length > y->length) - (x->length < y->length);
}

const struct gguf_key *gguf_key(const struct gguf *gguf, const char *name)
{
    const struct gguf_key wanted = {.name = name, .length = strlen(name)};
    return bsearch(&wanted, gguf->keys, gguf->n_keys, sizeof(wanted), gguf_compare_keys);
}

bool gguf_text(const struct gguf *gguf, const char *key, char *text, size_t size)
{
    const struct gguf_key *found = gguf_key(gguf, key);
    uint64_t length = found && found->type == GGUF_STRING ? gguf_number(found->value, 8) : size;
    if (length >= size || memchr(found->value + 8, 0, (size_t)length))
        return false;
    memcpy(text, found->value + 8, (size_t)length);
    text[length] = '\0';
    return true;
}

bool gguf_u32(const struct gguf *gguf, const char *key, uint32_t *value)
{
    const struct gguf_key *found = gguf_key(gguf, key);
    if (!found || found->type != GGUF_U32)
        return false;
    *value = (uint32_t)gguf_number(found->value, 4);
    return true;
}
