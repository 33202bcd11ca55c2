/* SPDX-License-Identifier: MIT */
#include "harness/page_plots.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "harness/html.h"

static const char *const place_names[] = {"roofline", "speed",  "sweep",
                                          "accuracy", "errors", "trend"};

/* Names are for the command line: letters, digits and a few more. */
static char *name_of(const struct page_plots *plots, enum page_place place, size_t machine,
                     size_t op, const char *detail)
{
    const struct page *page = plots->page;
    char *name, number[32] = "";
    if (page->n_machines > 1)
        snprintf(number, sizeof(number), "-machine%zu", machine + 1);
    if (asprintf(&name, "%s%s%s%s%s%s", place_names[place], number, op == SIZE_MAX ? "" : "-",
                 op == SIZE_MAX ? "" : page->ops[op].name, detail[0] ? "-" : "", detail) < 0)
        return NULL;
    for (char *c = name; *c; c++) {
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-", *c))
            *c = '_';
    }
    return name;
}

struct plot *page_plots_add(struct page_plots *plots, enum page_place place, size_t machine,
                            size_t op, const char *detail)
{
    struct page_plot *items = reallocarray(plots->items, plots->count + 1, sizeof(*items));
    char *name = name_of(plots, place, machine, op, detail);
    struct plot *plot = items && name ? plots_add(&plots->plots, name) : NULL;
    free(name);
    if (items)
        plots->items = items;
    if (!plot)
        return NULL;
    plots->items[plots->count++] =
        (struct page_plot){.plot = plot, .place = place, .machine = machine, .op = op};
    return plot;
}

void page_plots_note(struct page_plots *plots, const char *format, ...)
{
    va_list args;
    char **note = &plots->items[plots->count - 1].note, *added, *both;
    va_start(args, format);
    int length = vasprintf(&added, format, args);
    va_end(args);
    if (length < 0)
        return;
    if (asprintf(&both, "%s%s%s", *note ? *note : "", *note ? " " : "", added) >= 0) {
        free(*note);
        *note = both;
    }
    free(added);
}

bool page_plots_make(const struct page *page, struct page_plots *plots, struct error *error)
{
    *plots = (struct page_plots){.page = page};
    bool made = true;
    for (size_t m = 0; made && m < page->n_machines; m++) {
        made = page_plot_roofline(plots, m);
        for (size_t op = 0; made && op < page->n_ops; op++)
            made = page_plot_speed(plots, m, op) && page_plot_sweeps(plots, m, op) &&
                   page_plot_accuracy(plots, m, op) && page_plot_errors(plots, m, op) &&
                   page_plot_trend(plots, m, op);
    }
    return made ? plots_finish(&plots->plots, error) : fail(error, "out of memory");
}

void page_plots_free(struct page_plots *plots)
{
    for (size_t i = 0; i < plots->count; i++)
        free(plots->items[i].note);
    free(plots->items);
    plots_free(&plots->plots);
}

size_t page_tip(struct plot *plot, const struct page *page, const struct page_timing *timing)
{
    const struct report_timing *t = timing->timing;
    char median[FIGURE_SIZE], low[FIGURE_SIZE], high[FIGURE_SIZE], rate[FIGURE_SIZE],
        bytes[FIGURE_SIZE], ratio[64] = "", bound[160] = "";
    if (isfinite(timing->ratio))
        snprintf(ratio, sizeof(ratio), ", %.3g times the reference", timing->ratio);
    if (t->ceiling.name)
        snprintf(bound, sizeof(bound), "\n%.0f %% of %.120s", 100 * t->ceiling.fraction,
                 t->ceiling.name);
    return plot_tip(plot, "%s, %s, %lld thread%s\n%s\n%s (%s to %s)%s\n%s GFLOP/s, %s GB/s%s",
                    page->kernels[timing->kernel].label, t->mode, (long long)t->threads,
                    t->threads == 1 ? "" : "s", page->cases[timing->item].words,
                    figure_ns(t->median_ns, median), figure_ns(t->interval.low, low),
                    figure_ns(t->interval.high, high), ratio, figure(t->flop / t->median_ns, rate),
                    figure((t->read_bytes + t->written_bytes) / t->median_ns, bytes), bound);
}
