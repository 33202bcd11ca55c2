/* SPDX-License-Identifier: MIT */
/*
 * The partition of work (opt/partition.h, opt/scratch.h) at 8, 64 and 256 threads, by simulation:
 * threads of different speeds take units from its queue. What a unit costs is the model of
 * opt/SCALING.md, not the partition's own weights. `test_partition table` prints all.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/random.h"
#include "opt/partition.h"
#include "opt/scratch.h"
#include "opt/team.h"
#include "ref/fill.h"
#include "tests/cunit_main.h"
#include "tests/scaling.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

enum { PANEL_ROWS = 16, MAX_THREADS = 256, MAX_EXPERTS = 256 };

/* One of a layer's products. */
struct product {
    const char *name;
    int64_t experts, top_k, m, k;
};

static const struct product products[] = {
    {"Qwen3-30B-A3B gate_up", 128, 8, 768, 2048},    {"Qwen3-30B-A3B down", 128, 8, 2048, 768},
    {"Qwen3-235B-A22B gate_up", 128, 8, 1536, 4096}, {"Qwen3-235B-A22B down", 128, 8, 4096, 1536},
    {"DeepSeek-V3 gate_up", 256, 8, 2048, 7168},     {"DeepSeek-V3 down", 256, 8, 7168, 2048},
};
static const int64_t token_counts[] = {1, 4, 32, 302, 512, 4096};
static const enum assay_routing routings[] = {ASSAY_ROUTE_UNIFORM, ASSAY_ROUTE_ZIPF,
                                              ASSAY_ROUTE_ONE_EXPERT};

/* What the lists of a routing are. */
static int64_t make_lists(const struct product *p, int64_t tokens, enum assay_routing routing,
                          struct pair_list *lists)
{
    struct random random;
    struct assay_fill fill = {.routing = routing, .zipf = 1.1};
    int32_t *selected = malloc((size_t)(tokens * p->top_k) * sizeof(*selected));
    int64_t n = 0, pairs[MAX_EXPERTS] = {0};
    if (!selected || !random_open(&random, 1) ||
        !fill_routing(&fill, p->experts, tokens, p->top_k, selected, &random.source))
        abort();
    random_close(&random);
    for (int64_t i = 0; i < tokens * p->top_k; i++)
        pairs[selected[i]]++;
    free(selected);
    for (int64_t e = 0; e < p->experts; e++) {
        if (pairs[e] > 0)
            lists[n++] = (struct pair_list){NULL, pairs[e], e};
    }
    return n;
}

static struct partition cut_of(const struct product *p, const struct pair_list *lists, int64_t n,
                               int digits, int threads)
{
    return partition_of(lists, n, ceil_div(p->m, PANEL_ROWS), PANEL_ROWS, p->k / 256, digits,
                        threads);
}

/* ---- simulation ---- */

struct outcome {
    double balance;    /* ideal time / makespan */
    double promised;   /* see promise() */
    double per_thread; /* units */
};

/*
 * What the queue can promise. As long as a unit is left no thread is idle, so that the makespan is
 * at most the ideal time and the largest unit on the slowest thread. The partition makes 8 units a
 * thread, by weights that put reading a super-block at 16 tokens, and none smaller than a panel
 * times twelve tokens, or than what a panel takes from memory. Looking for what others left takes a
 * look at each share; a thread does so a few times.
 */
static double promise(double ideal, int team, double slowest, double look, double grain,
                      double read)
{
    double unit = fmax(1, read / (16 * SCALING_TOKEN_NS)) * ideal / 8;
    double late = fmax(unit, grain) / slowest + 3 * fmin(team, SHARES) * look;
    return ideal / (ideal + late);
}

/* ns of a unit, of a thread of full speed. */
static double unit_ns(const struct product *p, const struct unit *unit, int digits,
                      double read_gb_per_s)
{
    double blocks = (double)(unit->end - unit->panel) * PANEL_ROWS * (double)p->k / 256;
    double compute = (double)(unit->last - unit->first) * digits * SCALING_TOKEN_NS;
    double read = SCALING_BLOCK_BYTES / read_gb_per_s;
    return blocks * (compute > read ? compute : read);
}

