/* SPDX-License-Identifier: MIT */
/* An architecture without tiers of its own: the references alone run here. */
#include "opt/cpu.h"

const struct cpu_feature cpu_features[] = {{"none", 0}};
const size_t cpu_n_features = 0;
const struct cpu_tier cpu_tiers[] = {{"ref", 0}};
const size_t cpu_n_tiers = 1;

uint32_t cpu_detect(void)
{
    return 0;
}
