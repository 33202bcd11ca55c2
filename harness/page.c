/* SPDX-License-Identifier: MIT */
#include "harness/page.h"

#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/output.h"
#include "harness/page_write.h"

enum { EXIT_PASSED = 0, EXIT_USAGE = 2 };
enum { KEY_PNG = 256, KEY_SVG, KEY_PLOT };

static const char doc[] =
    "Makes one page of reports that check and bench wrote: a roofline, speeds, sweeps over tokens, "
    "accuracy, the trend over reports, and tables to sort and filter. The page needs no other file "
    "and no network.\n"
    "\v"
    "FILE is a report, or a directory of them. The page shows the newest figures of each case and "
    "kernel, machine by machine. With --png or --svg and no -o, only that plot is drawn. gnuplot "
    "draws the plots. Exit status: 0, or 2: wrong usage or bad input.";

static const struct argp_option described[] = {
    {"output", 'o', "PAGE.html", 0, "write the page there (report.html)", 0},
    {"png", KEY_PNG, "FILE", 0, "draw one plot as PNG", 0},
    {"svg", KEY_SVG, "FILE", 0, "draw one plot as SVG", 0},
    {"plot", KEY_PLOT, "NAME", 0, "which plot (the first); \"list\" prints the names", 0},
    {0},
};

