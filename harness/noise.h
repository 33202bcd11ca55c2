/* SPDX-License-Identifier: MIT */
/*
 * Whether a sample was taken in peace. Before and after it, and outside its time, short probes look
 * at what the machine delivers; around it, the operating system's counters.
 */
#ifndef ASSAY_HARNESS_NOISE_H
#define ASSAY_HARNESS_NOISE_H

#include <stdint.h>

/* Clock of the core by a chain of dependent additions, one a cycle, in about 30 us. */
double noise_chain(void);

/* What the slowest of so many threads achieves while all are busy at once, in multiplications per
 * ns; about 30 us. Throughput, so that two threads on one core show, be it in turns or beside each
 * other. Starts OpenMP's threads if threads > 1. */
double noise_gate(int threads);

/* One sample. Between the two calls is the sample alone. */
struct noise {
    double wall_ns, cpu_ns; /* elapsed; of all threads of this process */
    int64_t switches;       /* involuntary */
    double chain_ghz;       /* the lower of before and after */
    double gate;            /* likewise; NAN with one thread */
    int threads;
};

void noise_begin(struct noise *noise, int threads);
void noise_end(struct noise *noise);

/* CPU time for each thread and unit of elapsed time; 1: all had a core. */
double noise_cpu_share(const struct noise *noise);

/* What undisturbed samples look like. NAN: unknown, and nothing is said of it. */
struct noise_usual {
    double chain_ghz; /* the best of the run */
    double gate;      /* likewise, with as many threads */
    double cpu_share; /* the arm's median */
};

/* Bits of what disturbed a sample. */
enum {
    NOISE_SWITCHED = 1, /* something else ran on a core, more often than its length excuses */
    NOISE_SLOWED = 2,   /* the clock was slower than usual */
    NOISE_GATED = 4,    /* the threads did not get a core each */
    NOISE_STARVED = 8,  /* less CPU time than usual for the elapsed time */
};

uint32_t noise_disturbed(const struct noise *noise, const struct noise_usual *usual);

#endif
