/* SPDX-License-Identifier: MIT */
/* The JSON Schema (draft-07) of case files, made from the op descriptors. */
#ifndef ASSAY_HARNESS_SCHEMA_H
#define ASSAY_HARNESS_SCHEMA_H

#include <jansson.h>

/* How cases/schema.json is written: json_dumpf(schema, out, SCHEMA_DUMP_FLAGS) and a newline. */
#define SCHEMA_DUMP_FLAGS (JSON_INDENT(2) | JSON_PRESERVE_ORDER)

/* NULL: out of memory. What it cannot say: rules between dimensions, equal lengths in `zip`, names
 * and cases used once, limits on the number of cases and bytes. */
json_t *schema_make(void);

#endif
