/* SPDX-License-Identifier: MIT */
#include "harness/text.h"

#include <string.h>

#define MAX_NAME 64

static bool is_printable(char c)
{
    return c >= ' ' && c <= '~';
}

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

void text_make_printable(char *text)
{
    for (char *c = text; *c; c++) {
        size_t bytes = steering((const unsigned char *)c);
        if (bytes == 0)
            continue;
        *c = '?';
        memmove(c + 1, c + bytes, strlen(c + bytes) + 1);
    }
}

bool text_is_printable(const char *text)
{
    for (const char *c = text; *c; c++) {
        if (steering((const unsigned char *)c) > 0)
            return false;
    }
    return true;
}

void text_escape(char *to, size_t size, const char *from, size_t length)
{
    size_t used = 0;
    for (size_t i = 0; i < length && from[i] && used + sizeof("\\xff") <= size; i++) {
        if (is_printable(from[i]))
            to[used++] = from[i];
        else
            used += (size_t)sprintf(to + used, "\\x%02x", (unsigned char)from[i]);
    }
    to[used] = 0;
}

bool text_is_name(const char *text)
{
    size_t length = 0;
    for (; text[length] && length <= MAX_NAME; length++) {
        if (!is_printable(text[length]) || strchr(" '\"`\\", text[length]))
            return false;
    }
    return length >= 1 && length <= MAX_NAME;
}

void text_quote(FILE *out, const char *argument)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "%+,-./:=@_";
    if (argument[0] && !argument[strspn(argument, plain)]) {
        fputs(argument, out);
        return;
    }
    fputc('\'', out);
    for (; *argument; argument++)
        fputs(*argument == '\'' ? "'\\''" : (char[]){*argument, 0}, out);
    fputc('\'', out);
}
