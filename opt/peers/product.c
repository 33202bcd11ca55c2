/* SPDX-License-Identifier: MIT */
/*
 * Engines want the ids of a call all valid: they come from a router. Where some are not, the rows
 * that are wanted are gathered, multiplied as tokens with one expert each, and scattered. That is
 * slower and never happens in a case that is timed.
 */
#include "opt/peers/product.h"

#include <string.h>

enum { TENSORS = 4 };

static const char *multiply(const struct product *p, int threads, struct space *space)
{
    struct ggml_context *context = graph_open(space, TENSORS);
    if (!context)
        return "the engine has no context left";
    struct ggml_tensor *w = engine_weights(context, &p->weights, p->layout, p->w), *dst;
    if (p->weights.experts == 0) {
        dst = ggml_mul_mat(context, w, graph_f32(context, p->weights.k, p->tokens, 1, p->src));
    } else {
        struct ggml_tensor *src = graph_f32(context, p->weights.k, p->ne11, p->tokens, p->src);
        dst = ggml_mul_mat_id(context, w, src, graph_i32(context, p->top_k, p->tokens, p->ids));
    }
    return graph_compute(context, TENSORS, dst, p->dst, threads, space);
}

static bool is_wanted(const struct product *p, int64_t pair)
{
    return p->ids[pair] >= 0 && p->ids[pair] < p->weights.experts;
}

static int64_t count_wanted(const struct product *p)
{
    int64_t wanted = 0;
    for (int64_t pair = 0; pair < p->tokens * p->top_k; pair++)
        wanted += is_wanted(p, pair);
    return wanted;
}

/* The wanted pairs as tokens of their own. */
static const char *multiply_wanted(const struct product *p, int64_t wanted, int threads,
                                   struct space *space)
{
    size_t source_bytes = (size_t)p->weights.k * sizeof(float);
    size_t row_bytes = (size_t)p->weights.m * sizeof(float);
    int32_t *ids = space_take(space, wanted, sizeof(*ids));
    float *src = space_take(space, wanted, (int64_t)source_bytes);
    float *dst = space_take(space, wanted, (int64_t)row_bytes);
    struct product gathered = *p;
    gathered.top_k = gathered.ne11 = 1;
    gathered.tokens = wanted;
    gathered.ids = ids;
    gathered.src = src;
    gathered.dst = dst;
    int64_t pairs = space->base ? p->tokens * p->top_k : 0;
    for (int64_t pair = 0, i = 0; pair < pairs; pair++) {
        if (!is_wanted(p, pair))
            continue;
        int64_t row = pair / p->top_k * p->ne11 + pair % p->top_k % p->ne11;
        memcpy(src + i * p->weights.k, p->src + row * p->weights.k, source_bytes);
        ids[i++] = p->ids[pair];
    }
    const char *failure = multiply(&gathered, threads, space);
    for (int64_t pair = 0, i = 0; pair < pairs && !failure; pair++) {
        if (is_wanted(p, pair))
            memcpy(p->dst + pair * p->weights.m, dst + i++ * p->weights.m, row_bytes);
    }
    return failure;
}

const char *product_run(const struct product *p, int threads, struct space *space)
{
    if (p->weights.experts == 0)
        return multiply(p, threads, space);
    int64_t pairs = p->tokens * p->top_k;
    if (!space->base) { /* the larger of the two ways */
        struct space other = *space;
        const char *failure = multiply(p, threads, space);
        failure = failure ? failure : multiply_wanted(p, pairs, threads, &other);
        space->used = other.used > space->used ? other.used : space->used;
        return failure;
    }
    int64_t wanted = count_wanted(p);
    if (wanted == pairs)
        return multiply(p, threads, space);
    return wanted > 0 ? multiply_wanted(p, wanted, threads, space) : NULL;
}