/* Of threads, this one's speed. `slow`: two of eight run at half. */
static double speed(int thread, bool slow)
{
    return slow && thread % 8 < 2 ? 0.5 : 1;
}

/* Looks at shares that are not in the thread's cache, before it has a unit. */
static int64_t looks(const struct work_queue *queue, int64_t units, int team, int thread,
                     int64_t unit)
{
    int64_t own = thread % queue->shares, share = 0;
    while (unit >= share_start(units, share + 1, queue->shares))
        share++;
    return (share - own + queue->shares) % queue->shares + (team > queue->shares);
}

/* Whoever is free first takes the next unit. */
static struct outcome simulate(const struct product *p, const struct partition *cut,
                               const struct scaling_machine *machine, bool slow)
{
    double free_at[MAX_THREADS] = {0}, work = 0, speeds = 0, end = 0;
    struct unit_cursor at[MAX_THREADS] = {{0}};
    const double read = scaling_read_gb_per_s(machine, cut->team) / cut->team;
    const int64_t units = unit_count(cut);
    struct work_queue queue;
    fill_queue(&queue, units, cut->team);
    for (int t = 0; t < cut->team; t++)
        speeds += speed(t, slow);
    for (;;) {
        int t = 0;
        for (int i = 1; i < cut->team; i++)
            t = free_at[i] < free_at[t] ? i : t;
        struct unit unit;
        int64_t index = next_unit(&queue, t);
        if (index < 0 || !unit_at(cut, &at[t], index, &unit))
            break;
        double ns = unit_ns(p, &unit, (int)cut->digits, read);
        free_at[t] += (double)looks(&queue, units, cut->team, t, index) * machine->queue_ns;
        free_at[t] += ns / speed(t, slow);
        work += ns;
        end = fmax(end, free_at[t]);
    }
    double ideal = work / speeds;
    const struct unit least = {.end = 1, .last = 12};
    return (struct outcome){ideal / end,
                            promise(ideal, cut->team, slow ? 0.5 : 1, machine->queue_ns,
                                    unit_ns(p, &least, (int)cut->digits, read),
                                    SCALING_BLOCK_BYTES / read),
                            (double)units / cut->team};
}

/* ---- tests ---- */

static void test_scratch(void)
{
    CU_ASSERT_EQUAL(line_bytes(0, 4), 0);
    CU_ASSERT_EQUAL(line_bytes(1, 1), 64);
    CU_ASSERT_EQUAL(line_bytes(16, 4), 64);
    CU_ASSERT_EQUAL(line_bytes(17, 4), 128);
    CU_ASSERT_EQUAL(line_bytes(-1, 4), -1);
    CU_ASSERT_EQUAL(line_bytes(INT64_MAX, 2), -1);
    CU_ASSERT_EQUAL(line_bytes(INT64_MAX, 1), -1);
}

/* A thread's own units come in order, then the last ones of others; each once. */
static void test_queue(void)
{
    struct work_queue queue;
    fill_queue(&queue, 8, 3); /* 0-2, 3-5, 6-7 */
    static const struct {
        int rank;
        int64_t waiting, unit;
    } turns[] = {{1, 3, 3},  {1, 4, 4}, {0, 0, 0},   {1, 5, 5},   {1, -1, 7}, {4, -1, 6},
                 {2, -1, 2}, {0, 1, 1}, {0, -1, -1}, {2, -1, -1}, {5, -1, -1}};
    for (size_t i = 0; i < COUNT(turns); i++) {
        CU_ASSERT_EQUAL(waiting_unit(&queue, turns[i].rank), turns[i].waiting);
        CU_ASSERT_EQUAL(next_unit(&queue, turns[i].rank), turns[i].unit);
    }
    fill_queue(&queue, 0, 1);
    CU_ASSERT_EQUAL(next_unit(&queue, 0), -1);
    fill_queue(&queue, UINT32_MAX, 1000);
    CU_ASSERT_EQUAL(queue.shares, SHARES);
    CU_ASSERT_EQUAL(next_unit(&queue, 999), share_start(UINT32_MAX, 999 % SHARES, SHARES));
}

