/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/compare_output.h"
#include "harness/output.h"
#include "harness/text.h"

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

/* A path need not be UTF-8, which JSON has to be. */
static json_t *line(const char *text)
{
    char escaped[1024];
    json_t *json = json_string(text);
    if (json)
        return json;
    text_escape(escaped, sizeof(escaped), text, strlen(text));
    return json_string(escaped);
}

static json_t *speed_json(const struct comparison *c)
{
    const struct speed_verdict *v = &c->speed;
    if (!c->mode)
        return json_null();
    return json_pack("{s:s, s:i, s:o, s:o, s:s, s:o, s:[o, o], s:o, s:s}", "mode", c->mode,
                     "threads", c->threads, "old_ns", number(c->old_ns), "new_ns",
                     number(c->new_ns), "verdict", speed_names[v->speed], "ratio", number(v->ratio),
                     "interval", number(v->interval.low), number(v->interval.high),
                     "interval_coverage", number(v->interval.coverage), "reason", v->reason);
}

static json_t *accuracy_json(const struct comparison *c)
{
    if (!c->accuracy_known && !c->old_check && !c->new_check)
        return json_null();
    return json_pack("{s:s?, s:s?, s:o, s:[o, o], s:[o, o]}", "old_check", c->old_check,
                     "new_check", c->new_check, "output_changed",
                     c->accuracy_known ? json_boolean(c->output_changed) : json_null(),
                     "utilisation", number(c->old_utilisation), number(c->new_utilisation), "nmse",
                     number(c->old_nmse), number(c->new_nmse));
}

static json_t *items_json(const struct comparisons *comparisons)
{
    json_t *items = json_array();
    for (size_t i = 0; i < comparisons->count; i++) {
        const struct comparison *c = &comparisons->items[i];
        json_array_append_new(items, json_pack("{s:s, s:s, s:o, s:o}", "case", c->case_key,
                                               "kernel", c->kernel, "speed", speed_json(c),
                                               "accuracy", accuracy_json(c)));
    }
    return items;
}

static json_t *unmatched_json(const struct comparisons *comparisons)
{
    json_t *items = json_array();
    for (size_t i = 0; i < comparisons->n_unmatched; i++) {
        const struct unmatched *u = &comparisons->unmatched[i];
        json_array_append_new(items, json_pack("{s:s, s:s, s:s, s:s?, s:o}", "only_in",
                                               u->in_new ? "new" : "old", "case", u->case_key,
                                               "kernel", u->kernel, "mode", u->mode, "threads",
                                               u->mode ? json_integer(u->threads) : json_null()));
    }
    return items;
}

static json_t *whole_json(const struct comparisons *comparisons)
{
    struct tally t = comparisons_tally(comparisons);
    const struct speed_rule *rule = &comparisons->rule;
    json_t *notes = json_array();
    for (size_t i = 0; i < comparisons->n_notes; i++)
        json_array_append_new(notes, line(comparisons->notes[i]));
    return json_pack(
        "{s:i, s:o, s:o, s:o, s:{s:f, s:I, s:f, s:f}, s:{s:I, s:I, s:I, s:I, s:I, s:I}, s:o, s:o}",
        "assay_comparison", COMPARISON_VERSION, "old", line(comparisons->old_name), "new",
        line(comparisons->new_name), "notes", notes, "rule", "alpha", rule->alpha, "tests",
        (json_int_t)comparisons->tests, "negligible", rule->negligible, "same", rule->same,
        "counts", "faster", (json_int_t)t.speed[SPEED_FASTER], "slower",
        (json_int_t)t.speed[SPEED_SLOWER], "same", (json_int_t)t.speed[SPEED_SAME], "unclear",
        (json_int_t)t.speed[SPEED_UNCLEAR], "outputs_changed", (json_int_t)t.changed,
        "newly_failing", (json_int_t)t.newly_fails, "comparisons", items_json(comparisons),
        "unmatched", unmatched_json(comparisons));
}

bool comparisons_write_json(const struct comparisons *comparisons, const char *path,
                            struct error *error)
{
    json_t *json = whole_json(comparisons);
    char *text = json ? json_dumps(json, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(json);
    if (!text)
        return fail(error, "%s: out of memory", path);
    bool written = output_replace(path, COMPARISON_JSON_MARK, text, error);
    free(text);
    return written;
}
