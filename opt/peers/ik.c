/* SPDX-License-Identifier: MIT */
/* ik_llama.cpp: type Q4_K as it is, or rearranged to Q4_K_R4 as with its run-time repacking. */
#include <string.h>

#include "opt/peers/engine.h"

/* What the engine calls on its tensors at load; a header that it does not install declares it. */
void iqk_repack_tensor(struct ggml_tensor *tensor);

/* The first context makes the tables. */
void engine_start(void)
{
    ggml_free(ggml_init((struct ggml_init_params){0}));
}

const char *engine_cannot_pack(const struct weights *weights)
{
    return weights->m % 4 != 0 ? "Q4_K_R4 interleaves four rows" : NULL;
}

static struct ggml_tensor *make(struct ggml_context *context, const struct weights *weights,
                                enum ggml_type type, void *data)
{
    struct ggml_tensor *tensor =
        weights->experts == 0
            ? ggml_new_tensor_2d(context, type, weights->k, weights->m)
            : ggml_new_tensor_3d(context, type, weights->k, weights->m, weights->experts);
    tensor->data = data;
    return tensor;
}

struct ggml_tensor *engine_weights(struct ggml_context *context, const struct weights *weights,
                                   enum layout layout, const void *data)
{
    enum ggml_type type = layout == PACKED ? GGML_TYPE_Q4_K_R4 : GGML_TYPE_Q4_K;
    return make(context, weights, type, (void *)(uintptr_t)data);
}

void engine_pack(const struct weights *weights, const void *native, void *packed)
{
    struct ggml_init_params params = {ggml_tensor_overhead(), NULL, true};
    struct ggml_context *context = ggml_init(params);
    struct ggml_tensor *tensor = make(context, weights, GGML_TYPE_Q4_K, packed);
    memcpy(packed, native, ggml_nbytes(tensor));
    iqk_repack_tensor(tensor);
    ggml_free(context);
}

struct ggml_cplan engine_plan(struct ggml_cgraph *graph, int threads)
{
    return ggml_graph_plan(graph, threads);
}

enum ggml_status engine_compute(struct ggml_cgraph *graph, struct ggml_cplan *plan)
{
    return ggml_graph_compute(graph, plan);
}

void engine_dequantize(const void *w, float *y, int64_t n)
{
    ggml_internal_get_type_traits(GGML_TYPE_Q4_K).to_float(w, y, n);
}

struct ggml_tensor *engine_top_k(struct ggml_context *context, struct ggml_tensor *probabilities,
                                 int top_k)
{
    return ggml_top_k(context, probabilities, top_k);
}

struct ggml_tensor *engine_gate_up(struct ggml_context *context, struct ggml_tensor *gate,
                                   struct ggml_tensor *up, struct ggml_tensor *x,
                                   struct ggml_tensor *ids)
{
    return ggml_moe_up_gate(context, up, gate, x, ids, GGML_UNARY_OP_SILU);
}

struct ggml_tensor *engine_combine(struct ggml_context *context, struct ggml_tensor *rows,
                                   struct ggml_tensor *weights)
{
    return ggml_mul_multi_add(context, rows, weights);
}
