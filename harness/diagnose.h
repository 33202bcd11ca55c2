/* SPDX-License-Identifier: MIT */
/* Says where the wrong elements of a judged kernel cluster. */
#ifndef ASSAY_HARNESS_DIAGNOSE_H
#define ASSAY_HARNESS_DIAGNOSE_H

#include "harness/attempt.h"

/* `wrong`: of the ASSAY_OUT_REAL tensor, [rows][n_columns]; `bits`: what the ASSAY_OUT_BITS tensors
 * were compared with. Sets judgement->explanation. */
bool diagnose(const struct job *job, void *const *bits, const bool *wrong,
              struct judgement *judgement, struct error *error);

#endif
