/* SPDX-License-Identifier: MIT */
/*
 * Instructions that count are asm statements, which a compiler neither deletes nor merges; what is
 * around them is loop control, once in 16 of them. Sixteen independent sums, in registers that are
 * named since compilers keep arrays of asm operands in memory, cover a latency of 4 cycles at up to
 * 4 instructions a cycle.
 */
#include "opt/avx512vnni/probe.h"

#include "opt/avx512vnni/common.h"

#define STEP 16 /* registers of 64 bytes: 1024 bytes, as probes promise */

/* What `each` makes of the numbers of the sums' registers. */
#define SIXTEEN(each)                                                                        \
    each(0) each(1) each(2) each(3) each(4) each(5) each(6) each(7) each(8) each(9) each(10) \
        each(11) each(12) each(13) each(14) each(15)
#define SUMS                                                                                 \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
        "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"
#define ZERO(sum) "vpxord %%zmm" #sum ", %%zmm" #sum ", %%zmm" #sum "\n\t"
#define FMA(sum)  "vfmadd213ps %0, %0, %%zmm" #sum "\n\t" /* x/2 + 1/2, which is 1 soon */
#define DOT(sum)  "vpdpbusd %1, %0, %%zmm" #sum "\n\t"

double avx512vnni_probe_f32(double cycles)
{
    int64_t steps = (int64_t)(cycles / STEP) + 1;
    __m512 half = _mm512_set1_ps(0.5f);
    __asm__ volatile(SIXTEEN(ZERO) : : : SUMS);
    for (int64_t step = 0; step < steps; step++)
        __asm__ volatile(SIXTEEN(FMA) : : "v"(half) : SUMS);
    return (double)steps * STEP * LANES * 2;
}

double avx512vnni_probe_int8(double cycles)
{
    int64_t steps = (int64_t)(cycles / STEP) + 1;
    __m512i nibbles = _mm512_set1_epi8(7), digits = _mm512_set1_epi8(-3);
    __asm__ volatile(SIXTEEN(ZERO) : : : SUMS);
    for (int64_t step = 0; step < steps; step++)
        __asm__ volatile(SIXTEEN(DOT) : : "v"(nibbles), "v"(digits) : SUMS);
    return (double)steps * STEP * 64 * 2;
}

void avx512vnni_probe_read(const void *from, size_t bytes, int64_t passes)
{
    for (; passes > 0; passes--) {
        const __m512i *p = from, *end = p + bytes / sizeof(*p);
        for (__m512i v; p < end; p += STEP) {
            UNROLL
            for (int i = 0; i < STEP; i++)
                __asm__ volatile("vmovdqa64 %1, %0" : "=v"(v) : "m"(p[i]));
        }
    }
}

void avx512vnni_probe_store(void *to, size_t bytes, int64_t passes)
{
    const __m512i v = _mm512_set1_epi32(0x12345678);
    for (; passes > 0; passes--) {
        __m512i *p = to, *end = p + bytes / sizeof(*p);
        for (; p < end; p += STEP) {
            UNROLL
            for (int i = 0; i < STEP; i++)
                __asm__ volatile("vmovdqa64 %1, %0" : "=m"(p[i]) : "v"(v));
        }
    }
}

void avx512vnni_probe_nt_store(void *to, size_t bytes, int64_t passes)
{
    const __m512i v = _mm512_set1_epi32(0x12345678);
    for (; passes > 0; passes--) {
        __m512i *p = to, *end = p + bytes / sizeof(*p);
        for (; p < end; p += STEP) {
            UNROLL
            for (int i = 0; i < STEP; i++)
                __asm__ volatile("vmovntdq %1, %0" : "=m"(p[i]) : "v"(v));
        }
    }
    _mm_sfence();
}

void avx512vnni_probe_copy(void *to, const void *from, size_t bytes, int64_t passes)
{
    for (; passes > 0; passes--) {
        const __m512i *p = from, *end = p + bytes / sizeof(*p);
        for (__m512i *q = to, v; p < end; p += STEP, q += STEP) {
            UNROLL
            for (int i = 0; i < STEP; i++) {
                __asm__ volatile("vmovdqa64 %1, %0" : "=v"(v) : "m"(p[i]));
                __asm__ volatile("vmovdqa64 %1, %0" : "=m"(q[i]) : "v"(v));
            }
        }
    }
}
