/* SPDX-License-Identifier: MIT */
/* The loops that opt/probes.h describes. */
#ifndef ASSAY_OPT_AVX2_PROBE_H
#define ASSAY_OPT_AVX2_PROBE_H

#include <stddef.h>
#include <stdint.h>

double avx2_probe_f32(double cycles);
double avx2_probe_int8(double cycles);
void avx2_probe_read(const void *from, size_t bytes, int64_t passes);
void avx2_probe_store(void *to, size_t bytes, int64_t passes);
void avx2_probe_nt_store(void *to, size_t bytes, int64_t passes);
void avx2_probe_copy(void *to, const void *from, size_t bytes, int64_t passes);

#endif
