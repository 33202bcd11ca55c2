/* SPDX-License-Identifier: MIT */
/* What is common to keys, said once; and what is each key's own. Words are parted by spaces. */
#ifndef ASSAY_HARNESS_PAGE_WORDS_H
#define ASSAY_HARNESS_PAGE_WORDS_H

#include <stdbool.h>
#include <stddef.h>

/* The words of `common`, which it spoils, that `words` has too. */
void words_meet(char *common, const char *words);

/* The words that are not in `common`, as a new string; NULL: out of memory. */
char *words_without(const char *words, const char *common);

#endif
