/* SPDX-License-Identifier: MIT */
#include "harness/noise.h"

#include <math.h>
#include <sys/resource.h>
#include <time.h>

static double ns_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}
static long switches(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nivcsw;
}
double noise_chain(void)
{
    double start = ns_of(CLOCK_MONOTONIC);
    uint64_t x = 1;
    for (int i = 0; i < 100000; i++)
        __asm__ volatile("add $1, %0" : "+r"(x));
    return 100000 / (ns_of(CLOCK_MONOTONIC) - start);
}
double noise_gate(int threads)
{
    return threads > 1 ? 1 : NAN;
}
void noise_begin(struct noise *noise, int threads)
{
    noise->threads = threads;
    noise->gate = noise_gate(threads);
    noise->chain_ghz = noise_chain();
    noise->switches = switches();
    noise->cpu_ns = ns_of(CLOCK_PROCESS_CPUTIME_ID);
    noise->wall_ns = ns_of(CLOCK_MONOTONIC);
}
void noise_end(struct noise *noise)
{
    noise->wall_ns = ns_of(CLOCK_MONOTONIC) - noise->wall_ns;
    noise->cpu_ns = ns_of(CLOCK_PROCESS_CPUTIME_ID) - noise->cpu_ns;
    noise->switches = switches() - noise->switches;
    noise->chain_ghz = fmin(noise_chain(), noise->chain_ghz);
}
double noise_cpu_share(const struct noise *noise)
{
    return noise->cpu_ns / noise->wall_ns / noise->threads;
}
uint32_t noise_disturbed(const struct noise *n, const struct noise_usual *usual)
{
    uint32_t bits = n->switches > 0 ? NOISE_SWITCHED : 0;
    if (n->chain_ghz < 0.9 * usual->chain_ghz)
        bits |= NOISE_SLOWED;
    if (n->gate < 0.9 * usual->gate)
        bits |= NOISE_GATED;
    if (noise_cpu_share(n) < usual->cpu_share - 0.05)
        bits |= NOISE_STARVED;
    return bits;
}