enum { RACE_UNITS = 20000, RACERS = 4 };

struct race {
    struct work_queue queue;
    _Atomic int taken[RACE_UNITS];
};

static void race(void *context, int rank)
{
    struct race *race = context;
    for (int64_t unit; (unit = next_unit(&race->queue, rank)) >= 0;)
        atomic_fetch_add(&race->taken[unit], 1);
}

/* There are as many threads as shares, or more, and two cores: whoever is ahead robs the others. */
static void test_queue_race(void)
{
    static struct race state;
    for (int shares = 1; shares <= RACERS; shares++) {
        memset(&state, 0, sizeof(state));
        fill_queue(&state.queue, RACE_UNITS, shares);
        team_run(RACERS, race, &state);
        int wrong = 0;
        for (int i = 0; i < RACE_UNITS; i++)
            wrong += state.taken[i] != 1;
        CU_ASSERT_EQUAL(wrong, 0);
    }
}

/* Every panel times pair exactly once, whichever thread takes which unit; nothing empty. */
static void check_covers(const struct partition *cut)
{
    struct unit_cursor at[3] = {{0}};
    struct unit unit;
    int64_t last_matrix = -1, list = -1, units = 0;
    uint8_t *seen = NULL;
    bool exact = true;
    for (int64_t index = 0; unit_at(cut, &at[index * index % 3], index, &unit); index++) {
        units++;
        int64_t n = unit.list->n;
        if (unit.list->matrix != last_matrix) {
            for (int64_t i = 0; list >= 0 && i < cut->panels * cut->lists[list].n; i++)
                exact &= seen[i] == 1;
            free(seen);
            CU_ASSERT_PTR_NOT_NULL_FATAL(seen = calloc((size_t)(cut->panels * n), 1));
            last_matrix = unit.list->matrix, list++;
            CU_ASSERT_PTR_EQUAL_FATAL(unit.list, &cut->lists[list]);
        }
        bool within = unit.panel >= 0 && unit.panel < unit.end && unit.end <= cut->panels &&
                      unit.first >= 0 && unit.first < unit.last && unit.last <= n;
        CU_ASSERT_TRUE_FATAL(within);
        for (int64_t panel = unit.panel; panel < unit.end; panel++) {
            for (int64_t pair = unit.first; pair < unit.last; pair++)
                seen[panel * n + pair]++;
        }
    }
    for (int64_t i = 0; list >= 0 && i < cut->panels * cut->lists[list].n; i++)
        exact &= seen[i] == 1;
    free(seen);
    CU_ASSERT_TRUE(exact);
    CU_ASSERT_EQUAL(list, cut->n_lists - 1);
    CU_ASSERT_EQUAL(units, unit_count(cut));
}

static void test_covers(void)
{
    static const int threads[] = {1, 2, 3, 8, 64, 256, 1000};
    struct pair_list lists[MAX_EXPERTS];
    for (size_t p = 0; p < COUNT(products); p++) {
        for (size_t i = 0; i < COUNT(token_counts); i++) {
            for (size_t r = 0; r < COUNT(routings); r++) {
                int64_t n = make_lists(&products[p], token_counts[i], routings[r], lists);
                for (size_t t = 0; t < COUNT(threads); t++) {
                    int digits = (int)(t % 3) + 1;
                    struct partition cut = cut_of(&products[p], lists, n, digits, threads[t]);
                    CU_ASSERT_TRUE(cut.team >= 1 && cut.team <= threads[t]);
                    check_covers(&cut);
                }
            }
        }
    }
}

