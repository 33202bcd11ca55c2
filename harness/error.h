/* SPDX-License-Identifier: MIT */
/* One line that tells a user what is wrong and where. Only main prints it. */
#ifndef ASSAY_HARNESS_ERROR_H
#define ASSAY_HARNESS_ERROR_H

#include <stdbool.h>

struct error {
    char text[1024];
};

/* Writes the message on one line, whatever its strings hold, cut to fit, and returns false: `return
 * fail(error, "%s: ...", file);` */
bool fail(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
