/* SPDX-License-Identifier: MIT */
#include "harness/page_write.h"

#include <string.h>

#include "harness/context.h"
#include "harness/html.h"

static void write_generator(FILE *out, const struct page_parts *parts)
{
    (void)parts;
    fprintf(out, "assay %s", build_commit);
}

static void write_nonce(FILE *out, const struct page_parts *parts)
{
    fputs(parts->nonce, out);
}

static void write_style(FILE *out, const struct page_parts *parts)
{
    (void)parts;
    fputs((const char *)page_css, out);
}

static void write_script(FILE *out, const struct page_parts *parts)
{
    (void)parts;
    fputs((const char *)page_js, out);
}

static const struct {
    const char *name;
    void (*write)(FILE *out, const struct page_parts *parts);
} slots[] = {
    {"{{generator}}", write_generator},
    {"{{nonce}}", write_nonce},
    {"{{style}}", write_style},
    {"{{script}}", write_script},
    {"{{title}}", page_write_title},
    {"{{summary}}", page_write_summary},
    {"{{context}}", page_write_context},
    {"{{contents}}", page_write_contents},
    {"{{problems}}", page_write_problems},
    {"{{machines}}", page_write_machines},
};

bool page_write(FILE *out, const struct page_parts *parts)
{
    static const char data[] = "{{data}}";
    const char *text = (const char *)page_html, *brace;
    bool written = true;
    for (; (brace = strstr(text, "{{")); text = strstr(brace, "}}") + 2) {
        fwrite(text, 1, (size_t)(brace - text), out);
        for (size_t i = 0; i < sizeof(slots) / sizeof(*slots); i++) {
            if (strncmp(brace, slots[i].name, strlen(slots[i].name)) == 0)
                slots[i].write(out, parts);
        }
        if (strncmp(brace, data, strlen(data)) == 0)
            written = page_write_data(out, parts->page);
    }
    fputs(text, out);
    return written && !ferror(out);
}
