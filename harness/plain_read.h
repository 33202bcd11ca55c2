/* SPDX-License-Identifier: MIT */
/*
 * A contender that only reads: as many bytes of the weights as a kernel's cold call must, a plain
 * loop on as many threads. Memory's speed on a shared machine changes within seconds; what is timed in the
 * same rounds as the kernels says how fast memory was for them. It never stands for a kernel: its
 * outputs are not written.
 */
#ifndef ASSAY_HARNESS_PLAIN_READ_H
#define ASSAY_HARNESS_PLAIN_READ_H

#include "harness/check.h"

/* The contender's result, to be timed in one case at a time; `weight_bytes` of the case's weights a
 * call, with the widest loop that the features allow. NULL: less than a kilobyte of each would be
 * read, or the weights are a file's. */
struct result *plain_read_of(const struct assay_case *item, double weight_bytes, uint32_t features);

/* Bytes of a call. */
double plain_read_bytes(void);

#endif
