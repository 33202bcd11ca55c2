/* SPDX-License-Identifier: MIT */
/* Buffers between unmapped pages, and the tensors of a case in such buffers. */
#ifndef ASSAY_HARNESS_MEMORY_H
#define ASSAY_HARNESS_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "harness/case.h"
#include "harness/error.h"

/* Which end of the buffer touches an unmapped page; the other is up to a page away from one, and
 * the bytes between hold a canary. MISALIGNED: it starts as far into a page as its alignment says,
 * so that it has this alignment and no better one. */
enum placement { AT_END, AT_START, MISALIGNED };

/* Whether a forked child writes into the same memory or into its own copy. */
enum sharing { PRIVATE, SHARED };

struct guarded {
    uint8_t *map;
    size_t map_bytes;
    uint8_t *data; /* NULL if bytes is 0 */
    size_t bytes;
    size_t hole; /* bytes at the start of data that cannot be touched */
};

bool guarded_make(struct guarded *buffer, int64_t bytes, size_t align, enum placement placement,
                  enum sharing sharing, struct error *error);
/* PRIVATE, starting `shift` bytes into a page or after it. */
bool guarded_make_shifted(struct guarded *buffer, int64_t bytes, size_t shift, struct error *error);
/* SHARED, starting at a multiple of ASSAY_BUFFER_ALIGN and ending as close to an unmapped page as
 * that allows. */
bool guarded_make_aligned(struct guarded *buffer, int64_t bytes, struct error *error);
/* A file as if it were mapped from byte `start` on, 0 or `offset`, but only `bytes` bytes from
 * `offset` on are there: the file's own pages, of which what is written is a private copy. The bytes
 * before are poison, or unmapped if they are many; after them comes an unmapped page. */
bool guarded_map_file(struct guarded *buffer, const char *file, int64_t start, int64_t offset,
                      int64_t bytes, struct error *error);
void guarded_free(struct guarded *buffer);
void guarded_read_only(const struct guarded *buffer);
void guarded_writable(const struct guarded *buffer);
bool guarded_canary_intact(const struct guarded *buffer);

/* Two patterns for memory that a kernel must write or must not depend on. They differ in every
 * byte; as f32 both are NaN. */
enum poison { POISON_A, POISON_B };
static inline enum poison other_poison(enum poison poison)
{
    return poison == POISON_A ? POISON_B : POISON_A;
}
void poison_fill(uint8_t *data, size_t bytes, enum poison poison);
uint8_t poison_byte(size_t offset, enum poison poison);
/* Whether an element of so many bytes holds nothing else. */
bool still_poison(const struct guarded *buffer, int64_t element, size_t bytes, enum poison poison);

/* One buffer per tensor, those that `wanted` says. */
struct tensors {
    const struct assay_op *op;
    struct guarded buffers[ASSAY_MAX_TENSORS];
    void *pointers[ASSAY_MAX_TENSORS];
};

enum wanted { INPUTS = 1, OUTPUTS = 2 };

bool tensors_make(struct tensors *tensors, const struct assay_op *op, const void *shape, int wanted,
                  enum placement placement, enum sharing sharing, struct error *error);
/* One input of a case, mapped if it is in a file. PRIVATE. */
bool input_make(struct tensors *tensors, const struct assay_case *item, size_t tensor,
                enum placement placement, struct error *error);
/* All of them. */
bool inputs_make(struct tensors *tensors, const struct assay_case *item, enum placement placement,
                 struct error *error);
void tensors_free(struct tensors *tensors);

/* Fills those that were made. */
void tensors_poison(const struct tensors *tensors, enum poison poison);

/* Sets the pointers that `prepare` must not see to NULL: all but the weights; and those that `run`
 * must not see after it: the weights. */
void pointers_for_prepare(const struct assay_op *op, void **pointers);
void pointers_after_prepare(const struct assay_op *op, void **pointers);

bool is_output(const struct assay_tensor *tensor);

/* Whether the case takes this tensor from a file. */
bool is_stored(const struct assay_case *item, size_t tensor);

/* Fills the inputs that have a pointer and are not in a file; `variant` 0 is the case's own data. */
bool case_fill(const struct assay_case *item, void *const *pointers, uint64_t variant,
               struct error *error);

#endif
