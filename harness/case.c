/* SPDX-License-Identifier: MIT */
#include "harness/case.h"

#include <inttypes.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "harness/case_parse.h"

void case_free(struct assay_case *item)
{
    for (size_t i = 0; i < item->n_tags; i++)
        free(item->tags[i]);
    free(item->tags);
    free(item->name);
    free(item->key);
    free(item->source);
    free(item->weights);
    free(item->where);
}

void cases_free(struct cases *cases)
{
    for (size_t i = 0; i < cases->count; i++)
        case_free(&cases->items[i]);
    free(cases->items);
    *cases = (struct cases){0};
}

int64_t shape_bytes(const struct assay_op *op, const void *shape)
{
    int64_t total = 0;
    for (size_t t = 0; t < op->n_tensors; t++) {
        const struct assay_tensor *tensor = &op->tensors[t];
        int64_t bytes = (int64_t)assay_dtype_bytes(tensor->dtype);
        total = assay_add(total, assay_mul(tensor->count(shape), bytes));
    }
    return total;
}

int64_t case_bytes(const struct assay_case *item)
{
    int64_t bytes = shape_bytes(item->op, item->shape);
    return bytes < 0 ? bytes : bytes - case_prefix_bytes(item);
}

int64_t case_stored_bytes(const struct assay_case *item)
{
    int64_t bytes = 0;
    for (size_t i = 0; item->weights && i < item->op->n_stored; i++)
        bytes += item->weights->tensors[i].bytes;
    return bytes;
}

int64_t case_prefix_bytes(const struct assay_case *item)
{
    int64_t bytes = 0;
    for (size_t i = 0; item->weights && i < item->op->n_stored; i++) {
        if (item->op->stored[i].offset_dim != ASSAY_NO_DIM)
            bytes += item->weights->tensors[i].offset;
    }
    return bytes;
}

static int by_key(const void *a, const void *b)
{
    const struct assay_case *const *x = a, *const *y = b;
    return strcmp((*x)->key, (*y)->key);
}

/* The items ordered by key, to be freed; NULL: out of memory. */
static const struct assay_case **sorted_by_key(const struct cases *cases)
{
    const struct assay_case **sorted = malloc((cases->count + 1) * sizeof(*sorted));
    for (size_t i = 0; sorted && i < cases->count; i++)
        sorted[i] = &cases->items[i];
    if (sorted)
        qsort(sorted, cases->count, sizeof(*sorted), by_key);
    return sorted;
}

static bool check_unique(const struct cases *cases, struct error *error)
{
    const struct assay_case **sorted = sorted_by_key(cases);
    const struct assay_case *first = NULL, *second = NULL;
    if (!sorted)
        return fail(error, "out of memory");
    for (size_t i = 1; i < cases->count; i++) {
        const struct assay_case *a = sorted[i - 1], *b = sorted[i];
        if (strcmp(a->key, b->key) != 0)
            continue;
        /* qsort may have swapped them; of several pairs, report the one that comes first. */
        const struct assay_case *low = a < b ? a : b, *high = a < b ? b : a;
        if (!second || high < second) {
            first = low;
            second = high;
        }
    }
    free(sorted);
    if (second)
        return fail(error, "%s: the same case as in %s: %s", second->where, first->where,
                    second->key);
    return true;
}

bool cases_append(struct cases *cases, struct cases *added, struct error *error)
{
    size_t count = cases->count + added->count;
    struct assay_case *items = malloc((count + 1) * sizeof(*items));
    struct cases all = {.count = count, .items = items};
    if (!items)
        fail(error, "out of memory");
    for (size_t i = 0; items && i < count; i++)
        items[i] = i < cases->count ? cases->items[i] : added->items[i - cases->count];
    if (!items || !check_unique(&all, error)) {
        free(items);
        cases_free(added);
        return false;
    }
    free(cases->items);
    free(added->items);
    *added = (struct cases){0};
    *cases = all;
    return true;
}

static bool has_tag(const struct assay_case *item, const char *tag)
{
    for (size_t i = 0; i < item->n_tags; i++) {
        if (strcmp(item->tags[i], tag) == 0)
            return true;
    }
    return false;
}

