/* SPDX-License-Identifier: MIT */
#include "harness/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/random.h"

#define CANARY 0xc5

/* Larger buffers start on such a page and have them where the system gives them to who asks, as the
 * memory has that ceilings are measured on. */
#define HUGE_PAGE ((size_t)2 << 20)

/* More bytes than this before a mapped tensor are not backed by memory. */
#define MAX_PREFIX_BYTES ((size_t)64 << 20)

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* `inner` bytes of pages that are not accessible, with one more at each end; NULL: no memory. */
static uint8_t *map_between(size_t inner, int flags)
{
    size_t page = page_bytes(), bytes = inner + 2 * page, spare = inner < HUGE_PAGE ? 0 : HUGE_PAGE;
    uint8_t *map = mmap(NULL, bytes + spare, PROT_NONE, flags, -1, 0);
    if (map == MAP_FAILED)
        return NULL;
    if (spare > 0) {
        size_t skipped = HUGE_PAGE - 1 - ((uintptr_t)map + page - 1) % HUGE_PAGE;
        if (skipped > 0)
            munmap(map, skipped);
        munmap(map + skipped + bytes, spare - skipped);
        map += skipped;
        madvise(map + page, inner, MADV_HUGEPAGE); /* refused: small ones */
    }
    return map;
}

/* The buffer's bytes start `before` bytes into its pages. */
static bool make_pages(struct guarded *buffer, int64_t bytes, size_t before, enum sharing sharing,
                       struct error *error)
{
    *buffer = (struct guarded){0};
    if (bytes == 0)
        return true;
    size_t page = page_bytes(), inner = ((size_t)bytes + before + page - 1) / page * page;
    int flags = MAP_ANONYMOUS | MAP_NORESERVE | (sharing == SHARED ? MAP_SHARED : MAP_PRIVATE);
    uint8_t *map = map_between(inner, flags);
    if (!map)
        return fail(error, "cannot map %lld bytes: %s", (long long)bytes, strerror(errno));
    if (mprotect(map + page, inner, PROT_READ | PROT_WRITE) != 0) {
        munmap(map, inner + 2 * page);
        return fail(error, "cannot map %lld bytes: %s", (long long)bytes, strerror(errno));
    }
    buffer->map = map;
    buffer->map_bytes = inner + 2 * page;
    buffer->bytes = (size_t)bytes;
    buffer->data = map + page + before;
    memset(map + page, CANARY, before);
    memset(buffer->data + bytes, CANARY, inner - before - (size_t)bytes);
    return true;
}

bool guarded_make(struct guarded *buffer, int64_t bytes, size_t align, enum placement placement,
                  enum sharing sharing, struct error *error)
{
    size_t page = page_bytes(), beyond = (size_t)bytes % page;
    size_t at_end = beyond ? (page - beyond) / align * align : 0;
    return make_pages(buffer, bytes,
                      placement == AT_END       ? at_end
                      : placement == MISALIGNED ? align
                                                : 0,
                      sharing, error);
}

bool guarded_make_shifted(struct guarded *buffer, int64_t bytes, size_t shift, struct error *error)
{
    return make_pages(buffer, bytes, shift, PRIVATE, error);
}

bool guarded_make_aligned(struct guarded *buffer, int64_t bytes, struct error *error)
{
    return guarded_make(buffer, bytes, ASSAY_BUFFER_ALIGN, AT_END, SHARED, error);
}

/* Opens a regular file that has at least so many bytes; -1 after a message. */
static int open_stored(const char *file, size_t bytes, struct error *error)
{
    struct stat status;
    int fd = open(file, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        fail(error, "%s: cannot be read: %s", file, strerror(errno));
        return -1;
    }
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && (uint64_t)status.st_size >= bytes)
        return fd;
    fail(error, "%s: became shorter", file);
    close(fd);
    return -1;
}

