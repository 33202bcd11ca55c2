/* SPDX-License-Identifier: MIT */
/* What the values of options mean. */
#ifndef ASSAY_HARNESS_OPTIONS_VALUES_H
#define ASSAY_HARNESS_OPTIONS_VALUES_H

#include "harness/options.h"

bool options_integer(const char *name, const char *text, int64_t low, int64_t high, int64_t *value,
                     struct error *error);
bool options_seconds(const char *name, const char *text, double low, double *value,
                     struct error *error);
bool options_memory(const char *text, int64_t *bytes, struct error *error);
bool options_shard(const char *text, struct options *options, struct error *error);
bool options_cpu(const char *text, struct options *options, struct error *error);
bool options_numerics(const char *text, uint32_t *numerics, struct error *error);
bool options_tokens(const char *text, struct model_layer *layer, struct error *error);

#endif
