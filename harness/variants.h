/* SPDX-License-Identifier: MIT */
/* The inputs that timed calls rotate over: copies of the weights, routings and activations. */
#ifndef ASSAY_HARNESS_VARIANTS_H
#define ASSAY_HARNESS_VARIANTS_H

#include "harness/memory.h"

/* Variant v uses weights copy v % n_copies; variant 0 is the case's own data. */
struct variants {
    const struct assay_case *item;
    int count, n_copies;
    bool has_weights;
    struct tensors *weights; /* [n_copies], only the ASSAY_WEIGHTS tensors */
    struct tensors *others;  /* [count], the other inputs */
};

/* As many variants as it takes for all calls together to read four times the last-level cache; one
 * if the op has no weights. On failure, too, variants_free is due. */
bool variants_make(struct variants *v, const struct assay_case *item, int64_t llc_bytes,
                   struct error *error);
void variants_free(struct variants *v);

/* A variant's tensors; `outputs` may be NULL. */
void variants_pointers(const struct variants *v, int variant, const struct tensors *outputs,
                       void **pointers);

#endif