bool guarded_map_file(struct guarded *buffer, const char *file, int64_t start, int64_t offset,
                      int64_t bytes, struct error *error)
{
    *buffer = (struct guarded){0};
    size_t page = page_bytes(), end = (size_t)(offset + bytes);
    size_t base = (size_t)start / page * page, first = (size_t)offset / page * page - base;
    size_t inner = (end + page - 1) / page * page - base;
    int fd = open_stored(file, end, error);
    if (fd < 0)
        return false;
    int flags = MAP_PRIVATE | MAP_NORESERVE;
    uint8_t *map = mmap(NULL, inner + 2 * page, PROT_NONE, flags | MAP_ANONYMOUS, -1, 0);
    bool mapped = map != MAP_FAILED;
    size_t hole = first > MAX_PREFIX_BYTES ? first : 0;
    if (mapped && mprotect(map + page + hole, first - hole, PROT_READ | PROT_WRITE) == 0 &&
        mmap(map + page + first, inner - first, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd,
             (off_t)(base + first)) != MAP_FAILED) {
        uint8_t *data = map + page + ((size_t)start - base);
        *buffer = (struct guarded){map, inner + 2 * page, data, end - (size_t)start, hole};
        poison_fill(map + page + hole, (size_t)offset - base - hole, POISON_A);
        memset(data + buffer->bytes, CANARY, base + inner - end);
    } else {
        fail(error, "%s: cannot be mapped: %s", file, strerror(errno));
        if (mapped)
            munmap(map, inner + 2 * page);
    }
    close(fd);
    return buffer->map;
}

void guarded_free(struct guarded *buffer)
{
    if (buffer->map)
        munmap(buffer->map, buffer->map_bytes);
    *buffer = (struct guarded){0};
}

static void protect(const struct guarded *buffer, int access)
{
    if (buffer->map)
        mprotect(buffer->map + page_bytes() + buffer->hole,
                 buffer->map_bytes - 2 * page_bytes() - buffer->hole, access);
}

void guarded_read_only(const struct guarded *buffer)
{
    protect(buffer, PROT_READ);
}

void guarded_writable(const struct guarded *buffer)
{
    protect(buffer, PROT_READ | PROT_WRITE);
}

bool guarded_canary_intact(const struct guarded *buffer)
{
    if (!buffer->map)
        return true;
    const uint8_t *from = buffer->map + page_bytes();
    const uint8_t *to = buffer->map + buffer->map_bytes - page_bytes();
    for (; from < buffer->data; from++) {
        if (*from != CANARY)
            return false;
    }
    for (from = buffer->data + buffer->bytes; from < to; from++) {
        if (*from != CANARY)
            return false;
    }
    return true;
}

uint8_t poison_byte(size_t offset, enum poison poison)
{
    uint32_t word = poison == POISON_A ? 0xffc0a55au : 0x7fe1b66bu;
    return (uint8_t)(word >> 8 * (offset % 4));
}

void poison_fill(uint8_t *data, size_t bytes, enum poison poison)
{
    size_t filled = bytes < 4 ? bytes : 4;
    for (size_t i = 0; i < filled; i++)
        data[i] = poison_byte(i, poison);
    while (filled < bytes) {
        size_t count = filled < bytes - filled ? filled : bytes - filled;
        count = count < 1 << 14 ? count : 1 << 14;
        memcpy(data + filled, data, count);
        filled += count;
    }
}

bool still_poison(const struct guarded *buffer, int64_t element, size_t bytes, enum poison poison)
{
    size_t offset = (size_t)element * bytes;
    for (size_t i = offset; i < offset + bytes; i++) {
        if (buffer->data[i] != poison_byte(i, poison))
            return false;
    }
    return true;
}

void pointers_for_prepare(const struct assay_op *op, void **pointers)
{
    for (size_t i = 0; i < op->n_tensors; i++)
        pointers[i] = op->tensors[i].role == ASSAY_WEIGHTS ? pointers[i] : NULL;
}

void pointers_after_prepare(const struct assay_op *op, void **pointers)
{
    for (size_t i = 0; i < op->n_tensors; i++)
        pointers[i] = op->tensors[i].role == ASSAY_WEIGHTS ? NULL : pointers[i];
}

bool is_output(const struct assay_tensor *tensor)
{
    return tensor->role == ASSAY_OUT_BITS || tensor->role == ASSAY_OUT_REAL;
}

