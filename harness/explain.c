/* SPDX-License-Identifier: MIT */
#include "harness/explain.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "harness/explain_rules.h"

/* Of each coordinate one rule about its value is kept, and one about a residue. */
enum { MAX_GROUP = 64, MAX_CANDIDATES = 64, MAX_KEPT = 2 * ASSAY_MAX_COORDINATES };

#define MIN_COVERAGE  0.99 /* of the wrong elements */
#define MAX_SHARE     0.95 /* of all elements, that a rule may select or that may be wrong */
#define MIN_PRECISION 0.5
#define MIN_LIFT      2
#define PRECISE       0.9  /* does without the lift */
#define RULE_COST     0.05 /* of each rule beyond the first */

struct facts {
    const char *const *names;
    size_t n_names;
    struct amounts amounts;
    const struct observation *observations;
    struct rule kept[MAX_KEPT];
    size_t n_kept;
    struct cluster best;
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
    bool listed = rule->n_values == 0;
    for (size_t i = 0; i < rule->n_values; i++)
        listed = listed || value == rule->values[i];
    return listed && rule->low <= value && value <= rule->high;
}

/* How much better a rule must be than a simpler one: =, %, the tail, >= and <=, between, a list. */
static double cost(const struct rule *rule)
{
    if (rule->n_values)
        return 0.03 * (double)rule->n_values;
    if (rule->low == rule->high)
        return rule->modulus ? 0.01 : 0;
    bool open = rule->low == NO_LOW || rule->high == NO_HIGH;
    if (rule->modulus)
        return open ? 0.015 : 0.04;
    return rule->group ? 0.02 : open ? 0.03 : 0.05;
}

static double overlap(const struct facts *facts, size_t selected, size_t bad)
{
    return (double)bad / (double)(selected + facts->amounts.bad - bad);
}

static double score(const struct facts *facts, const struct rule *rule)
{
    return overlap(facts, rule->selected, rule->bad) - cost(rule);
}

static bool covers(const struct facts *facts, size_t bad)
{
    return (double)bad >= MIN_COVERAGE * (double)facts->amounts.bad;
}

