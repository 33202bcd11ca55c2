/* SPDX-License-Identifier: MIT */
/* What a person reads: tables on stdout, progress on stderr. */
#ifndef ASSAY_HARNESS_TERMINAL_H
#define ASSAY_HARNESS_TERMINAL_H

#include "harness/paint.h"
#include "harness/run.h"

/* A line that overwrites itself; nothing unless stderr is a terminal. */
void terminal_progress(size_t done, size_t count, const char *what);
void terminal_progress_end(void);

void terminal_kernels(const struct kernels *kernels);
void terminal_cases(const struct cases *cases);

/* A model's tensors, and which ops can use them or why none can. */
void terminal_gguf(const struct gguf *gguf);
/* A tensor that no case of a layer uses. */
void terminal_skipped(const struct gguf_tensor *tensor, const char *why);

/* Every result that is not PASS or SKIPPED, with the line that replays it; all if `verbose`. */
void terminal_results(const struct run *run, bool verbose);
void terminal_check_table(const struct run *run);
void terminal_bench_tables(const struct run *run);
/* The machine, and how noisy it was. */
void terminal_bench_noise(const struct run *run);
void terminal_summary(const struct run *run);

#endif
