/* SPDX-License-Identifier: MIT */
/* The plots of a page. Each function appends what there is to plot, and nothing if that is nothing. */
#ifndef ASSAY_HARNESS_PAGE_PLOTS_H
#define ASSAY_HARNESS_PAGE_PLOTS_H

#include "harness/page_model.h"
#include "harness/plot.h"

/* In pixels; as wide as a phone, so that its text can be read there. */
enum { PLOT_WIDTH = 480, PLOT_HEIGHT = 320 };

/* A plot in its place on the page. */
enum page_place {
    PLACE_ROOFLINE,
    PLACE_SPEED,
    PLACE_SWEEP,
    PLACE_ACCURACY,
    PLACE_ERRORS,
    PLACE_TREND
};

struct page_plot {
    struct plot *plot;
    enum page_place place;
    size_t machine, op; /* op: of PLACE_ROOFLINE none */
    char *note;         /* what it shows and what not, or NULL */
};

struct page_plots {
    struct plots plots;
    struct page_plot *items; /* of plots.items */
    size_t count;
    const struct page *page;
};

/* All of them, in the order of machines, ops and places. */
bool page_plots_make(const struct page *page, struct page_plots *plots, struct error *error);
void page_plots_free(struct page_plots *plots);

/* A new plot, or NULL; the name tells machine, op and `detail` apart. */
struct plot *page_plots_add(struct page_plots *plots, enum page_place place, size_t machine,
                            size_t op, const char *detail);
/* Adds a sentence to the note of the last one. */
void page_plots_note(struct page_plots *plots, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

bool page_plot_roofline(struct page_plots *plots, size_t machine);
bool page_plot_speed(struct page_plots *plots, size_t machine, size_t op);
bool page_plot_sweeps(struct page_plots *plots, size_t machine, size_t op);
bool page_plot_accuracy(struct page_plots *plots, size_t machine, size_t op);
bool page_plot_errors(struct page_plots *plots, size_t machine, size_t op);
bool page_plot_trend(struct page_plots *plots, size_t machine, size_t op);

/* What a reader may know of a timing who points at it. */
size_t page_tip(struct plot *plot, const struct page *page, const struct page_timing *timing);

#endif
