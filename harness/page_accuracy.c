/* SPDX-License-Identifier: MIT */
/* Accuracy beside speed: each kernel's largest normalized mean square error over its speed. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/html.h"
#include "harness/page_plots.h"

/* A kernel on the cases that it was timed on. */
struct accuracy {
    double nmse, utilisation; /* the largest; NAN: nothing has a tolerance */
    double log_speed;         /* sum */
    double low, high;         /* speeds */
    size_t timed;
};

struct tradeoff {
    const struct page *page;
    size_t machine, first, end; /* of page->timings */
    const struct page_op *op;
    bool ratio;           /* speeds are against the reference, else GFLOP/s */
    struct accuracy *all; /* of the op's kernels */
    double low, high, worst,
        none; /* speeds; none: where no error at all stands on a logarithmic axis */
    size_t shown;
};

static double speed_of(const struct tradeoff *o, const struct page_timing *t)
{
    return o->ratio ? t->ratio : t->timing->flop / t->timing->median_ns;
}

static bool is_shown(const struct accuracy *a)
{
    return a->timed > 0 && isfinite(a->nmse);
}

static void find_range(struct tradeoff *o)
{
    o->low = o->none = INFINITY;
    o->high = o->worst = 0;
    for (size_t k = 0; k < o->op->n_kernels; k++) {
        const struct accuracy *a = &o->all[k];
        if (!is_shown(a))
            continue;
        o->shown++;
        o->none = a->nmse > 0 ? fmin(o->none, a->nmse) : o->none;
        o->worst = fmax(o->worst, a->nmse);
        o->low = fmin(o->low, a->low);
        o->high = fmax(o->high, a->high);
    }
    o->none = isfinite(o->none) ? pow(10, floor(log10(o->none)) - 2) : 1e-16;
}

static bool collect(struct tradeoff *o)
{
    o->all = calloc(o->op->n_kernels + 1, sizeof(*o->all));
    if (!o->all)
        return false;
    o->ratio = true;
    for (size_t i = o->first; i < o->end; i++)
        o->ratio = o->ratio && (!o->page->timings[i].newest || isfinite(o->page->timings[i].ratio));
    for (size_t k = 0; k < o->op->n_kernels; k++)
        o->all[k] = (struct accuracy){.nmse = NAN, .utilisation = NAN, .low = INFINITY};
    for (size_t i = o->first; i < o->end; i++) {
        const struct page_timing *t = &o->page->timings[i];
        struct accuracy *a = &o->all[t->kernel - o->op->first_kernel];
        double speed = speed_of(o, t);
        if (!t->newest || !(speed > 0))
            continue;
        a->nmse = fmax(a->nmse, t->timing->result->nmse);
        a->utilisation = fmax(a->utilisation, t->timing->result->utilisation);
        a->log_speed += log(speed);
        a->low = fmin(a->low, speed);
        a->high = fmax(a->high, speed);
        a->timed++;
    }
    find_range(o);
    return true;
}

static void draw_kernel(struct plot *plot, const struct tradeoff *o, size_t kernel)
{
    const struct page_kernel *k = &o->page->kernels[o->op->first_kernel + kernel];
    const struct accuracy *a = &o->all[kernel];
    double speed = exp(a->log_speed / (double)a->timed);
    char nmse[FIGURE_SIZE];
    size_t data = plot_data(plot);
    plot_datum(plot, speed, fmax(a->nmse, o->none), a->low, a->high,
               plot_tip(plot,
                        "%s\nspeed %.3g, %.3g to %.3g over the cases\nNMSE up to %s\nerrors up to "
                        "%.2g of the tolerance",
                        k->label, speed, a->low, a->high, a->nmse > 0 ? figure(a->nmse, nmse) : "0",
                        a->utilisation));
    plot_data_end(plot);
    plot_element(plot,
                 "$d%zu using 3:2:($4-$3):(0) with vectors nohead lw 1.5 lc rgb '#%06x' notitle",
                 data, plot_rgb(k->colour));
    struct plot_mark mark = {k->colour, k->shape, true, false, k->name};
    plot_points(plot, data, &mark);
}

static bool draw(struct page_plots *plots, const struct tradeoff *o, size_t op)
{
    const char *unit = o->ratio ? "times the speed of the reference" : "GFLOP/s";
    struct plot *plot = page_plots_add(plots, PLACE_ACCURACY, o->machine, op, "");
    if (!plot)
        return false;
    plot->width = PLOT_WIDTH;
    plot->height = PLOT_HEIGHT;
    plot_title(plot, "Error over speed", o->op->name);
    plot_alt(plot,
             "The largest normalized mean square error of %zu kernels of %s over their speed "
             "in %s. The tables have the same figures.",
             o->shown, o->op->name, unit);
    page_plots_note(plots, "The best are at the bottom right. Lines: slowest to fastest case.");
    plot_log_axis(plot, 'x', o->low, o->high);
    fprintf(plot->script,
            "set logscale y\nset format y '1e%%T'\nset xlabel '%s'\n"
            "set ylabel 'largest NMSE'\nset ytics add ('0' %.6g)\nset yrange [%.6g:%.6g]\n",
            unit, o->none, o->none / 5, fmax(o->worst, o->none) * 5);
    for (size_t k = 0; k < o->op->n_kernels; k++) {
        if (is_shown(&o->all[k]))
            draw_kernel(plot, o, k);
    }
    return true;
}

bool page_plot_accuracy(struct page_plots *plots, size_t machine, size_t op)
{
    struct tradeoff o = {.page = plots->page, .machine = machine, .op = &plots->page->ops[op]};
    page_timings_of(o.page, machine, o.op, &o.first, &o.end);
    bool drawn = collect(&o) && (o.shown < 2 || draw(plots, &o, op));
    free(o.all);
    return drawn;
}
