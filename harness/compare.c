/* SPDX-License-Identifier: MIT */
#include "harness/compare.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/text.h"

/* ---- what a side has ---- */

/* A result of the check, or a timing. */
struct entry {
    const struct report *report;
    const struct report_result *result;
    const struct report_timing *timing; /* NULL: the result */
    size_t index;                       /* of the report among its side's */
};

struct side {
    struct entry *entries;
    size_t count;
};

/* By what is compared: case, kernel, and then the result before the timings, hot before cold. */
static int by_subject(const struct entry *a, const struct entry *b)
{
    int order = strcmp(a->result->item->key, b->result->item->key);
    if (order == 0)
        order = strcmp(a->result->kernel, b->result->kernel);
    if (order != 0 || (!a->timing && !b->timing))
        return order;
    if (!a->timing || !b->timing)
        return a->timing ? 1 : -1;
    order = -strcmp(a->timing->mode, b->timing->mode);
    return order ? order
                 : (a->timing->threads > b->timing->threads) -
                       (a->timing->threads < b->timing->threads);
}

static int by_subject_and_report(const void *x, const void *y)
{
    const struct entry *a = x, *b = y;
    int order = by_subject(a, b);
    return order ? order : (a->index > b->index) - (a->index < b->index);
}

static bool collect(const struct reports *reports, struct side *side, struct error *error)
{
    size_t room = 1;
    for (size_t r = 0; r < reports->count; r++)
        room += reports->items[r].n_results + reports->items[r].n_timings;
    *side = (struct side){.entries = calloc(room, sizeof(*side->entries))};
    if (!side->entries)
        return fail(error, "out of memory");
    for (size_t r = 0; r < reports->count; r++) {
        const struct report *report = &reports->items[r];
        for (size_t i = 0; i < report->n_results; i++)
            side->entries[side->count++] = (struct entry){report, &report->results[i], NULL, r};
        for (size_t i = 0; i < report->n_timings; i++) {
            const struct report_timing *timing = &report->timings[i];
            if (!timing->aa)
                side->entries[side->count++] = (struct entry){report, timing->result, timing, r};
        }
    }
    qsort(side->entries, side->count, sizeof(*side->entries), by_subject_and_report);
    return true;
}

/* ---- what stands opposite ---- */

/* One subject's entries on both sides, of which one may have none. */
struct pairing {
    const struct entry *sides[2];
    size_t counts[2];
    uint64_t rank[3]; /* report, case, kernel: as the first report that has them orders them */
};

static const struct entry *first_entry(const struct pairing *p)
{
    return p->counts[0] ? p->sides[0] : p->sides[1];
}

static bool is_both(const struct pairing *p)
{
    return p->counts[0] > 0 && p->counts[1] > 0;
}

static bool is_timed(const struct pairing *p)
{
    return first_entry(p)->timing != NULL;
}

/* Pairings are made in by_subject's order; this is the reports' order, which keeps cases whole. */
static int by_rank(const void *x, const void *y)
{
    const struct pairing *a = x, *b = y;
    for (int i = 0; i < 3; i++) {
        if (a->rank[i] != b->rank[i])
            return a->rank[i] < b->rank[i] ? -1 : 1;
    }
    return by_subject(first_entry(a), first_entry(b));
}

static size_t end_of_group(const struct side *side, size_t from)
{
    size_t end = from;
    while (end < side->count && by_subject(&side->entries[from], &side->entries[end]) == 0)
        end++;
    return end;
}

/* Gives all pairings of a case, from `from` on, the place of the case where it stands first. A
 * kernel's pairings, of which the first is its result, stand together. */
static void rank_case(struct pairing *pairings, size_t from, size_t to, size_t n_old)
{
    uint64_t best[2] = {UINT64_MAX, UINT64_MAX};
    for (size_t i = from; i < to; i++) {
        const struct entry *entry = first_entry(&pairings[i]);
        uint64_t report = entry->index + (pairings[i].counts[0] ? 0 : n_old);
        uint64_t index = (uint64_t)(entry->result->item - entry->report->cases);
        if (report < best[0] || (report == best[0] && index < best[1])) {
            best[0] = report;
            best[1] = index;
        }
        pairings[i].rank[2] =
            entry->timing ? pairings[i - 1].rank[2]
                          : report << 32 | (uint64_t)(entry->result - entry->report->results);
    }
    for (size_t i = from; i < to; i++)
        memcpy(pairings[i].rank, best, sizeof(best));
}

