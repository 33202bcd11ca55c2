/* SPDX-License-Identifier: MIT */
/* The roofline: what the machine's memory and arithmetic allow, and every timed kernel below. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/html.h"
#include "harness/page_plots.h"

enum { MAX_ROOFS = 64, RASTER = 512 };

/* Bytes per second (a slope), or operations per second (a level). */
struct roof {
    char name[96];
    double height;
};

struct roofline {
    const struct page *page;
    size_t machine;
    int64_t threads;
    double low_x, high_x, low_y, high_y;
    struct roof slopes[MAX_ROOFS], levels[MAX_ROOFS];
    size_t n_slopes, n_levels;
    double top;  /* the highest level; 0: none */
    bool narrow; /* figures on lines are left to the tables */
};

static bool is_shown(const struct roofline *r, const struct page_timing *t)
{
    return t->newest && t->machine == r->machine && t->timing->threads == r->threads &&
           t->timing->flop > 0 && t->timing->read_bytes + t->timing->written_bytes > 0;
}

static double intensity_of(const struct page_timing *t)
{
    return t->timing->flop / (t->timing->read_bytes + t->timing->written_bytes);
}

static double gflops_of(const struct page_timing *t)
{
    return t->timing->flop / t->timing->median_ns;
}

static void add_roof(struct roof *roofs, size_t *count, const char *name, double height)
{
    if (!(height > 0) || *count == MAX_ROOFS)
        return;
    snprintf(roofs[*count].name, sizeof(roofs->name), "%s", name);
    roofs[(*count)++].height = height;
}

/* The bandwidth of what fits well into `bytes`, but is more than `above`. */
static double bandwidth(const struct report_level *level, double above, double bytes)
{
    double found = NAN;
    for (size_t i = 0; i < level->read.count; i++) {
        double size = (double)level->read.points[i].bytes;
        if (size > above && size <= 0.75 * bytes)
            found = level->read.points[i].gb_per_s;
    }
    return found;
}

static void find_slopes(struct roofline *r, const struct report *report)
{
    const struct report_context *c = &report->context;
    for (size_t i = 0; i < report->ceilings.n_levels; i++) {
        const struct report_level *level = &report->ceilings.levels[i];
        if (level->threads != r->threads || level->read.count == 0)
            continue;
        double l1 = (double)c->l1d_bytes, l2 = (double)c->l2_bytes;
        double llc = (double)c->llc_bytes / (double)r->threads;
        const struct report_point *last = &level->read.points[level->read.count - 1];
        add_roof(r->slopes, &r->n_slopes, "L1", bandwidth(level, 0, l1));
        add_roof(r->slopes, &r->n_slopes, "L2", bandwidth(level, l1, l2));
        add_roof(r->slopes, &r->n_slopes, "L3", bandwidth(level, l2, llc));
        add_roof(r->slopes, &r->n_slopes, (double)last->bytes > llc ? "memory" : "read",
                 last->gb_per_s);
    }
}

static int by_height(const void *left, const void *right)
{
    const struct roof *a = left, *b = right;
    return a->height < b->height ? -1 : a->height > b->height;
}

static void find_levels(struct roofline *r, const struct report *report)
{
    for (size_t i = 0; i < report->ceilings.n_peaks; i++) {
        const struct report_peak *peak = &report->ceilings.peaks[i];
        char name[96];
        if (peak->threads != r->threads)
            continue;
        snprintf(name, sizeof(name), "%.60s f32", peak->tier);
        add_roof(r->levels, &r->n_levels, name, peak->f32_gflops);
        snprintf(name, sizeof(name), "%.60s int8", peak->tier);
        add_roof(r->levels, &r->n_levels, name, peak->int8_gops);
    }
    qsort(r->levels, r->n_levels, sizeof(*r->levels), by_height);
    r->top = r->n_levels ? r->levels[r->n_levels - 1].height : 0;
}

