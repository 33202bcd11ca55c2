/* SPDX-License-Identifier: MIT */
#include <xmmintrin.h>

#include "harness/float_state.h"

#define MXCSR_STATUS 0x3fu
#define MXCSR_FLUSH  0x8040u /* FTZ and DAZ */

struct float_state float_state_get(void)
{
    struct float_state state = {_mm_getcsr() & ~MXCSR_STATUS, 0};
    __asm__ volatile("fnstcw %0" : "=m"(state.x87));
    return state;
}

void float_state_set(struct float_state state)
{
    _mm_setcsr(state.mxcsr);
    __asm__ volatile("fldcw %0" : : "m"(state.x87));
}

void float_state_flush(void)
{
    _mm_setcsr(_mm_getcsr() | MXCSR_FLUSH);
}

bool float_state_equal(struct float_state a, struct float_state b)
{
    return a.mxcsr == b.mxcsr && a.x87 == b.x87;
}
