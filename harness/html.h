/* SPDX-License-Identifier: MIT */
/* Text and figures for a page. */
#ifndef ASSAY_HARNESS_HTML_H
#define ASSAY_HARNESS_HTML_H

#include <stdint.h>
#include <stdio.h>

/* Writes text that means itself, between tags and within quoted attributes. */
void html_text(FILE *out, const char *text);

/* Room for any of the texts below. */
enum { FIGURE_SIZE = 32 };

/* "12.3 us", "-" if it is not known. */
const char *figure_ns(double ns, char text[FIGURE_SIZE]);
/* Three digits and a prefix: "1.20 M", "0.51", "-". */
const char *figure(double value, char text[FIGURE_SIZE]);
/* "32 KiB", "-" of 0. */
const char *figure_bytes(int64_t bytes, char text[FIGURE_SIZE]);

#endif
