/* SPDX-License-Identifier: MIT */
/*
 * The errors of an op's kernels as shares of what is tolerated: a row for each kernel, a box for each
 * tenth of the tolerance, whose height is the logarithm of the share of outputs in it.
 */
#include <math.h>
#include <stdlib.h>

#include "harness/html.h"
#include "harness/page_plots.h"

enum { DECADES = 6, LABEL_PIXELS = 17, BOX_PIXELS = 24 };

struct errors {
    double bins[JUDGE_BINS], count;
    double utilisation; /* the largest; NAN: nothing has a tolerance */
};

static struct errors errors_of(const struct page *page, size_t machine, size_t kernel)
{
    struct errors e = {.utilisation = NAN};
    for (size_t i = 0; i < page->n_results; i++) {
        const struct page_result *r = &page->results[i];
        if (!r->newest || r->machine != machine || r->kernel != kernel || !r->result->has_histogram)
            continue;
        e.utilisation = fmax(e.utilisation, r->result->utilisation);
        for (int bin = 0; bin < JUDGE_BINS; bin++) {
            e.bins[bin] += (double)r->result->histogram[bin];
            e.count += (double)r->result->histogram[bin];
        }
    }
    return e;
}

/* One box of a row; rows are 1 high, with their label at the top. */
static void box(struct plot *plot, const struct errors *e, size_t row, int bin)
{
    static const double label = (double)LABEL_PIXELS / (LABEL_PIXELS + BOX_PIXELS + 4);
    double share = e->bins[bin] / e->count, bottom = (double)row + 0.98;
    double height = fmax(0.06, 1 + log10(share) / DECADES) * (0.98 - label);
    size_t tip =
        plot_tip(plot, "%.0f of %.0f outputs (%.2g %%) err by %.1f to %.1f of the tolerance",
                 e->bins[bin], e->count, 100 * share, bin / 10.0, (bin + 1) / 10.0);
    if (bin == JUDGE_TENTHS)
        tip = plot_tip(plot, "%.0f of %.0f outputs (%.2g %%) err by more than the tolerance",
                       e->bins[bin], e->count, 100 * share);
    plot_datum(plot, bin / 10.0 + 0.05, bottom - height / 2, height / 2, 0, tip);
}

static void draw_kernel(struct plot *plot, const struct page_kernel *kernel, const struct errors *e,
                        size_t row)
{
    for (int above = 0; above < 2; above++) {
        size_t data = SIZE_MAX;
        for (int bin = above ? JUDGE_TENTHS : 0; bin < (above ? JUDGE_BINS : JUDGE_TENTHS); bin++) {
            if (e->bins[bin] == 0)
                continue;
            if (data == SIZE_MAX)
                data = plot_data(plot);
            box(plot, e, row, bin);
        }
        if (data == SIZE_MAX)
            continue;
        plot_data_end(plot);
        plot_element(plot,
                     "$d%zu using 1:2:(0.045):3 with boxxyerror fs solid noborder fc rgb '#%06x' "
                     "notitle",
                     data, plot_rgb(above ? PLOT_BAD : kernel->colour));
        plot_element(plot,
                     "$d%zu using 1:2:5 with labels hypertext point pt 5 ps 1.6 lc rgb '#%06x' "
                     "notitle",
                     data, plot_rgb(PLOT_CLEAR));
    }
    char label[256];
    snprintf(label, sizeof(label), "%.128s, at most %.2g", kernel->name, e->utilisation);
    fprintf(plot->script, "set label ");
    plot_text(plot->script, label);
    fprintf(plot->script, " at 0.01, first %.4f left font ',12' front tc rgb '#%06x'\n",
            (double)row + 9.0 / (LABEL_PIXELS + BOX_PIXELS + 4), plot_rgb(PLOT_DIM));
}

static struct plot *add(struct page_plots *plots, size_t machine, size_t op)
{
    struct plot *plot = page_plots_add(plots, PLACE_ERRORS, machine, op, "");
    const char *name = plots->page->ops[op].name;
    if (!plot)
        return NULL;
    plot_title(plot, "Errors as shares of the tolerance", name);
    plot_alt(plot,
             "Histogram of the errors of the kernels of %s as shares of the tolerance. The "
             "table of checks has the largest of each.",
             name);
    page_plots_note(plots, "Heights are logarithmic: a full box is all outputs, none is fewer than "
                           "one in a million.");
    return plot;
}

bool page_plot_errors(struct page_plots *plots, size_t machine, size_t op_index)
{
    const struct page_op *op = &plots->page->ops[op_index];
    struct plot *plot = NULL;
    size_t rows = 0;
    for (size_t k = 0; k < op->n_kernels; k++) {
        struct errors e = errors_of(plots->page, machine, op->first_kernel + k);
        if (e.count == 0)
            continue;
        if (!plot && !(plot = add(plots, machine, op_index)))
            return false;
        draw_kernel(plot, &plots->page->kernels[op->first_kernel + k], &e, rows++);
    }
    if (!plot)
        return true;
    plot->width = PLOT_WIDTH;
    plot->height = 72 + (int)rows * (LABEL_PIXELS + BOX_PIXELS + 4);
    fprintf(plot->script,
            "set yrange [%zu:0]\nunset ytics\nset border 1\nset xrange [0:1.1]\nset grid xtics\n"
            "set xtics ('0' 0, '0.2' 0.2, '0.4' 0.4, '0.6' 0.6, '0.8' 0.8, '1' 1, '>1' 1.05)\n"
            "set xlabel 'error / tolerance'\nset lmargin 1\nset rmargin 3\n"
            "set arrow from 1, graph 0 to 1, graph 1 nohead dt 2 lc rgb '#%06x'\n",
            rows, plot_rgb(PLOT_BAD));
    return true;
}