static void rank_all(struct pairing *pairings, size_t count, size_t n_old)
{
    size_t from = 0;
    for (size_t i = 1; i <= count; i++) {
        if (i < count && strcmp(first_entry(&pairings[from])->result->item->key,
                                first_entry(&pairings[i])->result->item->key) == 0)
            continue;
        rank_case(pairings, from, i, n_old);
        from = i;
    }
    qsort(pairings, count, sizeof(*pairings), by_rank);
}

/* Merges both sides; `pairings` has room for all their entries. */
static size_t pair(const struct side *old, const struct side *now, struct pairing *pairings)
{
    const struct side *sides[2] = {old, now};
    size_t at[2] = {0}, count = 0;
    while (at[0] < old->count || at[1] < now->count) {
        int order = at[0] == old->count   ? 1
                    : at[1] == now->count ? -1
                                          : by_subject(&old->entries[at[0]], &now->entries[at[1]]);
        struct pairing *pairing = &pairings[count++];
        *pairing = (struct pairing){0};
        for (int s = 0; s < 2; s++) {
            if (s ? order < 0 : order > 0)
                continue;
            size_t end = end_of_group(sides[s], at[s]);
            pairing->sides[s] = &sides[s]->entries[at[s]];
            pairing->counts[s] = end - at[s];
            at[s] = end;
        }
    }
    return count;
}

/* ---- comparing ---- */

/* Of several reports one that failed, or else one that passed, or else the first. */
static const struct report_result *worst_of(const struct entry *entries, size_t count)
{
    const struct report_result *worst = entries[0].result;
    for (size_t i = 0; i < count; i++) {
        const struct report_result *result = entries[i].result;
        if (result->verdict != PASS && result->verdict != SKIPPED)
            return result;
        if (worst->verdict == SKIPPED)
            worst = result;
    }
    return worst;
}

/* Whether outputs of any two reports of both sides can be compared; whether two of them differ. */
static void compare_outputs(const struct pairing *p, bool *known, bool *changed)
{
    *known = *changed = false;
    for (size_t i = 0; i < p->counts[0] * p->counts[1]; i++) {
        uint64_t old = p->sides[0][i / p->counts[1]].result->output_hash;
        uint64_t now = p->sides[1][i % p->counts[1]].result->output_hash;
        bool both = old && now;
        *known |= both;
        *changed |= both && old != now;
    }
}

static struct comparison compare_results(const struct pairing *p)
{
    const struct report_result *old = worst_of(p->sides[0], p->counts[0]);
    const struct report_result *now = worst_of(p->sides[1], p->counts[1]);
    bool known, changed;
    compare_outputs(p, &known, &changed);
    return (struct comparison){
        .case_key = old->item->key,
        .kernel = old->kernel,
        .old_ns = NAN,
        .new_ns = NAN,
        .accuracy_known = known,
        .output_changed = changed,
        .old_utilisation = old->utilisation,
        .new_utilisation = now->utilisation,
        .old_nmse = old->nmse,
        .new_nmse = now->nmse,
        .old_check = verdict_names[old->verdict],
        .new_check = verdict_names[now->verdict],
    };
}

static bool same_subject(const struct comparison *c, const struct entry *entry)
{
    return strcmp(c->case_key, entry->result->item->key) == 0 &&
           strcmp(c->kernel, entry->result->kernel) == 0;
}

/* Completes the comparison of the kernel's results, or appends another one. */
static bool compare_timings(const struct pairing *p, double aa, struct comparisons *out,
                            struct error *error)
{
    const struct report_timing *timing = p->sides[0]->timing;
    struct comparison *last = out->count ? &out->items[out->count - 1] : NULL;
    if (!last || last->mode || !same_subject(last, p->sides[0])) {
        last = &out->items[out->count++];
        *last = (struct comparison){.case_key = p->sides[0]->result->item->key,
                                    .kernel = p->sides[0]->result->kernel,
                                    .old_utilisation = NAN,
                                    .new_utilisation = NAN,
                                    .old_nmse = NAN,
                                    .new_nmse = NAN};
    }
    last->mode = timing->mode;
    last->threads = (int)timing->threads;
    struct timed *timed[2] = {NULL, NULL};
    bool good = true;
    for (int s = 0; s < 2; s++) {
        timed[s] = calloc(p->counts[s], sizeof(**timed));
        good = good && (timed[s] || fail(error, "out of memory"));
        for (size_t i = 0; good && i < p->counts[s]; i++)
            timed[s][i] = (struct timed){p->sides[s][i].report, p->sides[s][i].timing};
    }
    good = good && compare_speed(timed[0], p->counts[0], timed[1], p->counts[1], aa, out->tests,
                                 &out->rule, last, error);
    free(timed[0]);
    free(timed[1]);
    return good;
}

