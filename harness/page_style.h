/* SPDX-License-Identifier: MIT */
/* How kernels look in all plots of a page. */
#ifndef ASSAY_HARNESS_PAGE_STYLE_H
#define ASSAY_HARNESS_PAGE_STYLE_H

#include "harness/page_model.h"

/* Gives kernels, which are in order, colour and shape: the colour of their tier or, of other
 * libraries, of their library, so that a family shows; and the shape of what else is in the name, so
 * that one arithmetic looks alike in all tiers. False: out of memory. */
bool page_style(struct page_kernel *kernels, size_t count);

#endif
