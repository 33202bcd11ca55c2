/* SPDX-License-Identifier: MIT */
#include "opt/team.h"

#include <stdatomic.h>
#include <stdint.h>
#include <threads.h>
#include <time.h>

#define WAIT_NS 20000000

void team_run(int threads, team_work *work, void *context)
{
    if (threads == 1) {
        work(context, 0);
        return;
    }
    /* OpenMP promises that iteration `rank` of a static schedule is thread `rank`'s. */
#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (int rank = 0; rank < threads; rank++)
        work(context, rank);
}

static int64_t now_ns(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

bool team_wait(struct team_line *line, int threads)
{
    int64_t end = 0;
    atomic_fetch_add(&line->arrived, 1);
    while (atomic_load(&line->arrived) < threads) {
        int64_t now = now_ns();
        end = end ? end : now + WAIT_NS;
        if (now > end)
            return false;
        thrd_yield();
    }
    return true;
}
