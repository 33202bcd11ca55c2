/* SPDX-License-Identifier: MIT */
#include "harness/explain.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_GROUP = 64, MAX_CANDIDATES = 64, KEPT = 2, MAX_KEPT = KEPT * ASSAY_MAX_COORDINATES };

#define MIN_COVERAGE  0.99 /* of the wrong elements */
#define MAX_SHARE     0.95 /* of all elements, that a rule may select or that may be wrong */
#define MIN_PRECISION 0.5
#define MIN_LIFT      2
#define PRECISE       0.9 /* does without the lift */
#define PAIR_COST     0.05

/* "low <= value <= high", of the value modulo `modulus` unless that is 0. */
#define NO_LOW  INT64_MIN
#define NO_HIGH INT64_MAX

struct rule {
    size_t coordinate;
    int64_t modulus, low, high;
    int64_t group; /* low is where the last partial group of so many begins; 0: it is not */
    bool last;     /* selects the largest value of several */
    size_t selected, bad;
};

/* One or two rules, and the elements that fulfil them all. */
struct cluster {
    size_t n_rules;
    struct rule rules[2];
    size_t selected, bad;
    double score;
};

struct facts {
    const char *const *names;
    size_t n_names, count, bad;
    const struct observation *observations;
    struct rule kept[MAX_KEPT];
    size_t n_kept;
    struct cluster best; /* n_rules 0: none found */
};

/* One coordinate of all elements. */
struct column {
    size_t index, n_bad;
    int64_t *bad; /* the wrong elements', ascending, without ASSAY_UNSET */
    int64_t min, max;
    struct rule candidates[MAX_CANDIDATES];
    size_t n_candidates;
};

static bool selects(const struct rule *rule, int64_t value)
{
    if (value == ASSAY_UNSET || (rule->modulus && value < 0))
        return false;
    if (rule->modulus)
        value &= rule->modulus - 1;
    return rule->low <= value && value <= rule->high;
}

/* How much better a rule must be than a simpler one: =, %, the tail, >= and <=, between. */
static double cost(const struct rule *rule)
{
    if (rule->low == rule->high)
        return rule->modulus ? 0.01 : 0;
    bool open = rule->low == NO_LOW || rule->high == NO_HIGH;
    if (rule->modulus)
        return open ? 0.015 : 0.04;
    return rule->group ? 0.02 : open ? 0.03 : 0.05;
}

static double overlap(const struct facts *facts, size_t selected, size_t bad)
{
    return (double)bad / (double)(selected + facts->bad - bad);
}

static double score(const struct facts *facts, const struct rule *rule)
{
    return overlap(facts, rule->selected, rule->bad) - cost(rule);
}

static bool covers(const struct facts *facts, size_t bad)
{
    return (double)bad >= MIN_COVERAGE * (double)facts->bad;
}

/* Makes it the best if it is, and if it says enough to be told. */
static void consider(struct facts *facts, struct cluster cluster)
{
    double count = (double)facts->count, selected = (double)cluster.selected;
    double least = fmax(MIN_PRECISION, fmin(PRECISE, MIN_LIFT * (double)facts->bad / count));
    if (!covers(facts, cluster.bad) || selected >= MAX_SHARE * count ||
        (double)cluster.bad < least * selected)
        return;
    if (facts->best.n_rules == 0 || cluster.score > facts->best.score)
        facts->best = cluster;
}

static void add(struct column *column, struct rule rule)
{
    rule.coordinate = column->index;
    rule.last = !rule.modulus && rule.low == rule.high && rule.high == column->max &&
                column->min < column->max;
    if (column->n_candidates < MAX_CANDIDATES)
        column->candidates[column->n_candidates++] = rule;
}

static void add_intervals(struct column *column, int64_t modulus, int64_t low, int64_t high)
{
    add(column, (struct rule){.modulus = modulus, .low = low, .high = NO_HIGH});
    add(column, (struct rule){.modulus = modulus, .low = NO_LOW, .high = high});
    add(column, (struct rule){.modulus = modulus, .low = low, .high = high});
}

static void add_residues(struct column *column, int64_t modulus)
{
    size_t histogram[MAX_GROUP] = {0}, stray = column->n_bad / 200;
    for (size_t i = 0; i < column->n_bad; i++)
        histogram[column->bad[i] & (modulus - 1)]++;
    for (size_t trim = 0; trim <= stray; trim += stray ? stray : 1) {
        int64_t low = 0, high = modulus - 1;
        size_t below = 0, above = 0;
        while ((below += histogram[low]) <= trim)
            low++;
        while ((above += histogram[high]) <= trim)
            high--;
        add_intervals(column, modulus, low, high);
    }
}

/* Each rule as tight as the wrong elements allow, and once more without the half per cent of them
 * that stray furthest at either end. */
