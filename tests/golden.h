/* SPDX-License-Identifier: MIT */
/* What the tests against golden vectors share: files, calls of kernels, bounds of dot products. */
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

/* What a half stands for, by arithmetic instead of bits; not for NaN. */
static inline float value_of_half(uint32_t h)
{
    float sign = h >> 15 ? -1.0f : 1.0f;
    int exponent = h >> 10 & 31;
    float fraction = (float)(h & 1023);
    if (exponent == 31)
        return sign * INFINITY;
    return sign * (exponent ? ldexpf(1024 + fraction, exponent - 25) : ldexpf(fraction, -24));
}

/* Bounds on the errors of one row's dot product, from the format's definition alone. */
struct bounds {
    double magnitude, step, reach, flushed;
    double half; /* what rounding w and x to f16 may change */
};

/* Scale and min of sub-block j, by bit positions in the 12 bytes: scales' low bits first. */
static inline void unpack(const uint8_t *s, int j, double *scale, double *min)
{
    if (j < 4) {
        *scale = s[j] % 64;
        *min = s[j + 4] % 64;
    } else {
        *scale = s[j + 4] % 16 + 16 * (s[j - 4] / 64);
        *min = s[j + 4] / 16 + 16 * (s[j] / 64);
    }
}

static inline void add_bounds(const uint8_t *block, const float *x, struct bounds *bounds)
{
    double d = fabs((double)value_of_half(block[0] + 256u * block[1]));
    double dmin = fabs((double)value_of_half(block[2] + 256u * block[3]));
    double amax = 0, sum_w = 0, sum_parts = 0;
    for (int i = 0; i < 256; i++) {
        double scale, min, q = block[16 + i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15;
        unpack(block + 4, i / 32, &scale, &min);
        double parts = d * scale * q + dmin * min;
        double size = fabs((double)x[i]), wi = fabs(d * scale * q - dmin * min) * (1 + 0x1p-24);
        double off_w = fmax(wi * 0x1p-11, 0x1p-25), off_x = fmax(size * 0x1p-11, 0x1p-25);
        bounds->magnitude += parts * size;
        bounds->half += wi * off_x + off_w * size + off_w * off_x;
        amax = fmax(amax, size);
        sum_w += wi;
        sum_parts += parts;
    }
    if (amax < 0x1p-100) {
        bounds->flushed += amax * sum_w;
    } else {
        bounds->step += amax * sum_w;
        bounds->reach += amax * sum_parts;
    }
}

/* Higham's bound for f32; for the integer classes also half a step of the last digit, and what
 * harness/judge.h says. */
static inline double bound_of(const struct bounds *b, enum assay_numerics numerics, int64_t depth,
                              int64_t k)
{
    double u = 0x1p-24, gamma = (double)depth * u / (1 - (double)depth * u);
    double slack = (double)k * 0x1p-149;
    if (numerics == ASSAY_F16)
        return b->half + gamma * (b->magnitude + b->half);
    if (numerics == ASSAY_F32)
        return gamma * b->magnitude + slack;
    double half_steps = numerics == ASSAY_I8 ? 254 : numerics == ASSAY_I16 ? 65276 : 16710000;
    double more = numerics == ASSAY_I8 ? 254 : 126;
    return b->step / half_steps + 3 * u * b->step + b->flushed +
           gamma * (b->magnitude + b->reach / more) + slack;
}

/* Prints how much of a bound a kernel uses up on a file; more than all of it fails. */
static inline void report_utilisation(const struct assay_kernel *kernel, const char *file,
                                      double utilisation)
{
    printf("\n    %s/%s, %s: %.3g of the bound", kernel->op, kernel->name, file, utilisation);
    expect(utilisation <= 1, kernel, "beyond its bound");
}

#endif
