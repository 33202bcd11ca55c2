/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <math.h>

#include "harness/ceilings.h"

/* ---- JSON ---- */

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *curve_json(const struct team_ceilings *team, enum stream stream)
{
    json_t *points = json_array();
    for (size_t i = 0; i < team->n_sizes; i++)
        json_array_append_new(points, json_pack("{s:I, s:o}", "bytes", (json_int_t)team->bytes[i],
                                                "gb_per_s", number(team->gb_per_s[stream][i])));
    return points;
}

json_t *ceilings_json(const struct ceilings *c)
{
    json_t *teams = json_array(), *peaks = json_array();
    for (size_t t = 0; t < c->n_teams; t++) {
        const struct team_ceilings *team = &c->teams[t];
        json_array_append_new(teams, json_pack("{s:i, s:o, s:o, s:o, s:o, s:o}", "threads",
                                               team->threads, "read", curve_json(team, STREAM_READ),
                                               "store", curve_json(team, STREAM_STORE), "copy",
                                               curve_json(team, STREAM_COPY), "nt_store_gb_per_s",
                                               number(team->nt_store_gb_per_s), "fork_join_ns",
                                               number(team->fork_join_ns)));
    }
    for (size_t p = 0; p < c->n_peaks; p++) {
        const struct tier_peak *peak = &c->peaks[p];
        json_array_append_new(peaks,
                              json_pack("{s:s, s:i, s:o, s:o}", "tier", peak->tier, "threads",
                                        peak->threads, "f32_gflops", number(peak->f32_gflops),
                                        "int8_gops", number(peak->int8_gops)));
    }
    return json_pack("{s:o, s:o, s:o, s:o}", "call_ns", number(c->call_ns), "repeatability",
                     number(c->repeatability), "threads", teams, "peaks", peaks);
}

/* ---- table ---- */

static void print_row(const struct ceilings *c, const char *name, const char *unit,
                      double (*value)(const struct ceilings *c, size_t team, const void *context),
                      const void *context, FILE *out)
{
    fprintf(out, "  %-28s", name);
    for (size_t t = 0; t < c->n_teams; t++) {
        double x = value(c, t, context);
        if (isfinite(x))
            fprintf(out, " %9.*f", x < 100 ? 1 : 0, x);
        else
            fprintf(out, " %9s", "-");
    }
    fprintf(out, "  %s\n", unit);
}

/* A stream where it fills no more than half of a cache that so many threads share, or memory. */
struct level {
    enum stream stream;
    const char *name;
    double bytes; /* of the cache; infinite: memory */
    bool shared;
};

static double level_rate(const struct ceilings *c, size_t t, const void *context)
{
    const struct level *level = context;
    const struct team_ceilings *team = &c->teams[t];
    double most = level->bytes / 2 / (level->shared ? team->threads : 1);
    size_t i = team->n_sizes - 1;
    while (i > 0 && team->bytes[i] > most)
        i--;
    return team->gb_per_s[level->stream][i];
}

static double nt_store_rate(const struct ceilings *c, size_t t, const void *context)
{
    (void)context;
    return c->teams[t].nt_store_gb_per_s;
}

static double fork_join(const struct ceilings *c, size_t t, const void *context)
{
    (void)context;
    return c->teams[t].fork_join_ns;
}

/* `context` is the peak with one thread; those of other teams follow it at equal distances. */
static double f32_peak(const struct ceilings *c, size_t t, const void *context)
{
    const struct tier_peak *first = context;
    return first[t * (c->n_peaks / c->n_teams)].f32_gflops;
}

static double int8_peak(const struct ceilings *c, size_t t, const void *context)
{
    const struct tier_peak *first = context;
    return first[t * (c->n_peaks / c->n_teams)].int8_gops;
}

void ceilings_print(const struct ceilings *c, const struct context *context, FILE *out)
{
    const struct level levels[] = {
        {STREAM_READ, "L1", (double)context->l1d_bytes, false},
        {STREAM_READ, "L2", (double)context->l2_bytes, false},
        {STREAM_READ, "last-level cache", (double)context->llc_bytes * context->llcs, true},
        {STREAM_READ, "memory", INFINITY, true},
        {STREAM_STORE, "memory", INFINITY, true},
        {STREAM_COPY, "memory", INFINITY, true},
    };
    char name[64];
    fprintf(out, "%-30s", "ceilings, threads");
    for (size_t t = 0; t < c->n_teams; t++)
        fprintf(out, " %9d", c->teams[t].threads);
    fputc('\n', out);
    for (size_t p = 0; c->n_teams > 0 && p < c->n_peaks / c->n_teams; p++) {
        snprintf(name, sizeof(name), "f32 multiply-add, %.40s", c->peaks[p].tier);
        print_row(c, name, "GFLOP/s", f32_peak, &c->peaks[p], out);
        snprintf(name, sizeof(name), "int8 dot, %.40s", c->peaks[p].tier);
        print_row(c, name, "GOP/s", int8_peak, &c->peaks[p], out);
    }
    for (size_t i = 0; i < sizeof(levels) / sizeof(*levels); i++) {
        if (levels[i].bytes == 0)
            continue;
        snprintf(name, sizeof(name), "%s, %s", stream_names[levels[i].stream], levels[i].name);
        print_row(c, name, "GB/s", level_rate, &levels[i], out);
    }
    print_row(c, "non-temporal store", "GB/s", nt_store_rate, NULL, out);
    print_row(c, "parallel region", "ns", fork_join, NULL, out);
    fprintf(out, "  %-28s %9.1f  ns\n", "call", c->call_ns);
    fprintf(out, "  9 of 10 repeat within %.1f %%\n", 100 * c->repeatability);
}
