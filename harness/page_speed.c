/* SPDX-License-Identifier: MIT */
/*
 * The speed of an op's kernels, a row for each case: against the reference where all cases have its
 * time, else in GFLOP/s, else in calls per second.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/html.h"
#include "harness/page_plots.h"
#include "harness/page_words.h"

/* Rows that a reader still compares, and that fit a page of paper. */
enum { MAX_ROWS = 16, LABEL_PIXELS = 17, LANE_PIXELS = 7 };

struct row {
    size_t item;
    int64_t threads;
};

enum measure { RATIO, GFLOPS, CALLS };

struct speed {
    const struct page *page;
    size_t machine, first, end; /* of page->timings */
    const struct page_op *op;
    enum measure measure;
    struct row *rows;
    size_t n_rows, all_rows;
    size_t *lanes; /* of the op's kernels; SIZE_MAX: not timed */
    size_t n_lanes;
    bool many_threads;
    bool
        alone; /* the reference is shown: in its own measure it is 1, and often far from all others */
    double low, high;
};

static double measured(const struct speed *s, const struct page_timing *t)
{
    switch (s->measure) {
    case RATIO: return t->ratio;
    case GFLOPS: return t->timing->flop / t->timing->median_ns;
    default: return 1e9 / t->timing->median_ns;
    }
}

/* Of what is measured. */
static struct interval interval_of(const struct speed *s, const struct page_timing *t)
{
    double value = measured(s, t), median = t->timing->median_ns;
    if (s->measure == RATIO)
        return t->speed;
    return (struct interval){value * median / t->timing->interval.high,
                             value * median / t->timing->interval.low,
                             t->timing->interval.coverage};
}

static bool is_shown(const struct speed *s, const struct page_timing *t)
{
    return t->newest && (s->alone || s->measure != RATIO || !s->page->kernels[t->kernel].reference);
}

static bool is_row(const struct row *row, const struct page_timing *t)
{
    return t->item == row->item && t->timing->threads == row->threads;
}

static size_t row_of(const struct speed *s, const struct page_timing *t)
{
    size_t row = 0;
    while (row < s->n_rows && !is_row(&s->rows[row], t))
        row++;
    return row;
}

/* Rows, measure and range; of too many rows every n-th. */
static bool find_rows(struct speed *s)
{
    bool ratio = true, flop = true;
    s->alone = true;
    s->rows = calloc(s->end - s->first + 1, sizeof(*s->rows));
    if (!s->rows)
        return false;
    for (size_t i = s->first; i < s->end; i++) {
        const struct page_timing *t = &s->page->timings[i];
        if (!t->newest)
            continue;
        ratio = ratio && isfinite(t->ratio);
        flop = flop && t->timing->flop > 0;
        s->alone = s->alone && s->page->kernels[t->kernel].reference;
        s->many_threads =
            s->many_threads || t->timing->threads != s->page->timings[s->first].timing->threads;
        size_t row = s->n_rows; /* it can only be of the case at hand */
        while (row > 0 && s->rows[row - 1].item == t->item && !is_row(&s->rows[row - 1], t))
            row--;
        if (row == 0 || !is_row(&s->rows[row - 1], t))
            s->rows[s->n_rows++] = (struct row){t->item, t->timing->threads};
    }
    s->measure = ratio ? RATIO : flop ? GFLOPS : CALLS;
    s->all_rows = s->n_rows;
    size_t every = (s->n_rows + MAX_ROWS - 1) / MAX_ROWS;
    for (size_t kept = 0; every > 1 && kept * every < s->all_rows; kept++) {
        s->rows[kept] = s->rows[kept * every];
        s->n_rows = kept + 1;
    }
    return true;
}

static bool find_lanes(struct speed *s)
{
    s->lanes = malloc((s->op->n_kernels + 1) * sizeof(*s->lanes));
    if (!s->lanes)
        return false;
    for (size_t k = 0; k < s->op->n_kernels; k++)
        s->lanes[k] = SIZE_MAX;
    s->low = INFINITY;
    s->high = 0;
    for (size_t i = s->first; i < s->end; i++) {
        const struct page_timing *t = &s->page->timings[i];
        if (!is_shown(s, t) || row_of(s, t) == s->n_rows)
            continue;
        s->lanes[t->kernel - s->op->first_kernel] = 0;
        s->low = fmin(s->low, interval_of(s, t).low);
        s->high = fmax(s->high, interval_of(s, t).high);
    }
    for (size_t k = 0; k < s->op->n_kernels; k++) {
        if (s->lanes[k] == 0)
            s->lanes[k] = s->n_lanes++;
    }
    return true;
}

/* Where a kernel's marks stand in a row, from 0 at the top to 1. */
static double place(const struct speed *s, size_t kernel)
{
    double pixels = LABEL_PIXELS + LANE_PIXELS * ((double)s->lanes[kernel] + 0.5);
    return pixels / (double)(LABEL_PIXELS + LANE_PIXELS * (s->n_lanes + 1));
}

