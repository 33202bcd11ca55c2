/* SPDX-License-Identifier: MIT */
/*
 * Plots, drawn by gnuplot in a child process.
 *
 * A plot is the commands that draw it. What is text in them is quoted by plot_text, and what a
 * reader may point at is a number in them: the text of a tip never reaches gnuplot.
 */
#ifndef ASSAY_HARNESS_PLOT_H
#define ASSAY_HARNESS_PLOT_H

#include <stddef.h>
#include <stdio.h>

#include "harness/error.h"

/* Colours by their use. PLOT_SERIES stands for the first of PLOT_COLOURS that tell series apart,
 * also to the colour-blind; shapes do the same. */
enum plot_colour {
    PLOT_INK,
    PLOT_DIM,
    PLOT_GRID,
    PLOT_BAND,
    PLOT_PAPER,
    PLOT_NEUTRAL,
    PLOT_BAD,
    PLOT_CLEAR, /* not seen, but can be pointed at */
    PLOT_SERIES,
    PLOT_COLOURS = 7,
};
enum { PLOT_SHAPES = 6 };

enum plot_format {
    PLOT_INLINE, /* SVG for the page: its colours are variables of the page's style */
    PLOT_SVG,
    PLOT_PNG
};

struct plot {
    char *name;    /* "speed-q4_K_gemv" */
    char *heading; /* what it shows, of */
    char *subject; /* which op or machine */
    char *alt;     /* what a reader who cannot see it is told */
    int width, height;
    bool narrow;  /* the one before it, drawn for narrow screens */
    bool symbols; /* brings gnuplot's symbols with it, for all of a page */
    size_t keys;  /* entries that its key has */
    FILE *script; /* commands before the last one, which plots the elements */
    char *commands;
    size_t length;
    FILE *elements;
    char *listed;
    size_t listed_length, n_elements;
    size_t n_data;
    char **tips;
    size_t n_tips, tips_room;
};

struct plots {
    struct plot **items;
    size_t count;
};

/* A plot to be filled in, or NULL if memory is out. */
struct plot *plots_add(struct plots *plots, const char *name);

/* To be called once the scripts are written. False: memory was out. */
bool plots_finish(struct plots *plots, struct error *error);
void plots_free(struct plots *plots);

void plot_title(struct plot *plot, const char *heading, const char *subject);
void plot_alt(struct plot *plot, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Keeps a text to be shown where a reader points; returns what stands for it in the data. */
size_t plot_tip(struct plot *plot, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Begins a block of data, to be ended by plot_data_end; returns its number: $d0, $d1, ... */
size_t plot_data(struct plot *plot);
/* A line of it: a point, the interval of one of its coordinates, a tip. */
void plot_datum(struct plot *plot, double x, double y, double low, double high, size_t tip);
void plot_data_end(struct plot *plot);

/* Appends an element of the plot command: "$d0 using 1:2 with lines". */
void plot_element(struct plot *plot, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* How a series of data is marked. */
struct plot_mark {
    int colour, shape;
    bool filled, small;
    const char *title; /* in the key; NULL: not there */
};

/* The points of a block, with tips. */
void plot_points(struct plot *plot, size_t data, const struct plot_mark *mark);
/* The same, joined by a line, with the interval of each. */
void plot_line(struct plot *plot, size_t data, const struct plot_mark *mark);

/* As "#rrggbb" in scripts; the colour of the n-th family is PLOT_SERIES + n. */
unsigned plot_rgb(int colour);
/* The name that the page's style has for it, or NULL. */
const char *plot_colour_name(unsigned rgb);

/* The point type of gnuplot's svg and cairo terminals. */
int plot_point(int shape, bool filled);

/* Writes a quoted string, whatever is in the text. */
void plot_text(FILE *script, const char *text);

/* Sets a logarithmic axis, 'x' or 'y', that has these values on it, with ticks at 1, 2, 5 or at
 * powers of ten. */
void plot_log_axis(struct plot *plot, char axis, double low, double high);

/* A drawing, as a string. */
struct drawing {
    char *text;
    size_t length;
};

/* Draws plots[i] into drawings[i], which are the caller's to free, on failure too. */
bool plots_draw(struct plot *const *plots, size_t count, enum plot_format format,
                struct drawing *drawings, struct error *error);

/* Makes an SVG file of gnuplot's, which it spoils, fit for its format. False: out of memory. */
bool plot_svg(const struct plot *plot, enum plot_format format, char *raw, struct drawing *drawing);

#endif
