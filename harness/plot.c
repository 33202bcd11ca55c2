/* SPDX-License-Identifier: MIT */
#include "harness/plot.h"

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* As in harness/page.css, which has others for dark screens. */
static const struct {
    const char *name;
    unsigned rgb;
} colours[] = {
    [PLOT_INK] = {"ink", 0x1f2328},
    [PLOT_DIM] = {"dim", 0x59636e},
    [PLOT_GRID] = {"grid", 0xe3e7ec},
    [PLOT_BAND] = {"band", 0xf5f7f9},
    [PLOT_PAPER] = {"paper", 0xfefefe},
    [PLOT_NEUTRAL] = {"neutral", 0x6b7075},
    [PLOT_BAD] = {"bad", 0xb42318},
    [PLOT_CLEAR] = {"clear", 0xff010203}, /* its first byte is how transparent it is */
    [PLOT_SERIES] = {"series0", 0x0072b2},
    {"series1", 0xc75000},
    {"series2", 0x00855f},
    {"series3", 0xb4568c},
    {"series4", 0x9a6700},
    {"series5", 0x5b3a8c},
    {"series6", 0x7a5c3e},
};
enum { N_COLOURS = sizeof(colours) / sizeof(*colours) };

struct plot *plots_add(struct plots *plots, const char *name)
{
    struct plot **items = realloc(plots->items, (plots->count + 1) * sizeof(*items));
    if (!items)
        return NULL;
    plots->items = items;
    struct plot *plot = calloc(1, sizeof(*plot));
    if (!plot)
        return NULL;
    plots->items[plots->count++] = plot;
    plot->name = strdup(name);
    plot->script = open_memstream(&plot->commands, &plot->length);
    plot->elements = open_memstream(&plot->listed, &plot->listed_length);
    return plot->name && plot->script && plot->elements ? plot : NULL;
}

static bool end(FILE **stream)
{
    bool written = *stream && !ferror(*stream);
    if (*stream && fclose(*stream) != 0)
        written = false;
    *stream = NULL;
    return written;
}

bool plots_finish(struct plots *plots, struct error *error)
{
    bool whole = true;
    for (size_t i = 0; i < plots->count; i++) {
        struct plot *plot = plots->items[i];
        whole = end(&plot->script) && end(&plot->elements) && plot->subject && plot->heading &&
                plot->alt && whole;
    }
    return whole || fail(error, "out of memory");
}

void plots_free(struct plots *plots)
{
    for (size_t i = 0; i < plots->count; i++) {
        struct plot *plot = plots->items[i];
        end(&plot->script);
        end(&plot->elements);
        for (size_t t = 0; t < plot->n_tips; t++)
            free(plot->tips[t]);
        free(plot->tips);
        free(plot->commands);
        free(plot->listed);
        free(plot->name);
        free(plot->subject);
        free(plot->heading);
        free(plot->alt);
        free(plot);
    }
    free(plots->items);
    *plots = (struct plots){0};
}

void plot_title(struct plot *plot, const char *heading, const char *subject)
{
    plot->heading = strdup(heading);
    plot->subject = strdup(subject);
}

void plot_alt(struct plot *plot, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (vasprintf(&plot->alt, format, args) < 0)
        plot->alt = NULL;
    va_end(args);
}

size_t plot_tip(struct plot *plot, const char *format, ...)
{
    if (plot->n_tips == plot->tips_room) {
        size_t room = plot->tips_room ? 2 * plot->tips_room : 64;
        char **tips = reallocarray(plot->tips, room, sizeof(*tips));
        if (!tips)
            return SIZE_MAX; /* a place without a tip */
        plot->tips = tips;
        plot->tips_room = room;
    }
    va_list args;
    va_start(args, format);
    int length = vasprintf(&plot->tips[plot->n_tips], format, args);
    va_end(args);
    return length < 0 ? SIZE_MAX : plot->n_tips++;
}

unsigned plot_rgb(int colour)
{
    return colours[colour].rgb;
}

