/* SPDX-License-Identifier: MIT */
/*
 * Rounds, each of a sample of everything, until the time is up; the best of a thing's samples
 * counts. Even and odd rounds are kept apart to see how well the measurement repeats itself.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "harness/ceilings.h"
#include "harness/memory.h"
#include "harness/sandbox.h"
#include "harness/statistics.h"
#include "opt/cpu.h"
#include "opt/probes.h"
#include "opt/team.h"

#define SAMPLE_NS   100e3 /* of a team's at least; that all start together is a matter of 1 us */
#define SAMPLES     3 /* of a cache in a round: loads fall in and out of step with a core's ports */
#define PEAK_CYCLES 1e6
#define CALLS       1000 /* of nothing, in a sample */
#define FORKS       20
#define WARM_UP     3    /* passes until a last-level cache that holds it all serves it all */
#define CACHES      4    /* the largest size: what all caches hold, so many times */
#define MEMORY      0.25 /* but no more than this share of the machine's */
#define HUGE_PAGE   ((size_t)2 << 20)
#define SIZE_UNIT   (2 * PROBE_BYTES) /* a copy halves it */
#define PATIENCE    120               /* seconds for what takes a few */

enum { MAX_TIERS = CEILINGS_MAX_PEAKS / CEILINGS_MAX_TEAMS };

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* ---- what there is to measure ---- */

static void lay_out_sizes(struct team_ceilings *team, const struct context *context)
{
    double l1 = context->l1d_bytes > 0 ? (double)context->l1d_bytes : 32 << 10;
    double llc = context->llc_bytes > 0 ? (double)context->llc_bytes : 32 << 20;
    double last = CACHES * llc * fmin(1, (double)context->llcs / team->threads);
    if (context->memory_bytes > 0)
        last = fmin(last, MEMORY * (double)context->memory_bytes / team->threads);
    last = fmax(last, l1);
    for (double bytes = l1 / 2; bytes < last / 1.5; bytes *= 2) {
        if (team->n_sizes < CEILINGS_MAX_SIZES - 1)
            team->bytes[team->n_sizes++] = bytes;
    }
    team->bytes[team->n_sizes++] = last;
    for (size_t i = 0; i < team->n_sizes; i++)
        team->bytes[i] = fmax(1, floor(team->bytes[i] / SIZE_UNIT)) * SIZE_UNIT;
}

static void lay_out(struct ceilings *c, const struct context *context, uint32_t features,
                    int max_threads)
{
    *c = (struct ceilings){.call_ns = NAN, .repeatability = NAN};
    for (int threads = 1; c->n_teams < CEILINGS_MAX_TEAMS; threads *= 2) {
        struct team_ceilings *team = &c->teams[c->n_teams++];
        *team = (struct team_ceilings){.nt_store_gb_per_s = NAN, .fork_join_ns = NAN};
        team->threads = threads < max_threads ? threads : max_threads;
        lay_out_sizes(team, context);
        for (size_t i = 0; i < STREAMS * CEILINGS_MAX_SIZES; i++)
            team->gb_per_s[i / CEILINGS_MAX_SIZES][i % CEILINGS_MAX_SIZES] = NAN;
        for (size_t p = 0; p < n_probes && c->n_peaks < CEILINGS_MAX_PEAKS; p++) {
            if (!cpu_tier_lacks(probes[p]->tier, features))
                c->peaks[c->n_peaks++] =
                    (struct tier_peak){probes[p]->tier, team->threads, NAN, NAN};
        }
        if (team->threads == max_threads)
            break;
    }
}

/* ---- samples ---- */

enum job_kind { JOB_READ, JOB_STORE, JOB_COPY, JOB_NT_STORE, JOB_F32, JOB_INT8, JOB_TOUCH };

/* Of one thread. */
struct place {
    char *memory;
    size_t bytes;
    double start, end, operations;
};

/* What a team does at the same time. */
struct job {
    enum job_kind kind;
    const struct probes *probes;
    size_t bytes;
    int64_t warm_up, passes;
    int threads;
    struct place *places;
    struct team_line line;
};

static double do_passes(const struct job *job, char *memory, int64_t passes)
{
    size_t half = job->bytes / 2;
    switch (job->kind) {
    case JOB_READ: job->probes->read(memory, job->bytes, passes); break;
    case JOB_STORE: job->probes->store(memory, job->bytes, passes); break;
    case JOB_COPY: job->probes->copy(memory + half, memory, half, passes); break;
    case JOB_NT_STORE: job->probes->nt_store(memory, job->bytes, passes); break;
    case JOB_F32: return job->probes->f32(PEAK_CYCLES);
    case JOB_INT8: return job->probes->int8(PEAK_CYCLES);
    case JOB_TOUCH: break;
    }
    return (double)job->bytes * (double)passes;
}

