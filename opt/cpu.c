/* SPDX-License-Identifier: MIT */
#include "opt/cpu.h"

#include <string.h>

const char *cpu_tier_lacks(const char *tier, uint32_t features)
{
    for (size_t t = 0; t < cpu_n_tiers; t++) {
        if (strcmp(cpu_tiers[t].name, tier) != 0)
            continue;
        for (size_t f = 0; f < cpu_n_features; f++) {
            if (cpu_tiers[t].needs & ~features & cpu_features[f].bit)
                return cpu_features[f].name;
        }
    }
    return NULL;
}
