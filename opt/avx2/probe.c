/* SPDX-License-Identifier: MIT */
/*
 * Instructions that count are asm statements, which a compiler neither deletes nor merges; what is
 * around them is loop control, once in 12 of them or more. Twelve independent sums, in registers
 * that are named since compilers keep arrays of asm operands in memory, cover a latency of 4 cycles
 * at up to 3 instructions a cycle.
 */
#include "opt/avx2/probe.h"

#include "opt/avx2/common.h"

#define SUMS 12
#define STEP 32 /* registers of 32 bytes: 1024 bytes, as probes promise */

/* What `each` makes of the numbers of the registers. */
#define TWELVE(each)                                                                         \
    each(0) each(1) each(2) each(3) each(4) each(5) each(6) each(7) each(8) each(9) each(10) \
        each(11)
#define CLOBBERED \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11"
#define ZERO(sum) "vpxor %%ymm" #sum ", %%ymm" #sum ", %%ymm" #sum "\n\t"
#define FMA(sum)  "vfmadd213ps %0, %0, %%ymm" #sum "\n\t" /* x/2 + 1/2, which is 1 soon */

double avx2_probe_f32(double cycles)
{
    int64_t steps = (int64_t)(cycles / SUMS) + 1;
    __m256 half = _mm256_set1_ps(0.5f);
    __asm__ volatile(TWELVE(ZERO) : : : CLOBBERED);
    for (int64_t step = 0; step < steps; step++)
        __asm__ volatile(TWELVE(FMA) : : "x"(half) : CLOBBERED);
    return (double)steps * SUMS * 8 * 2;
}

/* Registers 0-3: partial sums in int16, which hold eight pairs of products with nibbles; 4-7: the
 * sums in int32, which an exact sum needs from there on; 8-11: products. */
#define MULTIPLY(to)     "vpmaddubsw %1, %0, %%ymm" #to "\n\t"
#define ADD(sum, x)      "vpaddw %%ymm" #x ", %%ymm" #sum ", %%ymm" #sum "\n\t"
#define WIDEN(sum, to)   "vpmaddwd %2, %%ymm" #sum ", %%ymm" #to "\n\t"
#define ADD_WIDE(sum, x) "vpaddd %%ymm" #x ", %%ymm" #sum ", %%ymm" #sum "\n\t"
#define FIRST            MULTIPLY(0) MULTIPLY(1) MULTIPLY(2) MULTIPLY(3)
#define NEXT \
    MULTIPLY(8) MULTIPLY(9) MULTIPLY(10) MULTIPLY(11) ADD(0, 8) ADD(1, 9) ADD(2, 10) ADD(3, 11)
#define LAST    \
    WIDEN(0, 8) \
    WIDEN(1, 9) \
    WIDEN(2, 10) WIDEN(3, 11) ADD_WIDE(4, 8) ADD_WIDE(5, 9) ADD_WIDE(6, 10) ADD_WIDE(7, 11)

double avx2_probe_int8(double cycles)
{
    enum { MULTIPLICATIONS = 4 * 8 };
    int64_t steps = (int64_t)(cycles / MULTIPLICATIONS) + 1;
    __m256i nibbles = _mm256_set1_epi8(7), digits = _mm256_set1_epi8(-3);
    __m256i ones = _mm256_set1_epi16(1);
    __asm__ volatile(TWELVE(ZERO) : : : CLOBBERED);
    for (int64_t step = 0; step < steps; step++)
        __asm__ volatile(FIRST NEXT NEXT NEXT NEXT NEXT NEXT NEXT LAST
                         :
                         : "x"(nibbles), "x"(digits), "x"(ones)
                         : CLOBBERED);
    return (double)steps * MULTIPLICATIONS * 32 * 2;
}

void avx2_probe_read(const void *from, size_t bytes, int64_t passes)
{
    for (; passes > 0; passes--) {
        const __m256i *p = from, *end = p + bytes / sizeof(*p);
        for (__m256i v; p < end; p += STEP) {
            UNROLL
            for (int i = 0; i < STEP; i++)
                __asm__ volatile("vmovdqa %1, %0" : "=x"(v) : "m"(p[i]));
        }
    }
}

void avx2_probe_store(void *to, size_t bytes, int64_t passes)
{
    const __m256i v = _mm256_set1_epi32(0x12345678);
    for (; passes > 0; passes--) {
        __m256i *p = to, *end = p + bytes / sizeof(*p);
        for (; p < end; p += STEP) {
            UNROLL
            for (int i = 0; i < STEP; i++)
                __asm__ volatile("vmovdqa %1, %0" : "=m"(p[i]) : "x"(v));
        }
    }
}

void avx2_probe_nt_store(void *to, size_t bytes, int64_t passes)
{
    const __m256i v = _mm256_set1_epi32(0x12345678);
    for (; passes > 0; passes--) {
        __m256i *p = to, *end = p + bytes / sizeof(*p);
        for (; p < end; p += STEP) {
            UNROLL
            for (int i = 0; i < STEP; i++)
                __asm__ volatile("vmovntdq %1, %0" : "=m"(p[i]) : "x"(v));
        }
    }
    _mm_sfence();
}

void avx2_probe_copy(void *to, const void *from, size_t bytes, int64_t passes)
{
    for (; passes > 0; passes--) {
        const __m256i *p = from, *end = p + bytes / sizeof(*p);
        for (__m256i *q = to, v; p < end; p += STEP, q += STEP) {
            UNROLL
            for (int i = 0; i < STEP; i++) {
                __asm__ volatile("vmovdqa %1, %0" : "=x"(v) : "m"(p[i]));
                __asm__ volatile("vmovdqa %1, %0" : "=m"(q[i]) : "x"(v));
            }
        }
    }
}
