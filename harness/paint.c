/* SPDX-License-Identifier: MIT */
#include "harness/paint.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool colored;

bool color_parse(const char *text, enum color *color, struct error *error)
{
    static const char *const names[] = {"auto", "always", "never"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) == 0) {
            *color = (enum color)i;
            return true;
        }
    }
    return fail(error, "--color: \"%s\" is not auto, always or never", text);
}

void color_init(enum color color)
{
    colored = color == COLOR_ALWAYS || (color == COLOR_AUTO && isatty(STDOUT_FILENO));
}

const char *paint(const char *code)
{
    return colored ? code : "";
}

const char *duration_text(double ns, char text[16])
{
    static const char *const units[] = {"ns", "us", "ms", "s"};
    int unit = 0;
    if (!isfinite(ns))
        return "-";
    while (ns >= 1000 && unit < 3) {
        ns /= 1000;
        unit++;
    }
    snprintf(text, 16, "%.*f %s", ns < 10 ? 2 : ns < 100 ? 1 : 0, ns, units[unit]);
    return text;
}
