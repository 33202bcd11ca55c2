/* SPDX-License-Identifier: MIT */
/* Not a test but a tool. `scaling` prints the table of opt/SCALING.md from the model's constants;
 * `scaling queue` measures what a unit costs here that one thread takes from its share, or two
 * take from one. */
#include "tests/scaling.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "opt/partition.h"
#include "opt/team.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

enum { QUEUE_TURNS = 2000000 };

/* A call of the model: super-blocks read, super-blocks times tokens multiplied, other bytes that
 * go to memory, what one thread does alone, barriers after the fork. */
static const struct call {
    const char *name;
    double blocks, products, other_bytes, alone_ns;
    int barriers;
} calls[] = {
    /* Qwen3-30B-A3B: 128 experts of 768 x 2048, top 8. */
    {"gate_up, 302 tokens", 128. * 768 * 8, 2416. * 768 * 8, 2416. * 768 * 4 + 302. * 2048 * 4,
     2500, 1},
    {"decode gate_up, 1 token", 8. * 768 * 8, 8. * 768 * 8, 0, 600, 0},
    {"gemv 4096 x 4096", 4096. * 16, 4096. * 16, 0, 800, 0},
    {"layer, 302 tokens", 3. * 128 * 768 * 8, 3. * 2416 * 768 * 8, 2416. * (768 + 2048) * 4 * 2,
     4500, 5},
    {"layer, 1 token", 3. * 8 * 768 * 8, 3. * 8 * 768 * 8, 0, 2500, 5},
};

static double call_ns(const struct call *call, const struct scaling_machine *machine, int threads)
{
    double bytes = call->blocks * SCALING_BLOCK_BYTES + call->other_bytes;
    double compute = call->products * SCALING_TOKEN_NS / threads;
    double memory = bytes / scaling_read_gb_per_s(machine, threads);
    double fork = threads == 1 ? 0 : machine->fork_ns + machine->fork_thread_ns * threads;
    /* 8 units a thread, less where there are not so many; on average half of one is waited for. */
    double body = fmax(compute, memory), wait = threads == 1 ? 0 : body / UNITS / 2;
    double looks = threads == 1 ? 0 : machine->queue_ns * threads; /* until all shares are empty */
    return call->alone_ns + fork * (1 + call->barriers) + body + fmax(wait, looks);
}

static void print_model(void)
{
    static const int threads[] = {1, 2, 8, 16, 64};
    const struct scaling_machine *machine = &scaling_machines[1];
    for (size_t c = 0; c < COUNT(calls); c++) {
        double one = call_ns(&calls[c], machine, 1);
        printf("| %s |", calls[c].name);
        for (size_t t = 0; t < COUNT(threads); t++) {
            double ns = call_ns(&calls[c], machine, threads[t]);
            printf(" %.3g us, %.2f |", ns / 1e3, one / ns / threads[t]);
        }
        printf("\n");
    }
}

static void take_turns(void *context, int rank)
{
    while (next_unit(context, rank) >= 0)
        ;
}

static void print_queue(void)
{
    for (int threads = 1; threads <= 2; threads++) {
        double best = INFINITY;
        for (int i = 0; i < 20; i++) {
            struct work_queue queue;
            struct timespec from, to;
            fill_queue(&queue, QUEUE_TURNS, 1);
            timespec_get(&from, TIME_UTC);
            team_run(threads, take_turns, &queue);
            timespec_get(&to, TIME_UTC);
            double ns =
                (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
            best = fmin(best, ns / QUEUE_TURNS);
        }
        printf("%d threads: %.1f ns a unit\n", threads, best);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "queue") == 0)
        print_queue();
    else
        print_model();
    return 0;
}
