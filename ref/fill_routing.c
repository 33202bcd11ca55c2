/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>

#include "ref/fill.h"

/* Experts of one token, distinct, drawn with probability proportional to weight: the top_k largest
 * of log(u) / weight with u uniform (Efraimidis and Spirakis, 2006). */
static void draw_distinct(const double *weight, double *key, int64_t experts, int64_t top_k,
                          int32_t *selected, struct assay_random *random)
{
    for (int64_t e = 0; e < experts; e++) {
        double uniform = (double)((random->bits(random) >> 11) + 1) * 0x1p-53;
        key[e] = log(uniform) / weight[e];
    }
    for (int64_t slot = 0; slot < top_k; slot++) {
        int64_t best = -1;
        for (int64_t e = 0; e < experts; e++) {
            if (!isnan(key[e]) && (best < 0 || key[e] > key[best]))
                best = e;
        }
        selected[slot] = (int32_t)best;
        key[best] = NAN;
    }
}

static void shuffle(int32_t *values, int64_t count, struct assay_random *random)
{
    for (int64_t i = count - 1; i > 0; i--) {
        int64_t j = assay_below(random, i + 1);
        int32_t value = values[i];
        values[i] = values[j];
        values[j] = value;
    }
}

static void route_tile_edges(int64_t experts, int64_t pairs, int32_t *selected,
                             struct assay_random *random)
{
    static const int counts[] = {31, 32, 33, 64, 65, 1, 0, 15, 16, 17, 2, 3, 4, 5, 6, 7, 8, 9};
    const int64_t n = sizeof(counts) / sizeof(*counts);
    int64_t pair = 0;
    for (int64_t e = 0; e < experts && pair < pairs; e++) {
        int64_t count = e == experts - 1 ? pairs : counts[e % n];
        for (; count > 0 && pair < pairs; count--)
            selected[pair++] = (int32_t)e;
    }
    shuffle(selected, pairs, random);
}

static int32_t invalid_id(int64_t experts, struct assay_random *random)
{
    switch (assay_below(random, 4)) {
    case 0: return -1;
    case 1: return (int32_t)experts;
    case 2: return INT32_MIN;
    default: return INT32_MAX;
    }
}

void router_logits(const struct assay_fill *fill, int64_t experts, const float *x, double *logits)
{
    for (int64_t e = 0; e < experts; e++) {
        logits[e] = 0;
        for (int64_t i = 0; i < fill->hidden; i++)
            logits[e] += (double)fill->router[e * fill->hidden + i] * (double)x[i];
    }
}

void route_by_router(const struct assay_fill *fill, int64_t experts, int64_t top_k, const float *x,
                     double *logits, int32_t *selected)
{
    router_logits(fill, experts, x, logits);
    for (int64_t e = 0; e < experts; e++)
        logits[e] = isnan(logits[e]) ? -INFINITY : logits[e];
    for (int64_t slot = 0; slot < top_k; slot++) {
        int64_t best = -1;
        for (int64_t e = 0; e < experts; e++) {
            if (!isnan(logits[e]) && (best < 0 || logits[e] > logits[best]))
                best = e;
        }
        selected[slot] = (int32_t)best;
        logits[best] = NAN;
    }
}

static bool route_model(const struct assay_fill *fill, int64_t experts, int64_t tokens,
                        int64_t top_k, int32_t *selected, struct assay_random *random)
{
    float *x = malloc((size_t)fill->hidden * sizeof(*x));
    double *logits = malloc((size_t)experts * sizeof(*logits));
    for (int64_t token = 0; x && logits && token < tokens; token++) {
        fill_activations(ASSAY_FILL_MODEL, 1, fill->hidden, x, random);
        route_by_router(fill, experts, top_k, x, logits, &selected[token * top_k]);
    }
    bool made = x && logits;
    free(x);
    free(logits);
    return made;
}

bool fill_routing(const struct assay_fill *fill, int64_t experts, int64_t tokens, int64_t top_k,
                  int32_t *selected, struct assay_random *random)
{
    int64_t pairs = tokens * top_k;
    enum assay_routing routing = fill->routing;
    if (routing == ASSAY_ROUTE_ROUTER)
        return route_model(fill, experts, tokens, top_k, selected, random);
    if (routing == ASSAY_ROUTE_TILE_EDGES) {
        route_tile_edges(experts, pairs, selected, random);
        return true;
    }
    if (routing == ASSAY_ROUTE_ONE_EXPERT || routing == ASSAY_ROUTE_DUPLICATES) {
        for (int64_t pair = 0; pair < pairs; pair++) {
            bool one = routing == ASSAY_ROUTE_ONE_EXPERT;
            bool repeat = pair % top_k != 0 && assay_below(random, 2);
            selected[pair] = one      ? (int32_t)(experts / 2)
                             : repeat ? selected[pair - 1]
                                      : (int32_t)assay_below(random, experts);
        }
        return true;
    }
    double *weight = malloc(2 * (size_t)experts * sizeof(*weight));
    if (!weight)
        return false;
    for (int64_t e = 0; e < experts; e++)
        weight[e] = routing == ASSAY_ROUTE_ZIPF ? pow((double)(e + 1), -fill->zipf) : 1;
    for (int64_t token = 0; token < tokens; token++)
        draw_distinct(weight, weight + experts, experts, top_k, &selected[token * top_k], random);
    free(weight);
    for (int64_t pair = 0; routing == ASSAY_ROUTE_INVALID && pair < pairs; pair++) {
        if (assay_below(random, 4) == 0 || pairs == 1)
            selected[pair] = invalid_id(experts, random);
    }
    return true;
}
