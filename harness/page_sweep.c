/* SPDX-License-Identifier: MIT */
/*
 * Cases that differ only in their number of tokens: speed over tokens, where cliffs show. In GFLOP/s
 * or, of what has no flop, tokens per second; with cold weights where those were timed, as a
 * model's never sit in a cache.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/page_plots.h"
#include "harness/page_words.h"

enum { MIN_TOKENS = 3, MAX_SWEEPS = 6 };

struct sweep {
    const struct page *page;
    size_t machine, op;
    const char *family;
    int64_t threads;
    size_t *indices; /* of page->timings, by tokens */
    size_t count;
};

static const struct page_case *case_of(const struct page *page, size_t index)
{
    return &page->cases[page->timings[index].item];
}

/* By family, threads, tokens. */
static int by_family(const void *left, const void *right, void *context)
{
    const struct page *page = context;
    size_t i = *(const size_t *)left, j = *(const size_t *)right;
    const struct page_case *a = case_of(page, i), *b = case_of(page, j);
    int order = strverscmp(a->family, b->family);
    if (order != 0)
        return order;
    int64_t threads_a = page->timings[i].timing->threads;
    int64_t threads_b = page->timings[j].timing->threads;
    if (threads_a != threads_b)
        return threads_a < threads_b ? -1 : 1;
    if (a->tokens != b->tokens)
        return a->tokens < b->tokens ? -1 : 1;
    return i < j ? -1 : i > j;
}

static bool same_sweep(const struct page *page, size_t i, size_t j)
{
    return page->timings[i].timing->threads == page->timings[j].timing->threads &&
           strcmp(case_of(page, i)->family, case_of(page, j)->family) == 0;
}

static size_t count_tokens(const struct page *page, const size_t *indices, size_t count)
{
    size_t tokens = 0;
    for (size_t i = 0; i < count; i++)
        tokens +=
            i == 0 || case_of(page, indices[i - 1])->tokens != case_of(page, indices[i])->tokens;
    return tokens;
}

static bool is_cold(const struct page_timing *t)
{
    return strcmp(t->timing->mode, "cold") == 0;
}

/* Whether a kernel is shown by its cold times. */
static bool has_cold(const struct sweep *s, size_t kernel)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct page_timing *t = &s->page->timings[s->indices[i]];
        if (t->kernel == kernel && is_cold(t))
            return true;
    }
    return false;
}

/* Whether other kernels than a reference, which would be the first, are there. */
static bool has_others(const struct sweep *s)
{
    size_t first = s->page->ops[s->op].first_kernel;
    bool others = false;
    for (size_t i = 0; i < s->count; i++)
        others = others || s->page->timings[s->indices[i]].kernel != first;
    return others && s->page->kernels[first].reference;
}

static bool has_flop(const struct sweep *s)
{
    bool flop = true;
    for (size_t i = 0; i < s->count; i++)
        flop = flop && s->page->timings[s->indices[i]].timing->flop > 0;
    return flop;
}

static void draw_kernel(struct plot *plot, const struct sweep *s, size_t kernel, double *low,
                        double *high)
{
    const struct page_kernel *k = &s->page->kernels[kernel];
    bool cold = has_cold(s, kernel), flop = has_flop(s);
    size_t data = SIZE_MAX;
    for (size_t i = 0; i < s->count; i++) {
        const struct page_timing *t = &s->page->timings[s->indices[i]];
        if (t->kernel != kernel || is_cold(t) != cold)
            continue;
        if (data == SIZE_MAX)
            data = plot_data(plot);
        double tokens = (double)case_of(s->page, s->indices[i])->tokens;
        double work = flop ? t->timing->flop : 1e9 * tokens;
        plot_datum(plot, tokens, work / t->timing->median_ns, work / t->timing->interval.high,
                   work / t->timing->interval.low, page_tip(plot, s->page, t));
        *low = fmin(*low, work / t->timing->interval.high);
        *high = fmax(*high, work / t->timing->interval.low);
    }
    if (data == SIZE_MAX)
        return;
    plot_data_end(plot);
    struct plot_mark mark = {k->colour, k->shape, cold, false, k->name};
    plot_line(plot, data, &mark);
}

