/* SPDX-License-Identifier: MIT */
#include "harness/noise.h"

#include <math.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <time.h>

#include "opt/team.h"

#define CHAIN_STEPS 100000 /* about 30 us */
#define GATE_STEPS  16000  /* of 6 multiplications, one a cycle on most cores: about 30 us */
/* A switch to one of the kernel's own threads takes some 20 us: in so long a sample it is nothing. What takes
 * longer shows in the CPU time. */
#define SWITCH_NS   5e6
#define TOLERATED   0.9 /* of what is usual */

enum { GATE_MAX_THREADS = 1024 };

/* The compiler knows nothing of x from here on, so that it cannot join operations. */
#define OPAQUE(x) __asm__ volatile("" : "+r"(x))

static double clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

double noise_chain(void)
{
    uint64_t x = 0, y = 1;
    OPAQUE(y); /* some cores add constants in no time */
    double start = clock_ns(CLOCK_MONOTONIC);
#define ADD        \
    do {           \
        x += y;    \
        OPAQUE(x); \
    } while (0)
    for (int i = 0; i < CHAIN_STEPS / 10; i++) {
        ADD;
        ADD;
        ADD;
        ADD;
        ADD;
        ADD;
        ADD;
        ADD;
        ADD;
        ADD;
    }
    return CHAIN_STEPS / (clock_ns(CLOCK_MONOTONIC) - start);
}

struct gate {
    int threads;
    struct team_line line;
    struct {
        double start, end; /* 0: did not start with the others */
    } thread[GATE_MAX_THREADS];
};

static void multiply(void *context, int rank)
{
    struct gate *gate = context;
    uint64_t a = 1, b = 2, c = 3, d = 4, e = 5, f = 6, factor = 3;
    OPAQUE(factor);
    if (!team_wait(&gate->line, gate->threads))
        return;
    double start = clock_ns(CLOCK_MONOTONIC);
#define MULTIPLY(x)  \
    do {             \
        x *= factor; \
        OPAQUE(x);   \
    } while (0)
    for (int i = 0; i < GATE_STEPS; i++) {
        MULTIPLY(a);
        MULTIPLY(b);
        MULTIPLY(c);
        MULTIPLY(d);
        MULTIPLY(e);
        MULTIPLY(f);
    }
    gate->thread[rank].end = clock_ns(CLOCK_MONOTONIC);
    gate->thread[rank].start = start;
}

double noise_gate(int threads)
{
    struct gate gate = {.threads = threads < GATE_MAX_THREADS ? threads : GATE_MAX_THREADS};
    double first = INFINITY, last = 0;
    team_run(gate.threads, multiply, &gate);
    for (int i = 0; i < gate.threads; i++) {
        first = fmin(first, gate.thread[i].start);
        last = fmax(last, gate.thread[i].end);
    }
    return first > 0 ? 6.0 * GATE_STEPS / (last - first) : 0;
}

static int64_t involuntary_switches(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_nivcsw : 0;
}

/* The better of two: in the first, threads may have to wake up. */
static double gate_awake(int threads)
{
    double first = noise_gate(threads);
    return fmax(first, noise_gate(threads));
}

void noise_begin(struct noise *noise, int threads)
{
    *noise = (struct noise){.threads = threads, .gate = NAN};
    if (threads > 1)
        noise->gate = gate_awake(threads);
    noise->chain_ghz = noise_chain();
    noise->switches = involuntary_switches();
    noise->cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    noise->wall_ns = clock_ns(CLOCK_MONOTONIC);
}

void noise_end(struct noise *noise)
{
    noise->wall_ns = clock_ns(CLOCK_MONOTONIC) - noise->wall_ns;
    noise->cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - noise->cpu_ns;
    noise->switches = involuntary_switches() - noise->switches;
    noise->chain_ghz = fmin(noise->chain_ghz, noise_chain());
    if (noise->threads > 1)
        noise->gate = fmin(noise->gate, gate_awake(noise->threads));
}

double noise_cpu_share(const struct noise *noise)
{
    return noise->cpu_ns / (noise->wall_ns * noise->threads);
}

uint32_t noise_disturbed(const struct noise *noise, const struct noise_usual *usual)
{
    bool switched = (double)noise->switches > noise->wall_ns / SWITCH_NS;
    uint32_t what = switched ? NOISE_SWITCHED : 0;
    /* What is not known compares false. */
    if (noise->chain_ghz < TOLERATED * usual->chain_ghz)
        what |= NOISE_SLOWED;
    if (noise->gate < TOLERATED * usual->gate)
        what |= NOISE_GATED;
    if (noise_cpu_share(noise) < TOLERATED * usual->cpu_share)
        what |= NOISE_STARVED;
    return what;
}
