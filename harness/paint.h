/* SPDX-License-Identifier: MIT */
/* Colors of a terminal, if standard output is one or --color says so. */
#ifndef ASSAY_HARNESS_PAINT_H
#define ASSAY_HARNESS_PAINT_H

const char *paint(const char *code);

#define RED    paint("\033[31m")
#define GREEN  paint("\033[32m")
#define YELLOW paint("\033[33m")
#define BOLD   paint("\033[1m")
#define DIM    paint("\033[2m")
#define PLAIN  paint("\033[0m")

#endif
