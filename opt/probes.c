/* SPDX-License-Identifier: MIT */
#include "opt/probes.h"

#include "opt/probes_portable.h"

#if ASSAY_TIER_AVX2
#include "opt/avx2/probe.h"
#endif
#if ASSAY_TIER_AVX512VNNI
#include "opt/avx512vnni/probe.h"
#endif

#if ASSAY_TIER_AVX2
static const struct probes probes_avx2 = {
    .tier = "avx2",
    .f32 = avx2_probe_f32,
    .int8 = avx2_probe_int8,
    .read = avx2_probe_read,
    .store = avx2_probe_store,
    .nt_store = avx2_probe_nt_store,
    .copy = avx2_probe_copy,
};
#endif

#if ASSAY_TIER_AVX512VNNI
static const struct probes probes_avx512vnni = {
    .tier = "avx512vnni",
    .f32 = avx512vnni_probe_f32,
    .int8 = avx512vnni_probe_int8,
    .read = avx512vnni_probe_read,
    .store = avx512vnni_probe_store,
    .nt_store = avx512vnni_probe_nt_store,
    .copy = avx512vnni_probe_copy,
};
#endif

const struct probes *const probes[] = {
    &probes_portable,
#if ASSAY_TIER_AVX2
    &probes_avx2,
#endif
#if ASSAY_TIER_AVX512VNNI
    &probes_avx512vnni,
#endif
};
const size_t n_probes = sizeof(probes) / sizeof(*probes);
