/* SPDX-License-Identifier: MIT */
/* A machine's part of the page: its plots, op by op. */
#include <string.h>

#include "harness/html.h"
#include "harness/page_write.h"

static void write_figure(FILE *out, const struct page_parts *parts, size_t index)
{
    const struct page_plot *p = &parts->plots->items[index];
    const struct drawing *drawing = &parts->drawings[index];
    bool narrow = p->plot->narrow;
    bool wide = index + 1 < parts->plots->count && parts->plots->items[index + 1].plot->narrow;
    fprintf(out, "<figure%s><figcaption><strong>",
            narrow ? " class=\"narrow\""
            : wide ? " class=\"wide\""
                   : "");
    html_text(out, p->plot->heading);
    fputs("</strong>", out);
    if (p->note)
        html_text(out, p->note);
    fputs("</figcaption>\n", out);
    fwrite(drawing->text, 1, drawing->length, out);
    fputs("</figure>\n", out);
}

static void write_key(FILE *out, const struct page_kernel *kernel)
{
    fprintf(out,
            "<li><svg viewBox=\"-1.4 -1.4 2.8 2.8\" aria-hidden=\"true\"><use href=\"#gpPt%d\" "
            "color=\"var(--%s)\"/></svg>",
            plot_point(kernel->shape, true) - 1, plot_colour_name(plot_rgb(kernel->colour)));
    html_text(out, kernel->name);
    fputs("</li>", out);
}

/* Whether a kernel is in the results of a machine. */
static bool has_kernel(const struct page *page, size_t machine, size_t kernel)
{
    for (size_t i = 0; i < page->n_results; i++) {
        if (page->results[i].machine == machine && page->results[i].kernel == kernel)
            return true;
    }
    return false;
}

/* Kernels from `first` on; of one name, which looks alike in all ops, only one. */
static void write_legend(FILE *out, const struct page *page, size_t machine, size_t first,
                         size_t count)
{
    fputs("<ul class=\"legend\" aria-label=\"Kernels\">", out);
    for (size_t k = first; k < first + count; k++) {
        size_t before = first;
        while (before < k && strcmp(page->kernels[before].name, page->kernels[k].name) != 0)
            before++;
        if (before == k && has_kernel(page, machine, k))
            write_key(out, &page->kernels[k]);
    }
    fputs("</ul>\n", out);
}

/* The plots from `first` on that belong together; returns where the next begin. */
static size_t write_op(FILE *out, const struct page_parts *parts, size_t first)
{
    const struct page_plot *p = &parts->plots->items[first];
    const struct page_op *op = &parts->page->ops[p->op];
    fprintf(out, "<section class=\"op\" id=\"op-%zu-%zu\">\n<h3>", p->machine + 1, p->op + 1);
    html_text(out, op->name);
    fputs("</h3>\n", out);
    write_legend(out, parts->page, p->machine, op->first_kernel, op->n_kernels);
    fputs("<div class=\"plots\">\n", out);
    size_t i = first;
    for (; i < parts->plots->count && parts->plots->items[i].op == p->op &&
           parts->plots->items[i].machine == p->machine;
         i++)
        write_figure(out, parts, i);
    fputs("</div>\n</section>\n", out);
    return i;
}

static size_t write_rooflines(FILE *out, const struct page_parts *parts, size_t machine,
                              size_t first)
{
    size_t i = first;
    for (; i < parts->plots->count && parts->plots->items[i].place == PLACE_ROOFLINE &&
           parts->plots->items[i].machine == machine;
         i++)
        ;
    if (i == first)
        return first;
    fprintf(out,
            "<section%s>\n<h2>Roofline</h2>\n<p class=\"note\">Filled marks: cold; outlines: hot. "
            "Lines are measured ceilings: memory falls to the left, arithmetic lies flat (int8 "
            "dashed). Point at a mark for its kernel and case.</p>\n",
            machine == 0 ? " id=\"roofline\"" : "");
    write_legend(out, parts->page, machine, 0, parts->page->n_kernels);
    for (size_t p = first; p < i; p++)
        write_figure(out, parts, p);
    fputs("</section>\n", out);
    return i;
}

void page_write_machines(FILE *out, const struct page_parts *parts)
{
    const struct page *page = parts->page;
    size_t next = 0;
    for (size_t m = 0; m < page->n_machines; m++) {
        if (page->n_machines > 1) {
            fprintf(out, "<h2 id=\"plots%zu\">", m + 1);
            html_text(out, page->machines[m].cpu);
            fputs("</h2>\n", out);
        }
        next = write_rooflines(out, parts, m, next);
        bool any = next < parts->plots->count && parts->plots->items[next].machine == m;
        if (any)
            fputs("<section>\n<h2>Op by op</h2>\n<p class=\"note\">Filled marks: cold; outlines: "
                  "hot. Lines through marks are 95&nbsp;% intervals unless a plot says "
                  "otherwise.</p>\n",
                  out);
        while (next < parts->plots->count && parts->plots->items[next].machine == m)
            next = write_op(out, parts, next);
        if (any)
            fputs("</section>\n", out);
        fprintf(out, "<section id=\"machine%zu\">\n<h2>The machine and its reports</h2>\n", m + 1);
        page_write_facts(out, parts, m);
        fputs("</section>\n", out);
    }
}
