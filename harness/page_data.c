/* SPDX-License-Identifier: MIT */
/* The rows of the page's tables; harness/page.js knows their places. */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "harness/page_write.h"

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *cases_json(const struct page *page)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < page->n_cases; i++)
        json_array_append_new(rows, json_pack("[s, s]", page->cases[i].op, page->cases[i].words));
    return rows;
}

static json_t *kernels_json(const struct page *page)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < page->n_kernels; i++) {
        const struct page_kernel *k = &page->kernels[i];
        json_array_append_new(rows,
                              json_pack("[s, s, s, s]", k->name, k->library, k->tier, k->numerics));
    }
    return rows;
}

static json_t *reports_json(const struct page *page)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < page->n_reports; i++) {
        const struct report_context *c = &page->reports[i].report->context;
        json_array_append_new(rows, json_pack("[s, s]", c->time, c->commit));
    }
    return rows;
}

static json_t *results_json(const struct page *page)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < page->n_results; i++) {
        const struct page_result *r = &page->results[i];
        json_array_append_new(
            rows,
            json_pack("[I, I, I, b, s, o, o, o, o, s?]", (json_int_t)r->item, (json_int_t)r->kernel,
                      (json_int_t)r->report, (int)r->newest, verdict_names[r->result->verdict],
                      number(r->result->utilisation), number(r->result->utilisation_p99),
                      number(r->result->nmse), number(r->result->max_ulp), r->result->reason));
    }
    return rows;
}

/* The place of a ceiling's name among those that were met. */
static json_int_t bound_index(json_t *bounds, json_t *seen, const char *name)
{
    if (!name)
        return -1;
    json_t *index = json_object_get(seen, name);
    if (index)
        return json_integer_value(index);
    json_array_append_new(bounds, json_string(name));
    json_object_set_new(seen, name, json_integer((json_int_t)json_array_size(bounds) - 1));
    return (json_int_t)json_array_size(bounds) - 1;
}

static const char *notes_of(const struct report_timing *t)
{
    bool over = t->ceiling.fraction > PAGE_OVER_CEILING;
    return over && t->noisy ? "noisy, over its ceiling"
           : over           ? "over its ceiling"
           : t->noisy       ? "noisy"
                            : "";
}

static json_t *timings_json(const struct page *page, json_t *bounds, json_t *seen)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < page->n_timings; i++) {
        const struct page_timing *t = &page->timings[i];
        const struct report_timing *timing = t->timing;
        double bytes = timing->read_bytes + timing->written_bytes;
        json_array_append_new(
            rows,
            json_pack("[I, I, I, b, s, I, o, o, o, o, o, o, o, I, I, I, s]", (json_int_t)t->item,
                      (json_int_t)t->kernel, (json_int_t)t->report, (int)t->newest, timing->mode,
                      (json_int_t)timing->threads, number(timing->median_ns),
                      number(timing->interval.low), number(timing->interval.high),
                      number(timing->flop > 0 ? timing->flop / timing->median_ns : NAN),
                      number(bytes / timing->median_ns), number(t->ratio),
                      number(timing->ceiling.fraction),
                      bound_index(bounds, seen, timing->ceiling.name), (json_int_t)timing->samples,
                      (json_int_t)timing->discarded, notes_of(timing)));
    }
    return rows;
}

/* "<" stands only in strings, and what it could begin would end the script element. */
static int put_escaped(const char *buffer, size_t size, void *data)
{
    FILE *out = data;
    for (size_t i = 0; i < size; i++) {
        if (buffer[i] == '<')
            fputs("\\u003c", out);
        else
            fputc(buffer[i], out);
    }
    return ferror(out) ? -1 : 0;
}

bool page_write_data(FILE *out, const struct page *page)
{
    json_t *bounds = json_array(), *seen = json_object();
    json_t *timings = timings_json(page, bounds, seen);
    json_t *json = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "cases", cases_json(page), "kernels",
                             kernels_json(page), "reports", reports_json(page), "bounds", bounds,
                             "results", results_json(page), "timings", timings);
    json_decref(seen);
    bool written = json && json_dump_callback(json, put_escaped, out,
                                              JSON_COMPACT | JSON_REAL_PRECISION(4)) == 0;
    json_decref(json);
    return written;
}
