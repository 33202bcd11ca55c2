/* SPDX-License-Identifier: MIT */
/*
 * What the matmul kernels of this tier share: panels of 16 rows (panel.h) times the activations of
 * the pairs that meet a matrix, in f32 or f16 (f32.h) or int8 digits (i8.h). An op says which pairs
 * meet which matrix; the rest is here.
 *
 * Source rows are prepared once: quantized, or rounded to f16. Then threads take units of work
 * (opt/partition.h), some panels of one list; a unit takes its pairs in groups of up to TOKEN_GROUP tokens or digits, a
 * panel meets the tokens of a group in tiles. Groups and tiles are balanced: 17 tokens are three
 * tiles of 6, 6 and 5. Rows past m are zero blocks in a panel and masked out of the store. A pair's
 * result depends on neither its group nor its tile, so not on the order of lists either. Results
 * that no cache would keep until they are read are written past it.
 */
#ifndef ASSAY_OPT_AVX512VNNI_MATMUL_H
#define ASSAY_OPT_AVX512VNNI_MATMUL_H

#include "opt/avx512vnni/panel.h"

/* PACKED: weights come as panels. */
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
    bool stream; /* results of integer classes go past the caches */
    int64_t blocks;
    struct partition cut;
    void *prepared_sources; /* digits of integer classes; class f16: rounded activations */
    uint8_t *thread_scratch;
    int64_t thread_bytes;
    struct work_queue queue;
};

/* Cuts into work for at most so many threads. scratch: avx512vnni_matmul_work_bytes. */
struct matmul_job avx512vnni_matmul_plan(const struct matmul *matmul, enum matmul_class class,
                                         const void *packed, void *scratch, int threads);
int64_t avx512vnni_matmul_work_bytes(const struct matmul *sizes, enum matmul_class class,
                                     int threads);

/* Whether results are many, and whole cache lines: a job's `stream`, unless they are read at once. */
bool avx512vnni_matmul_worth_streaming(const struct matmul *matmul);

/* A thread's part of the two steps. All threads' first ends before any second begins. */
void avx512vnni_matmul_sources(const struct matmul_job *job, int rank, int team);
void avx512vnni_matmul_products(struct matmul_job *job, int rank);

/* What a kernel's functions do. */
const char *avx512vnni_matmul_run(const struct matmul_op *op, enum matmul_class class,
                                  const void *shape, const void *args, const void *packed,
                                  void *scratch, int threads);
int64_t avx512vnni_matmul_scratch(const struct matmul_op *op, enum matmul_class class,
                                  const void *shape, int threads);
int64_t avx512vnni_matmul_depth(const struct matmul_op *op, enum matmul_class class,
                                const void *shape);
int64_t avx512vnni_matmul_packed_bytes(const struct matmul_op *op, const void *shape);
void avx512vnni_matmul_pack(const struct matmul_op *op, const void *shape, const uint8_t *w,
                            void *packed, int threads);

/* The functions of a kernel of this class of the op that `op` describes. */
#define MATMUL_FUNCTIONS(op, suffix, class)                                                    \
    static const char *run_##suffix(const void *shape, const void *args, const void *prepared, \
                                    void *scratch, int threads)                                \
    {                                                                                          \
        return avx512vnni_matmul_run(&(op), class, shape, args, prepared, scratch, threads);   \
    }                                                                                          \
    static int64_t scratch_##suffix(const void *shape, int threads)                            \
    {                                                                                          \
        return avx512vnni_matmul_scratch(&(op), class, shape, threads);                        \
    }                                                                                          \
    static int64_t depth_##suffix(const void *shape)                                           \
    {                                                                                          \
        return avx512vnni_matmul_depth(&(op), class, shape);                                   \
    }

/* Kernel OP_avx512vnni_SUFFIX of the op that the file's `op` describes. */
#define MATMUL_KERNEL(op_name, suffix, label, class_, numerics_, ...)                             \
    MATMUL_FUNCTIONS(op, suffix, class_)                                                          \
    const struct assay_kernel op_name##_avx512vnni_##suffix = {.op = #op_name,                    \
                                                               .name = "avx512vnni-" label,       \
                                                               .tier = "avx512vnni",              \
                                                               .numerics = numerics_,             \
                                                               .depth = depth_##suffix,           \
                                                               .scratch_bytes = scratch_##suffix, \
                                                               .run = run_##suffix,               \
                                                               __VA_ARGS__};
/* The kernels of an integer class, one for native weights and one for packed ones; the file has
 * `prepare` and `prepared_bytes`. */
#define MATMUL_INTEGER_KERNELS(op_name, class_name, CLASS)                                      \
    MATMUL_KERNEL(op_name, class_name, #class_name, MATMUL_##CLASS, ASSAY_##CLASS, .twin = 1)   \
    MATMUL_KERNEL(op_name, class_name##_packed, #class_name "-packed", MATMUL_##CLASS##_PACKED, \
                  ASSAY_##CLASS, .twin = 1, .prepared_bytes = prepared_bytes, .prepare = prepare)

#endif
