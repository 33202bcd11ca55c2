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
