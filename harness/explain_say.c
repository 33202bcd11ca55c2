/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <string.h>

#include "harness/explain_rules.h"

/* Between the items of a list. */
static const char *separator(size_t index, size_t count, const char *last)
{
    return index == 0 ? "" : index + 1 < count ? ", " : last;
}

/* "row % 16 = 15" */
static void say_residue(FILE *out, const char *name, const struct rule *rule)
{
    fprintf(out, "%s %% %" PRId64, name, rule->modulus);
    if (rule->low == rule->high)
        fprintf(out, " = %" PRId64, rule->low);
    else if (rule->high == NO_HIGH)
        fprintf(out, " >= %" PRId64, rule->low);
    else if (rule->low == NO_LOW)
        fprintf(out, " <= %" PRId64, rule->high);
    else
        fprintf(out, " is %" PRId64 " to %" PRId64, rule->low, rule->high);
}

/* "row 5", "rows 3 and 9", "positions in list from 32 on" */
static void say_values(FILE *out, const char *name, const struct rule *rule)
{
    int word = (int)strcspn(name, " ");
    if (rule->low == rule->high) {
        fprintf(out, "%s %" PRId64 "%s", name, rule->low, rule->last ? " (the last)" : "");
        return;
    }
    fprintf(out, "%.*ss%s ", word, name, name + word);
    if (rule->high == NO_HIGH)
        fprintf(out, "from %" PRId64 " on", rule->low);
    else if (rule->low == NO_LOW)
        fprintf(out, "up to %" PRId64, rule->high);
    else if (rule->n_values == 0)
        fprintf(out, "%" PRId64 " to %" PRId64, rule->low, rule->high);
    for (size_t i = 0; i < rule->n_values; i++)
        fprintf(out, "%s%" PRId64, separator(i, rule->n_values, " and "), rule->values[i]);
    if (rule->group)
        fprintf(out, ", the last partial group of %" PRId64, rule->group);
}

/* "in expert 1, rows from 64 on, where row % 16 = 15" */
static void say_rules(FILE *out, const char *const *names, const struct rule *rules, size_t n_rules)
{
    size_t values = 0, residues = 0;
    for (size_t i = 0; i < n_rules; i++) {
        if (rules[i].modulus)
            continue;
        fputs(values++ == 0 ? " in " : ", ", out);
        say_values(out, names[rules[i].coordinate], &rules[i]);
    }
    for (size_t i = 0; i < n_rules; i++) {
        if (!rules[i].modulus)
            continue;
        fputs(residues++ > 0 ? " and " : values > 0 ? ", where " : " where ", out);
        say_residue(out, names[rules[i].coordinate], &rules[i]);
    }
}

void say_cluster(FILE *out, const char *const *names, const struct cluster *cluster,
                 const struct amounts *amounts)
{
    if (cluster->bad < amounts->bad)
        fprintf(out, "%zu of the %zu", cluster->bad, amounts->bad);
    else if (amounts->bad == 2)
        fprintf(out, "Both");
    else
        fprintf(out, "All %zu", amounts->bad);
    fprintf(out, " %s elements are", amounts->adjective);
    say_rules(out, names, cluster->rules, cluster->n_rules);
    if (cluster->bad == cluster->selected)
        fprintf(out, ", and every element there is %s.", amounts->adjective);
    else
        fprintf(out, " (%zu of the %zu there).", cluster->bad, cluster->selected);
}

void say_only(FILE *out, const char *const *names, const struct rule *rules, size_t n_rules,
              const struct amounts *amounts)
{
    fprintf(out, "The only %s element of %zu %s", amounts->adjective, amounts->count,
            n_rules ? "is" : "has no coordinates");
    say_rules(out, names, rules, n_rules);
    fputs(".", out);
}

void say_no_pattern(FILE *out, const char *const *names, size_t n_names,
                    const struct amounts *amounts)
{
    fprintf(out, "The %zu %s elements of %zu follow no pattern in ", amounts->bad,
            amounts->adjective, amounts->count);
    for (size_t c = 0; c < n_names; c++)
        fprintf(out, "%s%s", separator(c, n_names, " or "), names[c]);
    fputs(n_names ? "." : "anything.", out);
}

void say_most(FILE *out, const struct amounts *amounts)
{
    fprintf(out, "%s element is %s (%zu of %zu).",
            amounts->bad == amounts->count ? "Every" : "Nearly every", amounts->adjective,
            amounts->bad, amounts->count);
}