/* Makes it the best if it is, and if it says enough to be told. */
static void consider(struct facts *facts, struct cluster cluster)
{
    double count = (double)facts->amounts.count, selected = (double)cluster.selected;
    double least =
        fmax(MIN_PRECISION, fmin(PRECISE, MIN_LIFT * (double)facts->amounts.bad / count));
    if (cluster.n_rules == MAX_RULES)
        least = PRECISE;
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

/* Two or three values with others between them. */
static void add_list(struct column *column)
{
    const int64_t *bad = column->bad;
    struct rule rule = {.low = bad[0], .high = bad[column->n_bad - 1]};
    for (size_t i = 0; i < column->n_bad; i++) {
        if (i > 0 && bad[i] == bad[i - 1])
            continue;
        if (rule.n_values == MAX_VALUES)
            return;
        rule.values[rule.n_values++] = bad[i];
    }
    if (rule.high - rule.low >= (int64_t)rule.n_values)
        add(column, rule);
}

/* Each rule as tight as the wrong elements allow, and once more without the half per cent of them
 * that stray furthest at either end. */
static void add_candidates(struct column *column)
{
    const int64_t *bad = column->bad;
    size_t last = column->n_bad - 1, stray = column->n_bad / 200;
    add_intervals(column, 0, bad[0], bad[last]);
    add_list(column);
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
    for (size_t i = 0; i < facts->amounts.count; i++) {
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
    for (size_t i = 0; i < facts->amounts.count; i++) {
        int64_t value = facts->observations[i].value[column->index];
        for (size_t r = 0; r < column->n_candidates; r++) {
            bool selected = selects(&column->candidates[r], value);
            column->candidates[r].selected += selected;
            column->candidates[r].bad += selected && facts->observations[i].bad;
        }
    }
}

/* Keeps the column's best rule about values, and its best about residues. */
static void keep_best(struct facts *facts, const struct column *column)
{
    for (int residues = 0; residues <= 1; residues++) {
        const struct rule *best = NULL;
        for (size_t r = 0; r < column->n_candidates; r++) {
            const struct rule *rule = &column->candidates[r];
            if ((rule->modulus > 0) == residues && covers(facts, rule->bad) &&
                (!best || score(facts, rule) > score(facts, best)))
                best = rule;
        }
        if (best)
            facts->kept[facts->n_kept++] = *best;
    }
}

/* Counts the elements by the set of kept rules that select them. */
static void count_sets(const struct facts *facts, size_t *selected, size_t *bad)
{
    for (size_t i = 0; i < facts->amounts.count; i++) {
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

/* Beside a residue, a bound may as well lie where the period of the residue begins or ends. */
static void round_bounds(struct cluster *cluster)
{
    for (size_t i = 0; i + 1 < cluster->n_rules; i++) {
        struct rule *rule = &cluster->rules[i];
        const struct rule *residue = &cluster->rules[i + 1];
        int64_t m = residue->modulus;
        if (rule->coordinate != residue->coordinate || rule->n_values)
            continue;
        rule->group = 0;
        if (rule->low >= 0 && rule->low % m == residue->low)
            rule->low = rule->low < m ? NO_LOW : rule->low - residue->low;
        if (rule->high != NO_HIGH && rule->high % m == residue->high)
            rule->high += m - 1 - residue->high;
    }
}

static void consider_set(struct facts *facts, size_t set, size_t selected, size_t bad)
{
    struct cluster cluster = {.selected = selected, .bad = bad};
    cluster.score = overlap(facts, selected, bad) + RULE_COST;
    for (size_t r = 0; r < facts->n_kept; r++) {
        if (!(set >> r & 1))
            continue;
        if (cluster.n_rules == MAX_RULES)
            return;
        cluster.score -= cost(&facts->kept[r]) + RULE_COST;
        cluster.rules[cluster.n_rules++] = facts->kept[r];
    }
    round_bounds(&cluster);
    consider(facts, cluster);
}

static void consider_sets(struct facts *facts)
{
    size_t n_sets = (size_t)1 << facts->n_kept;
    size_t selected[1 << MAX_KEPT] = {0}, bad[1 << MAX_KEPT] = {0};
    count_sets(facts, selected, bad);
    /* From elements that fulfil exactly these rules to those that fulfil at least these. */
    for (size_t r = 0; r < facts->n_kept; r++) {
        for (size_t set = 0; set < n_sets; set++) {
            if (set >> r & 1) {
                selected[set ^ (size_t)1 << r] += selected[set];
                bad[set ^ (size_t)1 << r] += bad[set];
            }
        }
    }
    for (size_t set = 1; set < n_sets; set++)
        consider_set(facts, set, selected[set], bad[set]);
}

static bool find_best(struct facts *facts)
{
    struct column column = {.bad = malloc(facts->amounts.bad * sizeof(*column.bad))};
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
    consider_sets(facts);
    return true;
}

/* The coordinates of the only wrong element. */
static void find_only(struct facts *facts)
{
    int64_t value = 0;
    for (size_t c = 0; c < facts->n_names; c++) {
        struct column column = {.index = c, .bad = &value};
        read_column(facts, &column);
        add(&column, (struct rule){.low = value, .high = value});
        if (column.n_bad > 0)
            facts->kept[facts->n_kept++] = column.candidates[0];
    }
}

static bool say_all(FILE *out, struct facts *facts)
{
    const struct amounts *amounts = &facts->amounts;
    if ((double)amounts->bad >= MAX_SHARE * (double)amounts->count) {
        say_most(out, amounts);
    } else if (amounts->bad == 1) {
        find_only(facts);
        say_only(out, facts->names, facts->kept, facts->n_kept, amounts);
    } else if (!find_best(facts)) {
        return false;
    } else if (facts->best.n_rules > 0) {
        say_cluster(out, facts->names, &facts->best, amounts);
    } else {
        say_no_pattern(out, facts->names, facts->n_names, amounts);
    }
    return true;
}

bool explain(const char *adjective, const char *const *names, size_t n_names,
             const struct observation *observations, size_t count, char *text, size_t size,
             struct error *error)
{
    struct facts facts = {.names = names,
                          .n_names = n_names,
                          .amounts = {.adjective = adjective, .count = count},
                          .observations = observations};
    for (size_t i = 0; i < count; i++)
        facts.amounts.bad += observations[i].bad;
    char *sentence = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&sentence, &length);
    bool said = out && (facts.amounts.bad == 0 || say_all(out, &facts));
    said = out && fclose(out) == 0 && said;
    if (said)
        snprintf(text, size, "%s", sentence);
    free(sentence);
    return said || fail(error, "out of memory");
}
