/* SPDX-License-Identifier: MIT */
/* For a pull request: the summary on top, then what changed, and the rest folded away. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/compare_output.h"
#include "harness/output.h"
#include "harness/paint.h"

#define MARKER COMPARISON_MARKDOWN_MARK

/* A comment of GitHub's has 65536 characters at most. What follows a part may have more than it. */
enum { CHANGED_END = 45000, UNCLEAR_END = 52000, SAME_END = 58000, UNMATCHED_END = 62000 };

static bool is_full(FILE *out, long end)
{
    return ftell(out) >= end;
}

static void put_rest(FILE *out, size_t count)
{
    if (count > 0)
        fprintf(out, "\n%zu more are not shown here.\n", count);
}

/* Text of foreign origin between backquotes, which make all of it literal but themselves and, in a
 * table, the bar. */
static void put_code(FILE *out, const char *text)
{
    fputc('`', out);
    for (; *text; text++) {
        if (*text == '|')
            fputs("\\|", out);
        else
            fputc(*text == '`' ? '\'' : *text, out);
    }
    fputc('`', out);
}

/* And where there are no backquotes: every character that could mean something is escaped. */
static void put_text(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (strchr("\\`*_{}[]<>#|~&@!$:", *text))
            fprintf(out, "&#%d;", *text);
        else
            fputc(*text, out);
    }
}

static void put_time(FILE *out, double ns)
{
    char text[16];
    fprintf(out, " %s |", isfinite(ns) ? duration_text(ns, text) : "");
}

static void put_figure(FILE *out, const char *what, double old, double now)
{
    if (isfinite(old) && isfinite(now))
        fprintf(out, ", %s %.3g &rarr; %.3g", what, old, now);
}

static void put_accuracy(FILE *out, const struct comparison *c)
{
    if (!comparison_drifts(c))
        return;
    fprintf(out, "%s", c->mode ? "; " : "");
    if (c->old_check && c->new_check && strcmp(c->old_check, c->new_check) != 0)
        fprintf(out, "**%s &rarr; %s**%s", c->old_check, c->new_check,
                c->output_changed ? ", " : "");
    if (c->accuracy_known && c->output_changed)
        fputs("**output changed**", out);
    put_figure(out, "utilisation", c->old_utilisation, c->new_utilisation);
    put_figure(out, "NMSE", c->old_nmse, c->new_nmse);
}

static void put_row(FILE *out, const struct comparison *c)
{
    const struct speed_verdict *v = &c->speed;
    fprintf(out, "| %s | ", c->mode ? speed_names[v->speed] : "");
    put_code(out, c->kernel);
    fputs(" | ", out);
    put_code(out, c->case_key);
    if (!c->mode) {
        fputs(" | | | | | ", out);
    } else {
        fprintf(out, " | %s, %d |", c->mode, c->threads);
        put_time(out, c->old_ns);
        put_time(out, c->new_ns);
        if (isfinite(v->ratio))
            fprintf(out, " %.3f", v->ratio);
        if (isfinite(v->interval.low))
            fprintf(out, " (%.3f to %.3f)", v->interval.low, v->interval.high);
        fputs(" | ", out);
        fputs(v->reason, out);
    }
    put_accuracy(out, c);
    fputs(" |\n", out);
}

/* ---- which rows, in which order ---- */

enum part { SLOWER_PART, FASTER_PART, DRIFTING_PART, UNCLEAR_PART, SAME_PART, NO_PART };

static enum part part_of(const struct comparison *c)
{
    if (c->mode && c->speed.speed == SPEED_SLOWER)
        return SLOWER_PART;
    if (c->mode && c->speed.speed == SPEED_FASTER)
        return FASTER_PART;
    if (comparison_drifts(c))
        return DRIFTING_PART;
    if (!c->mode)
        return NO_PART;
    return c->speed.speed == SPEED_UNCLEAR ? UNCLEAR_PART : SAME_PART;
}