static void draw_kernel(struct plot *plot, const struct speed *s, size_t kernel, bool cold,
                        bool first)
{
    size_t data = SIZE_MAX;
    const struct page_kernel *k = &s->page->kernels[s->op->first_kernel + kernel];
    for (size_t i = s->first; i < s->end; i++) {
        const struct page_timing *t = &s->page->timings[i];
        size_t row = is_shown(s, t) && t->kernel == s->op->first_kernel + kernel &&
                             (strcmp(t->timing->mode, "cold") == 0) == cold
                         ? row_of(s, t)
                         : s->n_rows;
        if (row == s->n_rows)
            continue;
        if (data == SIZE_MAX)
            data = plot_data(plot);
        struct interval interval = interval_of(s, t);
        plot_datum(plot, measured(s, t), (double)row + place(s, kernel), interval.low,
                   interval.high, page_tip(plot, s->page, t));
    }
    if (data == SIZE_MAX)
        return;
    plot_data_end(plot);
    plot_element(plot,
                 "$d%zu using 3:2:($4-$3):(0) with vectors nohead lw 1.5 lc rgb '#%06x' notitle",
                 data, plot_rgb(k->colour));
    struct plot_mark mark = {k->colour, k->shape, cold, false, first ? k->name : NULL};
    plot_points(plot, data, &mark);
}

/* Bands, and what is each row's own. */
static bool draw_rows(struct plot *plot, const struct speed *s, const char *common)
{
    for (size_t row = 0; row < s->n_rows; row++) {
        char *own = words_without(s->page->cases[s->rows[row].item].words, common),
             threads[32] = "";
        if (!own)
            return false;
        if (s->many_threads)
            snprintf(threads, sizeof(threads), "%s%lld thread%s", own[0] ? ", " : "",
                     (long long)s->rows[row].threads, s->rows[row].threads == 1 ? "" : "s");
        if (row % 2 == 0)
            fprintf(plot->script,
                    "set object rectangle from graph 0, first %zu to graph 1, first %zu behind "
                    "fs solid noborder fc rgb '#%06x'\n",
                    row, row + 1, plot_rgb(PLOT_BAND));
        fprintf(plot->script, "set label ");
        char *label;
        int length = asprintf(&label, "%s%s", own, threads);
        if (length >= 0)
            plot_text(plot->script, label);
        fprintf(plot->script,
                " at graph 0, first %.4f left offset 0.5,0 font ',12' front tc rgb '#%06x'\n",
                (double)row + 9.0 / (double)(LABEL_PIXELS + LANE_PIXELS * (s->n_lanes + 1)),
                plot_rgb(PLOT_DIM));
        free(own);
        if (length < 0)
            return false;
        free(label);
    }
    return true;
}

static char *common_words(const struct speed *s)
{
    char *common = strdup(s->n_rows > 1 ? s->page->cases[s->rows[0].item].words : "");
    for (size_t row = 1; common && row < s->n_rows; row++)
        words_meet(common, s->page->cases[s->rows[row].item].words);
    return common;
}

static bool draw(struct page_plots *plots, const struct speed *s, size_t op)
{
    static const char *const axes[] = {"times the speed of the reference", "GFLOP/s",
                                       "calls per second"};
    struct plot *plot = page_plots_add(plots, PLACE_SPEED, s->machine, op, "");
    char *common = common_words(s);
    if (!plot || !common) {
        free(common);
        return false;
    }
    plot->width = PLOT_WIDTH;
    plot->height = 72 + (int)(s->n_rows * (LABEL_PIXELS + LANE_PIXELS * (s->n_lanes + 1)));
    plot_title(plot, "Speed", s->op->name);
    plot_alt(plot,
             "Speed of %zu kernels of %s on %zu cases with 95 %% intervals, in %s. The table of "
             "timings has the same figures.",
             s->n_lanes, s->op->name, s->n_rows, axes[s->measure]);
    if (common[0])
        page_plots_note(plots, "All with %s.", common);
    if (s->n_rows < s->all_rows)
        page_plots_note(plots, "%zu of %zu cases, evenly chosen; the table has all.", s->n_rows,
                        s->all_rows);
    plot_log_axis(plot, 'x', s->low, s->high);
    fprintf(plot->script,
            "set yrange [%zu:0]\nunset ytics\nset border 1\nset xlabel '%s'\nset grid xtics\n"
            "set lmargin 1\nset rmargin 3\n",
            s->n_rows, axes[s->measure]);
    if (s->measure == RATIO && s->low <= 1)
        fprintf(plot->script,
                "set arrow from 1, graph 0 to 1, graph 1 nohead back lc rgb "
                "'#%06x'\n",
                plot_rgb(PLOT_NEUTRAL));
    bool drawn = draw_rows(plot, s, common);
    for (size_t k = 0; drawn && k < s->op->n_kernels; k++) {
        size_t keys = plot->keys;
        draw_kernel(plot, s, k, true, true);
        draw_kernel(plot, s, k, false, keys == plot->keys);
    }
    free(common);
    return drawn;
}

bool page_plot_speed(struct page_plots *plots, size_t machine, size_t op)
{
    struct speed s = {.page = plots->page, .machine = machine, .op = &plots->page->ops[op]};
    page_timings_of(plots->page, machine, s.op, &s.first, &s.end);
    if (s.first == s.end)
        return true;
    bool drawn = find_rows(&s) && find_lanes(&s) && draw(plots, &s, op);
    free(s.rows);
    free(s.lanes);
    return drawn;
}
