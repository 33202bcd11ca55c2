/* SPDX-License-Identifier: MIT */
/* What a reader should look at: reports that are not whole, failures, doubtful timings, skips. */
#include <stdlib.h>
#include <string.h>

#include "harness/html.h"
#include "harness/page_write.h"
#include "harness/text.h"

enum { MAX_REASONS = 20 };

static bool write_reports(FILE *out, const struct page *page)
{
    bool any = false;
    for (size_t i = 0; i < page->n_reports; i++) {
        const struct report *report = page->reports[i].report;
        const char *what = !report->complete ? "was interrupted; it holds what was done by then"
                           : report->has_noise && report->noise.too_noisy
                               ? "was made on a machine too noisy to time anything"
                               : NULL;
        if (!what)
            continue;
        fputs("<p><span class=\"warn\">report</span> <code>", out);
        html_text(out, report->path);
        fprintf(out, "</code> %s.</p>\n", what);
        any = true;
    }
    return any;
}

/* The command that shows a failure of the project's own kernels again. */
static void write_replay(FILE *out, const struct page *page, const struct page_result *result)
{
    char *line = NULL;
    size_t length;
    const struct page_kernel *kernel = &page->kernels[result->kernel];
    FILE *text = strchr(kernel->name, ':') ? NULL : open_memstream(&line, &length);
    if (!text)
        return;
    fputs("assay replay ", text);
    text_quote(text, result->result->item->key);
    fputs(" -k ", text);
    text_quote(text, kernel->label);
    if (fclose(text) == 0) {
        fputs("<span class=\"replay\">", out);
        html_text(out, line);
        fputs("</span>", out);
    }
    free(line);
}

static bool is_failure(const struct page_result *result, size_t kernel, enum verdict verdict)
{
    return result->newest && result->kernel == kernel && result->result->verdict == verdict;
}

/* One row for all failures of a kind of a kernel. */
static bool write_failure(FILE *out, const struct page *page, size_t kernel, enum verdict verdict,
                          bool first)
{
    const struct page_result *example = NULL;
    size_t count = 0;
    for (size_t i = 0; i < page->n_results; i++) {
        if (!is_failure(&page->results[i], kernel, verdict))
            continue;
        if (!example)
            example = &page->results[i];
        count++;
    }
    if (!example)
        return false;
    if (first)
        fputs(
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Failures\"><table>"
            "<thead><tr><th scope=\"col\">verdict</th><th scope=\"col\">kernel</th>"
            "<th scope=\"col\" class=\"n\">cases</th><th scope=\"col\">the first of them</th></tr>"
            "</thead>\n<tbody>\n",
            out);
    fprintf(out, "<tr><td><span class=\"fail\">%s</span></td><th scope=\"row\">",
            verdict_names[verdict]);
    html_text(out, page->kernels[kernel].label);
    fprintf(out, "</th><td class=\"n\">%zu</td><td class=\"why\">", count);
    if (example->result->reason)
        html_text(out, example->result->reason);
    if (example->result->explanation) {
        fputs("; ", out);
        html_text(out, example->result->explanation);
    }
    fputs("<br><span class=\"key\">", out);
    html_text(out, example->result->item->key);
    fputs("</span>", out);
    write_replay(out, page, example);
    fputs("</td></tr>\n", out);
    return true;
}

static bool write_failures(FILE *out, const struct page *page)
{
    bool any = false;
    for (int verdict = 0; verdict < VERDICTS; verdict++) {
        for (size_t k = 0; verdict != PASS && verdict != SKIPPED && k < page->n_kernels; k++)
            any = write_failure(out, page, k, (enum verdict)verdict, !any) || any;
    }
    if (any)
        fputs("</tbody></table></div>\n", out);
    return any;
}

static bool write_timings(FILE *out, const struct page *page)
{
    size_t noisy = 0, over = 0;
    const struct page_timing *example = NULL;
    for (size_t i = 0; i < page->n_timings; i++) {
        const struct page_timing *t = &page->timings[i];
        if (!t->newest)
            continue;
        noisy += t->timing->noisy;
        if (t->timing->ceiling.fraction > PAGE_OVER_CEILING) {
            over++;
            if (!example || t->timing->ceiling.fraction > example->timing->ceiling.fraction)
                example = t;
        }
    }
    if (over > 0) {
        fprintf(out,
                "<p><span class=\"fail\">counting bug</span> %zu timing%s above the ceiling, the "
                "most with %.0f&nbsp;%%: <code>",
                over, over == 1 ? " is" : "s are", 100 * example->timing->ceiling.fraction);
        html_text(out, page->kernels[example->kernel].label);
        fputs("</code> on <span class=\"key\">", out);
        html_text(out, page->cases[example->item].words);
        fputs("</span>. Its flop or bytes, or the ceiling, are not what they are taken for.</p>\n",
              out);
    }
    if (noisy > 0)
        fprintf(out,
                "<p><span class=\"warn\">noise</span> %zu timing%s taken on a machine that was "
                "disturbed most of the time; the table of timings marks them.</p>\n",
                noisy, noisy == 1 ? " was" : "s were");
    return noisy > 0 || over > 0;
}

/* Every reason once, with how many checks it holds for. */
static bool write_skips(FILE *out, const struct page *page)
{
    const char *reasons[MAX_REASONS];
    size_t counts[MAX_REASONS] = {0}, n = 0, others = 0;
    for (size_t i = 0; i < page->n_results; i++) {
        const struct page_result *r = &page->results[i];
        if (!r->newest || r->result->verdict != SKIPPED)
            continue;
        const char *reason = r->result->reason ? r->result->reason : "no reason given";
        size_t found = 0;
        while (found < n && strcmp(reasons[found], reason) != 0)
            found++;
        if (found == MAX_REASONS) {
            others++;
            continue;
        }
        reasons[found] = reason;
        n = found == n ? n + 1 : n;
        counts[found]++;
    }
    for (size_t i = 0; i < n; i++) {
        fprintf(out, "<p><span class=\"skipped\">skipped</span> %zu check%s: ", counts[i],
                counts[i] == 1 ? "" : "s");
        html_text(out, reasons[i]);
        fputs(".</p>\n", out);
    }
    if (others > 0)
        fprintf(out, "<p><span class=\"skipped\">skipped</span> %zu more, for other reasons.</p>\n",
                others);
    return n > 0;
}

void page_write_problems(FILE *out, const struct page_parts *parts)
{
    bool reports = write_reports(out, parts->page), failures = write_failures(out, parts->page);
    bool timings = write_timings(out, parts->page), skips = write_skips(out, parts->page);
    if (!reports && !failures && !timings && !skips)
        fputs(
            "<p><span class=\"pass\">nothing</span> All reports are whole, all checks passed, none "
            "was skipped, and no timing is in doubt.</p>\n",
            out);
}
