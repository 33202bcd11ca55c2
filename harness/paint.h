/* SPDX-License-Identifier: MIT */
/* Colour on standard output, and times as people write them. */
#ifndef ASSAY_HARNESS_PAINT_H
#define ASSAY_HARNESS_PAINT_H

#include "harness/error.h"

enum color { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER };

/* "auto": if standard output is a terminal. */
bool color_parse(const char *text, enum color *color, struct error *error);
void color_init(enum color color);

/* The terminal's code, or nothing. */
const char *paint(const char *code);

#define RED    paint("\033[31m")
#define GREEN  paint("\033[32m")
#define YELLOW paint("\033[33m")
#define BOLD   paint("\033[1m")
#define DIM    paint("\033[2m")
#define PLAIN  paint("\033[0m")

/* "12.3 us"; "-" if it is not known */
const char *duration_text(double ns, char text[16]);

#endif
