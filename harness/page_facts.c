/* SPDX-License-Identifier: MIT */
/* What a machine is, what its reports were made from, its ceilings and its noise. */
#include <math.h>
#include <string.h>

#include "harness/html.h"
#include "harness/page_write.h"

static void open_table(FILE *out, const char *title, const char *const *heads, size_t count)
{
    fprintf(out,
            "<h3>%s</h3>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" "
            "aria-label=\"%s\"><table><thead><tr>",
            title, title);
    for (size_t i = 0; i < count; i++) /* a column of figures is marked by a # */
        fprintf(out, "<th scope=\"col\"%s>%s</th>", heads[i][0] == '#' ? " class=\"n\"" : "",
                heads[i] + (heads[i][0] == '#'));
    fputs("</tr></thead>\n<tbody>\n", out);
}

static void close_table(FILE *out)
{
    fputs("</tbody></table></div>\n", out);
}

static void put_number(FILE *out, const char *text)
{
    fprintf(out, "<td class=\"n\">%s</td>", text);
}

static void put_figure(FILE *out, double value)
{
    char text[FIGURE_SIZE];
    put_number(out, figure(value, text));
}

static void put_text(FILE *out, const char *text)
{
    fputs("<td>", out);
    html_text(out, text);
    fputs("</td>", out);
}

static void put_count(FILE *out, int64_t count)
{
    fprintf(out, "<td class=\"n\">%lld</td>", (long long)count);
}

static void put_share(FILE *out, double share)
{
    if (isfinite(share))
        fprintf(out, "<td class=\"n\">%.2f %%</td>", 100 * share);
    else
        put_figure(out, NAN);
}

#define HEADS(...)                      \
    (const char *const[]){__VA_ARGS__}, \
        sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *)

static void write_machine(FILE *out, const struct page_machine *machine)
{
    const struct report_context *c = &machine->newest->context;
    char l1[FIGURE_SIZE], l2[FIGURE_SIZE], llc[FIGURE_SIZE], memory[FIGURE_SIZE];
    fprintf(out, "<p>%lld hardware threads; caches %s, %s, %s; %s of memory; ", (long long)c->cpus,
            figure_bytes(c->l1d_bytes, l1), figure_bytes(c->l2_bytes, l2),
            figure_bytes(c->llc_bytes, llc), figure_bytes(c->memory_bytes, memory));
    html_text(out, c->machine);
    fputs("; governor ", out);
    html_text(out, c->governor ? c->governor : "not known");
    fputs(". Features: ", out);
    html_text(out, c->features);
    fputs(".</p>\n", out);
}

static void write_reports(FILE *out, const struct page *page, const struct page_machine *machine)
{
    open_table(out, machine->n_reports == 1 ? "Report" : "Reports",
               HEADS("time (UTC)", "commit", "compiler", "#seconds", "#checks", "#timings", "#load",
                     "#steal", "#disturbed", "#A/A spread", "file"));
    for (size_t i = 0; i < machine->n_reports; i++) {
        const struct report *r = page->reports[machine->first_report + i].report;
        const struct report_noise *noise = &r->noise;
        fputs("<tr><th scope=\"row\">", out);
        html_text(out, r->context.time);
        fputs("</th>", out);
        put_text(out, r->context.commit);
        put_text(out, r->context.compiler);
        put_figure(out, r->elapsed_seconds);
        put_count(out, (int64_t)r->n_results);
        put_count(out, (int64_t)r->n_timings);
        put_figure(out, r->context.load);
        put_share(out, r->context.steal_share);
        put_share(out, r->has_noise && noise->samples > 0
                           ? (double)noise->disturbed / (double)noise->samples
                           : NAN);
        put_share(out, r->has_noise ? noise->aa_spread : NAN);
        put_text(out, r->path);
        fputs("</tr>\n", out);
    }
    close_table(out);
    fputs("<p class=\"note\">Flags of the newest build: <code>", out);
    html_text(out, machine->newest->context.flags);
    fputs("</code><br>Its command: <code>", out);
    html_text(out, machine->newest->command);
    fputs("</code></p>\n", out);
}

