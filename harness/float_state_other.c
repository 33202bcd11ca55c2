/* SPDX-License-Identifier: MIT */
/* Elsewhere the C library's view: rounding mode only. */
#include <fenv.h>

#include "harness/float_state.h"

struct float_state float_state_get(void)
{
    return (struct float_state){(uint32_t)fegetround(), 0};
}

void float_state_set(struct float_state state)
{
    fesetround((int)state.mxcsr);
}

void float_state_flush(void)
{
}

bool float_state_equal(struct float_state a, struct float_state b)
{
    return a.mxcsr == b.mxcsr;
}