/* The ranges that hold all points, the levels, and where memory meets the highest of them. */
static bool find_ranges(struct roofline *r)
{
    bool any = false;
    r->low_x = r->low_y = INFINITY;
    r->high_x = r->high_y = 0;
    for (size_t i = 0; i < r->page->n_timings; i++) {
        const struct page_timing *t = &r->page->timings[i];
        if (!is_shown(r, t))
            continue;
        any = true;
        r->low_x = fmin(r->low_x, intensity_of(t));
        r->high_x = fmax(r->high_x, intensity_of(t));
        r->low_y = fmin(r->low_y, gflops_of(t));
        r->high_y = fmax(r->high_y, gflops_of(t));
    }
    for (size_t i = 0; i < r->n_levels; i++)
        r->low_y = fmin(r->low_y, r->levels[i].height);
    r->high_y = fmax(r->high_y, r->top);
    if (r->n_slopes > 0)
        r->high_x = fmax(r->high_x, r->top / r->slopes[r->n_slopes - 1].height);
    r->low_x /= r->n_slopes ? 4 : 2; /* room for their names */
    r->high_x *= 2;
    r->low_y /= 1.6;
    r->high_y *= 1.8;
    return any;
}

/* The right margin in characters. */
static int margin_of(const struct roofline *r)
{
    size_t longest = 0;
    for (size_t i = 0; i < r->n_levels; i++)
        longest = strlen(r->levels[i].name) > longest ? strlen(r->levels[i].name) : longest;
    return (int)((double)longest * 0.8) + (r->narrow ? 1 : 6);
}

static void draw_slopes(struct plot *plot, const struct roofline *r)
{
    double end = r->top > 0 ? r->top : r->high_y;
    /* How steep one decade per decade is in pixels, less the margins. */
    double decade_x = (plot->width - 70 - 8 * margin_of(r)) / log10(r->high_x / r->low_x);
    double decade_y = (plot->height - 60) / log10(r->high_y / r->low_y);
    double degrees = atan2(decade_y, decade_x) * 180 / acos(-1);
    for (size_t i = 0; i < r->n_slopes; i++) {
        double height = r->slopes[i].height;
        double start = fmax(r->low_x, r->low_y / height);
        char text[FIGURE_SIZE];
        size_t data = plot_data(plot);
        plot_datum(plot, start, start * height, 0, 0, 0);
        plot_datum(plot, end / height, end, 0, 0, 0);
        plot_data_end(plot);
        plot_element(plot, "$d%zu using 1:2 with lines lw 1.5 lc rgb '#%06x' notitle", data,
                     plot_rgb(PLOT_DIM));
        fprintf(plot->script,
                "set label '%s%s%s%s' at %.6g,%.6g rotate by %.1f offset 1,0.9 "
                "font ',12' front tc rgb '#%06x'\n",
                r->slopes[i].name, r->narrow ? "" : " ", r->narrow ? "" : figure(height, text),
                r->narrow ? "" : " GB/s", start, start * height, degrees, plot_rgb(PLOT_DIM));
    }
}

/* Labels stand beside their lines at the right, pushed up where they would meet. */
static void draw_levels(struct plot *plot, const struct roofline *r)
{
    double fastest = 0, last = 0;
    double spacing = pow(r->high_y / r->low_y, 15.0 / (plot->height - 60)); /* 15 pixels */
    for (size_t i = 0; i < r->n_slopes; i++)
        fastest = fmax(fastest, r->slopes[i].height);
    for (size_t i = 0; i < r->n_levels; i++) {
        double height = r->levels[i].height, start = r->low_x;
        if (fastest > 0)
            start = fmax(start, height / fastest);
        size_t data = plot_data(plot);
        plot_datum(plot, start, height, 0, 0, 0);
        plot_datum(plot, r->high_x, height, 0, 0, 0);
        plot_data_end(plot);
        bool integer = strstr(r->levels[i].name, "int8") != NULL;
        plot_element(plot, "$d%zu using 1:2 with lines lw 1.5 dt %d lc rgb '#%06x' notitle", data,
                     integer ? 2 : 1, plot_rgb(PLOT_DIM));
        char text[FIGURE_SIZE], label[128 + FIGURE_SIZE];
        snprintf(label, sizeof(label), "%s%s%s", r->levels[i].name, r->narrow ? "" : " ",
                 r->narrow ? "" : figure(height, text));
        last = fmax(height, last * spacing);
        fprintf(plot->script, "set label ");
        plot_text(plot->script, label);
        fprintf(plot->script,
                " at graph 1, first %.6g left offset 0.5,0 font ',12' tc rgb '#%06x'\n", last,
                plot_rgb(PLOT_DIM));
    }
}

