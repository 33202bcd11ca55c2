/* SPDX-License-Identifier: MIT */
/* Says where the elements cluster at which fault was found. */
#ifndef ASSAY_HARNESS_DIAGNOSE_H
#define ASSAY_HARNESS_DIAGNOSE_H

#include "harness/attempt.h"

/* What was found of an element. */
enum mark { MARK_NONE, MARK_RIGHT, MARK_WRONG };

/* `marks`: of each element of an output tensor; `adjective`: what those marked wrong are. Of large
 * tensors looks at the elements around `centre`. Sets judgement->explanation. */
bool diagnose(const struct job *job, size_t tensor, const uint8_t *marks, int64_t centre,
              const char *adjective, struct judgement *judgement, struct error *error);

/* The same of the tensor that judgement->worst names. `wrong`: of the ASSAY_OUT_REAL tensor,
 * [rows][n_columns]; `bits`: what the ASSAY_OUT_BITS tensors were compared with. */
bool diagnose_values(const struct job *job, void *const *bits, const bool *wrong,
                     struct judgement *judgement, struct error *error);

#endif
