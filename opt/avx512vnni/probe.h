/* SPDX-License-Identifier: MIT */
/* The loops that opt/probes.h describes. */
#ifndef ASSAY_OPT_AVX512VNNI_PROBE_H
#define ASSAY_OPT_AVX512VNNI_PROBE_H

#include <stddef.h>
#include <stdint.h>

double avx512vnni_probe_f32(double cycles);
double avx512vnni_probe_int8(double cycles);
void avx512vnni_probe_read(const void *from, size_t bytes, int64_t passes);
void avx512vnni_probe_store(void *to, size_t bytes, int64_t passes);
void avx512vnni_probe_nt_store(void *to, size_t bytes, int64_t passes);
void avx512vnni_probe_copy(void *to, const void *from, size_t bytes, int64_t passes);

#endif
