/* SPDX-License-Identifier: MIT */
#include "harness/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The bytes of the character at `c` if it could steer a terminal or reorder a line: C0, DEL, C1, line
 * and paragraph separators, and the marks of writing direction. Else 0. */
static size_t steering(const unsigned char *c)
{
    if (*c < ' ' || *c == 0x7f)
        return 1;
    if ((c[0] == 0xc2 && c[1] >= 0x80 && c[1] <= 0x9f) || (c[0] == 0xd8 && c[1] == 0x9c))
        return 2;
    if (c[0] == 0xe2 && c[1] == 0x80 &&
        (c[2] == 0x8e || c[2] == 0x8f || (c[2] >= 0xa8 && c[2] <= 0xae)))
        return 3;
    return c[0] == 0xe2 && c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9 ? 3 : 0;
}

static void make_printable(char *text)
{
    for (char *c = text; *c; c++) {
        size_t bytes = steering((const unsigned char *)c);
        if (bytes == 0)
            continue;
        *c = '?';
        memmove(c + 1, c + bytes, strlen(c + bytes) + 1);
    }
}

bool fail(struct error *error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    make_printable(error->text);
    return false;
}
