/* SPDX-License-Identifier: MIT */
/* The model of opt/SCALING.md: what work costs on a machine. */
#ifndef ASSAY_TESTS_SCALING_H
#define ASSAY_TESTS_SCALING_H

/* A core's i8 tile: 75 multiply-pipe cycles for 256 x 16 weights and a token at 3.7 GHz, and what
 * else a call does, measured: 0.785 of the 473 GOP/s peak instead of 64/75 = 0.85. */
#define SCALING_TOKEN_NS    1.38
#define SCALING_BLOCK_BYTES 144

struct scaling_machine {
    const char *name;
    double core_gb_per_s, all_gb_per_s; /* read from memory: one core, all */
    double queue_ns;                    /* a look at another thread's share of the work */
    double fork_ns, fork_thread_ns;     /* parallel region: base, and each thread */
};

/* Assumed, not measured: sockets of 64 Zen 4 cores with 12 channels of DDR5-4800 at 80 % of
 * 38.4 GB/s each, two threads a core in the last. */
static const struct scaling_machine scaling_machines[] = {
    {"8 cores", 25, 100, 50, 1000, 100},
    {"64 cores", 25, 368, 50, 1000, 100},
    {"2 x 64 cores", 25, 736, 50, 1000, 100},
};

static inline double scaling_read_gb_per_s(const struct scaling_machine *machine, int threads)
{
    double cores = machine->core_gb_per_s * threads;
    return cores < machine->all_gb_per_s ? cores : machine->all_gb_per_s;
}

#endif