static bool make_tensor(struct tensors *tensors, size_t index, const void *shape,
                        enum placement placement, enum sharing sharing, struct error *error)
{
    const struct assay_tensor *tensor = &tensors->op->tensors[index];
    int64_t bytes = assay_mul(tensor->count(shape), (int64_t)assay_dtype_bytes(tensor->dtype));
    return guarded_make(&tensors->buffers[index], bytes, tensor->align, placement, sharing, error);
}

bool tensors_make(struct tensors *tensors, const struct assay_op *op, const void *shape, int wanted,
                  enum placement placement, enum sharing sharing, struct error *error)
{
    *tensors = (struct tensors){.op = op};
    for (size_t i = 0; i < op->n_tensors; i++) {
        if (!(wanted & (is_output(&op->tensors[i]) ? OUTPUTS : INPUTS)))
            continue;
        if (!make_tensor(tensors, i, shape, placement, sharing, error)) {
            tensors_free(tensors);
            return false;
        }
        tensors->pointers[i] = tensors->buffers[i].data;
    }
    return true;
}

/* The index in `stored`; n_stored: the case does not take this tensor from a file. */
static size_t stored_index(const struct assay_case *item, size_t tensor)
{
    size_t i = 0;
    while (i < item->op->n_stored && (!item->weights || item->op->stored[i].tensor != tensor))
        i++;
    return i;
}

bool is_stored(const struct assay_case *item, size_t tensor)
{
    return stored_index(item, tensor) < item->op->n_stored;
}

static bool map_tensor(struct guarded *buffer, const char *file, const struct case_tensor *tensor,
                       bool whole_file, struct error *error)
{
    return guarded_map_file(buffer, file, whole_file ? 0 : tensor->offset, tensor->offset,
                            tensor->bytes, error);
}

bool input_make(struct tensors *tensors, const struct assay_case *item, size_t tensor,
                enum placement placement, struct error *error)
{
    const struct case_weights *weights = item->weights;
    struct guarded *buffer = &tensors->buffers[tensor];
    size_t i = stored_index(item, tensor);
    bool made = i < item->op->n_stored
                    ? map_tensor(buffer, weights->file, &weights->tensors[i],
                                 item->op->stored[i].offset_dim != ASSAY_NO_DIM, error)
                    : make_tensor(tensors, tensor, item->shape, placement, PRIVATE, error);
    tensors->pointers[tensor] = buffer->data;
    return made;
}

bool inputs_make(struct tensors *tensors, const struct assay_case *item, enum placement placement,
                 struct error *error)
{
    *tensors = (struct tensors){.op = item->op};
    for (size_t i = 0; i < item->op->n_tensors; i++) {
        if (!is_output(&item->op->tensors[i]) && !input_make(tensors, item, i, placement, error)) {
            tensors_free(tensors);
            return false;
        }
    }
    return true;
}

void tensors_free(struct tensors *tensors)
{
    for (size_t i = 0; i < ASSAY_MAX_TENSORS; i++)
        guarded_free(&tensors->buffers[i]);
}

void tensors_poison(const struct tensors *tensors, enum poison poison)
{
    for (size_t i = 0; i < ASSAY_MAX_TENSORS; i++)
        poison_fill(tensors->buffers[i].data, tensors->buffers[i].bytes, poison);
}

bool case_fill(const struct assay_case *item, void *const *pointers, uint64_t variant,
               struct error *error)
{
    struct random random;
    struct guarded router = {0};
    struct assay_fill how = item->fill;
    void *own[ASSAY_MAX_TENSORS];
    for (size_t i = 0; i < item->op->n_tensors; i++)
        own[i] = is_stored(item, i) ? NULL : pointers[i];
    if (how.routing == ASSAY_ROUTE_ROUTER) {
        if (!map_tensor(&router, item->weights->file, &item->weights->router, false, error))
            return false;
        how.router = (const float *)router.data;
    }
    bool opened = random_open(&random, case_hash(item) + variant);
    bool filled = opened && item->op->fill(item->shape, &how, own, &random.source);
    if (opened)
        random_close(&random);
    guarded_free(&router);
    if (filled && item->isolated > 0)
        item->op->isolate(item->shape, pointers, item->isolated - 1);
    return filled || fail(error, "%s: out of memory", item->key);
}
