/* SPDX-License-Identifier: MIT */
/* What the tests against tests/golden share: files, and kernels called as an engine calls them. */
#ifndef ASSAY_TESTS_GOLDEN_H
#define ASSAY_TESTS_GOLDEN_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "opt/cpu.h"
#include "opt/kernels.h"
#include "ref/f16.h"
#include "tests/cunit_main.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define GOLDEN       ASSAY_SOURCE_DIR "/tests/golden/"

/* The whole of "<group><what>.bin", malloced; it must have `bytes` bytes, unless that is 0. */
static inline void *load(const char *group, const char *what, size_t bytes, size_t *size)
{
    char path[1024];
    snprintf(path, sizeof(path), GOLDEN "%s%s.bin", group, what);
    FILE *file = fopen(path, "rb");
    if (!file)
        printf("\n  cannot open %s\n", path);
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL_FATAL(fseek(file, 0, SEEK_END), 0);
    long end = ftell(file);
    CU_ASSERT_TRUE_FATAL(end > 0 && (bytes == 0 || (size_t)end == bytes));
    rewind(file);
    void *data = malloc((size_t)end);
    CU_ASSERT_PTR_NOT_NULL_FATAL(data);
    CU_ASSERT_EQUAL_FATAL(fread(data, 1, (size_t)end, file), (size_t)end);
    fclose(file);
    if (size)
        *size = (size_t)end;
    return data;
}

static inline bool same(float a, float b)
{
    return (isnan(a) && isnan(b)) || assay_f32_bits(a) == assay_f32_bits(b);
}

static inline size_t count_different(const float *a, const float *b, size_t count)
{
    size_t different = 0;
    for (size_t i = 0; i < count; i++)
        different += !same(a[i], b[i]);
    return different;
}

/* The n-th of the project's kernels of this op and class that can run here; NULL: no more. */
static inline const struct assay_kernel *runnable(const char *op, enum assay_numerics numerics,
                                                  size_t n)
{
    const struct assay_kernels *own = assay_own_kernels();
    for (uint32_t i = 0; i < own->count; i++) {
        const struct assay_kernel *kernel = own->kernels[i];
        if (strcmp(kernel->op, op) != 0 || kernel->numerics != (uint32_t)numerics ||
            cpu_tier_lacks(kernel->tier, cpu_detect()))
            continue;
        if (n-- == 0)
            return kernel;
    }
    return NULL;
}

static inline void *buffer(int64_t bytes)
{
    size_t size = ((size_t)bytes + ASSAY_BUFFER_ALIGN) / ASSAY_BUFFER_ALIGN * ASSAY_BUFFER_ALIGN;
    void *data = aligned_alloc(ASSAY_BUFFER_ALIGN, size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(data);
    memset(data, 0xa5, size);
    return data;
}

/* Calls a kernel as an engine does: weights packed once, memory from outside. False: it cannot run
 * this shape. */
static inline bool call(const struct assay_kernel *kernel, const void *shape, const void *args,
                        int threads)
{
    if (kernel->unsupported && kernel->unsupported(shape))
        return false;
    void *prepared = NULL, *scratch = NULL;
    if (kernel->prepare) {
        prepared = buffer(kernel->prepared_bytes(shape));
        kernel->prepare(shape, args, prepared, threads);
    }
    if (kernel->scratch_bytes)
        scratch = buffer(kernel->scratch_bytes(shape, threads));
    const char *refusal = kernel->run(shape, args, prepared, scratch, threads);
    if (refusal)
        printf("\n  %s/%s refuses: %s\n", kernel->op, kernel->name, refusal);
    CU_ASSERT_PTR_NULL(refusal);
    free(prepared);
    free(scratch);
    return true;
}

/* Names the kernel that does not do as expected. */
static inline void expect(bool good, const struct assay_kernel *kernel, const char *what)
{
    if (!good)
        printf("\n  %s/%s: %s\n", kernel->op, kernel->name, what);
    CU_ASSERT_TRUE(good);
}

#endif
