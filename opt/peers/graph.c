/* SPDX-License-Identifier: MIT */
#include "opt/peers/graph.h"

void *space_take(struct space *space, int64_t count, int64_t bytes)
{
    int64_t start = space->used, size, end;
    if (start < 0 || __builtin_mul_overflow(count, bytes, &size) ||
        __builtin_add_overflow(size, ASSAY_BUFFER_ALIGN - 1, &size) ||
        __builtin_add_overflow(start, size / ASSAY_BUFFER_ALIGN * ASSAY_BUFFER_ALIGN, &end)) {
        space->used = -1;
        return NULL;
    }
    space->used = end;
    return space->base ? space->base + start : NULL;
}

struct ggml_context *graph_open(struct space *space, int tensors)
{
    size_t bytes = (size_t)tensors * ggml_tensor_overhead() +
                   ggml_graph_overhead_custom((size_t)tensors, false);
    /* Without memory, the engine allocates: where the space is only counted. */
    void *memory = space_take(space, 1, (int64_t)bytes);
    return ggml_init((struct ggml_init_params){bytes, memory, true});
}

/* Inputs are not written, but ggml's tensors know no const. */
static struct ggml_tensor *at(struct ggml_tensor *tensor, const void *data)
{
    tensor->data = (void *)(uintptr_t)data;
    return tensor;
}

struct ggml_tensor *graph_f32(struct ggml_context *context, int64_t ne0, int64_t ne1, int64_t ne2,
                              const float *data)
{
    return at(ggml_new_tensor_3d(context, GGML_TYPE_F32, ne0, ne1, ne2), data);
}

struct ggml_tensor *graph_i32(struct ggml_context *context, int64_t ne0, int64_t ne1,
                              const int32_t *data)
{
    return at(ggml_new_tensor_2d(context, GGML_TYPE_I32, ne0, ne1), data);
}

/* Gives every node its place; what it views comes before a view. */
static void place_nodes(struct ggml_cgraph *graph, const struct ggml_tensor *result, float *out,
                        struct space *space)
{
    const struct ggml_tensor *last = result->view_src ? result->view_src : result;
    for (int i = 0; i < ggml_graph_n_nodes(graph); i++) {
        struct ggml_tensor *node = ggml_graph_node(graph, i);
        const struct ggml_tensor *viewed = node->view_src;
        if (viewed)
            node->data = viewed->data ? (uint8_t *)viewed->data + node->view_offs : NULL;
        else
            node->data = node == last ? out : space_take(space, 1, (int64_t)ggml_nbytes(node));
    }
}

const char *graph_compute(struct ggml_context *context, int tensors, struct ggml_tensor *result,
                          float *out, int threads, struct space *space)
{
    struct ggml_cgraph *graph = ggml_new_graph_custom(context, (size_t)tensors, false);
    ggml_build_forward_expand(graph, result);
    place_nodes(graph, result, out, space);
    struct ggml_cplan plan = engine_plan(graph, threads);
    plan.work_data = space_take(space, 1, (int64_t)plan.work_size);
    bool done = !space->base || engine_compute(graph, &plan) == GGML_STATUS_SUCCESS;
    ggml_free(context);
    return done ? NULL : "the engine gave up";
}
