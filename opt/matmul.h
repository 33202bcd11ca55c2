/* SPDX-License-Identifier: MIT */
/*
 * What all matmul kernels share: q4_K matrices times the activations of the pairs that meet them.
 * An op says which pairs meet which matrix (struct matmul_op), a tier how a group of pairs goes
 * through some panels (struct matmul_tier); the rest is in matmul.c.
 *
 * Source rows are prepared once: to int8 digits, or rounded to f16. Then threads take units of work
 * (partition.h), some panels of one list; a unit takes its pairs in groups, as equal as can be. A
 * pair's result depends neither on its group nor on the order of lists.
 */
#ifndef ASSAY_OPT_MATMUL_H
#define ASSAY_OPT_MATMUL_H

#include "opt/partition.h"
#include "opt/scratch.h"
#include "ref/q4_K.h"

/* Packed weights are panels of 16 rows, in as many bytes as the native ones; the last is filled
 * up. */
#define MATMUL_ROWS 16

/* Virtual tokens, digits of tokens, that a panel serves while it is in cache: enough to pay for
 * packing it. */
#define MATMUL_GROUP 96

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
    /* The others, with lists in `memory` of lists_bytes. */
    void (*bind)(const void *shape, const void *args, void *memory, struct matmul *matmul);
    int64_t (*lists_bytes)(const void *shape);
    /* The first matrix; NULL where a call gets packed weights. */
    const uint8_t *(*weights)(const void *shape, const void *args);
};

extern const struct matmul_op q4_K_gemv_matmul, q4_K_gemm_matmul, q4_K_gemm_moe_id_matmul,
    q4_K_gemv_moe_id_matmul;

/* A matmul cut into work. */
struct matmul_job {
    struct matmul matmul;
    const struct matmul_tier *tier;
    enum matmul_class class;
    const uint8_t *packed; /* or NULL */
    bool stream;           /* results are many: no cache would keep them */
    int64_t blocks;        /* super-blocks of a row */
    struct partition cut;
    void *prepared_sources; /* digits of integer classes; class f16: rounded activations */
    uint8_t *thread_scratch;
    int64_t thread_bytes;
    struct work_queue queue;
};

/* Pairs first .. last - 1 of a list, and the scratch of the thread that has them. */
struct matmul_group {
    const struct pair_list *list;
    int64_t first, last;
    void *scratch;
};

struct matmul_tier {
    /* The digits of 256 activations side by side, each of digit_bytes; activations rounded to f16. */
    void (*quantize)(const float *x, int digits, void *to);
    int64_t digit_bytes;
    void (*round)(const float *x, float *to);
    /* A group times panels [panel, end) of its matrix; meanwhile fetches what is needed next,
     * which begins `after` unless that is NULL. Scratch is a panel in integer classes with native
     * weights. */
    void (*multiply)(const struct matmul_job *job, const struct matmul_group *group, int64_t panel,
                     int64_t end, const uint8_t *after);
    /* Classes f32 and f16: scratch of a thread, pairs of a group, roundings on the longest path of
     * f32. */
    int64_t float_scratch, float_group;
    int64_t (*float_depth)(int64_t k);
    /* A panel of a native matrix of so many rows. */
    void (*pack)(const uint8_t *w, int64_t rows, int64_t blocks, int64_t panel, uint8_t *packed);
    bool streams; /* has a use for `stream` */
};

static inline int64_t matmul_pair(const struct pair_list *list, int64_t i)
{
    return list->pairs ? list->pairs[i] : i;
}

/* The row of src that a pair reads. */
static inline int64_t matmul_source(const struct matmul *matmul, int64_t pair)
{
    return matmul->ne11 == 1 ? (int64_t)((uint32_t)pair / (uint32_t)matmul->top_k) : pair;
}

/* Where a panel of a matrix begins, packed or native. */
static inline const uint8_t *matmul_panel(const struct matmul_job *job, int64_t matrix,
                                          int64_t panel)
{
    int64_t rows = job->matmul.m;
    if (job->packed)
        rows = ceil_div(rows, MATMUL_ROWS) * MATMUL_ROWS;
    const uint8_t *first = job->packed ? job->packed : job->matmul.w;
    return first + (matrix * rows + panel * MATMUL_ROWS) * job->blocks * Q4_K_BLOCK_BYTES;
}

