/* SPDX-License-Identifier: MIT */
/* The threads that kernels run on, for who wants to know what they are worth. */
#ifndef ASSAY_OPT_TEAM_H
#define ASSAY_OPT_TEAM_H

#include <stdbool.h>

typedef void team_work(void *context, int rank);

/* Calls work(context, rank) for rank 0 .. threads-1, each on a thread of its own, rank 0 on the
 * caller's, a rank always on the same; returns when all have. With threads > 1 this process must not fork
 * afterwards. */
void team_run(int threads, team_work *work, void *context);

/* Where a team starts at the same moment. Starts as {0}, serves once. */
struct team_line {
    _Atomic int arrived;
};

/* Waits until so many have come; false if they have not after 20 ms: OpenMP was told to start fewer
 * threads, or this machine has none to spare. */
bool team_wait(struct team_line *line, int threads);

#endif
