/* SPDX-License-Identifier: MIT */
#include "harness/page_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/page_style.h"
#include "ref/op.h"

/* Orders are total, so that equal things stand together. */
#define BY(a, b)    \
    if ((a) != (b)) \
    return (a) < (b) ? -1 : 1

static int by_report(const void *left, const void *right)
{
    const struct report *a = *(const struct report *const *)left,
                        *b = *(const struct report *const *)right;
    int order = strcmp(a->context.cpu, b->context.cpu);
    if (order != 0)
        return order;
    BY(a->context.cpus, b->context.cpus);
    order = strcmp(a->context.time, b->context.time);
    return order ? order : strcmp(a->path, b->path);
}

static bool same_machine(const struct report *a, const struct report *b)
{
    return a->context.cpus == b->context.cpus && strcmp(a->context.cpu, b->context.cpu) == 0;
}

static bool make_reports(const struct reports *reports, struct page *page)
{
    size_t n = reports->count;
    const struct report **sorted = calloc(n + 1, sizeof(*sorted));
    page->reports = calloc(n + 1, sizeof(*page->reports));
    page->machines = calloc(n + 1, sizeof(*page->machines));
    if (!sorted || !page->reports || !page->machines) {
        free(sorted);
        return false;
    }
    for (size_t i = 0; i < n; i++)
        sorted[i] = &reports->items[i];
    qsort(sorted, n, sizeof(*sorted), by_report);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || !same_machine(sorted[i - 1], sorted[i]))
            page->machines[page->n_machines++] = (struct page_machine){
                .cpu = sorted[i]->context.cpu, .cpus = sorted[i]->context.cpus, .first_report = i};
        struct page_machine *machine = &page->machines[page->n_machines - 1];
        machine->newest = sorted[i];
        if (sorted[i]->has_ceilings)
            machine->measured = sorted[i];
        machine->n_reports++;
        page->reports[i] = (struct page_report){sorted[i], page->n_machines - 1};
    }
    page->n_reports = n;
    free(sorted);
    return true;
}

/* ---- cases ---- */

static int by_key(const void *left, const void *right)
{
    const struct page_case *a = left, *b = right;
    int order = strcmp(a->op, b->op);
    return order ? order : strverscmp(a->key, b->key); /* 2 before 10 */
}

/* The words but for "tokens=N"; *tokens is 0 if there is no such word. */
static char *family_of(const char *words, int64_t *tokens)
{
    const char *word = strstr(words, "tokens=");
    *tokens = 0;
    if (!word || (word > words && word[-1] != ' '))
        return NULL;
    char *end, *family;
    *tokens = strtoll(word + strlen("tokens="), &end, 10);
    if (asprintf(&family, "%.*s%s", (int)(word - words), words, end + (*end == ' ')) < 0)
        return NULL;
    return family;
}

static bool make_cases(struct page *page)
{
    size_t room = 0, kept = 0;
    for (size_t r = 0; r < page->n_reports; r++)
        room += page->reports[r].report->n_cases;
    page->cases = calloc(room + 1, sizeof(*page->cases));
    if (!page->cases)
        return false;
    for (size_t r = 0; r < page->n_reports; r++) {
        const struct report *report = page->reports[r].report;
        for (size_t i = 0; i < report->n_cases; i++)
            page->cases[kept++] =
                (struct page_case){.key = report->cases[i].key, .op = report->cases[i].op};
    }
    qsort(page->cases, kept, sizeof(*page->cases), by_key);
    for (size_t i = 0; i < kept; i++) {
        if (page->n_cases == 0 || by_key(&page->cases[page->n_cases - 1], &page->cases[i]) != 0)
            page->cases[page->n_cases++] = page->cases[i];
    }
    for (size_t i = 0; i < page->n_cases; i++) {
        struct page_case *item = &page->cases[i];
        const char *space = strchr(item->key, ' ');
        item->words = space ? space + 1 : "";
        item->family = family_of(item->words, &item->tokens);
        if (!item->family && item->tokens)
            return false;
    }
    return true;
}

static size_t find_case(const struct page *page, const struct report_case *item)
{
    struct page_case wanted = {.key = item->key, .op = item->op};
    const struct page_case *found =
        bsearch(&wanted, page->cases, page->n_cases, sizeof(wanted), by_key);
    return (size_t)(found - page->cases);
}

/* ---- kernels ---- */

