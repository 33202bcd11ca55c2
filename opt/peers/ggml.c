/* SPDX-License-Identifier: MIT */
/*
 * ggml: weights as they are, or as its CPU_REPACK buffers keep them. Such a buffer tells a tensor's
 * layout by its type, not by where the tensor lies; so one small buffer of that type lends it to
 * tensors over our memory.
 */
#include <ggml-backend.h>
#include <stdio.h>
#include <string.h>

#include "opt/peers/engine.h"

/* ggml tells of every tensor that it repacks. */
static void log_warnings(enum ggml_log_level level, const char *text, void *context)
{
    (void)context;
    if (level == GGML_LOG_LEVEL_WARN || level == GGML_LOG_LEVEL_ERROR)
        fputs(text, stderr);
}

/* NULL: this build of ggml has no such buffers. */
static ggml_backend_buffer_type_t find_repack_type(void)
{
    ggml_backend_reg_t reg = ggml_backend_cpu_reg();
    void *symbol = ggml_backend_reg_get_proc_address(reg, "ggml_backend_dev_get_extra_bufts");
    ggml_backend_dev_get_extra_bufts_t get;
    memcpy(&get, &symbol, sizeof(get)); /* ISO C has no cast from object to function pointer */
    ggml_backend_buffer_type_t *types = get ? get(ggml_backend_reg_dev_get(reg, 0)) : NULL;
    while (types && *types && !strstr(ggml_backend_buft_name(*types), "REPACK"))
        types++;
    return types ? *types : NULL;
}

/* The one small buffer. */
static ggml_backend_buffer_t repack_buffer;

void engine_start(void)
{
    if (repack_buffer)
        return;
    ggml_log_set(log_warnings, NULL);
    ggml_cpu_init();
    ggml_backend_buffer_type_t type = find_repack_type();
    if (type)
        repack_buffer = ggml_backend_buft_alloc_buffer(type, 1);
}

/* As ggml decides whether an op may have its weights in such a buffer. */
const char *engine_cannot_pack(const struct weights *weights)
{
    if (weights->m % 8 != 0)
        return "ggml repacks Q4_K for this CPU only where m is a multiple of 8";
    if (weights->experts == 1)
        return "ggml does not repack the matrix of a single expert";
    return repack_buffer ? NULL : "this build of ggml has no CPU_REPACK buffers";
}

struct ggml_tensor *engine_weights(struct ggml_context *context, const struct weights *weights,
                                   enum layout layout, const void *data)
{
    struct ggml_tensor *tensor =
        weights->experts == 0
            ? ggml_new_tensor_2d(context, GGML_TYPE_Q4_K, weights->k, weights->m)
            : ggml_new_tensor_3d(context, GGML_TYPE_Q4_K, weights->k, weights->m, weights->experts);
    tensor->data = (void *)(uintptr_t)data;
    if (layout == PACKED) {
        tensor->buffer = repack_buffer;
        ggml_backend_buffer_init_tensor(tensor->buffer, tensor);
    }
    return tensor;
}

void engine_pack(const struct weights *weights, const void *native, void *packed)
{
    struct ggml_init_params params = {ggml_tensor_overhead(), NULL, true};
    struct ggml_context *context = ggml_init(params);
    struct ggml_tensor *tensor = engine_weights(context, weights, PACKED, packed);
    ggml_backend_tensor_set(tensor, native, 0, ggml_nbytes(tensor));
    ggml_free(context);
}

struct ggml_cplan engine_plan(struct ggml_cgraph *graph, int threads)
{
    return ggml_graph_plan(graph, threads, NULL);
}

enum ggml_status engine_compute(struct ggml_cgraph *graph, struct ggml_cplan *plan)
{
    return ggml_graph_compute(graph, plan);
}

void engine_dequantize(const void *w, float *y, int64_t n)
{
    ggml_get_type_traits(GGML_TYPE_Q4_K)->to_float(w, y, n);
}

struct ggml_tensor *engine_top_k(struct ggml_context *context, struct ggml_tensor *probabilities,
                                 int top_k)
{
    return ggml_argsort_top_k(context, probabilities, top_k);
}

struct ggml_tensor *engine_gate_up(struct ggml_context *context, struct ggml_tensor *gate,
                                   struct ggml_tensor *up, struct ggml_tensor *x,
                                   struct ggml_tensor *ids)
{
    struct ggml_tensor *up_x = ggml_mul_mat_id(context, up, x, ids);
    return ggml_swiglu_split(context, ggml_mul_mat_id(context, gate, x, ids), up_x);
}

/* llama.cpp adds views of the slots one by one; all but the first sum are in place, as its
 * allocator makes them. */
struct ggml_tensor *engine_combine(struct ggml_context *context, struct ggml_tensor *rows,
                                   struct ggml_tensor *weights)
{
    rows = ggml_mul_inplace(context, rows, weights);
    struct ggml_tensor *sum = NULL;
    for (int64_t slot = 0; slot < rows->ne[1]; slot++) {
        struct ggml_tensor *view = ggml_view_2d(context, rows, rows->ne[0], rows->ne[2],
                                                rows->nb[2], (size_t)slot * rows->nb[1]);
        sum = slot == 0   ? view
              : slot == 1 ? ggml_add(context, sum, view)
                          : ggml_add_inplace(context, sum, view);
    }
    return rows->ne[1] == 1 ? ggml_cont(context, sum) : sum;
}