/* Shapes that no model has: a panel that is not full, lists of one pair beside long ones. */
static void test_odd_shapes(void)
{
    static const struct pair_list lists[] = {{NULL, 1, 0}, {NULL, 700, 1}, {NULL, 13, 2}};
    for (int64_t panels = 0; panels < 20; panels++) {
        for (int threads = 1; threads < 300; threads += 7) {
            struct partition cut = partition_of(lists, COUNT(lists), panels, 16, 3, 0, threads);
            if (panels > 0)
                check_covers(&cut);
        }
    }
    struct partition none = partition_of(lists, 0, 48, 16, 8, 1, 64);
    CU_ASSERT_EQUAL(none.team, 1);
    check_covers(&none);
}

/* One thread has no use for small units: each list is one. */
static void test_one_thread(void)
{
    struct pair_list lists[MAX_EXPERTS];
    int64_t n = make_lists(&products[0], 512, ASSAY_ROUTE_ZIPF, lists);
    struct partition cut = cut_of(&products[0], lists, n, 1, 1);
    struct unit_cursor at = {0};
    struct unit unit;
    CU_ASSERT_TRUE(unit_at(&cut, &at, n - 1, &unit));
    CU_ASSERT_PTR_EQUAL(unit.list, &lists[n - 1]);
    CU_ASSERT_TRUE(unit_at(&cut, &at, 3, &unit)); /* back again */
    CU_ASSERT_PTR_EQUAL(unit.list, &lists[3]);
    CU_ASSERT_FALSE(unit_at(&cut, &at, n, &unit));
}

static const struct {
    const struct scaling_machine *machine;
    int threads;
} teams[] = {{&scaling_machines[0], 8}, {&scaling_machines[1], 64}, {&scaling_machines[2], 256}};

static bool print;

static void check_balance(const struct product *p, int64_t tokens, enum assay_routing routing,
                          size_t team)
{
    struct pair_list lists[MAX_EXPERTS];
    int64_t n = make_lists(p, tokens, routing, lists);
    const int threads = teams[team].threads;
    struct partition cut = cut_of(p, lists, n, 1, threads);
    for (int slow = 0; slow < 2; slow++) {
        struct outcome got = simulate(p, &cut, teams[team].machine, slow);
        bool plenty = threads == 8 || (threads == 64 && tokens >= 302);
        bool good = got.balance >= got.promised && (got.balance >= 0.85 || !plenty || slow);
        CU_ASSERT_TRUE(good);
        if (print || !good)
            printf(
                "\n%-24s %4d tokens %-10s %3d threads%s: %3d work, %5.2f units each, balance %.2f "
                ">= %.2f%s",
                p->name, (int)tokens, assay_routing_names[routing], threads,
                slow ? ", 1/4 slow" : "          ", cut.team, got.per_thread, got.balance,
                got.promised, good ? "" : "  FAILED");
    }
}

static void test_all(void (*check)(const struct product *, int64_t, enum assay_routing, size_t))
{
    for (size_t team = 0; team < COUNT(teams); team++) {
        for (size_t p = 0; p < COUNT(products); p++) {
            for (size_t i = 0; i < COUNT(token_counts); i++) {
                for (size_t r = 0; r < COUNT(routings); r++)
                    check(&products[p], token_counts[i], routings[r], team);
            }
        }
    }
}

static void test_balance(void)
{
    test_all(check_balance);
}

static CU_TestInfo tests[] = {
    {"bytes of scratch", test_scratch},
    {"queue", test_queue},
    {"queue, raced for", test_queue_race},
    {"all is covered once", test_covers},
    {"odd shapes", test_odd_shapes},
    {"one thread", test_one_thread},
    {"balance", test_balance},
    CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
    {"partition", NULL, NULL, NULL, NULL, tests},
    CU_SUITE_INFO_NULL,
};

int main(int argc, char **argv)
{
    print = argc > 1 && strcmp(argv[1], "table") == 0;
    return cunit_main(suites);
}
