/* SPDX-License-Identifier: MIT */
#include "harness/html.h"

#include <math.h>
#include <stdbool.h>

void html_text(FILE *out, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '&': fputs("&amp;", out); break;
        case '<': fputs("&lt;", out); break;
        case '>': fputs("&gt;", out); break;
        case '"': fputs("&quot;", out); break;
        case '\'': fputs("&#39;", out); break;
        default: fputc((unsigned char)*text < ' ' && *text != '\n' ? ' ' : *text, out);
        }
    }
}

/* Three significant digits. */
static void digits(double value, const char *unit, char text[FIGURE_SIZE])
{
    double size = fabs(value);
    snprintf(text, FIGURE_SIZE, "%.*f%s%s",
             size < 9.995   ? 2
             : size < 99.95 ? 1
                            : 0,
             value, unit[0] ? " " : "", unit);
}

const char *figure_ns(double ns, char text[FIGURE_SIZE])
{
    static const char *const units[] = {"ns", "\u00b5s", "ms", "s"};
    int unit = 0;
    for (; fabs(ns) >= 999.5 && unit < 3; unit++)
        ns /= 1000;
    digits(ns, units[unit], text);
    return isfinite(ns) ? text : "\u2013";
}

const char *figure(double value, char text[FIGURE_SIZE])
{
    static const char *const units[] = {"", "k", "M", "G", "T"};
    int unit = 0;
    if (value != 0 && fabs(value) < 0.01) {
        snprintf(text, FIGURE_SIZE, "%.1e", value);
        return text;
    }
    bool long_one = fabs(value) >= 9999.5;
    for (; long_one && fabs(value) >= 999.5 && unit < 4; unit++)
        value /= 1000;
    digits(value, units[unit], text);
    return isfinite(value) ? text : "\u2013";
}

const char *figure_bytes(int64_t bytes, char text[FIGURE_SIZE])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    int unit = 0;
    for (; value >= 1024 && unit < 4; unit++)
        value /= 1024;
    snprintf(text, FIGURE_SIZE, "%.3g %s", value, units[unit]);
    return bytes > 0 ? text : "\u2013";
}
