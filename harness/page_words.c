/* SPDX-License-Identifier: MIT */
#include "harness/page_words.h"

#include <stdlib.h>
#include <string.h>

static bool has(const char *words, const char *word, size_t length)
{
    while (*words) {
        size_t own = strcspn(words, " ");
        if (own == length && strncmp(words, word, length) == 0)
            return true;
        words += own + (words[own] == ' ');
    }
    return false;
}

/* Copies the words of `from` that are in `words`, or those that are not; `to` may be `from`. */
static void filter(char *to, const char *from, const char *words, bool wanted)
{
    char *start = to;
    while (*from) {
        size_t length = strcspn(from, " ");
        const char *next = from + length + (from[length] == ' ');
        if (has(words, from, length) == wanted) {
            if (to > start)
                *to++ = ' ';
            memmove(to, from, length);
            to += length;
        }
        from = next;
    }
    *to = 0;
}

void words_meet(char *common, const char *words)
{
    filter(common, common, words, true);
}

char *words_without(const char *words, const char *common)
{
    char *own = malloc(strlen(words) + 1);
    if (own)
        filter(own, words, common, false);
    return own;
}