static void work(void *context, int rank)
{
    struct job *job = context;
    struct place *place = &job->places[rank];
    place->start = 0;
    if (job->kind == JOB_TOUCH)
        memset(place->memory, 1, place->bytes);
    if (job->kind <= JOB_COPY)
        do_passes(job, place->memory, job->warm_up);
    if (!team_wait(&job->line, job->threads))
        return;
    double start = now_ns();
    place->operations = do_passes(job, place->memory, job->passes);
    place->end = now_ns();
    place->start = start;
}

/* Operations or bytes a ns; NAN if the threads did not start together. */
static double sample(struct job *job)
{
    double operations = 0, first = INFINITY, last = 0;
    job->line = (struct team_line){0};
    team_run(job->threads, work, job);
    for (int i = 0; i < job->threads; i++) {
        operations += job->places[i].operations;
        first = fmin(first, job->places[i].start);
        last = fmax(last, job->places[i].end);
    }
    return first > 0 ? operations / (last - first) : NAN;
}

/* Keeps the best rate, over so many bytes a thread. */
static void sample_stream(struct job *job, enum job_kind kind, double bytes, double cached_bytes,
                          double *best)
{
    double guess = isnan(*best) ? 10 : *best, total = bytes * job->threads;
    job->kind = kind;
    job->bytes = (size_t)bytes;
    job->warm_up = total <= cached_bytes ? WARM_UP : 1;
    job->passes = (int64_t)ceil(SAMPLE_NS * guess / total);
    for (int i = 0; i < (total <= cached_bytes ? SAMPLES : 1); i++) {
        *best = fmax(*best, sample(job));
        job->warm_up = 0;
    }
}

static void sample_peak(struct job *job, enum job_kind kind, double *best)
{
    job->kind = kind;
    *best = fmax(*best, sample(job));
}

static void do_nothing(void *context, int rank)
{
    (void)context, (void)rank;
}

static void sample_fork_join(int threads, double *best)
{
    double start = now_ns();
    for (int i = 0; i < FORKS; i++)
        team_run(threads, do_nothing, NULL);
    *best = fmin(*best, (now_ns() - start) / FORKS);
}

static const char *empty(const void *shape, const void *args, const void *prepared, void *scratch,
                         int threads)
{
    (void)shape, (void)args, (void)prepared, (void)scratch, (void)threads;
    return NULL;
}

static void sample_call(double *best)
{
    const char *(*volatile call)(const void *, const void *, const void *, void *, int) = empty;
    double start = now_ns();
    for (int i = 0; i < CALLS; i++)
        call(NULL, NULL, NULL, NULL, 1);
    *best = fmin(*best, (now_ns() - start) / CALLS);
}

/* ---- the child ---- */

struct measurement {
    double seconds;
    double cached_bytes; /* what all last-level caches hold */
    size_t n_probes;
    const struct probes *probes[MAX_TIERS]; /* that this CPU can run */
    int max_threads;
    struct place *places;    /* of each thread */
    struct ceilings *halves; /* two; seen by the parent */
    volatile bool *done;     /* likewise */
};

/* Memory for the largest size that each thread goes over, which it touches itself. */
static bool make_memory(const struct measurement *m)
{
    for (int rank = 0; rank < m->max_threads; rank++) {
        struct place *place = &m->places[rank];
        for (size_t t = 0; t < m->halves->n_teams; t++) {
            const struct team_ceilings *team = &m->halves->teams[t];
            if (rank < team->threads && place->bytes < (size_t)team->bytes[team->n_sizes - 1])
                place->bytes = (size_t)team->bytes[team->n_sizes - 1];
        }
        char *memory = mmap(NULL, place->bytes + HUGE_PAGE, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED)
            return false;
        place->memory = memory + (HUGE_PAGE - (uintptr_t)memory % HUGE_PAGE) % HUGE_PAGE;
        madvise(place->memory, place->bytes, MADV_HUGEPAGE);
    }
    struct job touch = {.kind = JOB_TOUCH, .threads = m->max_threads, .places = m->places};
    sample(&touch);
    return true;
}

/* A sample of everything; what tells no tier's peak is left to the given tier. */
static void take_round(const struct measurement *m, const struct probes *tier, struct ceilings *c)
{
    struct job job = {.places = m->places};
    sample_call(&c->call_ns);
    for (size_t t = 0; t < c->n_teams; t++) {
        struct team_ceilings *team = &c->teams[t];
        job.threads = team->threads;
        job.probes = tier;
        for (size_t i = 0; i < team->n_sizes; i++) {
            for (int stream = 0; stream < STREAMS; stream++)
                sample_stream(&job, (enum job_kind)stream, team->bytes[i], m->cached_bytes,
                              &team->gb_per_s[stream][i]);
        }
        if (tier->nt_store)
            sample_stream(&job, JOB_NT_STORE, team->bytes[team->n_sizes - 1], 0,
                          &team->nt_store_gb_per_s);
        if (team->threads > 1)
            sample_fork_join(team->threads, &team->fork_join_ns);
        for (size_t p = 0; p < m->n_probes; p++) {
            struct tier_peak *peak = &c->peaks[t * m->n_probes + p];
            job.probes = m->probes[p];
            sample_peak(&job, JOB_F32, &peak->f32_gflops);
            sample_peak(&job, JOB_INT8, &peak->int8_gops);
        }
    }
}

