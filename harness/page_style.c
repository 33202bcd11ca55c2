/* SPDX-License-Identifier: MIT */
#include "harness/page_style.h"

#include <stdlib.h>
#include <string.h>

#include "harness/plot.h"

/* A part of kernels' names, and how many have it. */
struct trait {
    const char *text;
    size_t first, count;
    bool reference; /* a reference has it */
};

static const char *family_of(const struct page_kernel *kernel)
{
    return strchr(kernel->name, ':') ? kernel->library : kernel->tier;
}

/* "i8-packed" of "avx2-i8-packed", "vec_dot" of "library:vec_dot", the whole of others. */
static const char *manner_of(const struct page_kernel *kernel)
{
    const char *colon = strchr(kernel->name, ':');
    size_t length = strlen(kernel->tier);
    if (colon)
        return colon + 1;
    bool starts = strncmp(kernel->name, kernel->tier, length) == 0;
    return starts && kernel->name[length] == '-' ? kernel->name + length + 1 : kernel->name;
}

static size_t find(const struct trait *traits, size_t count, const char *text)
{
    size_t i = 0;
    while (i < count && strcmp(traits[i].text, text) != 0)
        i++;
    return i;
}

/* The most frequent first. */
static int by_count(const void *left, const void *right)
{
    const struct trait *a = left, *b = right;
    if (a->count != b->count)
        return a->count < b->count ? 1 : -1;
    return a->first < b->first ? -1 : 1;
}

typedef const char *trait_of(const struct page_kernel *kernel);

static size_t collect(const struct page_kernel *kernels, size_t count, trait_of *of,
                      struct trait *traits)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        const char *text = of(&kernels[i]);
        size_t t = find(traits, n, text);
        if (t == n)
            traits[n++] = (struct trait){.text = text, .first = i};
        traits[t].count++;
        traits[t].reference = traits[t].reference || kernels[i].reference;
    }
    return n;
}

/* How badly a shape would suit a manner: kernels of one op and colour must not share it, and those
 * of a colour should not. */
static size_t cost_of(const struct page_kernel *kernels, size_t count, const char *manner,
                      int shape)
{
    size_t cost = 0;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(manner_of(&kernels[i]), manner) != 0)
            continue;
        for (size_t j = 0; j < count; j++) {
            if (kernels[j].shape == shape && kernels[j].colour == kernels[i].colour)
                cost += strcmp(kernels[i].op, kernels[j].op) == 0 ? 1000 : 1;
        }
    }
    return cost;
}

static void give_shape(struct page_kernel *kernels, size_t count, const char *manner)
{
    int best = 0;
    size_t least = SIZE_MAX;
    for (int shape = 0; shape < PLOT_SHAPES; shape++) {
        size_t cost = cost_of(kernels, count, manner, shape);
        best = cost < least ? shape : best;
        least = cost < least ? cost : least;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(manner_of(&kernels[i]), manner) == 0)
            kernels[i].shape = best;
    }
}

bool page_style(struct page_kernel *kernels, size_t count)
{
    struct trait *traits = calloc(count + 1, sizeof(*traits));
    if (!traits)
        return false;
    size_t n = collect(kernels, count, family_of, traits);
    for (size_t i = 0; i < count; i++) {
        size_t t = find(traits, n, family_of(&kernels[i])), before = 0;
        for (size_t j = 0; j < t; j++)
            before += !traits[j].reference;
        kernels[i].colour =
            traits[t].reference ? PLOT_NEUTRAL : PLOT_SERIES + (int)(before % PLOT_COLOURS);
        kernels[i].shape = -1;
    }
    n = collect(kernels, count, manner_of, traits);
    qsort(traits, n, sizeof(*traits), by_count);
    for (size_t t = 0; t < n; t++)
        give_shape(kernels, count, traits[t].text);
    free(traits);
    return true;
}
