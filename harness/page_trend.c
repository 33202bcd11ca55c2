/* SPDX-License-Identifier: MIT */
/*
 * The trend over reports of one machine: each kernel's speed against the first report that has it,
 * the geometric mean of the cases that all its reports have.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/page_plots.h"

struct trend {
    const struct page *page;
    size_t machine, op;
    const struct page_machine *of;
    double low, high;
};

/* A kernel in one report. */
struct point {
    double log_ratio, variance; /* sums over its series */
    size_t count;               /* series in the report, of all kinds */
};

static bool same_series(const struct page_timing *a, const struct page_timing *b)
{
    return a->item == b->item && a->kernel == b->kernel &&
           a->timing->threads == b->timing->threads &&
           strcmp(a->timing->mode, b->timing->mode) == 0;
}

/* Adds a series to the points of its reports; timings of a series stand together, by time. */
static void add_series(const struct trend *t, size_t first, size_t end, struct point *points)
{
    const struct page_timing *base = &t->page->timings[first];
    for (size_t i = first; i < end; i++) {
        const struct page_timing *now = &t->page->timings[i];
        struct point *point = &points[now->report - t->of->first_report];
        const struct interval *interval = &now->timing->interval;
        double sigma = log(interval->high / interval->low) / 2 / 1.96; /* of 95 % intervals */
        point->log_ratio += log(base->timing->median_ns / now->timing->median_ns);
        point->variance += sigma * sigma;
        point->count++;
    }
}

/* The points of a kernel: from the series that are in all reports that time the kernel at all. */
static size_t collect(const struct trend *t, size_t kernel, struct point *points)
{
    const struct page *page = t->page;
    size_t first, end, reports = 0;
    page_timings_of(page, t->machine, &page->ops[t->op], &first, &end);
    memset(points, 0, t->of->n_reports * sizeof(*points));
    for (size_t i = first; i < end; i++) {
        if (page->timings[i].kernel == kernel)
            points[page->timings[i].report - t->of->first_report].count = 1;
    }
    for (size_t r = 0; r < t->of->n_reports; r++) {
        reports += points[r].count;
        points[r].count = 0;
    }
    for (size_t i = first, next; reports > 1 && i < end; i = next) {
        for (next = i + 1; next < end && same_series(&page->timings[i], &page->timings[next]);)
            next++;
        if (page->timings[i].kernel == kernel && next - i == reports)
            add_series(t, i, next, points);
    }
    for (size_t r = 0; r < t->of->n_reports; r++) {
        if (points[r].count > 0)
            return reports;
    }
    return 0;
}

static bool draw_kernel(struct plot *plot, struct trend *t, size_t kernel, struct point *points)
{
    const struct page_kernel *k = &t->page->kernels[kernel];
    size_t data = SIZE_MAX;
    if (collect(t, kernel, points) < 2)
        return false;
    for (size_t r = 0; r < t->of->n_reports; r++) {
        if (points[r].count == 0)
            continue;
        double n = (double)points[r].count, speed = exp(points[r].log_ratio / n);
        double width = exp(1.96 * sqrt(points[r].variance) / n);
        const struct report_context *context =
            &t->page->reports[t->of->first_report + r].report->context;
        if (data == SIZE_MAX)
            data = plot_data(plot);
        plot_datum(plot, (double)r, speed, speed / width, speed * width,
                   plot_tip(plot, "%s\n%s, %s\n%.4g times its first speed, mean of %zu timings",
                            k->label, context->commit, context->time, speed, points[r].count));
        t->low = fmin(t->low, speed / width);
        t->high = fmax(t->high, speed * width);
    }
    if (data == SIZE_MAX)
        return false;
    plot_data_end(plot);
    struct plot_mark mark = {k->colour, k->shape, true, false, k->name};
    plot_line(plot, data, &mark);
    return true;
}

/* Commits on the axis, as many as can be read. */
static void set_axes(struct plot *plot, const struct trend *t)
{
    size_t every = (t->of->n_reports + 9) / 10;
    fprintf(plot->script, "set xrange [-0.4:%.1f]\nset xtics rotate by -35 left (",
            (double)t->of->n_reports - 0.6);
    for (size_t r = 0; r < t->of->n_reports; r += every) {
        char label[9];
        snprintf(label, sizeof(label), "%s",
                 t->page->reports[t->of->first_report + r].report->context.commit);
        fputs(r > 0 ? ", " : "", plot->script);
        plot_text(plot->script, label);
        fprintf(plot->script, " %zu", r);
    }
    double room = fmax(0.02, 0.1 * (t->high - t->low));
    fprintf(plot->script,
            ")\nset yrange [%.6g:%.6g]\nset ylabel 'speed, first report = 1'\n"
            "set rmargin 6\n"
            "set arrow from graph 0, first 1 to graph 1, first 1 nohead lc rgb '#%06x'\n",
            t->low - room, t->high + room, plot_rgb(PLOT_NEUTRAL));
}

bool page_plot_trend(struct page_plots *plots, size_t machine, size_t op_index)
{
    const struct page *page = plots->page;
    struct trend t = {page, machine, op_index, &page->machines[machine], .low = 1, .high = 1};
    const struct page_op *op = &page->ops[op_index];
    struct point *points = calloc(t.of->n_reports + 1, sizeof(*points));
    size_t shown = 0;
    bool any = false;
    for (size_t k = 0; points && !any && k < op->n_kernels; k++)
        any = collect(&t, op->first_kernel + k, points) > 1;
    struct plot *plot = any ? page_plots_add(plots, PLACE_TREND, machine, op_index, "") : NULL;
    if (plot) {
        plot->width = PLOT_WIDTH;
        plot->height = PLOT_HEIGHT + 20;
        for (size_t k = 0; k < op->n_kernels; k++)
            shown += draw_kernel(plot, &t, op->first_kernel + k, points);
        plot_title(plot, "Speed over reports", op->name);
        plot_alt(plot,
                 "Speed of %zu kernels of %s over %zu reports, from the oldest to the newest, "
                 "against the first that has them.",
                 shown, op->name, t.of->n_reports);
        page_plots_note(plots, "Geometric mean of the cases that all of a kernel's reports have, "
                               "with 95 %% intervals.");
        set_axes(plot, &t);
    }
    free(points);
    return points && (!any || plot);
}