static bool is_foreign(const struct page_kernel *kernel)
{
    return strchr(kernel->name, ':') != NULL;
}

static int by_kernel(const void *left, const void *right)
{
    const struct page_kernel *a = left, *b = right;
    int order = strcmp(a->op, b->op);
    if (order != 0)
        return order;
    BY(b->reference, a->reference);
    BY(is_foreign(a), is_foreign(b));
    return strcmp(a->label, b->label);
}

static struct page_kernel kernel_of(const struct report_result *result)
{
    const char *slash = strchr(result->kernel, '/');
    struct page_kernel kernel = {.label = result->kernel,
                                 .name = slash ? slash + 1 : result->kernel,
                                 .op = result->item->op,
                                 .library = result->library,
                                 .tier = result->tier,
                                 .numerics = result->numerics};
    const struct assay_op *op = assay_find_op(kernel.op);
    kernel.reference = op && op->reference && strcmp(op->reference->name, kernel.name) == 0;
    return kernel;
}

static bool make_kernels(struct page *page)
{
    size_t room = 0, kept = 0;
    for (size_t r = 0; r < page->n_reports; r++)
        room += page->reports[r].report->n_results;
    page->kernels = calloc(room + 1, sizeof(*page->kernels));
    if (!page->kernels)
        return false;
    for (size_t r = 0; r < page->n_reports; r++) {
        const struct report *report = page->reports[r].report;
        for (size_t i = 0; i < report->n_results; i++)
            page->kernels[kept++] = kernel_of(&report->results[i]);
    }
    qsort(page->kernels, kept, sizeof(*page->kernels), by_kernel);
    for (size_t i = 0; i < kept; i++) {
        if (page->n_kernels == 0 ||
            by_kernel(&page->kernels[page->n_kernels - 1], &page->kernels[i]) != 0)
            page->kernels[page->n_kernels++] = page->kernels[i];
    }
    return page_style(page->kernels, page->n_kernels);
}

static size_t find_kernel(const struct page *page, const struct page_kernel *wanted)
{
    const struct page_kernel *found =
        bsearch(wanted, page->kernels, page->n_kernels, sizeof(*wanted), by_kernel);
    return (size_t)(found - page->kernels);
}

static bool make_ops(struct page *page)
{
    page->ops = calloc(page->n_cases + 1, sizeof(*page->ops));
    if (!page->ops)
        return false;
    size_t kernel = 0;
    for (size_t i = 0; i < page->n_cases; i++) {
        if (i == 0 || strcmp(page->cases[i - 1].op, page->cases[i].op) != 0) {
            struct page_op *op = &page->ops[page->n_ops++];
            *op = (struct page_op){.name = page->cases[i].op, .first_case = i};
            while (kernel < page->n_kernels && strcmp(page->kernels[kernel].op, op->name) < 0)
                kernel++;
            op->first_kernel = kernel;
            while (kernel < page->n_kernels && strcmp(page->kernels[kernel].op, op->name) == 0)
                kernel++;
            op->n_kernels = kernel - op->first_kernel;
        }
        page->ops[page->n_ops - 1].n_cases++;
    }
    return true;
}

/* ---- results and timings ---- */

static int by_result(const void *left, const void *right)
{
    const struct page_result *a = left, *b = right;
    BY(a->machine, b->machine);
    BY(a->item, b->item);
    BY(a->kernel, b->kernel);
    BY(a->report, b->report);
    return 0;
}

static bool make_results(struct page *page)
{
    size_t room = 0;
    for (size_t r = 0; r < page->n_reports; r++)
        room += page->reports[r].report->n_results;
    page->results = calloc(room + 1, sizeof(*page->results));
    if (!page->results)
        return false;
    for (size_t r = 0; r < page->n_reports; r++) {
        const struct report *report = page->reports[r].report;
        for (size_t i = 0; i < report->n_results; i++) {
            const struct page_kernel kernel = kernel_of(&report->results[i]);
            page->results[page->n_results++] = (struct page_result){
                &report->results[i], page->reports[r].machine,
                find_case(page, report->results[i].item), find_kernel(page, &kernel), .report = r};
        }
    }
    qsort(page->results, page->n_results, sizeof(*page->results), by_result);
    for (size_t i = 0; i < page->n_results; i++) {
        struct page_result next = page->results[i + 1]; /* past the end: zeros */
        next.report = page->results[i].report;
        page->results[i].newest =
            i + 1 == page->n_results || by_result(&page->results[i], &next) != 0;
    }
    return true;
}

