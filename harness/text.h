/* SPDX-License-Identifier: MIT */
/* Text of foreign origin, made fit for a terminal, a report and a shell. */
#ifndef ASSAY_HARNESS_TEXT_H
#define ASSAY_HARNESS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Copies at most `length` bytes of `from`, cut to fit; whatever is not printable ASCII becomes
 * \xNN. */
void text_escape(char *to, size_t size, const char *from, size_t length);

/* Nothing in it could steer a terminal or reorder a line; makes it so, with '?', in place. */
bool text_is_printable(const char *text);
void text_make_printable(char *text);

/* Whether a name can stand in a label and in a shell's quotes: 1 to 64 characters of printable
 * ASCII, none of them a space, a quote or a backslash. */
bool text_is_name(const char *text);

/* Writes an argument as a POSIX shell reads it back, in quotes only where it needs them. */
void text_quote(FILE *out, const char *argument);

#endif
