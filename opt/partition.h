/* SPDX-License-Identifier: MIT */
/*
 * How a team of threads divides work: by equal shares, or in units from a queue. Pure functions of
 * sizes and the number of threads; opt/SCALING.md is about how they do on larger machines.
 *
 * A product is lists of pairs, each times the panels (some rows) of a matrix. A unit is some panels
 * of a list times its pairs, or times some of them where there are more threads than panels. Lists
 * are cut by their weight, so that units are equal, however uneven the lists are.
 */
#ifndef ASSAY_OPT_PARTITION_H
#define ASSAY_OPT_PARTITION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

static inline int64_t ceil_div(int64_t a, int64_t b)
{
    return a / b + (a % b != 0);
}

static inline int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* A thread's share of n, contiguous: [share_start(n, rank, of), share_start(n, rank + 1, of)). */
static inline int64_t share_start(int64_t n, int64_t rank, int64_t of)
{
    return n / of * rank + min_i64(n % of, rank);
}

/* Hands out units of work in order; threads take the next one when they are done. On a cache line of
 * its own: beside it there may be what all threads read in every unit. */
struct work_queue {
    _Alignas(64) _Atomic int64_t next;
};

static inline int64_t next_unit(struct work_queue *queue)
{
    return atomic_fetch_add_explicit(&queue->next, 1, memory_order_relaxed);
}

/* The unit that next_unit would return now. */
static inline int64_t waiting_unit(const struct work_queue *queue)
{
    return atomic_load_explicit(&queue->next, memory_order_relaxed);
}

/* ---- a product ---- */

/* Weights are counted in super-blocks times virtual tokens (digits of a token), 1.4 ns each. */
#define READ_TOKENS   16   /* reading a super-block takes as long: 4 (one core) to 17 (64 cores) */
#define THREAD_WEIGHT 8192 /* less than this is not worth a thread */
#define QUEUE_WEIGHT  64   /* a unit's turn at the queue, when every core wants the next */
#define UNITS         8    /* of a thread, to even out speeds; fewer where the queue would bind */
#define LEAST_UNITS   2
#define LEAST_TOKENS  12 /* fewer do not pay for reading a panel once more */

/* The pairs of one matrix; pairs NULL: 0 .. n-1. */
struct pair_list {
    const int32_t *pairs;
    int64_t n, matrix;
};

struct partition {
    const struct pair_list *lists;
    int64_t n_lists, panels, digits;
    int64_t tokens; /* the weight of all lists' panels */
    int64_t unit;   /* a unit's weight by super-blocks of a row, at most, if it can be cut so */
    int team;       /* threads that are worth using */
};

static inline int64_t panel_tokens(const struct partition *cut, const struct pair_list *list)
{
    return max_i64(list->n * cut->digits, READ_TOKENS);
}

/* Panels are of panel_rows rows, of `blocks` super-blocks each. */
static inline struct partition partition_of(const struct pair_list *lists, int64_t n_lists,
                                            int64_t panels, int64_t panel_rows, int64_t blocks,
                                            int digits, int threads)
{
    struct partition cut = {lists, n_lists, panels, max_i64(digits, 1), 0, INT64_MAX, 1};
    for (int64_t i = 0; i < n_lists; i++) {
        cut.tokens += panel_tokens(&cut, &lists[i]);
    }
    int64_t weight = cut.tokens * panels * panel_rows * min_i64(blocks, THREAD_WEIGHT);
    cut.team = (int)max_i64(1, min_i64(threads, weight / THREAD_WEIGHT));
    if (cut.team > 1) {
        int64_t units = weight / QUEUE_WEIGHT / cut.team / cut.team;
        units = max_i64(LEAST_UNITS, min_i64(units, UNITS));
        cut.unit = max_i64(1, cut.tokens * panels / (cut.team * units));
    }
    return cut;
}

/* A list's units: `pieces` of its panels, times `parts` of its pairs. */
struct list_cut {
    int64_t pieces, parts;
};

static inline struct list_cut cut_list(const struct partition *cut, const struct pair_list *list)
{
    int64_t tokens = panel_tokens(cut, list);
    int64_t panels = max_i64(1, min_i64(cut->panels, cut->unit / tokens));
    int64_t parts = min_i64(ceil_div(tokens, cut->unit), list->n * cut->digits / LEAST_TOKENS);
    return (struct list_cut){ceil_div(cut->panels, panels), max_i64(1, parts)};
}

/* Panels [panel, end) times pairs first .. last - 1 of a list. */
struct unit {
    const struct pair_list *list;
    int64_t panel, end, first, last;
};

/* Where a thread is in the lists; starts as {0}. */
struct unit_cursor {
    int64_t list, units; /* units of the lists before */
};

/* Unit `index`, not smaller than the one before of this cursor; false: there are not so many. */
static inline bool unit_at(const struct partition *cut, struct unit_cursor *at, int64_t index,
                           struct unit *unit)
{
    for (; at->list < cut->n_lists; at->list++) {
        const struct pair_list *list = &cut->lists[at->list];
        struct list_cut by = cut_list(cut, list);
        int64_t i = index - at->units, piece = i / by.parts, part = i % by.parts;
        if (piece < by.pieces) {
            *unit = (struct unit){list, share_start(cut->panels, piece, by.pieces),
                                  share_start(cut->panels, piece + 1, by.pieces),
                                  share_start(list->n, part, by.parts),
                                  share_start(list->n, part + 1, by.parts)};
            return true;
        }
        at->units += by.pieces * by.parts;
    }
    return false;
}

#endif
