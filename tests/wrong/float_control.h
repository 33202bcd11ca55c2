/* SPDX-License-Identifier: MIT */
/* Ways to leave the floating-point unit otherwise than one found it. Elsewhere than on x86-64 each
 * is a rounding mode. */
#ifndef ASSAY_TESTS_FLOAT_CONTROL_H
#define ASSAY_TESTS_FLOAT_CONTROL_H

#include <stdbool.h>

#if defined(__x86_64__)
#include <xmmintrin.h>

static inline void flush_to_zero(void)
{
    _mm_setcsr(_mm_getcsr() | 0x8000);
}

static inline bool flushes_to_zero(void)
{
    return _mm_getcsr() & 0x8000;
}

/* That of SSE and AVX; the x87 unit has its own. */
static inline void round_toward_zero(void)
{
    _mm_setcsr(_mm_getcsr() | 0x6000);
}

static inline void x87_to_double(void)
{
    unsigned short control;
    __asm__ volatile("fnstcw %0" : "=m"(control));
    control = (unsigned short)((control & ~0x300u) | 0x200u);
    __asm__ volatile("fldcw %0" : : "m"(control));
}
#else
#include <fenv.h>

static inline bool flushes_to_zero(void)
{
    return false;
}

static inline void flush_to_zero(void)
{
    fesetround(FE_UPWARD);
}

static inline void round_toward_zero(void)
{
    fesetround(FE_TOWARDZERO);
}
#endif

#endif