static void add_candidates(struct column *column)
{
    const int64_t *bad = column->bad;
    size_t last = column->n_bad - 1, stray = column->n_bad / 200;
    add_intervals(column, 0, bad[0], bad[last]);
    if (stray)
        add_intervals(column, 0, bad[stray], bad[last - stray]);
    for (int64_t m = MAX_GROUP; m >= 2 && column->max < INT64_MAX; m /= 2) {
        int64_t n = column->max + 1;
        if (n > m && n % m != 0)
            add(column, (struct rule){.low = n - n % m, .high = NO_HIGH, .group = m});
    }
    /* A residue says something only of what repeats. */
    for (int64_t m = 2; m <= MAX_GROUP; m *= 2) {
        if (bad[0] >= 0 && bad[0] / m < bad[last] / m)
            add_residues(column, m);
    }
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void read_column(const struct facts *facts, struct column *column)
{
    column->n_bad = column->n_candidates = 0;
    column->min = INT64_MAX;
    column->max = INT64_MIN;
    for (size_t i = 0; i < facts->count; i++) {
        int64_t value = facts->observations[i].value[column->index];
        if (value == ASSAY_UNSET)
            continue;
        column->min = value < column->min ? value : column->min;
        column->max = value > column->max ? value : column->max;
        if (facts->observations[i].bad)
            column->bad[column->n_bad++] = value;
    }
    qsort(column->bad, column->n_bad, sizeof(*column->bad), ascending);
}

static void count_selected(const struct facts *facts, struct column *column)
{
    for (size_t i = 0; i < facts->count; i++) {
        int64_t value = facts->observations[i].value[column->index];
        for (size_t r = 0; r < column->n_candidates; r++) {
            bool selected = selects(&column->candidates[r], value);
            column->candidates[r].selected += selected;
            column->candidates[r].bad += selected && facts->observations[i].bad;
        }
    }
}

/* Keeps the column's best rules that differ in what they select. */
static void keep_best(struct facts *facts, struct column *column)
{
    for (int k = 0; k < KEPT; k++) {
        struct rule *best = NULL;
        for (size_t r = 0; r < column->n_candidates; r++) {
            struct rule *rule = &column->candidates[r];
            if (covers(facts, rule->bad) && (!best || score(facts, rule) > score(facts, best)))
                best = rule;
        }
        if (!best)
            return;
        struct rule kept = facts->kept[facts->n_kept++] = *best;
        consider(facts, (struct cluster){1, {kept}, kept.selected, kept.bad, score(facts, best)});
        for (size_t r = 0; r < column->n_candidates; r++) {
            if (column->candidates[r].selected == kept.selected)
                column->candidates[r].bad = 0; /* so that it covers nothing */
        }
    }
}

/* Counts the elements by the set of kept rules that select them. */
static void count_sets(const struct facts *facts, size_t *selected, size_t *bad)
{
    for (size_t i = 0; i < facts->count; i++) {
        const struct observation *observation = &facts->observations[i];
        size_t set = 0;
        for (size_t r = 0; r < facts->n_kept; r++) {
            const struct rule *rule = &facts->kept[r];
            set |= (size_t)selects(rule, observation->value[rule->coordinate]) << r;
        }
        selected[set]++;
        bad[set] += observation->bad;
    }
}

static void consider_pairs(struct facts *facts)
{
    size_t n_sets = (size_t)1 << facts->n_kept;
    size_t selected[1 << MAX_KEPT] = {0}, bad[1 << MAX_KEPT] = {0};
    count_sets(facts, selected, bad);
    for (size_t a = 0; a < facts->n_kept; a++) {
        for (size_t b = a + 1; b < facts->n_kept; b++) {
            struct cluster pair = {.n_rules = 2, .rules = {facts->kept[a], facts->kept[b]}};
            size_t both = (size_t)1 << a | (size_t)1 << b;
            if (pair.rules[0].coordinate == pair.rules[1].coordinate)
                continue;
            for (size_t set = 0; set < n_sets; set++) {
                pair.selected += (set & both) == both ? selected[set] : 0;
                pair.bad += (set & both) == both ? bad[set] : 0;
            }
            pair.score = overlap(facts, pair.selected, pair.bad) - PAIR_COST -
                         cost(&pair.rules[0]) - cost(&pair.rules[1]);
            consider(facts, pair);
        }
    }
}

static bool find_best(struct facts *facts)
{
    struct column column = {.bad = malloc(facts->bad * sizeof(*column.bad))};
    if (!column.bad)
        return false;
    for (size_t c = 0; c < facts->n_names; c++) {
        column.index = c;
        read_column(facts, &column);
        if (!covers(facts, column.n_bad))
            continue;
        add_candidates(&column);
        count_selected(facts, &column);
        keep_best(facts, &column);
    }
    free(column.bad);
    consider_pairs(facts);
    return true;
}

/* Between the items of a list. */
static const char *separator(size_t index, size_t count, const char *last)
{
    return index == 0 ? "" : index + 1 < count ? ", " : last;
}

static void say_rule(FILE *out, const char *name, const struct rule *rule)
{
    fprintf(out, "%s", name);
    if (rule->modulus)
        fprintf(out, " %% %" PRId64, rule->modulus);
    if (rule->low == rule->high)
        fprintf(out, " = %" PRId64 "%s", rule->low, rule->last ? " (the last)" : "");
    else if (rule->high == NO_HIGH)
        fprintf(out, " >= %" PRId64, rule->low);
    else if (rule->low == NO_LOW)
        fprintf(out, " <= %" PRId64, rule->high);
    else
        fprintf(out, " from %" PRId64 " to %" PRId64, rule->low, rule->high);
    if (rule->group)
        fprintf(out, " (the last partial group of %" PRId64 ")", rule->group);
}

static void say_rules(FILE *out, const struct facts *facts)
{
    const struct cluster *best = &facts->best;
    bool values = true;
    for (size_t i = 0; i < best->n_rules; i++)
        values = values && best->rules[i].low == best->rules[i].high && !best->rules[i].modulus;
    fprintf(out, values ? " belong to " : " have ");
    for (size_t i = 0; i < best->n_rules; i++) {
        const struct rule *rule = &best->rules[i];
        const char *name = facts->names[rule->coordinate];
        fprintf(out, "%s", separator(i, best->n_rules, " and "));
        if (!values)
            say_rule(out, name, rule);
        else if (rule->last)
            fprintf(out, "the last %s, %" PRId64 "%s", name, rule->low,
                    i == 0 && best->n_rules > 1 ? "," : "");
        else
            fprintf(out, "%s %" PRId64, name, rule->low);
    }
}

static void say_cluster(FILE *out, const struct facts *facts)
{
    const struct cluster *best = &facts->best;
    const struct rule *rule = &best->rules[0];
    const char *name = facts->names[rule->coordinate];
    bool tail = best->n_rules == 1 && rule->group;
    if (best->bad < facts->bad)
        fprintf(out, "%zu of the %zu", best->bad, facts->bad);
    else if (facts->bad == 2)
        fprintf(out, "Both");
    else
        fprintf(out, "All %zu", facts->bad);
    fprintf(out, " wrong elements");
    if (tail)
        fprintf(out, " lie in the last partial group of %" PRId64 " of %s (%s >= %" PRId64,
                rule->group, name, name, rule->low);
    else
        say_rules(out, facts);
    if (best->bad == best->selected)
        fprintf(out, "%s, and every element there is wrong.", tail ? ")" : "");
    else
        fprintf(out, "%s%zu of the %zu there).", tail ? "; " : " (", best->bad, best->selected);
}

/* The coordinates of the only wrong element. */
static void say_only(FILE *out, struct facts *facts)
{
    int64_t value = 0;
    for (size_t c = 0; c < facts->n_names; c++) {
        struct column column = {.index = c, .bad = &value};
        read_column(facts, &column);
        add(&column, (struct rule){.low = value, .high = value});
        if (column.n_bad > 0)
            facts->kept[facts->n_kept++] = column.candidates[0];
    }
    fprintf(out, "The only wrong element of %zu has ", facts->count);
    for (size_t r = 0; r < facts->n_kept; r++) {
        fprintf(out, "%s", separator(r, facts->n_kept, " and "));
        say_rule(out, facts->names[facts->kept[r].coordinate], &facts->kept[r]);
    }
    fputs(facts->n_kept ? "." : "no coordinates.", out);
}

static void say_no_pattern(FILE *out, const struct facts *facts)
{
    fprintf(out, "The %zu wrong elements of %zu follow no pattern in ", facts->bad, facts->count);
    for (size_t c = 0; c < facts->n_names; c++)
        fprintf(out, "%s%s", separator(c, facts->n_names, " or "), facts->names[c]);
    fputs(facts->n_names ? "." : "anything.", out);
}

static bool say_all(FILE *out, struct facts *facts)
{
    if (facts->bad == facts->count)
        fprintf(out, "Every element is wrong (%zu of %zu).", facts->bad, facts->count);
    else if ((double)facts->bad >= MAX_SHARE * (double)facts->count)
        fprintf(out, "Nearly every element is wrong (%zu of %zu).", facts->bad, facts->count);
    else if (facts->bad == 1)
        say_only(out, facts);
    else if (!find_best(facts))
        return false;
    else if (facts->best.n_rules > 0)
        say_cluster(out, facts);
    else
        say_no_pattern(out, facts);
    return true;
}

bool explain(const char *const *names, size_t n_names, const struct observation *observations,
             size_t count, char *text, size_t size, struct error *error)
{
    struct facts facts = {
        .names = names, .n_names = n_names, .observations = observations, .count = count};
    for (size_t i = 0; i < count; i++)
        facts.bad += observations[i].bad;
    char *sentence = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&sentence, &length);
    bool said = out && (facts.bad == 0 || say_all(out, &facts));
    said = out && fclose(out) == 0 && said;
    if (said)
        snprintf(text, size, "%s", sentence);
    free(sentence);
    return said || fail(error, "out of memory");
}
