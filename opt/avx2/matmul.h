/* SPDX-License-Identifier: MIT */
/*
 * What the matmul kernels of this tier share. An op says which pairs meet which matrix; a task is
 * one such list and some rows of its matrix. The rows are transposed eight at a time into a
 * panel (panel.h), row r in 32-bit lane r, and every panel meets all pairs of the list, in tiles of
 * nearly equal size. Rows past m are zero blocks in the panel and are not stored.
 *
 * i8, i16, i24: source rows are quantized once into scratch; a slab of two panels is packed, then each
 * tile of tokens walks it (dot_i8.h: why nothing overflows); for a single tile each super-block is
 * used at once. Packed weights are slabs already.
 * f32: each super-block of a panel is dequantized once for up to F32_PAIRS pairs, whose sums wait in
 * scratch (dot_f32.h). f16: the same, with weights and activations rounded to f16.
 */
#ifndef ASSAY_OPT_AVX2_MATMUL_H
#define ASSAY_OPT_AVX2_MATMUL_H

#include "opt/avx2/panel.h"
#include "opt/partition.h"

/* PACKED: weights come as slabs. */
enum matmul_class {
    MATMUL_F32,
    MATMUL_F16,
    MATMUL_I8,
    MATMUL_I16,
    MATMUL_I24,
    MATMUL_I8_PACKED,
    MATMUL_I16_PACKED,
    MATMUL_I24_PACKED
};

/* int8 digits of an activation; 0: class f32 or f16. */
static inline int matmul_digits(enum matmul_class class)
{
    return class < MATMUL_I8 ? 0 : (int)(class - MATMUL_I8) % 3 + 1;
}

/* A call of any op. Pair p is a row of dst, and reads row p of src, or p / top_k if ne11 = 1. */
struct matmul {
    int64_t m, k, matrices, top_k, ne11;
    int64_t sources; /* rows of src; -1: they overflow */
    int64_t rows;    /* of each matrix that are wanted, the first */
    const uint8_t *w;
    const float *src;
    float *dst;
    const struct pair_list *lists;
    int64_t n_lists;
};

/* How an op's calls become matmuls. */
struct matmul_op {
    const struct assay_op *op;
    /* The first members, up to `sources`. */
    struct matmul (*sizes)(const void *shape);
    /* The others, with lists in `memory` of lists_bytes. `w` is the first matrix, or NULL where
     * the call gets packed weights. */
    void (*bind)(const void *shape, const void *args, void *memory, struct matmul *matmul);
    int64_t (*lists_bytes)(const void *shape);
};

/* A matmul cut into work. */
struct matmul_job {
    struct matmul matmul;
    enum matmul_class class;
    const uint8_t *packed;
    int64_t blocks, units; /* of a row; of a list */
    int64_t unit_rows;
    void *prepared_sources; /* integer classes: quantized; class f16: rounded */
    uint8_t *rooms;         /* of the threads */
    int64_t room_bytes;
};

/* Cuts into work. scratch: avx2_matmul_work_bytes. */
struct matmul_job avx2_matmul_plan(const struct matmul *matmul, enum matmul_class class,
                                   const void *packed, void *scratch, int threads);
int64_t avx2_matmul_work_bytes(const struct matmul *sizes, enum matmul_class class, int threads);

/* All threads of a team call both; each ends when all have done their part. */
void avx2_matmul_sources(const struct matmul_job *job);
void avx2_matmul_products(const struct matmul_job *job);

/* One thread's work on some rows of a list's matrix, for all pairs of the list; rows.first is a multiple
 * of 16. */
void avx2_matmul_rows(const struct matmul_job *job, const struct pair_list *list,
                      struct range rows);

/* What a kernel's functions do. */
const char *avx2_matmul_run(const struct matmul_op *op, enum matmul_class class, const void *shape,
                            const void *args, const void *packed, void *scratch, int threads);
int64_t avx2_matmul_scratch(const struct matmul_op *op, enum matmul_class class, const void *shape,
                            int threads);
int64_t avx2_matmul_depth(const struct matmul_op *op, enum matmul_class class, const void *shape);
int64_t avx2_matmul_packed_bytes(const struct matmul_op *op, const void *shape);
void avx2_matmul_pack(const struct matmul_op *op, const void *shape, const uint8_t *w, void *packed,
                      int threads);

/* The functions of a kernel of this class of the op that `op` describes. */
#define MATMUL_FUNCTIONS(op, suffix, class)                                                    \
    static const char *run_##suffix(const void *shape, const void *args, const void *prepared, \
                                    void *scratch, int threads)                                \
    {                                                                                          \
        return avx2_matmul_run(&(op), class, shape, args, prepared, scratch, threads);         \
    }                                                                                          \
    static int64_t scratch_##suffix(const void *shape, int threads)                            \
    {                                                                                          \
        return avx2_matmul_scratch(&(op), class, shape, threads);                              \
    }                                                                                          \
    static int64_t depth_##suffix(const void *shape)                                           \
    {                                                                                          \
        return avx2_matmul_depth(&(op), class, shape);                                         \
    }

/* Kernel OP_avx2_SUFFIX of the op that the file's `op` describes; then its further members. */
#define MATMUL_KERNEL(op_name, suffix, name_, class, numerics_, ...) \
    MATMUL_FUNCTIONS(op, suffix, class)                              \
    const struct assay_kernel op_name##_avx2_##suffix = {            \
        .op = #op_name,                                              \
        .name = "avx2-" name_,                                       \
        .tier = "avx2",                                              \
        .numerics = numerics_,                                       \
        .depth = depth_##suffix,                                     \
        .scratch_bytes = scratch_##suffix,                           \
        .run = run_##suffix,                                         \
        __VA_ARGS__,                                                 \
    };

/* Kernels OP_avx2_CLASS and OP_avx2_CLASS_packed. */
#define MATMUL_INTEGER_KERNELS(op_name, class_name, CLASS)                                      \
    MATMUL_KERNEL(op_name, class_name, #class_name, MATMUL_##CLASS, ASSAY_##CLASS, .twin = 1)   \
    MATMUL_KERNEL(op_name, class_name##_packed, #class_name "-packed", MATMUL_##CLASS##_PACKED, \
                  ASSAY_##CLASS, .twin = 1, .prepared_bytes = prepared_bytes, .prepare = prepare)

/* All integer kernels of the op whose shape_t and args_t have the matrices at w + w_offset. */
#define MATMUL_ALL_INTEGER_KERNELS(op_name)                                                \
    static int64_t prepared_bytes(const void *shape)                                       \
    {                                                                                      \
        return avx2_matmul_packed_bytes(&op, shape);                                       \
    }                                                                                      \
    static void prepare(const void *shape, const void *args, void *prepared, int threads)  \
    {                                                                                      \
        const uint8_t *w = ((const args_t *)args)->w + ((const shape_t *)shape)->w_offset; \
        avx2_matmul_pack(&op, shape, w, prepared, threads);                                \
    }                                                                                      \
    MATMUL_INTEGER_KERNELS(op_name, i8, I8)                                                \
    MATMUL_INTEGER_KERNELS(op_name, i16, I16)                                              \
    MATMUL_INTEGER_KERNELS(op_name, i24, I24)

#endif
