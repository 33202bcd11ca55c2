/* SPDX-License-Identifier: MIT */
#include <xmmintrin.h>

#include "harness/float_state.h"

#define MXCSR_STATUS 0x3fu

struct float_state float_state_get(void)
{
    struct float_state state = {_mm_getcsr() & ~MXCSR_STATUS, 0};
    __asm__ volatile("fnstcw %0" : "=m"(state.x87));
    return state;
}

bool float_state_equal(struct float_state a, struct float_state b)
{
    return a.mxcsr == b.mxcsr && a.x87 == b.x87;
}
