/* SPDX-License-Identifier: MIT */
/* The page as HTML: harness/page.html with what stands in {{braces}} filled in. */
#ifndef ASSAY_HARNESS_PAGE_WRITE_H
#define ASSAY_HARNESS_PAGE_WRITE_H

#include "harness/page_plots.h"

/* The files of these names, by CMake; zero-terminated. */
extern const unsigned char page_html[], page_css[], page_js[];

/* What the parts of a page are written from. */
struct page_parts {
    const struct page *page;
    const struct page_plots *plots;
    const struct drawing *drawings; /* of plots->items */
    char nonce[33];                 /* tells the page's own script from any other */
};

/* Writes it all. False: an error of the stream, or memory is out. */
bool page_write(FILE *out, const struct page_parts *parts);

/* Above that share of its ceiling, a kernel's work is miscounted: ceilings repeat within 3 %. */
#define PAGE_OVER_CEILING 1.03

/* The parts. */
void page_write_title(FILE *out, const struct page_parts *parts);
void page_write_summary(FILE *out, const struct page_parts *parts);
/* Machine, build and time, in a line. */
void page_write_context(FILE *out, const struct page_parts *parts);
void page_write_problems(FILE *out, const struct page_parts *parts);
void page_write_contents(FILE *out, const struct page_parts *parts);
void page_write_machines(FILE *out, const struct page_parts *parts);
void page_write_facts(FILE *out, const struct page_parts *parts, size_t machine);
/* The JSON of the tables, in which no text can end the element that it stands in. */
bool page_write_data(FILE *out, const struct page *page);

#endif