const char *plot_colour_name(unsigned rgb)
{
    for (int i = 0; i < N_COLOURS; i++) {
        if ((colours[i].rgb & 0xffffff) == rgb)
            return colours[i].name;
    }
    return NULL;
}

size_t plot_data(struct plot *plot)
{
    fprintf(plot->script, "$d%zu << EOD\n", plot->n_data);
    return plot->n_data++;
}

void plot_datum(struct plot *plot, double x, double y, double low, double high, size_t tip)
{
    fprintf(plot->script, "%.6g %.6g %.6g %.6g %zu\n", x, y, low, high, tip);
}

void plot_data_end(struct plot *plot)
{
    fputs("EOD\n", plot->script);
}

void plot_element(struct plot *plot, const char *format, ...)
{
    va_list args;
    fputs(plot->n_elements++ ? ", \\\n  " : "plot ", plot->elements);
    va_start(args, format);
    vfprintf(plot->elements, format, args);
    va_end(args);
}

void plot_points(struct plot *plot, size_t data, const struct plot_mark *mark)
{
    plot_element(plot, "$d%zu using 1:2:5 with labels hypertext point pt %d ps %.1f lc rgb '#%06x'",
                 data, plot_point(mark->shape, mark->filled), mark->small ? 0.6 : 0.8,
                 plot_rgb(mark->colour));
    fputs(mark->title ? " title " : " notitle", plot->elements);
    if (!mark->title)
        return;
    plot_text(plot->elements, mark->title);
    plot->keys++;
}

void plot_line(struct plot *plot, size_t data, const struct plot_mark *mark)
{
    plot_element(plot, "$d%zu using 1:2 with lines lw 1.5 lc rgb '#%06x' notitle", data,
                 plot_rgb(mark->colour));
    plot_element(plot,
                 "$d%zu using 1:3:(0):($4-$3) with vectors nohead lw 1.5 lc rgb '#%06x' notitle",
                 data, plot_rgb(mark->colour));
    plot_points(plot, data, mark);
}

int plot_point(int shape, bool filled)
{
    static const int outlines[PLOT_SHAPES] = {6, 4, 8, 12, 10, 14};
    return outlines[shape] + filled;
}

void plot_text(FILE *script, const char *text)
{
    fputc('\'', script);
    for (; *text; text++) {
        if (*text == '\'')
            fputc('\'', script);
        fputc((unsigned char)*text < ' ' ? '?' : *text, script);
    }
    fputc('\'', script);
}

/* "0.05", "2000", "20k", "5M" */
static void write_tick(FILE *script, double value)
{
    static const char units[] = " kMGT";
    int unit = 0;
    double shown = value;
    for (; value >= 9999 && shown >= 999 && unit < 4; unit++)
        shown /= 1000;
    fprintf(script, "'%.6g%.*s' %.6g", shown, unit > 0, units + unit, value);
}

/* Ticks: every power of ten, and between them 2 and 5 if there is room for their labels. */
void plot_log_axis(struct plot *plot, char axis, double low, double high)
{
    static const double steps[] = {1, 2, 5};
    double span = high / low, widen = 1.25;
    if (!(low > 0) || !(high >= low) || !isfinite(span))
        low = high = 1;
    if (!(span >= 4)) /* at least that much, with the values in the middle */
        widen = sqrt(4 / (high / low));
    low /= widen;
    high *= widen;
    int first = (int)floor(log10(low)), last = (int)ceil(log10(high));
    int per_decade = last - first <= 3 ? 3 : 1, every = (last - first - 1) / 8 + 1, written = 0;
    fprintf(plot->script, "set logscale %c\nset %crange [%.6g:%.6g]\nset %ctics (", axis, axis, low,
            high, axis);
    for (int decade = first; decade <= last; decade += every) {
        for (int i = 0; i < per_decade; i++) {
            double value = steps[i] * pow(10, decade);
            if (value < low * 0.999 || value > high * 1.001)
                continue;
            fputs(written++ ? ", " : "", plot->script);
            write_tick(plot->script, value);
        }
    }
    fprintf(plot->script, ")\n");
}
