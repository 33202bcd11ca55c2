/* SPDX-License-Identifier: MIT */
/* Whether an op can take its weights from a tensor of a GGUF file. */
#ifndef ASSAY_HARNESS_STORED_H
#define ASSAY_HARNESS_STORED_H

#include "harness/gguf.h"
#include "ref/op.h"

/* The dimensions that the tensor gives, the others ASSAY_UNSET. False: the op cannot use the
 * tensor, `why` says why not. */
bool stored_shape(const struct assay_op *op, const struct gguf_tensor *tensor, int64_t *shape,
                  struct error *why);

/* Whether any op can use the tensor; if not, `why` says why not. */
bool stored_usable(const struct gguf_tensor *tensor, struct error *why);

/* Whether this dimension follows from the tensor. */
bool stored_ties(const struct assay_stored *stored, size_t dim);

#endif
