/* SPDX-License-Identifier: MIT */
#include "harness/compare_output.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/output.h"
#include "harness/paint.h"

/* What a table lists of what is on one side alone; JSON and Markdown have the rest. */
enum { MAX_LISTED = 10 };

/* ---- counting ---- */

static bool fails(const char *check)
{
    return check && strcmp(check, "PASS") != 0 && strcmp(check, "SKIPPED") != 0;
}

bool comparison_newly_fails(const struct comparison *c)
{
    return fails(c->new_check) && !fails(c->old_check);
}

static bool check_changed(const struct comparison *c)
{
    return c->old_check && c->new_check && strcmp(c->old_check, c->new_check) != 0;
}

bool comparison_drifts(const struct comparison *c)
{
    return (c->accuracy_known && c->output_changed) || check_changed(c) ||
           comparison_newly_fails(c);
}

struct tally comparisons_tally(const struct comparisons *comparisons)
{
    struct tally tally = {0};
    for (size_t i = 0; i < comparisons->count; i++) {
        const struct comparison *c = &comparisons->items[i];
        tally.timed += c->mode != NULL;
        tally.speed[c->speed.speed] += c->mode != NULL;
        tally.changed += c->accuracy_known && c->output_changed;
        tally.newly_fails += comparison_newly_fails(c);
        tally.checks_changed += check_changed(c);
    }
    return tally;
}

static const char *plural(size_t count)
{
    return count == 1 ? "" : "s";
}

void comparisons_summary(const struct comparisons *comparisons, char *text, size_t size)
{
    struct tally t = comparisons_tally(comparisons);
    size_t used = 0;
#define ADD(...) used += used < size ? (size_t)snprintf(text + used, size - used, __VA_ARGS__) : 0
    ADD("%zu slower, %zu faster, %zu unclear, %zu the same", t.speed[SPEED_SLOWER],
        t.speed[SPEED_FASTER], t.speed[SPEED_UNCLEAR], t.speed[SPEED_SAME]);
    ADD("; %zu output%s changed", t.changed, plural(t.changed));
    if (t.newly_fails > 0)
        ADD("; %zu newly fail%s", t.newly_fails, t.newly_fails == 1 ? "s" : "");
    if (comparisons->n_unmatched > 0)
        ADD("; %zu only on one side", comparisons->n_unmatched);
#undef ADD
}

/* ---- exit status ---- */

bool fail_on_parse(const char *list, unsigned *fail_on, struct error *error)
{
    static const char *const names[] = {"slower", "unclear", "accuracy"};
    *fail_on = 0;
    if (strcmp(list, "none") == 0)
        return true;
    for (const char *at = list;; at++) {
        size_t length = strcspn(at, ","), n = 0;
        while (n < 3 && (strlen(names[n]) != length || strncmp(names[n], at, length) != 0))
            n++;
        if (n == 3)
            return fail(error,
                        "--fail-on: \"%.*s\" is none of slower, unclear, accuracy, nor is it "
                        "\"none\" alone",
                        (int)(length < 80 ? length : 80), at);
        *fail_on |= 1u << n;
        at += length;
        if (!*at)
            return true;
    }
}

int comparisons_status(const struct comparisons *comparisons, unsigned fail_on)
{
    struct tally tally = comparisons_tally(comparisons);
    if (tally.newly_fails > 0 || (fail_on & FAIL_ON_ACCURACY && tally.changed > 0))
        return 1;
    if (fail_on & FAIL_ON_SLOWER && tally.speed[SPEED_SLOWER] > 0)
        return 3;
    return fail_on & FAIL_ON_UNCLEAR && tally.speed[SPEED_UNCLEAR] > 0 ? 4 : 0;
}

/* ---- the table ---- */

static const char *speed_color(enum speed speed)
{
    return speed == SPEED_FASTER    ? GREEN
           : speed == SPEED_SLOWER  ? RED
           : speed == SPEED_UNCLEAR ? YELLOW
                                    : "";
}

/* The kernel's name without its op, which the case's key begins with. */
static const char *short_name(const char *kernel)
{
    const char *slash = strchr(kernel, '/');
    return slash ? slash + 1 : kernel;
}