static void measure(void *context)
{
    const struct measurement *m = context;
    double start = now_ns();
    size_t first = m->n_probes > 1; /* the portable one is no faster than a tier */
    size_t tiers = m->n_probes - first;
    if (!make_memory(m))
        return;
    for (size_t round = 0; round < 2 * tiers || now_ns() - start < m->seconds * 1e9; round++)
        take_round(m, m->probes[first + round % tiers], &m->halves[round / tiers % 2]);
    for (int rank = 0; rank < m->max_threads; rank++)
        munmap(m->places[rank].memory, m->places[rank].bytes);
    *m->done = true;
}

/* ---- what comes of it ---- */

/* How far apart the halves are, in every rate. */
struct differences {
    size_t count;
    double values[CEILINGS_MAX_TEAMS * (STREAMS * CEILINGS_MAX_SIZES + 1) + 2 * CEILINGS_MAX_PEAKS];
};

static void merge_rate(double *into, const double *from, struct differences *differences)
{
    if (differences && isfinite(*into) && isfinite(*from))
        differences->values[differences->count++] = fabs(*into - *from) / fmax(*into, *from);
    *into = fmax(*into, *from);
}

/* Keeps the better of everything. */
static void merge(struct ceilings *into, const struct ceilings *from,
                  struct differences *differences)
{
    into->call_ns = fmin(into->call_ns, from->call_ns);
    for (size_t t = 0; t < into->n_teams; t++) {
        struct team_ceilings *a = &into->teams[t];
        const struct team_ceilings *b = &from->teams[t];
        for (size_t i = 0; i < STREAMS * a->n_sizes; i++)
            merge_rate(&a->gb_per_s[i % STREAMS][i / STREAMS],
                       &b->gb_per_s[i % STREAMS][i / STREAMS], differences);
        merge_rate(&a->nt_store_gb_per_s, &b->nt_store_gb_per_s, differences);
        a->fork_join_ns = fmin(a->fork_join_ns, b->fork_join_ns);
    }
    for (size_t p = 0; p < into->n_peaks; p++) {
        merge_rate(&into->peaks[p].f32_gflops, &from->peaks[p].f32_gflops, differences);
        merge_rate(&into->peaks[p].int8_gops, &from->peaks[p].int8_gops, differences);
    }
}

/* What 9 of 10 differences keep within; NAN if there are none. */
static double repeatability(struct differences *differences)
{
    if (differences->count == 0)
        return NAN;
    sort_samples(differences->values, differences->count);
    return quantile(differences->values, differences->count, 0.9);
}

static bool run_child(struct measurement *m, struct error *error)
{
    struct sandbox_result end;
    if (!sandbox_run(measure, m, m->seconds + PATIENCE, &end, error))
        return false;
    return *m->done || fail(error, "cannot measure what this machine can do: %s",
                            end.end == SANDBOX_TIMED_OUT               ? "the time was up"
                            : end.end == SANDBOX_CRASHED && end.signal ? strsignal(end.signal)
                                                                       : "no memory for it");
}

bool ceilings_measure(struct ceilings *ceilings, const struct context *context, uint32_t features,
                      int max_threads, double seconds, struct error *error)
{
    struct measurement m = {
        .seconds = seconds,
        .cached_bytes = (double)context->llc_bytes * context->llcs,
        .max_threads = max_threads,
    };
    struct differences differences = {0};
    struct guarded shared;
    for (size_t p = 0; p < n_probes && m.n_probes < MAX_TIERS; p++) {
        if (!cpu_tier_lacks(probes[p]->tier, features))
            m.probes[m.n_probes++] = probes[p];
    }
    int64_t bytes = 2 * (int64_t)sizeof(*m.halves) + (int64_t)sizeof(*m.done);
    if (!guarded_make_aligned(&shared, bytes, error))
        return false;
    m.halves = (struct ceilings *)shared.data;
    m.done = (bool *)(m.halves + 2);
    *m.done = false;
    lay_out(&m.halves[0], context, features, max_threads);
    m.halves[1] = m.halves[0];
    m.places = calloc((size_t)max_threads, sizeof(*m.places));
    bool measured = m.places ? run_child(&m, error) : fail(error, "out of memory");
    if (measured) {
        merge(&m.halves[0], &m.halves[1], &differences);
        m.halves[0].repeatability = repeatability(&differences);
        if (ceilings->n_teams == 0)
            *ceilings = m.halves[0];
        else
            merge(ceilings, &m.halves[0], NULL);
    }
    free(m.places);
    guarded_free(&shared);
    return measured;
}
