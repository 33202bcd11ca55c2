/* SPDX-License-Identifier: MIT */
/* Whether an op can take its weights from tensors of a GGUF file. */
#ifndef ASSAY_HARNESS_STORED_H
#define ASSAY_HARNESS_STORED_H

#include "harness/gguf.h"
#include "ref/op.h"

/* A shape of which nothing is known: all dimensions are ASSAY_UNSET. */
void stored_unknown(int64_t shape[ASSAY_MAX_DIMS]);

/* Adds to what is known of a shape what the tensor says as the i-th of the op's weights that a file
 * may have. False: the op cannot use it so, `why` says why not. */
bool stored_add(const struct assay_op *op, size_t i, const struct gguf_tensor *tensor,
                int64_t shape[ASSAY_MAX_DIMS], struct error *why);

/* The name of these weights. */
const char *stored_name(const struct assay_op *op, size_t i);

/* Whether the op can use the tensor as any of its weights; if not, `why` says why not. */
bool stored_usable_by(const struct assay_op *op, const struct gguf_tensor *tensor,
                      struct error *why);

/* The same of any op. */
bool stored_usable(const struct gguf_tensor *tensor, struct error *why);

/* The first of the op's weights that this dimension follows from; op->n_stored: none. */
size_t stored_source(const struct assay_op *op, size_t dim);

#endif
