/* SPDX-License-Identifier: MIT */
#include "harness/text.h"

#include <string.h>

#define MAX_NAME 64

static bool is_printable(char c)
{
    return c >= ' ' && c <= '~';
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
