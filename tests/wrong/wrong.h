/* SPDX-License-Identifier: MIT */
/*
 * Wrong-on-purpose kernels. Each has one bug of a kind that has shipped somewhere; the check must
 * catch every one on the smoke cases. The controls, made of the same code without the bug, must
 * pass.
 *
 * A bug that only one layer can see guards that layer: without it the kernel survives.
 */
#ifndef ASSAY_TESTS_WRONG_H
#define ASSAY_TESTS_WRONG_H

#include <stdbool.h>
#include <stddef.h>

#include "harness/judge.h"
#include "ref/kernel.h"

struct wrong {
    const char *bug; /* NULL: a control */
    uint32_t only;   /* bits of the layers that may see it; 0: any */
    bool uncopied;   /* tried as if the case were too large to copy its inputs */
    struct assay_kernel kernel;
};

#define ONLY(layer) (1u << LAYER_##layer)

extern const struct wrong wrong_matmul[];
extern const size_t n_wrong_matmul;
extern const struct wrong wrong_matmul_more[];
extern const size_t n_wrong_matmul_more;
extern const struct wrong wrong_outliers[];
extern const size_t n_wrong_outliers;
extern const struct wrong wrong_digits[];
extern const size_t n_wrong_digits;
extern const struct wrong wrong_calls[];
extern const size_t n_wrong_calls;
extern const struct wrong wrong_calls_more[];
extern const size_t n_wrong_calls_more;
extern const struct wrong wrong_others[];
extern const size_t n_wrong_others;
extern const struct wrong wrong_elementwise[];
extern const size_t n_wrong_elementwise;
extern const struct wrong wrong_affine[];
extern const size_t n_wrong_affine;
extern const struct wrong wrong_moe_ffn[];
extern const size_t n_wrong_moe_ffn;

#endif
