/* SPDX-License-Identifier: MIT */
/*
 * The project's kernels, wrong on purpose in speed or in one rounding, for `assay ab` to find:
 *
 *   REPEAT=3    3 % of the rows are computed again: so much more work in every call, on rows that by
 *               then are in the cache; 900: all rows, nine times again
 *   ROUNDING=1  the first output of class f32 that is not 0 is one unit in the last place less
 *
 * LIBRARY is its name. With both 0 it is the baseline, which has what else differs from the plain kernels.
 */
#include <math.h>
#include <string.h>

#include "opt/kernels.h"
#include "ref/op.h"

enum { MAX_KERNELS = 64 };

/* Ops whose first so many rows are a call of their own, and the dimension that counts rows. */
static const struct {
    const char *op, *rows;
} known[] = {{"q4_K_gemv", "n"}, {"silu_mul", "rows"}, {"moe_router_topk_softmax", "tokens"}};

static const struct assay_kernel *originals[MAX_KERNELS];
static size_t row_dims[MAX_KERNELS];

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
    const char *broken = kernel->run(shape, args, prepared, scratch, threads);
    int64_t part[ASSAY_MAX_DIMS];
    memcpy(part, shape, assay_find_op(kernel->op)->n_dims * sizeof(*part));
    for (int left = REPEAT; !broken && left > 0; left -= 100) {
        int64_t rows = ((const int64_t *)shape)[row_dims[slot]];
        part[row_dims[slot]] = left < 100 ? rows * left / 100 : rows;
        if (part[row_dims[slot]] > 0)
            broken = kernel->run(part, args, prepared, scratch, threads);
    }
    if (!broken && ROUNDING)
        change_rounding(kernel, shape, args);
    return broken;
}

/* run() has no context: a function for every kernel. */
#define SLOT(n)                                                                           \
    static const char *run_##n(const void *shape, const void *args, const void *prepared, \
                               void *scratch, int threads)                                \
    {                                                                                     \
        return run(n, shape, args, prepared, scratch, threads);                           \
    }
#define SLOTS(F) \
    F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12) F(13) F(14) F(15)
SLOTS(SLOT)
#define NAME(n) run_##n,
static const char *(*const runs[])(const void *, const void *, const void *, void *,
                                   int) = {SLOTS(NAME)};

static size_t dim_of(const struct assay_op *op, const char *name)
{
    size_t dim = 0;
    while (dim < op->n_dims && strcmp(op->dims[dim].name, name) != 0)
        dim++;
    return dim;
}

__attribute__((visibility("default"))) const struct assay_kernels *assay_kernels(void);

const struct assay_kernels *assay_kernels(void)
{
    static struct assay_kernel kernels[MAX_KERNELS];
    static const struct assay_kernel *list[MAX_KERNELS];
    static struct assay_kernels table = {ASSAY_ABI_VERSION, 0, LIBRARY, list};
    const struct assay_kernels *own = assay_own_kernels();
    if (table.count > 0)
        return &table;
    for (uint32_t k = 0; table.count < sizeof(runs) / sizeof(*runs) && k < own->count; k++) {
        for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
            if (strcmp(own->kernels[k]->op, known[i].op) != 0)
                continue;
            size_t slot = table.count++;
            originals[slot] = own->kernels[k];
            row_dims[slot] = dim_of(assay_find_op(known[i].op), known[i].rows);
            kernels[slot] = *own->kernels[k];
            kernels[slot].run = runs[slot];
            list[slot] = &kernels[slot];
        }
    }
    return &table;
}
