/* SPDX-License-Identifier: MIT */
#include "harness/layer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/stored.h"
#include "ref/layer.h"

struct making {
    const struct gguf *gguf;
    char prefix[32];
    int64_t top_k; /* 0: the file does not say */
    int64_t tokens;
    struct cases *cases;
};

static const struct assay_layer_dim *find_dim(const char *tensor, const char *dim)
{
    for (size_t i = 0; i < assay_n_layer_dims; i++) {
        const struct assay_layer_dim *rule = &assay_layer_dims[i];
        if (strcmp(rule->dim, dim) == 0 && (!rule->tensor || strcmp(rule->tensor, tensor) == 0))
            return rule;
    }
    return NULL;
}

/* The dimensions that the tensor does not give, as a key has them. */
static bool print_dims(const struct making *making, const struct assay_op *op, const char *tensor,
                       FILE *key, struct error *why)
{
    for (size_t d = 0; d < op->n_dims; d++) {
        const struct assay_dim *dim = &op->dims[d];
        if (stored_source(op, d) < op->n_stored)
            continue;
        const struct assay_layer_dim *rule = find_dim(tensor, dim->name);
        if (!rule && dim->optional)
            continue;
        if (!rule)
            return fail(why, "%s needs %s, which no layer says of it", op->name, dim->name);
        bool is_tokens = rule->value == ASSAY_LAYER_IS_TOKENS;
        if (!is_tokens && making->top_k == 0)
            return fail(why, "%s needs %s, but the file has no " ASSAY_LAYER_TOP_K, op->name,
                        dim->name);
        fprintf(key, " %s=%" PRId64, dim->name, is_tokens ? making->tokens : making->top_k);
    }
    return true;
}

/* The case of an op that can use the tensors. */
static bool add_case(const struct making *making, const struct assay_op *op,
                     const struct gguf_tensor *const *tensors, struct error *why)
{
    const char *names[ASSAY_MAX_STORED];
    char *key = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&key, &size);
    if (!out)
        return fail(why, "out of memory");
    for (size_t i = 0; i < op->n_stored; i++)
        names[i] = tensors[i]->name;
    fputs(op->name, out);
    bool good = print_dims(making, op, names[0] + strlen(making->prefix), out, why);
    if (op->routed)
        fprintf(out, " routing=router:%s" ASSAY_LAYER_ROUTER, making->prefix);
    fputs(" fill=model", out);
    print_weights(out, op, making->gguf->file, names);
    good = (fclose(out) == 0 || fail(why, "out of memory")) && good &&
           cases_from_key(key, making->cases, why);
    free(key);
    return good;
}

static bool has_tokens(const struct assay_op *op)
{
    for (size_t d = 0; d < op->n_dims; d++) {
        if (find_dim("", op->dims[d].name))
            return true;
    }
    return false;
}

static bool is_called(const struct assay_op *op, int64_t tokens)
{
    for (size_t i = 0; i < assay_n_layer_calls; i++) {
        const struct assay_layer_call *call = &assay_layer_calls[i];
        if (strcmp(call->op, op->name) == 0)
            return tokens >= call->min_tokens && tokens <= call->max_tokens;
    }
    return true;
}

/* Its cases for all numbers of tokens. */
static bool add_cases(struct making *making, const struct model_layer *layer,
                      const struct assay_op *op, const struct gguf_tensor *const *tensors,
                      struct error *why)
{
    for (size_t t = 0; t < (has_tokens(op) ? layer->n_tokens : 1); t++) {
        making->tokens = layer->tokens[t];
        if (has_tokens(op) && !is_called(op, making->tokens))
            continue;
        if (!add_case(making, op, tensors, why))
            return false;
    }
    return true;
}

static void add_tensor(struct making *making, const struct model_layer *layer,
                       const struct gguf_tensor *tensor, layer_skipped *skipped)
{
    struct error why;
    for (size_t i = 0; i < assay_n_ops; i++) {
        const struct assay_op *op = assay_ops[i];
        /* Experts' matrices are for routed ops; as one run of weights they may be very large. */
        if (op->n_stored == 1 && op->routed == (tensor->ne[2] > 1) &&
            stored_usable_by(op, tensor, &why) && !add_cases(making, layer, op, &tensor, &why))
            skipped(tensor, why.text);
    }
}

