/* SPDX-License-Identifier: MIT */
/*
 * What gnuplot 5.4 writes, made fit for a page, line by line: colours become variables of the
 * page's style, ids and empty groups go, and the numbers of tips become their text. Nothing of
 * foreign origin is in these files but what gnuplot escaped as text.
 */
#include <stdlib.h>
#include <string.h>

#include "harness/html.h"
#include "harness/plot.h"

/* What is replaced everywhere in a page's plots. */
static const struct {
    const char *from, *to;
} replaced[] = {
    {" id=\"gnuplot_canvas\"", ""},
    {" color=\"black\"", ""},
    {" color=\"white\"", ""},
    {" stroke-linecap=\"butt\" stroke-linejoin=\"miter\"", ""},
    {" stroke-width=\"1.00\"", ""},
    {" font-family=\"sans-serif\"", ""},
    {"stroke=\"black\"", "stroke=\"var(--ink)\""},
};

static void put_line(FILE *out, const char *line, bool standalone)
{
    while (*line) {
        unsigned r, g, b;
        int length = 0;
        size_t i = 0;
        if (!standalone && sscanf(line, "rgb(%u,%u,%u)%n", &r, &g, &b, &length) == 3 &&
            length > 0) {
            const char *name = plot_colour_name(r << 16 | g << 8 | b);
            if (name)
                fprintf(out, "var(--%s)", name);
            else
                fprintf(out, "rgb(%u,%u,%u)", r, g, b);
            line += length;
            continue;
        }
        for (; !standalone && i < sizeof(replaced) / sizeof(*replaced); i++) {
            if (strncmp(line, replaced[i].from, strlen(replaced[i].from)) == 0)
                break;
        }
        if (!standalone && i < sizeof(replaced) / sizeof(*replaced)) {
            fputs(replaced[i].to, out);
            line += strlen(replaced[i].from);
        } else {
            fputc(*line++, out);
        }
    }
}

/* "<g onmousemove=...'17'...><title> </title>" is a group with tip 17. */
static bool put_tip(FILE *out, const char *line, const struct plot *plot)
{
    static const char mark[] = "gnuplot_svg.showHypertext(evt,'";
    const char *number = strstr(line, mark);
    if (!number)
        return false;
    size_t tip = strtoul(number + strlen(mark), NULL, 10);
    fputs("<g><title>", out);
    if (tip < plot->n_tips)
        html_text(out, plot->tips[tip]);
    fputs("</title>\n", out);
    return true;
}

static void put_head(FILE *out, const struct plot *plot)
{
    fprintf(out, "<svg viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\" aria-label=\"",
            plot->width, plot->height, plot->width, plot->height);
    html_text(out, plot->alt);
    fprintf(out, "\">\n");
}

static bool starts(const char *line, const char *start)
{
    return strncmp(line, start, strlen(start)) == 0;
}

/* Of a page's plot, all lines before the canvas, and the symbols if another plot has them. */
static bool is_dropped(const char *line, bool symbols, bool *within)
{
    if (starts(line, "<g id=\"gnuplot_canvas\""))
        return !(*within = true);
    if (starts(line, "<defs>") && !symbols)
        *within = false;
    else if (starts(line, "</defs>") && !symbols)
        return *within = true;
    return !*within || starts(line, "<rect x=\"0\" y=\"0\"") || line[strspn(line, "\t ")] == 0;
}

bool plot_svg(const struct plot *plot, enum plot_format format, char *raw, struct drawing *drawing)
{
    bool standalone = format == PLOT_SVG, within = standalone;
    const char *held = NULL; /* the opening of a group that may turn out empty */
    *drawing = (struct drawing){0};
    FILE *out = open_memstream(&drawing->text, &drawing->length);
    if (!out)
        return false;
    if (!standalone)
        put_head(out, plot);
    for (char *end, *line = raw; (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        if (!standalone && is_dropped(line, plot->symbols, &within))
            continue;
        bool empty = held && strcmp(line, "</g>") == 0;
        if (held && !empty) {
            put_line(out, held, standalone);
            fputc('\n', out);
        }
        held = starts(line, "<g fill=\"none\"") ? line : NULL;
        if (held || empty || put_tip(out, line, plot))
            continue;
        bool series = starts(line, "\t<g id=") && strstr(line, "_plot_");
        put_line(out, series ? "<g>" : line, standalone);
        fputc('\n', out);
    }
    bool written = !ferror(out);
    return fclose(out) == 0 && written;
}
