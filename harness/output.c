/* SPDX-License-Identifier: MIT */
#include "harness/output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool output_open(struct output *output, const char *path, struct error *error)
{
    *output = (struct output){.path = path, .fd = -1};
    if (asprintf(&output->beside, "%s.XXXXXX", path) < 0)
        return fail(error, "out of memory");
    output->fd = mkstemp(output->beside);
    if (output->fd >= 0)
        return true;
    fail(error, "%s: cannot write: %s", path, strerror(errno));
    free(output->beside);
    return false;
}

bool output_close(struct output *output, bool written, struct error *error)
{
    mode_t mask = umask(0);
    umask(mask);
    written = written && fchmod(output->fd, 0666 & ~mask) == 0 && fsync(output->fd) == 0;
    int why = errno;
    if (close(output->fd) != 0 && written) {
        why = errno;
        written = false;
    }
    if (written && rename(output->beside, output->path) != 0) {
        why = errno;
        written = false;
    }
    if (!written) {
        fail(error, "%s: cannot write: %s", output->path, strerror(why));
        unlink(output->beside);
    }
    free(output->beside);
    return written;
}

void output_drop(struct output *output)
{
    close(output->fd);
    unlink(output->beside);
    free(output->beside);
}

/* Whether a file may be replaced. */
static bool has_mark(const char *path, const char *mark)
{
    char start[64] = {0};
    FILE *file = fopen(path, "r");
    if (!file)
        return false;
    size_t count = fread(start, 1, sizeof(start) - 1, file);
    fclose(file);
    return count == 0 || strstr(start, mark) != NULL;
}

static bool write_all(int fd, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fd, text, size);
        if (written < 0 && errno != EINTR)
            return false;
        text += written > 0 ? written : 0;
        size -= written > 0 ? (size_t)written : 0;
    }
    return true;
}

/* Opens what may be replaced. */
static bool open_marked(struct output *output, const char *path, const char *mark,
                        struct error *error)
{
    struct stat status;
    if (!path[0])
        return fail(error, "the path of an output is empty");
    bool there = stat(path, &status) == 0;
    if (there && !S_ISREG(status.st_mode))
        return fail(error, "%s: is not a regular file", path);
    if (there && !has_mark(path, mark))
        return fail(error, "%s: exists and is something else", path);
    return output_open(output, path, error);
}

bool output_replaceable(const char *path, const char *mark, struct error *error)
{
    struct output output;
    if (strcmp(path, "-") == 0)
        return true;
    if (!open_marked(&output, path, mark, error))
        return false;
    output_drop(&output);
    return true;
}

bool output_replace(const char *path, const char *mark, const char *text, struct error *error)
{
    struct output output;
    size_t size = strlen(text);
    const char *end = size > 0 && text[size - 1] == '\n' ? "" : "\n";
    if (strcmp(path, "-") == 0)
        return printf("%s%s", text, end) >= 0 || fail(error, "cannot write to standard output");
    return open_marked(&output, path, mark, error) &&
           output_close(&output,
                        write_all(output.fd, text, size) && write_all(output.fd, end, strlen(end)),
                        error);
}
