/* SPDX-License-Identifier: MIT */
/* A file that is whole or as it was before: written beside its path, then renamed. */
#ifndef ASSAY_HARNESS_OUTPUT_H
#define ASSAY_HARNESS_OUTPUT_H

#include "harness/error.h"

struct output {
    const char *path;
    char *beside;
    int fd;
};

bool output_open(struct output *output, const char *path, struct error *error);

/* Gives the file its name if `written`; if not, errno says why, and it is removed. */
bool output_close(struct output *output, bool written, struct error *error);

/* Removes it. */
void output_drop(struct output *output);

/* Writes a text, and a newline if it has none at its end; to standard output if the path is "-". A
 * file that is there must be a regular one and empty, or have `mark` near its start. */
bool output_replace(const char *path, const char *mark, const char *text, struct error *error);

/* Whether it could, as far as can be told before there is a text. */
bool output_replaceable(const char *path, const char *mark, struct error *error);

#endif
