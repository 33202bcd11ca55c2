/* SPDX-License-Identifier: MIT */
/*
 * The kernel libraries of commits: each is checked out as a git worktree in a temporary directory and
 * its target assay_kernels built there, with the compiler that built this program. Children are
 * ended and everything is removed when SIGINT or SIGTERM comes (harness/interrupt.h).
 */
#ifndef ASSAY_HARNESS_REVISION_H
#define ASSAY_HARNESS_REVISION_H

#include <limits.h>
#include <stddef.h>

#include "harness/error.h"

struct revisions {
    char top[PATH_MAX];       /* of the repository's working tree */
    char directory[PATH_MAX]; /* temporary */
    size_t count;
    char sources[2][PATH_MAX]; /* what is not `top` is a worktree of ours */
};

/* Finds the repository that the working directory is in, and makes the temporary directory. After
 * it, and when it fails, revisions_close is due. */
bool revisions_open(struct revisions *revisions, struct error *error);

/* Checks a commit out, or takes the working tree as it is if `name` is NULL; `label` gets "name
 * (0123abcd)" or "working tree". */
bool revisions_add(struct revisions *revisions, const char *name, char label[128],
                   struct error *error);

/* Builds the library of the index-th that was added; `path`, of PATH_MAX bytes, gets the library's. */
bool revisions_build(struct revisions *revisions, size_t index, char *path, const char *label,
                     struct error *error);

/* Removes worktrees and directory. */
void revisions_close(struct revisions *revisions);

#endif
