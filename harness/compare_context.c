/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/compare.h"
#include "harness/text.h"

/* The only place of a set of reports where both sides are one list. */
struct all {
    const struct reports *old, *now;
};

static size_t count_of(const struct all *all)
{
    return all->old->count + all->now->count;
}

static const struct report *report_of(const struct all *all, size_t i)
{
    return i < all->old->count ? &all->old->items[i] : &all->now->items[i - all->old->count];
}

static bool add_note(struct notes *notes, struct error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool add_note(struct notes *notes, struct error *error, const char *format, ...)
{
    char *line = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&line, format, args) < 0)
        line = NULL;
    va_end(args);
    char **lines = line ? realloc(notes->lines, (notes->count + 1) * sizeof(*lines)) : NULL;
    if (!lines) {
        free(line);
        return fail(error, "out of memory");
    }
    text_make_printable(line);
    notes->lines = lines;
    lines[notes->count++] = line;
    return true;
}

void notes_free(struct notes *notes)
{
    for (size_t i = 0; i < notes->count; i++)
        free(notes->lines[i]);
    free(notes->lines);
    *notes = (struct notes){0};
}

/* ---- the machine ---- */

/* "x86_64" of "Linux 6.1.0-18-amd64 x86_64". */
static const char *architecture(const struct report_context *context)
{
    const char *space = strrchr(context->machine, ' ');
    return space ? space + 1 : context->machine;
}

enum property { CPU, ARCHITECTURE, FEATURES, CPUS, L1D, L2, LLC, PROPERTIES };
static const char *const property_names[PROPERTIES] = {
    "cpu", "machine", "features", "cpus", "l1d_bytes", "l2_bytes", "llc_bytes",
};

/* A property as text; numbers go to `number`. */
static const char *property(const struct report_context *c, enum property which, char number[24])
{
    const int64_t numbers[PROPERTIES] = {
        [CPUS] = c->cpus, [L1D] = c->l1d_bytes, [L2] = c->l2_bytes, [LLC] = c->llc_bytes};
    switch (which) {
    case CPU: return c->cpu;
    case ARCHITECTURE: return architecture(c);
    case FEATURES: return c->features;
    default: snprintf(number, 24, "%" PRId64, numbers[which]); return number;
    }
}

static bool check_machine(const struct report *first, const struct report *other, bool any_machine,
                          struct notes *notes, struct error *error)
{
    for (enum property p = 0; p < PROPERTIES; p++) {
        char here[24], there[24];
        const char *a = property(&first->context, p, here);
        const char *b = property(&other->context, p, there);
        if (strcmp(a, b) == 0)
            continue;
        if (!any_machine)
            return fail(error,
                        "%s: context.%s: is \"%.80s\", in %s \"%.80s\": another machine; "
                        "--any-machine compares them all the same",
                        other->path, property_names[p], b, first->path, a);
        if (!add_note(notes, error, "another machine: %s is \"%s\" in %s, \"%s\" in %s",
                      property_names[p], a, first->path, b, other->path))
            return false;
    }
    return true;
}

/* ---- the build and the moment ---- */

struct trait {
    const char *name;
    size_t offset; /* of a const char *, or NULL */
};
#define TRAIT(name, member)                           \
    {                                                 \
        name, offsetof(struct report_context, member) \
    }

static const char *trait_of(const struct report *report, const struct trait *trait)
{
    const char *text;
    memcpy(&text, (const char *)&report->context + trait->offset, sizeof(text));
    return text ? text : "unknown";
}

/* Notes what a side's reports do not agree on, or else in what the sides differ. */
static bool note_trait(const struct all *all, const struct trait *trait, bool between,
                       struct notes *notes, struct error *error)
{
    const char *first[2] = {NULL, NULL};
    for (size_t i = 0; i < count_of(all); i++) {
        const char *value = trait_of(report_of(all, i), trait);
        int s = i >= all->old->count;
        if (!first[s])
            first[s] = value;
        else if (strcmp(first[s], value) != 0)
            return add_note(notes, error, "different %s within %s: \"%s\" and \"%s\"", trait->name,
                            s ? "new" : "old", first[s], value);
    }
    return !between || strcmp(first[0], first[1]) == 0 ||
           add_note(notes, error, "different %s: old \"%s\", new \"%s\"", trait->name, first[0],
                    first[1]);
}

static bool note_state(const struct report *report, struct notes *notes, struct error *error)
{
    if (!report->complete &&
        !add_note(notes, error, "%s was interrupted and is not complete", report->path))
        return false;
    return !report->has_noise || !report->noise.too_noisy ||
           add_note(notes, error,
                    "%s: the machine was too noisy: %" PRId64 " of %" PRId64
                    " samples were disturbed",
                    report->path, report->noise.disturbed, report->noise.samples);
}

bool compare_contexts(const struct reports *old, const struct reports *now, bool any_machine,
                      struct notes *notes, struct error *error)
{
    static const struct trait traits[] = {TRAIT("compiler", compiler), TRAIT("flags", flags),
                                          TRAIT("operating system", machine),
                                          TRAIT("governor", governor)};
    static const struct trait commit = TRAIT("commit", commit);
    const struct all all = {old, now};
    *notes = (struct notes){0};
    bool good = true;
    for (size_t i = 1; good && i < count_of(&all); i++)
        good = check_machine(report_of(&all, 0), report_of(&all, i), any_machine, notes, error);
    for (size_t i = 0; good && i < sizeof(traits) / sizeof(*traits); i++)
        good = note_trait(&all, &traits[i], true, notes, error);
    good = good && note_trait(&all, &commit, false, notes, error);
    for (size_t i = 0; good && i < count_of(&all); i++)
        good = note_state(report_of(&all, i), notes, error);
    if (!good)
        notes_free(notes);
    return good;
}