struct report_options {
    const char *page, *png, *svg, *plot; /* NULL: not given */
    const char **files;
    size_t n_files;
};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct report_options *options = state->input;
    switch (key) {
    case 'o': options->page = text; return 0;
    case KEY_PNG: options->png = text; return 0;
    case KEY_SVG: options->svg = text; return 0;
    case KEY_PLOT: options->plot = text; return 0;
    case ARGP_KEY_ARG: options->files[options->n_files++] = text; return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* Whether a file may be replaced: it is not there, empty, or starts as what will be written. */
static bool is_replaceable(const char *path, const char *start, struct error *error)
{
    char text[32] = {0};
    struct stat status;
    if (!path[0])
        return fail(error, "the output's path is empty");
    if (stat(path, &status) != 0)
        return true;
    if (!S_ISREG(status.st_mode))
        return fail(error, "%s: is not a regular file", path);
    FILE *file = fopen(path, "r");
    size_t count = file ? fread(text, 1, sizeof(text) - 1, file) : 0;
    if (file)
        fclose(file);
    if (!file || (count > 0 && strncmp(text, start, strlen(start)) != 0))
        return fail(error, "%s: exists and is not what would be written there", path);
    return true;
}

static bool write_all(int fd, const char *text, size_t length)
{
    while (length > 0) {
        ssize_t written = write(fd, text, length);
        if (written < 0 && errno != EINTR)
            return false;
        text += written > 0 ? written : 0;
        length -= written > 0 ? (size_t)written : 0;
    }
    return true;
}

static bool write_file(const char *path, const char *start, const struct drawing *drawing,
                       struct error *error)
{
    struct output output;
    return is_replaceable(path, start, error) && output_open(&output, path, error) &&
           output_close(&output, write_all(output.fd, drawing->text, drawing->length), error);
}

static bool draw_one(const struct page_plots *plots, const char *name, const char *path,
                     enum plot_format format, struct error *error)
{
    struct plot *found = NULL;
    for (size_t i = 0; !found && i < plots->count; i++) {
        struct plot *plot = plots->items[i].plot;
        if (!plot->narrow && (!name || strcmp(plot->name, name) == 0))
            found = plot;
    }
    if (!found && plots->count == 0)
        return fail(error, "the reports have nothing to plot");
    if (!found)
        return fail(error, "--plot: there is no plot \"%s\"; --plot list prints the names", name);
    struct drawing drawing = {0};
    bool drawn = plots_draw(&found, 1, format, &drawing, error) &&
                 write_file(path, format == PLOT_PNG ? "\x89PNG" : "<?xml", &drawing, error);
    free(drawing.text);
    if (drawn)
        printf("%s: %s\n", found->name, path);
    return drawn;
}

/* A number that no text in a report can know. */
static bool make_nonce(char nonce[33], struct error *error)
{
    unsigned char bytes[16];
    if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
        return fail(error, "no random numbers: %s", strerror(errno));
    for (size_t i = 0; i < sizeof(bytes); i++)
        sprintf(nonce + 2 * i, "%02x", bytes[i]);
    return true;
}

static bool make_page(const struct page *page, const struct page_plots *plots, const char *path,
                      struct error *error)
{
    struct page_parts parts = {.page = page, .plots = plots};
    struct drawing *drawings = calloc(plots->count + 1, sizeof(*drawings)), whole = {0};
    bool made = drawings || fail(error, "out of memory");
    if (made && plots->count > 0)
        plots->items[0].plot->symbols = true;
    made = made && make_nonce(parts.nonce, error) &&
           plots_draw(plots->plots.items, plots->count, PLOT_INLINE, drawings, error);
    parts.drawings = drawings;
    FILE *out = made ? open_memstream(&whole.text, &whole.length) : NULL;
    if (out) {
        made = page_write(out, &parts);
        made = fclose(out) == 0 && made;
    }
    if (!out || !made)
        made = error->text[0] ? false : fail(error, "out of memory");
    made = made && write_file(path, "<!doctype html>", &whole, error);
    for (size_t i = 0; drawings && i < plots->count; i++)
        free(drawings[i].text);
    free(drawings);
    free(whole.text);
    return made;
}

static bool make_all(const struct report_options *options, const struct page *page,
                     struct error *error)
{
    struct page_plots plots;
    bool made = page_plots_make(page, &plots, error);
    const char *path = options->page ? options->page : "report.html";
    if (made && options->plot && strcmp(options->plot, "list") == 0) {
        for (size_t i = 0; i < plots.count; i++) {
            if (!plots.items[i].plot->narrow)
                printf("%s\n", plots.items[i].plot->name);
        }
    } else if (made) {
        if (options->png)
            made = draw_one(&plots, options->plot, options->png, PLOT_PNG, error);
        if (made && options->svg)
            made = draw_one(&plots, options->plot, options->svg, PLOT_SVG, error);
        if (made && (options->page || (!options->png && !options->svg))) {
            made = make_page(page, &plots, path, error);
            if (made)
                printf("page: %s\n", path);
        }
    }
    page_plots_free(&plots);
    return made;
}

static bool read_reports(const struct report_options *options, struct reports *reports,
                         struct error *error)
{
    for (size_t i = 0; i < options->n_files; i++) {
        if (!reports_add(reports, options->files[i], error))
            return false;
    }
    return true;
}

int report_command(int argc, char **argv, struct error *error)
{
    struct report_options options = {.files = calloc((size_t)argc + 1, sizeof(char *))};
    static char name[] = "assay report"; /* for --help */
    const struct argp argp = {
        .options = described, .parser = parse, .args_doc = "FILE...", .doc = doc};
    struct reports reports = {0};
    struct page page = {0};
    bool made = options.files || fail(error, "out of memory");
    argp_err_exit_status = EXIT_USAGE;
    argv[0] = name;
    error_t code = made ? argp_parse(&argp, argc, argv, 0, NULL, &options) : 0;
    if (code != 0)
        made = fail(error, "%s", strerror(code));
    else if (made && options.n_files == 0)
        made = fail(error, "report: name the reports, or a directory of them");
    else if (made && options.plot && !options.png && !options.svg &&
             strcmp(options.plot, "list") != 0)
        made = fail(error, "--plot is for --png and --svg");
    made = made && read_reports(&options, &reports, error) && page_make(&reports, &page, error) &&
           make_all(&options, &page, error);
    page_free(&page);
    reports_free(&reports);
    free(options.files);
    return made ? EXIT_PASSED : EXIT_USAGE;
}