static void print_speed(const struct comparison *c)
{
    char old_text[16], new_text[16];
    printf("  %-22s %-4s %3d %10s %10s ", short_name(c->kernel), c->mode, c->threads,
           duration_text(c->old_ns, old_text), duration_text(c->new_ns, new_text));
    if (isfinite(c->speed.ratio))
        printf("%8.3f  ", c->speed.ratio);
    else
        printf("%8s  ", "-");
    if (isfinite(c->speed.interval.low))
        printf("%5.3f .. %-7.3f ", c->speed.interval.low, c->speed.interval.high);
    else
        printf("%-17s ", "-");
    printf("%s%-7s%s %s\n", speed_color(c->speed.speed), speed_names[c->speed.speed], PLAIN,
           c->speed.reason);
}

static void print_figure(const char *what, double old, double now)
{
    if (isfinite(old) && isfinite(now))
        printf(", %s %.3g -> %.3g", what, old, now);
}

static void print_accuracy(const struct comparison *c)
{
    if (!comparison_drifts(c))
        return;
    printf("  %-22s ", short_name(c->kernel));
    if (check_changed(c) || comparison_newly_fails(c))
        printf("%s%s -> %s%s%s", comparison_newly_fails(c) ? RED : YELLOW,
               c->old_check ? c->old_check : "?", c->new_check ? c->new_check : "?", PLAIN,
               c->accuracy_known && c->output_changed ? ", " : "");
    if (c->accuracy_known && c->output_changed)
        printf("%soutput changed%s", YELLOW, PLAIN);
    print_figure("utilisation", c->old_utilisation, c->new_utilisation);
    print_figure("NMSE", c->old_nmse, c->new_nmse);
    printf("\n");
}

static void print_items(const struct comparisons *comparisons)
{
    const char *key = NULL;
    for (size_t i = 0; i < comparisons->count; i++) {
        const struct comparison *c = &comparisons->items[i];
        if (!c->mode && !comparison_drifts(c))
            continue;
        if (!key || strcmp(key, c->case_key) != 0) {
            key = c->case_key;
            printf("\n%s%s%s\n", BOLD, key, PLAIN);
            printf("%s  %-22s %-4s %3s %10s %10s %8s  %-17s %s%s\n", DIM, "kernel", "mode", "thr",
                   "old", "new", "new/old", "interval", "verdict", PLAIN);
        }
        if (c->mode)
            print_speed(c);
        print_accuracy(c);
    }
}

static void print_unmatched(const struct comparisons *comparisons, bool in_new)
{
    size_t count = 0;
    for (size_t i = 0; i < comparisons->n_unmatched; i++) {
        const struct unmatched *u = &comparisons->unmatched[i];
        if (u->in_new != in_new)
            continue;
        if (count == 0)
            printf("\n%sonly in %s:%s\n", BOLD, in_new ? "new" : "old", PLAIN);
        if (count++ >= MAX_LISTED)
            continue;
        printf("  %s  %s", u->kernel, u->case_key);
        if (u->mode)
            printf("  %s, %d thread%s", u->mode, u->threads, plural((size_t)u->threads));
        printf("\n");
    }
    if (count > MAX_LISTED)
        printf("  and %zu more\n", count - MAX_LISTED);
}

void comparisons_print(const struct comparisons *comparisons)
{
    char summary[256];
    struct tally tally = comparisons_tally(comparisons);
    printf("old: %s\nnew: %s\n", comparisons->old_name, comparisons->new_name);
    for (size_t i = 0; i < comparisons->n_notes; i++)
        printf("%snote%s: %s\n", YELLOW, PLAIN, comparisons->notes[i]);
    print_items(comparisons);
    print_unmatched(comparisons, false);
    print_unmatched(comparisons, true);
    comparisons_summary(comparisons, summary, sizeof(summary));
    printf("\n%zu comparison%s: %s\n", tally.timed, plural(tally.timed), summary);
}

/* ---- all of it ---- */

static bool is_stdout(const char *path)
{
    return path && strcmp(path, "-") == 0;
}

bool comparisons_writable(const char *json, const char *markdown, struct error *error)
{
    if (is_stdout(json) && is_stdout(markdown))
        return fail(error, "--json and --markdown cannot both be standard output");
    return (!json || output_replaceable(json, COMPARISON_JSON_MARK, error)) &&
           (!markdown || output_replaceable(markdown, COMPARISON_MARKDOWN_MARK, error));
}

bool comparisons_output(const struct comparisons *comparisons, const char *json,
                        const char *markdown, struct error *error)
{
    bool good = (!json || comparisons_write_json(comparisons, json, error)) &&
                (!markdown || comparisons_write_markdown(comparisons, markdown, error));
    if (good && !is_stdout(markdown) && !is_stdout(json))
        comparisons_print(comparisons);
    return good;
}
