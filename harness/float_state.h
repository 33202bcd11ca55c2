/* SPDX-License-Identifier: MIT */
/* The floating-point control state of the calling thread: what a kernel must leave as it was. */
#ifndef ASSAY_HARNESS_FLOAT_STATE_H
#define ASSAY_HARNESS_FLOAT_STATE_H

#include <stdbool.h>
#include <stdint.h>

struct float_state {
    uint32_t mxcsr; /* control bits only; status flags are a kernel's to raise */
    uint16_t x87;
};

struct float_state float_state_get(void);
void float_state_set(struct float_state state);
/* Lets subnormals be flushed, in inputs and results, where the machine can. */
void float_state_flush(void);
bool float_state_equal(struct float_state a, struct float_state b);

#endif