/* Cuts into work for at most so many threads. scratch: matmul_work_bytes. */
struct matmul_job matmul_plan(const struct matmul_tier *tier, enum matmul_class class,
                              const struct matmul *matmul, const void *packed, void *scratch,
                              int threads);
int64_t matmul_work_bytes(const struct matmul_tier *tier, enum matmul_class class,
                          const struct matmul *sizes, int threads);

/* A thread's part of the two steps. All threads' first ends before any second begins. */
void matmul_sources(const struct matmul_job *job, int rank, int team);
void matmul_products(struct matmul_job *job, int rank);

/* Bytes of `matrices` packed matrices, -1 on overflow; packs them. */
int64_t matmul_packed_bytes(int64_t matrices, int64_t rows, int64_t k);
void matmul_pack(const struct matmul_tier *tier, const uint8_t *w, int64_t matrices, int64_t rows,
                 int64_t k, void *packed, int threads);

/* What a kernel's functions do. */
const char *matmul_run(const struct matmul_tier *tier, const struct matmul_op *op,
                       enum matmul_class class, const void *shape, const void *args,
                       const void *packed, void *scratch, int threads);
int64_t matmul_scratch(const struct matmul_tier *tier, const struct matmul_op *op,
                       enum matmul_class class, const void *shape, int threads);
int64_t matmul_depth(const struct matmul_tier *tier, enum matmul_class class, int64_t k);
int64_t matmul_prepared_bytes(const struct matmul_op *op, const void *shape);
void matmul_prepare(const struct matmul_tier *tier, const struct matmul_op *op, const void *shape,
                    const void *args, void *packed, int threads);

/* Kernel OP_TIER_SUFFIX, and further members. The tier is TIER_matmul. */
#define MATMUL_KERNEL(tier_, op_name, suffix, label, class, numerics_, ...)                      \
    static const char *op_name##_run_##suffix(const void *shape, const void *args,               \
                                              const void *prepared, void *scratch, int threads)  \
    {                                                                                            \
        return matmul_run(&tier_##_matmul, &op_name##_matmul, class, shape, args, prepared,      \
                          scratch, threads);                                                     \
    }                                                                                            \
    static int64_t op_name##_scratch_##suffix(const void *shape, int threads)                    \
    {                                                                                            \
        return matmul_scratch(&tier_##_matmul, &op_name##_matmul, class, shape, threads);        \
    }                                                                                            \
    static int64_t op_name##_depth_##suffix(const void *shape)                                   \
    {                                                                                            \
        return matmul_depth(&tier_##_matmul, class, op_name##_matmul.sizes(shape).k);            \
    }                                                                                            \
    const struct assay_kernel op_name##_##tier_##_##suffix = {.op = #op_name,                    \
                                                              .name = #tier_ "-" label,          \
                                                              .tier = #tier_,                    \
                                                              .numerics = numerics_,             \
                                                              .depth = op_name##_depth_##suffix, \
                                                              .scratch_bytes =                   \
                                                                  op_name##_scratch_##suffix,    \
                                                              .run = op_name##_run_##suffix,     \
                                                              __VA_ARGS__};

/* A kernel for native weights and one for packed ones. */
#define MATMUL_INTEGER_CLASS(tier, op_name, class_name, CLASS)                           \
    MATMUL_KERNEL(tier, op_name, class_name, #class_name, MATMUL_##CLASS, ASSAY_##CLASS, \
                  .twin = 1)                                                             \
    MATMUL_KERNEL(tier, op_name, class_name##_packed, #class_name "-packed",             \
                  MATMUL_##CLASS##_PACKED, ASSAY_##CLASS, .twin = 1,                     \
                  .prepared_bytes = op_name##_prepared_bytes, .prepare = op_name##_prepare)

#define MATMUL_INTEGER_KERNELS(tier, op_name)                                                     \
    static int64_t op_name##_prepared_bytes(const void *shape)                                    \
    {                                                                                             \
        return matmul_prepared_bytes(&op_name##_matmul, shape);                                   \
    }                                                                                             \
    static void op_name##_prepare(const void *shape, const void *args, void *packed, int threads) \
    {                                                                                             \
        matmul_prepare(&tier##_matmul, &op_name##_matmul, shape, args, packed, threads);          \
    }                                                                                             \
    MATMUL_INTEGER_CLASS(tier, op_name, i8, I8)                                                   \
    MATMUL_INTEGER_CLASS(tier, op_name, i16, I16)                                                 \
    MATMUL_INTEGER_CLASS(tier, op_name, i24, I24)

#endif
