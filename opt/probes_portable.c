/* SPDX-License-Identifier: MIT */
/* What C makes of the loops, compiled like the references but for fused multiply-adds. Vectors of 16
 * bytes are registers on most machines; where a compiler could see what comes out, it is kept from
 * looking by an empty asm statement. */
#include "opt/probes_portable.h"

#include <string.h>

typedef float floats __attribute__((vector_size(16)));
typedef uint32_t words __attribute__((vector_size(16)));

enum { STEP = PROBE_BYTES / sizeof(words), CHAINS = 8, DIGITS = 1024 };

/* Nothing is known of `object` from here on. */
#define OPAQUE(object) __asm__ volatile("" : "+m"(object) : : "memory")

static double f32(double cycles)
{
    floats half = {0.5f, 0.5f, 0.5f, 0.5f}, a[CHAINS];
    int64_t steps = (int64_t)(cycles / CHAINS) + 1;
    OPAQUE(half);
    for (int i = 0; i < CHAINS; i++)
        a[i] = half;
    OPAQUE(a);
    floats a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3], a4 = a[4], a5 = a[5], a6 = a[6], a7 = a[7];
    for (int64_t step = 0; step < steps; step++) { /* x/2 + 1/2, which is 1 soon */
        a0 = a0 * half + half;
        a1 = a1 * half + half;
        a2 = a2 * half + half;
        a3 = a3 * half + half;
        a4 = a4 * half + half;
        a5 = a5 * half + half;
        a6 = a6 * half + half;
        a7 = a7 * half + half;
    }
    a[0] = a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7;
    OPAQUE(a);
    return (double)steps * CHAINS * 4 * 2;
}

static double int8(double cycles)
{
    int8_t nibbles[DIGITS], digits[DIGITS];
    int64_t steps = (int64_t)(cycles / DIGITS) + 1;
    int32_t sum = 0;
    memset(nibbles, 7, sizeof(nibbles));
    memset(digits, -3, sizeof(digits));
    for (int64_t step = 0; step < steps; step++) {
        OPAQUE(nibbles);
        sum = 0;
        for (int i = 0; i < DIGITS; i++)
            sum += (int32_t)nibbles[i] * digits[i];
        OPAQUE(sum);
    }
    return (double)steps * DIGITS * 2;
}

static void read(const void *from, size_t bytes, int64_t passes)
{
    words sum = {0};
    for (; passes > 0; passes--) {
        const words *p = from, *end = p + bytes / sizeof(*p);
        OPAQUE(*(words *)from);
        for (words a, b, c, d; p < end; p += 8) {
            a = p[0] | p[1];
            b = p[2] | p[3];
            c = p[4] | p[5];
            d = p[6] | p[7];
            sum |= (a | b) | (c | d);
        }
    }
    OPAQUE(sum);
}

static void store(void *to, size_t bytes, int64_t passes)
{
    words value = {1, 2, 3, 4};
    OPAQUE(value);
    for (; passes > 0; passes--) {
        words *p = to, *end = p + bytes / sizeof(*p);
        for (; p < end; p += STEP) {
            for (int i = 0; i < STEP; i++)
                p[i] = value;
        }
        OPAQUE(*(words *)to);
    }
}

static void copy(void *to, const void *from, size_t bytes, int64_t passes)
{
    for (; passes > 0; passes--) {
        memcpy(to, from, bytes);
        OPAQUE(*(words *)to);
    }
}

const struct probes probes_portable = {
    .tier = PROBES_PORTABLE,
    .f32 = f32,
    .int8 = int8,
    .read = read,
    .store = store,
    .copy = copy,
};
