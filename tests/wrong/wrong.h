/* SPDX-License-Identifier: MIT */
/*
 * Wrong-on-purpose kernels. Each has one bug of a kind that has shipped somewhere; the check must
 * catch every one on the smoke cases. The controls, made of the same code without the bug, must
 * pass.
 */
#ifndef ASSAY_TESTS_WRONG_H
#define ASSAY_TESTS_WRONG_H

#include <stddef.h>

#include "ref/kernel.h"

struct wrong {
    const char *bug; /* NULL: a control */
    struct assay_kernel kernel;
};

extern const struct wrong wrong_matmul[];
extern const size_t n_wrong_matmul;
extern const struct wrong wrong_matmul_more[];
extern const size_t n_wrong_matmul_more;
extern const struct wrong wrong_others[];
extern const size_t n_wrong_others;
extern const struct wrong wrong_elementwise[];
extern const size_t n_wrong_elementwise;
extern const struct wrong wrong_affine[];
extern const size_t n_wrong_affine;

#endif