/* The layer's tensor that is an op's of that name; NULL if there is none. */
static const struct gguf_tensor *find_weights(const struct making *making, const char *name,
                                              char *wanted, size_t size)
{
    for (size_t i = 0; i < assay_n_layer_weights; i++) {
        if (strcmp(assay_layer_weights[i].name, name) == 0)
            snprintf(wanted, size, "%s%s", making->prefix, assay_layer_weights[i].tensor);
    }
    return gguf_find(making->gguf, wanted);
}

/* The cases of an op that takes several tensors, if the layer has any of them. */
static void add_whole(struct making *making, const struct model_layer *layer,
                      const struct assay_op *op, layer_skipped *skipped)
{
    const struct gguf_tensor *tensors[ASSAY_MAX_STORED], *culprit = NULL;
    int64_t shape[ASSAY_MAX_DIMS];
    struct error why;
    bool good = true;
    stored_unknown(shape);
    for (size_t i = 0; i < op->n_stored; i++) {
        char name[128] = "";
        tensors[i] = find_weights(making, stored_name(op, i), name, sizeof(name));
        if (!tensors[i] && good)
            good = fail(&why, "%s needs %s, which the file does not have", op->name, name);
        culprit = culprit ? culprit : tensors[i];
    }
    for (size_t i = 0; good && i < op->n_stored; i++) {
        good = stored_add(op, i, tensors[i], shape, &why);
        culprit = good ? culprit : tensors[i];
    }
    if (culprit && (!good || !add_cases(making, layer, op, tensors, &why)))
        skipped(culprit, why.text);
}

/* 0: the file does not say. */
static int64_t read_top_k(const struct gguf *gguf)
{
    char architecture[64], key[128];
    uint32_t top_k = 0;
    if (!gguf_text(gguf, "general.architecture", architecture, sizeof(architecture)))
        return 0;
    snprintf(key, sizeof(key), "%s." ASSAY_LAYER_TOP_K, architecture);
    return gguf_u32(gguf, key, &top_k) ? top_k : 0;
}

static bool is_routed(const struct cases *cases, size_t from)
{
    for (size_t i = from; i < cases->count; i++) {
        if (cases->items[i].fill.routing == ASSAY_ROUTE_ROUTER)
            return true;
    }
    return false;
}

bool layer_cases(const struct gguf *gguf, const struct model_layer *layer, struct cases *cases,
                 layer_skipped *skipped, struct error *error)
{
    struct making making = {.gguf = gguf, .top_k = read_top_k(gguf), .cases = cases};
    snprintf(making.prefix, sizeof(making.prefix), ASSAY_LAYER_PREFIX, (long long)layer->index);
    size_t before = cases->count, length = strlen(making.prefix), found = 0;
    const struct gguf_tensor *router = NULL;
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        const struct gguf_tensor *tensor = &gguf->tensors[i];
        struct error why;
        if (strncmp(tensor->name, making.prefix, length) != 0)
            continue;
        found++;
        if (strcmp(tensor->name + length, ASSAY_LAYER_ROUTER) == 0)
            router = tensor;
        else if (!stored_usable(tensor, &why))
            skipped(tensor, why.text);
        else
            add_tensor(&making, layer, tensor, skipped);
    }
    for (size_t i = 0; i < assay_n_ops; i++) {
        if (assay_ops[i]->n_stored > 1)
            add_whole(&making, layer, assay_ops[i], skipped);
    }
    if (found == 0)
        return fail(error, "%s: there is no layer %lld: no tensor's name begins with \"%s\"",
                    gguf->file, (long long)layer->index, making.prefix);
    if (router && !is_routed(cases, before))
        skipped(router, "no case is routed");
    return cases->count > before || fail(error, "%s: no op can use any tensor of layer %lld",
                                         gguf->file, (long long)layer->index);
}
