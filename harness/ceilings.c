/* SPDX-License-Identifier: MIT */
#include "harness/ceilings.h"

#include <math.h>
#include <string.h>

#include "opt/probes.h"

const char *const stream_names[] = {"read", "store", "copy"};

/* The first team of at least so many threads, or n_teams. */
static size_t find_team(const struct ceilings *c, int threads)
{
    size_t i = 0;
    while (i < c->n_teams && c->teams[i].threads < threads)
        i++;
    return i;
}

/* The best rate over so many bytes a thread or more, since more are not easier, from the last size
 * on that is not larger; for infinitely many, at the largest size. */
static double curve(const struct team_ceilings *team, enum stream stream, double bytes)
{
    double best = NAN;
    for (size_t i = team->n_sizes; i-- > 0;) {
        best = fmax(best, team->gb_per_s[stream][i]);
        if (team->bytes[i] <= bytes)
            break;
    }
    return best;
}

/* What up to so many threads can do that share the bytes; a small team may be the better one. */
static double stream_rate(const struct ceilings *c, enum stream stream, double bytes, int threads)
{
    size_t last = find_team(c, threads);
    double best = NAN;
    for (size_t i = 0; last < c->n_teams && i <= last; i++) {
        const struct team_ceilings *team = &c->teams[i];
        best = fmax(best, curve(team, stream, bytes / team->threads));
        if (stream == STREAM_STORE)
            best = fmax(best, team->nt_store_gb_per_s);
    }
    return best;
}

/* Whether a is the better peak. */
static bool exceeds(const struct tier_peak *a, const struct tier_peak *b, bool int8)
{
    double x = int8 ? a->int8_gops : a->f32_gflops;
    return isfinite(x) && (!b || x > (int8 ? b->int8_gops : b->f32_gflops));
}

/* The best that up to so many threads can do with the instructions of a tier; of one that is not
 * known, with any that are. The portable peak says what the compiler is worth, so it is the last
 * resort, and for the references alone. */
static const struct tier_peak *find_peak(const struct ceilings *c, const char *tier, int threads,
                                         bool int8)
{
    size_t team = find_team(c, threads);
    const struct tier_peak *of_tier = NULL, *of_any = NULL, *portable = NULL;
    for (size_t i = 0; team < c->n_teams && i < c->n_peaks; i++) {
        const struct tier_peak *peak = &c->peaks[i];
        if (peak->threads > c->teams[team].threads)
            continue;
        const struct tier_peak **best =
            strcmp(peak->tier, PROBES_PORTABLE) == 0 ? &portable : &of_any;
        if (exceeds(peak, *best, int8))
            *best = peak;
        if (strcmp(peak->tier, tier) == 0 && exceeds(peak, of_tier, int8))
            of_tier = peak;
    }
    if (!of_any && strcmp(tier, "ref") == 0)
        of_any = portable;
    return of_tier ? of_tier : of_any;
}

/* Takes a bound over if it is the longest so far. What is not known is none. */
static void bound(struct binding *binding, const char *kind, double ns, const char *name)
{
    if (!(ns > binding->ns))
        return;
    binding->kind = kind;
    binding->ns = ns;
    snprintf(binding->name, sizeof(binding->name), "%s", name);
}

static void bound_by_peak(const struct ceilings *c, const struct work *work, bool int8,
                          double operations, struct binding *binding)
{
    char name[sizeof(binding->name)];
    const struct tier_peak *peak = find_peak(c, work->tier, work->threads, int8);
    if (!peak)
        return;
    snprintf(name, sizeof(name), "%s, %.40s", int8 ? "int8 dot" : "f32 FMA", peak->tier);
    bound(binding, int8 ? "int8" : "f32", operations / (int8 ? peak->int8_gops : peak->f32_gflops),
          name);
}

/* `bytes` of moving, among `of` that the threads go over again and again. */
static void bound_by_stream(const struct ceilings *c, const struct work *work, enum stream stream,
                            double bytes, double of, struct binding *binding)
{
    char name[sizeof(binding->name)];
    double each = of / work->threads;
    if (isinf(of))
        snprintf(name, sizeof(name), "%s, memory", stream_names[stream]);
    else if (each < 1 << 20)
        snprintf(name, sizeof(name), "%s, %.3g KiB a thread", stream_names[stream], each / 1024);
    else
        snprintf(name, sizeof(name), "%s, %.3g MiB a thread", stream_names[stream],
                 each / (1 << 20));
    bound(binding, stream_names[stream], bytes / stream_rate(c, stream, of, work->threads), name);
}

bool ceilings_bind(const struct ceilings *c, const struct work *work, struct binding *binding)
{
    const struct assay_cost *cost = &work->cost;
    double dot = 2 * cost->products;
    double rest = cost->read_bytes - cost->weight_bytes;
    *binding = (struct binding){0};
    bound_by_peak(c, work, false, cost->flop - (work->digits > 0 ? dot : 0), binding);
    bound_by_peak(c, work, true, dot * work->digits, binding);
    /* Weights and what else a call touches are looked at apart: a kernel may keep the one in a
     * nearer cache while the other streams by. */
    bound_by_stream(c, work, STREAM_READ, cost->weight_bytes,
                    work->cold ? (double)INFINITY : cost->weight_bytes, binding);
    bound_by_stream(c, work, STREAM_READ, rest, rest + cost->written_bytes, binding);
    bound_by_stream(c, work, STREAM_STORE, cost->written_bytes, rest + cost->written_bytes,
                    binding);
    return binding->ns > 0;
}