/* Of a kernel that is not on the other side at all, its timings are not told one by one. */
static void note_alone(const struct pairing *p, struct comparisons *out)
{
    const struct entry *entry = first_entry(p);
    const struct unmatched *last = out->n_unmatched ? &out->unmatched[out->n_unmatched - 1] : NULL;
    bool in_new = p->counts[0] == 0;
    if (last && !last->mode && last->in_new == in_new &&
        strcmp(last->case_key, entry->result->item->key) == 0 &&
        strcmp(last->kernel, entry->result->kernel) == 0)
        return;
    out->unmatched[out->n_unmatched++] = (struct unmatched){
        .in_new = in_new,
        .case_key = entry->result->item->key,
        .kernel = entry->result->kernel,
        .mode = entry->timing ? entry->timing->mode : NULL,
        .threads = entry->timing ? (int)entry->timing->threads : 0,
    };
}

static bool compare_pairings(const struct pairing *pairings, size_t count, double aa,
                             struct comparisons *out, struct error *error)
{
    out->items = calloc(count + 1, sizeof(*out->items));
    out->unmatched = calloc(count + 1, sizeof(*out->unmatched));
    if (!out->items || !out->unmatched)
        return fail(error, "out of memory");
    for (size_t i = 0; i < count; i++)
        out->tests += is_both(&pairings[i]) && is_timed(&pairings[i]);
    bool good = true;
    for (size_t i = 0; good && i < count; i++) {
        if (!is_both(&pairings[i]))
            note_alone(&pairings[i], out);
        else if (is_timed(&pairings[i]))
            good = compare_timings(&pairings[i], aa, out, error);
        else
            out->items[out->count++] = compare_results(&pairings[i]);
    }
    return good && (out->count > 0 || fail(error, "no case and kernel is on both sides"));
}

/* "a.json, b.json: commit 0123abc, GNU 12.2.0" */
static char *name_of(const struct reports *reports)
{
    char *name = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&name, &size);
    for (size_t i = 0; out && i < reports->count && i < 3; i++)
        fprintf(out, "%s%s", i ? ", " : "", reports->items[i].path);
    if (out && reports->count > 3)
        fprintf(out, " and %zu more", reports->count - 3);
    if (out)
        fprintf(out, ": commit %s, %s", reports->items[0].context.commit,
                reports->items[0].context.compiler);
    if (out && fclose(out) == 0) {
        text_make_printable(name);
        return name;
    }
    free(name);
    return NULL;
}

/* What is owned here; elsewhere it is only read. */
static void *owned(const void *pointer)
{
    return (void *)(uintptr_t)pointer;
}

void compare_free(struct comparisons *comparisons)
{
    struct notes notes = {owned(comparisons->notes), comparisons->n_notes};
    notes_free(&notes);
    free(owned(comparisons->old_name));
    free(owned(comparisons->new_name));
    free(comparisons->items);
    free(comparisons->unmatched);
    *comparisons = (struct comparisons){0};
}

bool compare_reports(const struct reports *old, const struct reports *now,
                     const struct compare_options *options, struct comparisons *comparisons,
                     struct error *error)
{
    struct side sides[2] = {{0}, {0}};
    struct pairing *pairings = NULL;
    struct notes notes;
    double aa;
    *comparisons = (struct comparisons){.rule = options->rule};
    if (!compare_contexts(old, now, options->any_machine, &notes, error))
        return false;
    comparisons->notes = (const char *const *)notes.lines;
    comparisons->n_notes = notes.count;
    comparisons->old_name = name_of(old);
    comparisons->new_name = name_of(now);
    bool good = comparisons->old_name && comparisons->new_name;
    if (!good)
        fail(error, "out of memory");
    good = good && compare_aa_spread(old, now, &aa, error) && collect(old, &sides[0], error) &&
           collect(now, &sides[1], error);
    if (good) {
        pairings = calloc(sides[0].count + sides[1].count + 1, sizeof(*pairings));
        good = pairings || fail(error, "out of memory");
    }
    if (good) {
        size_t count = pair(&sides[0], &sides[1], pairings);
        rank_all(pairings, count, old->count);
        good = compare_pairings(pairings, count, aa, comparisons, error);
    }
    free(pairings);
    free(sides[0].entries);
    free(sides[1].entries);
    if (!good)
        compare_free(comparisons);
    return good;
}