/* All but the report. */
static int by_series(const struct page_timing *a, const struct page_timing *b)
{
    BY(a->machine, b->machine);
    BY(a->item, b->item);
    BY(a->kernel, b->kernel);
    BY(a->timing->threads, b->timing->threads);
    return strcmp(a->timing->mode, b->timing->mode);
}

static int by_timing(const void *left, const void *right)
{
    const struct page_timing *a = left, *b = right;
    int order = by_series(a, b);
    if (order != 0)
        return order;
    BY(a->report, b->report);
    return 0;
}

/* Half the interval's width, as a logarithm of a ratio. */
static double half_width(const struct report_timing *timing)
{
    return log(timing->interval.high / timing->interval.low) / 2;
}

/* The speed of `timing` against the one of the reference. */
static void compare(struct page_timing *timing, const struct page_timing *reference)
{
    timing->ratio = reference->timing->median_ns / timing->timing->median_ns;
    double width = hypot(half_width(timing->timing), half_width(reference->timing));
    bool same = timing->timing == reference->timing;
    timing->speed.low = timing->ratio * (same ? 1 : exp(-width));
    timing->speed.high = timing->ratio * (same ? 1 : exp(width));
}

/* Every timing against its reference: in its mode or, as that may be slow, in the other. */
static void find_references(struct page *page)
{
    size_t start = 0;
    for (size_t i = 0; i < page->n_timings; i++) {
        struct page_timing *t = &page->timings[i];
        t->ratio = t->speed.low = t->speed.high = NAN;
        if (t->machine != page->timings[start].machine || t->item != page->timings[start].item)
            start = i;
        const struct page_timing *found = NULL;
        for (size_t j = start; j < page->n_timings; j++) { /* they stand before all others */
            const struct page_timing *other = &page->timings[j];
            if (other->item != t->item || !page->kernels[other->kernel].reference)
                break;
            if (other->report == t->report && other->timing->threads == t->timing->threads &&
                (!found || strcmp(other->timing->mode, t->timing->mode) == 0))
                found = other;
        }
        if (found)
            compare(t, found);
    }
}

static bool make_timings(struct page *page)
{
    size_t room = 0;
    for (size_t r = 0; r < page->n_reports; r++)
        room += page->reports[r].report->n_timings;
    page->timings = calloc(room + 1, sizeof(*page->timings));
    if (!page->timings)
        return false;
    for (size_t r = 0; r < page->n_reports; r++) {
        const struct report *report = page->reports[r].report;
        for (size_t i = 0; i < report->n_timings; i++) {
            const struct report_timing *timing = &report->timings[i];
            const struct page_kernel kernel = kernel_of(timing->result);
            if (!timing->aa)
                page->timings[page->n_timings++] = (struct page_timing){
                    timing, page->reports[r].machine, find_case(page, timing->result->item),
                    find_kernel(page, &kernel), .report = r};
        }
    }
    qsort(page->timings, page->n_timings, sizeof(*page->timings), by_timing);
    for (size_t i = 0; i < page->n_timings; i++)
        page->timings[i].newest =
            i + 1 == page->n_timings || by_series(&page->timings[i], &page->timings[i + 1]) != 0;
    find_references(page);
    return true;
}

bool page_make(const struct reports *reports, struct page *page, struct error *error)
{
    *page = (struct page){0};
    if (make_reports(reports, page) && make_cases(page) && make_kernels(page) && make_ops(page) &&
        make_results(page) && make_timings(page))
        return true;
    page_free(page);
    return fail(error, "out of memory");
}

void page_free(struct page *page)
{
    for (size_t i = 0; page->cases && i < page->n_cases; i++)
        free(page->cases[i].family);
    free(page->machines);
    free(page->reports);
    free(page->ops);
    free(page->kernels);
    free(page->cases);
    free(page->results);
    free(page->timings);
    *page = (struct page){0};
}

void page_timings_of(const struct page *page, size_t machine, const struct page_op *op,
                     size_t *first, size_t *end)
{
    *first = 0;
    while (*first < page->n_timings && (page->timings[*first].machine != machine ||
                                        page->timings[*first].item < op->first_case))
        ++*first;
    *end = *first;
    while (*end < page->n_timings && page->timings[*end].machine == machine &&
           page->timings[*end].item < op->first_case + op->n_cases)
        ++*end;
}
