/* SPDX-License-Identifier: MIT */
/* gnuplot as a child: one process draws all plots into a directory of ours, which is then read. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/plot.h"

/* Of a picture that stands alone, for its title and key. */
enum { MIN_WIDTH = 640 };

#define MAX_FILE_BYTES ((size_t)1 << 30)

extern char **environ;

/* One directory, and the files in it. */
struct workshop {
    char directory[256];
    char path[300];
};

static const char *in_workshop(struct workshop *shop, const char *name, size_t number)
{
    snprintf(shop->path, sizeof(shop->path), "%s/%s%zu", shop->directory, name, number);
    return shop->path;
}

static bool open_workshop(struct workshop *shop, struct error *error)
{
    const char *parent = getenv("TMPDIR");
    int length = snprintf(shop->directory, sizeof(shop->directory), "%s/assay-plots.XXXXXX",
                          parent && parent[0] ? parent : "/tmp");
    if (length >= (int)sizeof(shop->directory))
        return fail(error, "TMPDIR: the path is too long");
    if (mkdtemp(shop->directory))
        return true;
    return fail(error, "%s: cannot make a directory: %s", shop->directory, strerror(errno));
}

static void close_workshop(struct workshop *shop, size_t count)
{
    unlink(in_workshop(shop, "script", 0));
    unlink(in_workshop(shop, "messages", 0));
    for (size_t i = 0; i < count; i++)
        unlink(in_workshop(shop, "plot", i));
    rmdir(shop->directory);
}

/* What all plots have in common. */
static void write_manner(FILE *out, enum plot_format format)
{
    fprintf(out,
            "reset\nset encoding utf8\nset border 3 lc rgb '#%06x'\nset tics nomirror scale 0.5 tc "
            "rgb '#%06x'\nset grid back lt 1 lw 1 lc rgb '#%06x'\n",
            plot_rgb(PLOT_DIM), plot_rgb(PLOT_INK), plot_rgb(PLOT_GRID));
    fprintf(out, "set xlabel tc rgb '#%06x'\nset ylabel tc rgb '#%06x'\n", plot_rgb(PLOT_INK),
            plot_rgb(PLOT_INK));
    if (format == PLOT_INLINE)
        fprintf(out, "unset key\n");
    else
        fprintf(out,
                "set key outside below center horizontal Left reverse title ' ' tc rgb '#%06x'\n",
                plot_rgb(PLOT_INK));
}

static void write_plot(FILE *out, const struct plot *plot, enum plot_format format,
                       const char *path)
{
    int width = plot->width, height = plot->height;
    if (format != PLOT_INLINE) { /* with a title, and a key in two or three columns */
        width = width < MIN_WIDTH ? MIN_WIDTH : width;
        size_t columns = (size_t)width / 300;
        height += 80 + 18 * (int)((plot->keys + columns - 1) / columns);
    }
    if (format == PLOT_PNG)
        fprintf(out,
                "set terminal pngcairo size %d,%d font 'sans-serif,14' fontscale 1.5 linewidth 2 "
                "pointscale 3 noenhanced background '#ffffff'\n",
                2 * width, 2 * height);
    else
        fprintf(out, "set terminal svg size %d,%d font 'sans-serif,14' noenhanced%s\n", width,
                height, format == PLOT_SVG ? " background '#ffffff'" : "");
    fprintf(out, "set output ");
    plot_text(out, path);
    fputc('\n', out);
    write_manner(out, format);
    if (format != PLOT_INLINE) {
        fprintf(out, "set title ");
        plot_text(out, plot->heading);
        fprintf(out, ".\"\\n\".");
        plot_text(out, plot->subject);
        fprintf(out, " font ',12' tc rgb '#%06x'\n", plot_rgb(PLOT_INK));
    }
    fprintf(out, "%s%s\nset output\n", plot->commands, plot->listed);
}

static bool write_script(struct workshop *shop, struct plot *const *plots, size_t count,
                         enum plot_format format, struct error *error)
{
    char script[300];
    snprintf(script, sizeof(script), "%s", in_workshop(shop, "script", 0));
    FILE *out = fopen(script, "w");
    for (size_t i = 0; out && i < count; i++)
        write_plot(out, plots[i], format, in_workshop(shop, "plot", i));
    bool written = out && !ferror(out);
    if (out && fclose(out) != 0)
        written = false;
    return written || fail(error, "%s: cannot write: %s", script, strerror(errno));
}

/* Reads a file; its text ends in a newline and a zero. */
static char *read_all(const char *path)
{
    FILE *file = fopen(path, "r");
    struct stat status;
    char *text = NULL;
    if (file && fstat(fileno(file), &status) == 0 && (size_t)status.st_size < MAX_FILE_BYTES)
        text = malloc((size_t)status.st_size + 2);
    if (text) {
        size_t count = fread(text, 1, (size_t)status.st_size, file);
        memcpy(text + count, "\n", 2);
    }
    if (file)
        fclose(file);
    return text;
}

/* Its complaint's last line that says something, on one line. */
static bool complain(struct workshop *shop, struct error *error)
{
    char *text = read_all(in_workshop(shop, "messages", 0)), *last = NULL;
    for (char *line = text ? strtok(text, "\n") : NULL; line; line = strtok(NULL, "\n")) {
        if (line[strspn(line, " ^")])
            last = line;
    }
    fail(error, "gnuplot failed: %s", last ? last : "without a message");
    free(text);
    return false;
}

static bool run_gnuplot(struct workshop *shop, struct error *error)
{
    char script[300];
    snprintf(script, sizeof(script), "%s", in_workshop(shop, "script", 0));
    char *argv[] = {"gnuplot", "--default-settings", script, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, in_workshop(shop, "messages", 0),
                                     O_WRONLY | O_CREAT | O_TRUNC, 0600);
    pid_t child;
    int why = posix_spawnp(&child, argv[0], &actions, NULL, argv, environ), status = 0;
    posix_spawn_file_actions_destroy(&actions);
    if (why == ENOENT)
        return fail(error, "gnuplot is not installed; it draws the plots: apt install gnuplot-nox");
    if (why != 0)
        return fail(error, "cannot start gnuplot: %s", strerror(why));
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR)
            return fail(error, "cannot wait for gnuplot: %s", strerror(errno));
    }
    return (WIFEXITED(status) && WEXITSTATUS(status) == 0) || complain(shop, error);
}

/* A file of gnuplot's, as bytes. */
static bool collect(const char *path, struct drawing *drawing, struct error *error)
{
    struct stat status;
    drawing->text = stat(path, &status) == 0 && status.st_size > 0 ? read_all(path) : NULL;
    drawing->length = drawing->text ? (size_t)status.st_size : 0;
    return drawing->text || fail(error, "%s: gnuplot drew nothing", path);
}

bool plots_draw(struct plot *const *plots, size_t count, enum plot_format format,
                struct drawing *drawings, struct error *error)
{
    struct workshop shop;
    memset(drawings, 0, count * sizeof(*drawings));
    if (count == 0)
        return true;
    if (!open_workshop(&shop, error))
        return false;
    bool drawn = write_script(&shop, plots, count, format, error) && run_gnuplot(&shop, error);
    for (size_t i = 0; drawn && i < count; i++) {
        drawn = collect(in_workshop(&shop, "plot", i), &drawings[i], error);
        if (!drawn || format == PLOT_PNG)
            continue;
        char *raw = drawings[i].text;
        drawn = plot_svg(plots[i], format, raw, &drawings[i]) || fail(error, "out of memory");
        free(raw);
    }
    close_workshop(&shop, count);
    return drawn;
}
