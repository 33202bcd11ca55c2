/* SPDX-License-Identifier: MIT */
/* The top of the page: what was measured on what, in a few sentences. */
#include <math.h>
#include <string.h>

#include "harness/html.h"
#include "harness/page_write.h"

static const char *plural(size_t count)
{
    return count == 1 ? "" : "s";
}

void page_write_title(FILE *out, const struct page_parts *parts)
{
    const struct page *page = parts->page;
    fputs("Kernels on ", out);
    if (page->n_machines == 1)
        html_text(out, page->machines[0].cpu);
    else
        fprintf(out, "%zu machines", page->n_machines);
}

/* The geometric mean of a kernel's speeds against the reference; 0: not known. */
static double mean_speed(const struct page *page, size_t machine, const struct page_op *op,
                         size_t kernel)
{
    size_t first, end, count = 0;
    double sum = 0;
    page_timings_of(page, machine, op, &first, &end);
    for (size_t i = first; i < end; i++) {
        const struct page_timing *t = &page->timings[i];
        if (!t->newest || t->kernel != kernel || !(t->ratio > 0))
            continue;
        sum += log(t->ratio);
        count++;
    }
    return count > 0 ? exp(sum / (double)count) : 0;
}

/* Of every op the fastest kernel; of those the slowest and the fastest. */
static void write_speeds(FILE *out, const struct page *page, size_t machine)
{
    const char *slowest = NULL, *fastest = NULL;
    double low = INFINITY, high = 0;
    for (size_t o = 0; o < page->n_ops; o++) {
        const struct page_op *op = &page->ops[o];
        double best = 0;
        for (size_t k = op->first_kernel; k < op->first_kernel + op->n_kernels; k++) {
            if (!page->kernels[k].reference)
                best = fmax(best, mean_speed(page, machine, op, k));
        }
        if (best > 0 && best < low) {
            low = best;
            slowest = op->name;
        }
        if (best > high) {
            high = best;
            fastest = op->name;
        }
    }
    if (!fastest)
        return;
    fprintf(out, " The fastest kernel of an op is %.3g (<code>", low);
    html_text(out, slowest);
    if (slowest == fastest) {
        fputs("</code>) times as fast as its reference.", out);
        return;
    }
    fprintf(out, "</code>) to %.3g (<code>", high);
    html_text(out, fastest);
    fputs("</code>) times as fast as its reference.", out);
}

/* The kernel that comes closest to what the machine can do, without passing it. */
static void write_closest(FILE *out, const struct page *page, size_t machine)
{
    const struct page_timing *closest = NULL;
    for (size_t i = 0; i < page->n_timings; i++) {
        const struct page_timing *t = &page->timings[i];
        double fraction = t->timing->ceiling.fraction;
        if (t->newest && t->machine == machine && fraction <= PAGE_OVER_CEILING &&
            (!closest || fraction > closest->timing->ceiling.fraction))
            closest = t;
    }
    if (!closest)
        return;
    fprintf(out, " Closest to what the machine can do: <code>");
    html_text(out, page->kernels[closest->kernel].label);
    fprintf(out, "</code> with %.0f&nbsp;%% of ", 100 * closest->timing->ceiling.fraction);
    html_text(out, closest->timing->ceiling.name);
    fputc('.', out);
}

static void write_checks(FILE *out, const struct page *page)
{
    static const char *const words[VERDICTS] = {
        [FAIL] = "failed",
        [CRASHED] = "crashed",
        [TIMEOUT] = "ran out of time",
        [MISTRUSTED] = "could not have failed",
        [SKIPPED] = "were skipped",
    };
    size_t counts[VERDICTS] = {0}, all = 0;
    for (size_t i = 0; i < page->n_results; i++) {
        counts[page->results[i].result->verdict] += page->results[i].newest;
        all += page->results[i].newest;
    }
    fprintf(out, "<strong>%zu of %zu checks passed</strong>", counts[PASS], all);
    for (int verdict = 0; verdict < VERDICTS; verdict++) {
        if (verdict != PASS && counts[verdict] > 0)
            fprintf(out, ", %zu %s", counts[verdict],
                    verdict == SKIPPED && counts[verdict] == 1 ? "was skipped" : words[verdict]);
    }
    fputs(".", out);
}

void page_write_summary(FILE *out, const struct page_parts *parts)
{
    const struct page *page = parts->page;
    size_t timings = 0;
    for (size_t i = 0; i < page->n_timings; i++)
        timings += page->timings[i].newest;
    fprintf(out, "%zu kernel%s of %zu op%s on %zu case%s, from %zu report%s. ", page->n_kernels,
            plural(page->n_kernels), page->n_ops, plural(page->n_ops), page->n_cases,
            plural(page->n_cases), page->n_reports, plural(page->n_reports));
    write_checks(out, page);
    if (timings == 0)
        fputs(" Nothing was timed.", out);
    for (size_t m = 0; m < page->n_machines && page->n_machines == 1; m++) {
        write_speeds(out, page, m);
        write_closest(out, page, m);
    }
}

void page_write_context(FILE *out, const struct page_parts *parts)
{
    const struct page *page = parts->page;
    for (size_t m = 0; m < page->n_machines; m++) {
        const struct page_machine *machine = &page->machines[m];
        const struct report_context *c = &machine->newest->context;
        char memory[FIGURE_SIZE];
        fputs(m > 0 ? "<br>" : "", out);
        html_text(out, machine->cpu);
        fprintf(out, ", %lld hardware threads, %s; ", (long long)machine->cpus,
                figure_bytes(c->memory_bytes, memory));
        html_text(out, c->machine);
        fputs(". Commit <code>", out);
        html_text(out, c->commit);
        fputs("</code>, ", out);
        html_text(out, c->compiler);
        fputs(". ", out);
        if (machine->n_reports > 1) {
            html_text(out, page->reports[machine->first_report].report->context.time);
            fputs(" to ", out);
        }
        html_text(out, c->time);
        fputs(".", out);
    }
}

void page_write_contents(FILE *out, const struct page_parts *parts)
{
    const struct page *page = parts->page;
    fputs("<a href=\"#problems\">What to look at</a>", out);
    for (size_t i = 0; i < parts->plots->count; i++) {
        const struct page_plot *p = &parts->plots->items[i];
        if (page->n_machines > 1 || (i > 0 && parts->plots->items[i - 1].op == p->op))
            continue;
        if (p->op == SIZE_MAX) {
            fputs("<a href=\"#roofline\">Roofline</a>", out);
            continue;
        }
        fprintf(out, "<a href=\"#op-%zu-%zu\">", p->machine + 1, p->op + 1);
        html_text(out, page->ops[p->op].name);
        fputs("</a>", out);
    }
    for (size_t m = 0; m < page->n_machines; m++) {
        fprintf(out, "<a href=\"#machine%zu\">", m + 1);
        if (page->n_machines > 1)
            html_text(out, page->machines[m].cpu);
        else
            fputs("The machine", out);
        fputs("</a>", out);
    }
    fputs("<a href=\"#results\">All checks</a><a href=\"#timings\">All timings</a>", out);
}