/* Samples that were discarded, by what disturbed them. */
static void write_noise(FILE *out, const struct report *report)
{
    const struct report_noise *n = &report->noise;
    open_table(out, "Noise of the newest timed run",
               HEADS("#samples", "#disturbed", "#by a switch", "#by a slow clock",
                     "#by a missing core", "#steal", "#A/A spread", "#clock, GHz, best",
                     "#median"));
    fputs("<tr>", out);
    put_count(out, n->samples);
    put_count(out, n->disturbed);
    put_count(out, n->switched);
    put_count(out, n->slowed);
    put_count(out, n->gated);
    put_share(out, n->steal_share);
    put_share(out, n->aa_spread);
    put_figure(out, n->chain_ghz_best);
    put_figure(out, n->chain_ghz_median);
    fputs("</tr>\n", out);
    close_table(out);
}

static double rate_at(const struct report_curve *curve, int64_t bytes)
{
    for (size_t i = 0; i < curve->count; i++) {
        if (curve->points[i].bytes == bytes)
            return curve->points[i].gb_per_s;
    }
    return NAN;
}

static void write_bandwidths(FILE *out, const struct report_ceilings *c)
{
    open_table(
        out, "Ceilings: bandwidth, GB/s",
        HEADS("#threads", "#bytes of a thread", "#read", "#store", "#copy", "#store past caches"));
    for (size_t i = 0; i < c->n_levels; i++) {
        const struct report_level *level = &c->levels[i];
        for (size_t p = 0; p < level->read.count; p++) {
            char text[FIGURE_SIZE];
            int64_t bytes = level->read.points[p].bytes;
            fputs("<tr>", out);
            put_count(out, level->threads);
            put_number(out, figure_bytes(bytes, text));
            put_figure(out, level->read.points[p].gb_per_s);
            put_figure(out, rate_at(&level->store, bytes));
            put_figure(out, rate_at(&level->copy, bytes));
            put_figure(out, p + 1 == level->read.count ? level->nt_store_gb_per_s : NAN);
            fputs("</tr>\n", out);
        }
    }
    close_table(out);
}

static void write_peaks(FILE *out, const struct report_ceilings *c)
{
    char call[FIGURE_SIZE], fork[FIGURE_SIZE];
    open_table(out, "Ceilings: arithmetic",
               HEADS("tier", "#threads", "#f32, GFLOP/s", "#int8, Gop/s"));
    for (size_t i = 0; i < c->n_peaks; i++) {
        fputs("<tr>", out);
        put_text(out, c->peaks[i].tier);
        put_count(out, c->peaks[i].threads);
        put_figure(out, c->peaks[i].f32_gflops);
        put_figure(out, c->peaks[i].int8_gops);
        fputs("</tr>\n", out);
    }
    close_table(out);
    fprintf(out, "<p class=\"note\">An empty call takes %s; starting and joining threads:",
            figure_ns(c->call_ns, call));
    for (size_t i = 0; i < c->n_levels; i++)
        fprintf(out, "%s %lld: %s", i > 0 ? "," : "", (long long)c->levels[i].threads,
                figure_ns(c->levels[i].fork_join_ns, fork));
    fputs(".</p>\n", out);
}

void page_write_facts(FILE *out, const struct page_parts *parts, size_t index)
{
    const struct page_machine *machine = &parts->page->machines[index];
    write_machine(out, machine);
    write_reports(out, parts->page, machine);
    if (!machine->measured)
        return;
    if (machine->measured->has_noise)
        write_noise(out, machine->measured);
    fputs("<div class=\"pair\"><div>\n", out);
    write_bandwidths(out, &machine->measured->ceilings);
    fputs("</div><div>\n", out);
    write_peaks(out, &machine->measured->ceilings);
    fputs("</div></div>\n", out);
}