/* Keeps the items for which keep[i], in their order. */
static void compact(struct cases *cases, const bool *keep)
{
    size_t kept = 0;
    for (size_t i = 0; i < cases->count; i++) {
        if (keep[i])
            cases->items[kept++] = cases->items[i];
        else
            case_free(&cases->items[i]);
    }
    cases->count = kept;
}

/* Sets keep[i] where the tag and the expression fit; false: out of memory. */
static bool find_matches(const struct cases *cases, const regex_t *regex, const char *tag,
                         bool *keep)
{
    for (size_t i = 0; i < cases->count; i++) {
        const struct assay_case *item = &cases->items[i];
        int status = regexec(regex, item->name, 0, NULL, 0);
        if (status == REG_NOMATCH)
            status = regexec(regex, item->key, 0, NULL, 0);
        if (status != 0 && status != REG_NOMATCH)
            return false;
        keep[i] = status == 0 && (!tag || has_tag(item, tag));
    }
    return true;
}

/* Of the items to keep, leaves every shard_count-th. */
static void keep_shard(size_t count, size_t shard_index, size_t shard_count, bool *keep)
{
    size_t selected = 0;
    for (size_t i = 0; i < count; i++) {
        if (keep[i])
            keep[i] = selected++ % shard_count == shard_index;
    }
}

bool cases_select(struct cases *cases, const char *regex, const char *tag, size_t shard_index,
                  size_t shard_count, struct error *error)
{
    regex_t compiled;
    if (shard_index >= shard_count)
        return fail(error, "shard %zu of %zu: the first is 0", shard_index, shard_count);
    int status = regcomp(&compiled, regex ? regex : "", REG_EXTENDED | REG_NOSUB);
    if (status != 0) {
        char why[128];
        regerror(status, &compiled, why, sizeof(why));
        return fail(error, "regular expression \"%.200s\": %s", regex ? regex : "", why);
    }
    bool *keep = malloc(cases->count + 1);
    bool found = keep && find_matches(cases, &compiled, tag, keep);
    if (found) {
        keep_shard(cases->count, shard_index, shard_count, keep);
        compact(cases, keep);
    }
    regfree(&compiled);
    free(keep);
    return found || fail(error, "out of memory");
}

/* Drops all but the first of cases with the same key. */
static bool drop_repeated(struct cases *cases, struct error *error)
{
    const struct assay_case **sorted = sorted_by_key(cases);
    bool *keep = malloc(cases->count + 1);
    bool made = sorted && keep;
    if (!made)
        fail(error, "out of memory");
    for (size_t i = 0; made && i < cases->count;) {
        size_t next = i + 1;
        const struct assay_case *first = sorted[i];
        for (; next < cases->count && strcmp(sorted[next]->key, first->key) == 0; next++)
            first = sorted[next] < first ? sorted[next] : first;
        for (; i < next; i++)
            keep[sorted[i] - cases->items] = sorted[i] == first;
    }
    if (made)
        compact(cases, keep);
    free(sorted);
    free(keep);
    return made;
}

/* New keys for copies of the items that share all else; all or nothing. */
static bool make_keys(struct cases *cases)
{
    for (size_t i = 0; i < cases->count; i++) {
        cases->items[i].key = case_key(&cases->items[i]);
        if (cases->items[i].key)
            continue;
        while (i-- > 0)
            free(cases->items[i].key);
        return false;
    }
    return true;
}

bool cases_set_seed(struct cases *cases, uint64_t seed, struct error *error)
{
    if (seed > CASE_SEED_MAX)
        return fail(error, "seed %" PRIu64 ": must be at most 2^53", seed);
    struct assay_case *items = malloc((cases->count + 1) * sizeof(*items));
    if (!items)
        return fail(error, "out of memory");
    struct cases changed = {.count = cases->count, .items = items};
    for (size_t i = 0; i < cases->count; i++) {
        items[i] = cases->items[i];
        items[i].seed = seed;
    }
    if (!make_keys(&changed)) {
        free(items);
        return fail(error, "out of memory");
    }
    for (size_t i = 0; i < cases->count; i++)
        free(cases->items[i].key);
    free(cases->items);
    *cases = changed;
    return drop_repeated(cases, error);
}
