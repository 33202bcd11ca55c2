/* SPDX-License-Identifier: MIT */
#ifndef ASSAY_OPT_PROBES_PORTABLE_H
#define ASSAY_OPT_PROBES_PORTABLE_H

#include "opt/probes.h"

extern const struct probes probes_portable;

#endif
