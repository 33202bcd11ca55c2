/* SPDX-License-Identifier: MIT */
/* Switches flush-to-zero on, or elsewhere another rounding mode, and leaves it so. */
#ifndef ASSAY_TESTS_FLOAT_CONTROL_H
#define ASSAY_TESTS_FLOAT_CONTROL_H

#if defined(__x86_64__)
#include <xmmintrin.h>

static inline void flush_to_zero(void)
{
    _mm_setcsr(_mm_getcsr() | 0x8000);
}
#else
#include <fenv.h>

static inline void flush_to_zero(void)
{
    fesetround(FE_UPWARD);
}
#endif

#endif
