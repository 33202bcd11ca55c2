/* SPDX-License-Identifier: MIT */
/*
 * How a team of threads divides work: by equal shares, or in units, which the quick take from the
 * slow. opt/SCALING.md is about how that does on larger machines.
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

/*
 * Units of work 0 .. n-1 in shares, of which each thread has one. It takes the units of its own in
 * order, so that it goes through memory in one direction, and prepared weights stay near who packed
 * them; then it takes the last ones of others. Threads beyond SHARES take from the share of
 * another.
 */
#define SHARES 64

struct work_queue {
    int64_t shares;
    struct {
        _Alignas(64) _Atomic uint64_t left; /* low half: the first, high half: past the last */
    } share[SHARES];
};

/* n < 2^32. */
static inline void fill_queue(struct work_queue *queue, int64_t n, int threads)
{
    queue->shares = min_i64(threads, SHARES);
    for (int64_t i = 0; i < queue->shares; i++) {
        uint64_t first = (uint64_t)share_start(n, i, queue->shares);
        uint64_t end = (uint64_t)share_start(n, i + 1, queue->shares);
        atomic_init(&queue->share[i].left, first | end << 32);
    }
}

/* Takes one of a share, its first or its last; -1: it is empty. */
static inline int64_t take_unit_of(struct work_queue *queue, int64_t share, bool its_first)
{
    _Atomic uint64_t *left = &queue->share[share].left;
    uint64_t now = atomic_load_explicit(left, memory_order_relaxed), then;
    do {
        if ((uint32_t)now >= now >> 32)
            return -1;
        then = its_first ? now + 1 : now - (UINT64_C(1) << 32);
    } while (!atomic_compare_exchange_weak_explicit(left, &now, then, memory_order_relaxed,
                                                    memory_order_relaxed));
    return its_first ? (int64_t)(uint32_t)now : (int64_t)(then >> 32);
}

/* A unit for a thread; -1: none is left. */
static inline int64_t next_unit(struct work_queue *queue, int rank)
{
    int64_t unit = -1;
    for (int64_t i = 0; unit < 0 && i < queue->shares; i++)
        unit = take_unit_of(queue, (rank + i) % queue->shares, i == 0);
    return unit;
}

/* The unit that next_unit would return now, if it is of the thread's share; else -1. */
static inline int64_t waiting_unit(const struct work_queue *queue, int rank)
{
    uint64_t left =
        atomic_load_explicit(&queue->share[rank % queue->shares].left, memory_order_relaxed);
    return (uint32_t)left < left >> 32 ? (int64_t)(uint32_t)left : -1;
}

/* ---- a product ---- */

/* Weights are counted in super-blocks times virtual tokens (digits of a token), 1.4 ns each. */
#define READ_TOKENS   16   /* reading a super-block takes as long: 4 (one core) to 18 (64 cores) */
#define THREAD_WEIGHT 8192 /* less than this is not worth a thread */
#define UNITS         8    /* of a thread, to even out speeds */
#define LEAST_TOKENS  12   /* fewer do not pay for reading a panel once more */

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
    if (cut.team > 1)
        cut.unit = max_i64(1, cut.tokens * panels / (cut.team * UNITS));
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

static inline int64_t unit_count(const struct partition *cut)
{
    int64_t n = 0;
    for (int64_t i = 0; i < cut->n_lists; i++) {
        struct list_cut by = cut_list(cut, &cut->lists[i]);
        n += by.pieces * by.parts;
    }
    return n;
}

/* Where a thread is in the lists; starts as {0}. */
struct unit_cursor {
    int64_t list, units; /* units of the lists before */
};

/* Unit `index`; false: there are not so many. Quick if it comes after the one before of this
 * cursor. */
static inline bool unit_at(const struct partition *cut, struct unit_cursor *at, int64_t index,
                           struct unit *unit)
{
    if (index < at->units)
        *at = (struct unit_cursor){0};
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