/* Whether a point of the series hides under an earlier one; notes it. */
static bool is_covered(unsigned char *raster, const struct roofline *r, double x, double y)
{
    size_t column = (size_t)(log(x / r->low_x) / log(r->high_x / r->low_x) * (RASTER - 1));
    size_t row = (size_t)(log(y / r->low_y) / log(r->high_y / r->low_y) * (RASTER - 1));
    unsigned char *byte = &raster[(row * RASTER + column) / 8];
    unsigned char bit = (unsigned char)(1u << column % 8);
    bool covered = *byte & bit;
    *byte |= bit;
    return covered;
}

static void draw_kernel(struct plot *plot, const struct roofline *r, size_t kernel, bool cold,
                        bool first, unsigned char *raster)
{
    size_t data = SIZE_MAX;
    const struct page_kernel *k = &r->page->kernels[kernel];
    memset(raster, 0, RASTER * RASTER / 8);
    for (size_t i = 0; i < r->page->n_timings; i++) {
        const struct page_timing *t = &r->page->timings[i];
        if (t->kernel != kernel || !is_shown(r, t) ||
            (strcmp(t->timing->mode, "cold") == 0) != cold ||
            is_covered(raster, r, intensity_of(t), gflops_of(t)))
            continue;
        if (data == SIZE_MAX)
            data = plot_data(plot);
        plot_datum(plot, intensity_of(t), gflops_of(t), 0, 0, page_tip(plot, r->page, t));
    }
    if (data == SIZE_MAX)
        return;
    plot_data_end(plot);
    struct plot_mark mark = {k->colour, k->shape, cold, true, first ? k->name : NULL};
    plot_points(plot, data, &mark);
}

/* Kernels of one name look alike in all ops, and one of them is enough for the key. */
static void draw_kernels(struct plot *plot, const struct roofline *r, unsigned char *raster)
{
    const struct page *page = r->page;
    for (size_t k = 0; k < page->n_kernels; k++) {
        size_t before = 0, keys = plot->keys;
        while (before < k && strcmp(page->kernels[before].name, page->kernels[k].name) != 0)
            before++;
        draw_kernel(plot, r, k, true, before == k, raster);
        draw_kernel(plot, r, k, false, before == k && keys == plot->keys, raster);
    }
}

static bool draw(struct page_plots *plots, const struct roofline *r, int width, int height)
{
    char name[32], heading[64];
    snprintf(name, sizeof(name), "%lld", (long long)r->threads);
    struct plot *plot = page_plots_add(plots, PLACE_ROOFLINE, r->machine, SIZE_MAX, name);
    unsigned char *raster = malloc(RASTER * RASTER / 8);
    if (!plot || !raster) {
        free(raster);
        return false;
    }
    plot->width = width;
    plot->height = height;
    snprintf(heading, sizeof(heading), "Roofline, %s thread%s", name, r->threads == 1 ? "" : "s");
    plot_title(plot, heading, r->page->machines[r->machine].cpu);
    plot_alt(plot,
             "GFLOP/s of every timed kernel over its arithmetic intensity on %s with %s threads, "
             "below the measured bandwidths and peaks. The table of timings has the same figures.",
             r->page->machines[r->machine].cpu, name);
    plot_log_axis(plot, 'x', r->low_x, r->high_x);
    plot_log_axis(plot, 'y', r->low_y, r->high_y);
    fprintf(plot->script,
            "set xlabel 'arithmetic intensity, flop per byte'\nset ylabel 'GFLOP/s'\n"
            "set rmargin %d\n",
            margin_of(r));
    draw_slopes(plot, r);
    draw_levels(plot, r);
    draw_kernels(plot, r, raster);
    free(raster);
    return true;
}

bool page_plot_roofline(struct page_plots *plots, size_t machine)
{
    int64_t threads = 0;
    const struct page *page = plots->page;
    for (;;) { /* the next number of threads */
        int64_t next = INT64_MAX;
        for (size_t i = 0; i < page->n_timings; i++) {
            const struct page_timing *t = &page->timings[i];
            if (t->machine == machine && t->timing->threads > threads && t->timing->threads < next)
                next = t->timing->threads;
        }
        if (next == INT64_MAX)
            return true;
        threads = next;
        struct roofline r = {page, machine, .threads = threads};
        const struct report *measured = page->machines[machine].measured;
        if (measured) {
            find_slopes(&r, measured);
            find_levels(&r, measured);
        }
        if (!find_ranges(&r))
            continue;
        if (!draw(plots, &r, 1040, 520))
            return false;
        r.narrow = true;
        if (!draw(plots, &r, 400, 440))
            return false;
        plots->plots.items[plots->count - 1]->narrow = true;
    }
}
