/* SPDX-License-Identifier: MIT */
/*
 * The ways these things are usually done, as a kernel library to measure against. They are made of the
 * project's own fastest kernels wherever they call for one, so that what is compared is the way.
 */
#ifndef ASSAY_OPT_USUAL_USUAL_H
#define ASSAY_OPT_USUAL_USUAL_H

#include <stdint.h>

#include "ref/kernel.h"
#include "ref/op.h"

/* A tier that assay does not know: what is called was chosen for this CPU. */
#define USUAL_TIER "native"

/* The parts that are called: of each, the project's fastest kernel that this CPU can run. */
enum usual_part {
    USUAL_DEQUANT,
    USUAL_GEMV,
    USUAL_ROUTER,
    USUAL_LISTS,
    USUAL_PRODUCT,
    USUAL_SILU,
    USUAL_SUM,
    USUAL_PARTS
};

extern const struct assay_kernel *usual_parts[USUAL_PARTS];

extern const struct assay_kernel usual_gemv, usual_gemm_moe_id, usual_router, usual_moe_ffn;

#ifdef ASSAY_USUAL_CXX
/* The numbers of the `wanted` largest of `count` values in falling order, the smaller number first
 * where values are equal; `numbers` has room for `count` and gets them at its start. No value is
 * NaN. In C++: std::partial_sort. */
void usual_partial_sort(const float *values, int64_t count, int64_t wanted, int32_t *numbers);
#endif

/* Of `base`, or only counted if that is NULL: the next count * bytes, aligned. *used becomes -1 on
 * overflow. */
static inline void *usual_take(void *base, int64_t *used, int64_t count, int64_t bytes)
{
    int64_t start = *used, size = assay_add(assay_mul(count, bytes), ASSAY_BUFFER_ALIGN - 1);
    *used = assay_add(start, size < 0 ? -1 : size - size % ASSAY_BUFFER_ALIGN);
    return base && *used >= 0 ? (uint8_t *)base + start : NULL;
}

/* What a part takes of scratch. */
static inline int64_t usual_scratch(enum usual_part part, const void *shape, int threads)
{
    const struct assay_kernel *kernel = usual_parts[part];
    return kernel->scratch_bytes ? kernel->scratch_bytes(shape, threads) : 0;
}

/*
 * Weights as a part has them from load on: packed, or as they are if it packs none. `w` are all bytes of
 * the native ones; a shape's w_offset is 0.
 */
int64_t usual_packed_bytes(enum usual_part part, const void *shape, int64_t native_bytes);
void usual_pack(enum usual_part part, const void *shape, const uint8_t *w, int64_t native_bytes,
                void *packed, int threads);

/* Calls a part with such weights; `args` has NULL for them, as its first pointer. */
const char *usual_run(enum usual_part part, const void *shape, void *args, const void *packed,
                      void *scratch, int threads);

#endif
