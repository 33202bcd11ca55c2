/* SPDX-License-Identifier: MIT */
/*
 * The project's kernels, wrong on purpose in speed or in one rounding, for `assay ab` to find:
 *
 *   SLOWER=3    every call takes 3 % more time, by the clock; 900: ten times its time
 *   ROUNDING=1  the first output of class f32 that is not 0 is one unit in the last place less
 *
 * LIBRARY is its name. With both 0 it is the baseline, which has what else differs from the plain kernels.
 */
#include <math.h>
#include <time.h>

#include "opt/kernels.h"
#include "ref/op.h"

enum { MAX_KERNELS = 128 };

static const struct assay_kernel *originals[MAX_KERNELS];

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void change_rounding(const struct assay_kernel *kernel, const void *shape, const void *args)
{
    const struct assay_op *op = assay_find_op(kernel->op);
    void *const *tensors = args;
    for (size_t t = 0; kernel->numerics == ASSAY_F32 && t < op->n_tensors; t++) {
        int64_t count = op->tensors[t].role == ASSAY_OUT_REAL ? op->tensors[t].count(shape) : 0;
        for (int64_t i = 0; i < count; i++) {
            float *value = (float *)tensors[t] + i;
            if (*value != 0 && isfinite(*value)) {
                *value = nextafterf(*value, 0);
                return;
            }
        }
    }
}

static const char *run(size_t slot, const void *shape, const void *args, const void *prepared,
                       void *scratch, int threads)
{
    const struct assay_kernel *kernel = originals[slot];
    int64_t start = now_ns();
    const char *broken = kernel->run(shape, args, prepared, scratch, threads);
    int64_t end = now_ns();
    end += (end - start) * SLOWER / 100;
    while (now_ns() < end)
        ;
    if (!broken && ROUNDING)
        change_rounding(kernel, shape, args);
    return broken;
}

/* run() has no context: a function for every kernel. */
#define SLOT(n)                                                                           \
    static const char *run_##n(const void *shape, const void *args, const void *prepared, \
                               void *scratch, int threads)                                \
    {                                                                                     \
        return run(0x##n, shape, args, prepared, scratch, threads);                       \
    }
/* clang-format off */
#define SIXTEEN(F, n)                                       \
    F(n##0) F(n##1) F(n##2) F(n##3) F(n##4) F(n##5) F(n##6) F(n##7) \
    F(n##8) F(n##9) F(n##a) F(n##b) F(n##c) F(n##d) F(n##e) F(n##f)
#define ALL(F)                                              \
    SIXTEEN(F, 0) SIXTEEN(F, 1) SIXTEEN(F, 2) SIXTEEN(F, 3) \
    SIXTEEN(F, 4) SIXTEEN(F, 5) SIXTEEN(F, 6) SIXTEEN(F, 7)
/* clang-format on */
ALL(SLOT)
#define NAME(n) run_##n,
static const char *(*const runs[MAX_KERNELS])(const void *, const void *, const void *, void *,
                                              int) = {ALL(NAME)};

__attribute__((visibility("default"))) const struct assay_kernels *assay_kernels(void);

const struct assay_kernels *assay_kernels(void)
{
    static struct assay_kernel kernels[MAX_KERNELS];
    static const struct assay_kernel *list[MAX_KERNELS];
    static struct assay_kernels table = {ASSAY_ABI_VERSION, 0, LIBRARY, list};
    const struct assay_kernels *own = assay_own_kernels();
    if (own->count > MAX_KERNELS)
        return NULL;
    for (uint32_t k = 0; k < own->count; k++) {
        originals[k] = own->kernels[k];
        kernels[k] = *own->kernels[k];
        kernels[k].run = runs[k];
        list[k] = &kernels[k];
    }
    table.count = own->count;
    return &table;
}