/* Ticks at the tokens that there are, as long as their labels fit. */
static void set_tokens(struct plot *plot, const struct sweep *s)
{
    int64_t first = case_of(s->page, s->indices[0])->tokens;
    int64_t last = case_of(s->page, s->indices[s->count - 1])->tokens;
    double room = log((double)last / (double)first) / 11, before = 0;
    fprintf(plot->script, "set logscale x\nset xrange [%.6g:%.6g]\nset xtics (",
            (double)first / exp(room / 2), (double)last * exp(room / 2));
    for (size_t i = 0; i < s->count; i++) {
        double tokens = (double)case_of(s->page, s->indices[i])->tokens;
        if (before > 0 && log(tokens / before) < room)
            continue;
        fprintf(plot->script, "%s'%.0f' %.0f", before > 0 ? ", " : "", tokens, tokens);
        before = tokens;
    }
    fprintf(plot->script, ")\nset xlabel 'tokens'\n");
}

static bool draw(struct page_plots *plots, const struct sweep *s, size_t number)
{
    char detail[24], subject[256];
    snprintf(detail, sizeof(detail), "%zu", number);
    struct plot *plot = page_plots_add(plots, PLACE_SWEEP, s->machine, s->op, detail);
    if (!plot)
        return false;
    const char *unit = has_flop(s) ? "GFLOP/s" : "tokens per second";
    plot->width = PLOT_WIDTH;
    plot->height = PLOT_HEIGHT;
    snprintf(subject, sizeof(subject), "%.80s %.160s", s->page->ops[s->op].name, s->family);
    plot_title(plot, "Speed over tokens", subject);
    plot_alt(plot,
             "Speed of %s over the number of tokens, in %s, for %s. The table of timings has the "
             "same figures.",
             s->page->ops[s->op].name, unit, s->family);
    page_plots_note(plots, "%s, %lld thread%s.", s->family, (long long)s->threads,
                    s->threads == 1 ? "" : "s");
    double low = INFINITY, high = 0;
    set_tokens(plot, s);
    const struct page_op *op = &s->page->ops[s->op];
    size_t first = has_others(s) ? 1 : 0; /* the reference, far below, would press them flat */
    for (size_t k = first; k < op->n_kernels; k++)
        draw_kernel(plot, s, op->first_kernel + k, &low, &high);
    plot_log_axis(plot, 'y', low, high);
    fprintf(plot->script, "set ylabel '%s'\n", unit);
    return true;
}

/* The op's newest timings that have tokens, in order. */
static size_t collect(const struct page *page, size_t first, size_t end, size_t *indices)
{
    size_t count = 0;
    for (size_t i = first; i < end; i++) {
        if (page->timings[i].newest && case_of(page, i)->family)
            indices[count++] = i;
    }
    qsort_r(indices, count, sizeof(*indices), by_family, (void *)page);
    return count;
}

bool page_plot_sweeps(struct page_plots *plots, size_t machine, size_t op)
{
    const struct page *page = plots->page;
    size_t first, end, drawn = 0, all = 0;
    page_timings_of(page, machine, &page->ops[op], &first, &end);
    size_t *indices = calloc(end - first + 1, sizeof(*indices));
    if (!indices)
        return false;
    bool ok = true;
    size_t count = collect(page, first, end, indices);
    for (size_t start = 0, next; ok && start < count; start = next) {
        for (next = start + 1; next < count && same_sweep(page, indices[start], indices[next]);)
            next++;
        if (count_tokens(page, indices + start, next - start) < MIN_TOKENS || ++all > MAX_SWEEPS)
            continue;
        struct sweep s = {page,
                          machine,
                          op,
                          case_of(page, indices[start])->family,
                          page->timings[indices[start]].timing->threads,
                          indices + start,
                          next - start};
        ok = draw(plots, &s, ++drawn);
    }
    if (ok && all > drawn)
        page_plots_note(plots, "%zu more such sweeps are in the table.", all - drawn);
    free(indices);
    return ok;
}
