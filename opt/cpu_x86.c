/* SPDX-License-Identifier: MIT */
#include "opt/cpu.h"

#include <cpuid.h>

enum {
    AVX2 = 1 << 0,
    FMA = 1 << 1,
    F16C = 1 << 2,
    BMI2 = 1 << 3,
    AVX512F = 1 << 4,
    AVX512DQ = 1 << 5,
    AVX512CD = 1 << 6,
    AVX512BW = 1 << 7,
    AVX512VL = 1 << 8,
    AVX512VNNI = 1 << 9,
};

const struct cpu_feature cpu_features[] = {
    {"avx2", AVX2},         {"fma", FMA},
    {"f16c", F16C},         {"bmi2", BMI2},
    {"avx512f", AVX512F},   {"avx512dq", AVX512DQ},
    {"avx512cd", AVX512CD}, {"avx512bw", AVX512BW},
    {"avx512vl", AVX512VL}, {"avx512vnni", AVX512VNNI},
};
const size_t cpu_n_features = sizeof(cpu_features) / sizeof(*cpu_features);

#define NEEDS_AVX2 (AVX2 | FMA | F16C | BMI2)

const struct cpu_tier cpu_tiers[] = {
    {"ref", 0},
    {"avx2", NEEDS_AVX2},
    {"avx512vnni", NEEDS_AVX2 | AVX512F | AVX512DQ | AVX512CD | AVX512BW | AVX512VL | AVX512VNNI},
};
const size_t cpu_n_tiers = sizeof(cpu_tiers) / sizeof(*cpu_tiers);

/* Where CPUID reports each feature, and the XCR0 bits that its registers need. */
static const struct {
    uint32_t feature, leaf;
    enum { EBX, ECX } reg;
    int bit;
    uint32_t xcr0;
} sources[] = {
    {FMA, 1, ECX, 12, 0x06},        {F16C, 1, ECX, 29, 0x06},     {AVX2, 7, EBX, 5, 0x06},
    {BMI2, 7, EBX, 8, 0x00},        {AVX512F, 7, EBX, 16, 0xe6},  {AVX512DQ, 7, EBX, 17, 0xe6},
    {AVX512CD, 7, EBX, 28, 0xe6},   {AVX512BW, 7, EBX, 30, 0xe6}, {AVX512VL, 7, EBX, 31, 0xe6},
    {AVX512VNNI, 7, ECX, 11, 0xe6},
};

static uint32_t read_xcr0(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

uint32_t cpu_detect(void)
{
    uint32_t eax, ebx1, ecx1, edx, ebx7 = 0, ecx7 = 0;
    if (!__get_cpuid(1, &eax, &ebx1, &ecx1, &edx))
        return 0;
    __get_cpuid_count(7, 0, &eax, &ebx7, &ecx7, &edx);
    uint32_t xcr0 = ecx1 & bit_OSXSAVE ? read_xcr0() : 0;
    uint32_t features = 0;
    for (size_t i = 0; i < sizeof(sources) / sizeof(*sources); i++) {
        uint32_t word = sources[i].leaf == 1 ? ecx1 : sources[i].reg == EBX ? ebx7 : ecx7;
        if ((word >> sources[i].bit & 1) && (xcr0 & sources[i].xcr0) == sources[i].xcr0)
            features |= sources[i].feature;
    }
    return features;
}