/* The largest change first. */
static int by_part(const void *a, const void *b)
{
    const struct comparison *x = *(const struct comparison *const *)a;
    const struct comparison *y = *(const struct comparison *const *)b;
    enum part part = part_of(x);
    if (part != part_of(y))
        return part < part_of(y) ? -1 : 1;
    double first = fabs(log(x->speed.ratio)), second = fabs(log(y->speed.ratio));
    if (part <= FASTER_PART && first != second)
        return first > second ? -1 : 1;
    return x < y ? -1 : x > y;
}

static void put_rows(FILE *out, const struct comparison *const *rows, size_t count, long end)
{
    size_t i = 0;
    fputs("\n| verdict | kernel | case | mode, threads | old | new | new/old | |\n"
          "|---|---|---|---|--:|--:|--:|---|\n",
          out);
    for (; i < count && !is_full(out, end); i++)
        put_row(out, rows[i]);
    put_rest(out, count - i);
}

static void put_folded(FILE *out, const char *what, const struct comparison *const *rows,
                       size_t count, long end)
{
    if (count == 0)
        return;
    fprintf(out, "\n<details><summary>%zu %s</summary>\n", count, what);
    put_rows(out, rows, count, end);
    fputs("\n</details>\n", out);
}

static void put_unmatched(FILE *out, const struct comparisons *comparisons)
{
    size_t i = 0;
    if (comparisons->n_unmatched == 0)
        return;
    fprintf(out, "\n<details><summary>%zu only on one side</summary>\n\n",
            comparisons->n_unmatched);
    for (; i < comparisons->n_unmatched && !is_full(out, UNMATCHED_END); i++) {
        const struct unmatched *u = &comparisons->unmatched[i];
        fprintf(out, "- only in %s: ", u->in_new ? "new" : "old");
        put_code(out, u->kernel);
        fputs(" on ", out);
        put_code(out, u->case_key);
        if (u->mode)
            fprintf(out, ", %s, %d", u->mode, u->threads);
        fputc('\n', out);
    }
    put_rest(out, comparisons->n_unmatched - i);
    fputs("\n</details>\n", out);
}

static void put_all(FILE *out, const struct comparisons *comparisons,
                    const struct comparison **rows)
{
    char summary[256];
    size_t counts[NO_PART + 1] = {0};
    for (size_t i = 0; i < comparisons->count; i++) {
        rows[i] = &comparisons->items[i];
        counts[part_of(rows[i])]++;
    }
    qsort(rows, comparisons->count, sizeof(*rows), by_part);
    comparisons_summary(comparisons, summary, sizeof(summary));
    fprintf(out, MARKER "\n**%s**\n\nold: ", summary);
    put_code(out, comparisons->old_name);
    fputs("  \nnew: ", out);
    put_code(out, comparisons->new_name);
    fputs("\n", out);
    for (size_t i = 0; i < comparisons->n_notes; i++) {
        fputs(i == 0 ? "\n- " : "- ", out);
        put_text(out, comparisons->notes[i]);
        fputs("\n", out);
    }
    size_t changed = counts[SLOWER_PART] + counts[FASTER_PART] + counts[DRIFTING_PART];
    const struct comparison *const *rest = rows + changed;
    if (changed > 0)
        put_rows(out, rows, changed, CHANGED_END);
    put_folded(out, "unclear", rest, counts[UNCLEAR_PART], UNCLEAR_END);
    put_folded(out, "the same", rest + counts[UNCLEAR_PART], counts[SAME_PART], SAME_END);
    put_unmatched(out, comparisons);
}

bool comparisons_write_markdown(const struct comparisons *comparisons, const char *path,
                                struct error *error)
{
    char *text = NULL;
    size_t size = 0;
    const struct comparison **rows = calloc(comparisons->count + 1, sizeof(*rows));
    FILE *out = rows ? open_memstream(&text, &size) : NULL;
    if (out)
        put_all(out, comparisons, rows);
    bool made = out && !ferror(out);
    made = out && fclose(out) == 0 && made;
    free(rows);
    bool written =
        made ? output_replace(path, MARKER, text, error) : fail(error, "%s: out of memory", path);
    free(text);
    return written;
}
