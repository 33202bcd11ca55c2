/* SPDX-License-Identifier: MIT */
/* What a command line selects. */
#ifndef ASSAY_HARNESS_LOAD_H
#define ASSAY_HARNESS_LOAD_H

#include "harness/case.h"
#include "harness/library.h"
#include "harness/options.h"

/* The cases of files, directories, keys or a model's layer. */
bool load_cases(const struct options *options, struct cases *cases, struct error *error);

/* Of those at hand, the ones that -c, --tag and --shard keep. */
bool select_cases(const struct options *options, struct cases *cases, struct error *error);

/* The project's own kernels and those of --kernels that -k keeps. */
bool load_kernels(const struct options *options, struct kernels *kernels, struct error *error);

#endif
