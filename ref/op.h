/* SPDX-License-Identifier: MIT */
/*
 * The op descriptor: all that a harness needs to make an op's inputs, call its kernels and judge
 * their outputs, without knowing the op.
 */
#ifndef ASSAY_REF_OP_H
#define ASSAY_REF_OP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ref/kernel.h"

enum { ASSAY_MAX_DIMS = 12, ASSAY_MAX_TENSORS = 8 };

/* The value of an optional dimension that a case leaves out, until `defaults` has set it. */
#define ASSAY_UNSET INT64_MIN

struct assay_dim {
    const char *name;
    int64_t min, max;
    int64_t multiple; /* the value must be a multiple of this */
    bool optional;
};

enum assay_dtype {
    ASSAY_DTYPE_U8,
    ASSAY_DTYPE_I8,
    ASSAY_DTYPE_I16,
    ASSAY_DTYPE_U16, /* bf16, by its bits */
    ASSAY_DTYPE_U32,
    ASSAY_DTYPE_I32,
    ASSAY_DTYPE_F32
};

enum assay_role {
    ASSAY_INPUT,
    ASSAY_WEIGHTS,  /* an input too large to stay in cache between a model's calls */
    ASSAY_OUT_BITS, /* an output compared with the reference's bits */
    ASSAY_OUT_REAL  /* an f32 output judged against the oracle, by the kernel's numerics class */
};

struct assay_tensor {
    const char *name;
    enum assay_dtype dtype;
    enum assay_role role;
    size_t align; /* the alignment that the contract promises, in bytes */
    /* Elements, 0 if this shape has no such tensor (its pointer is NULL), -1 on overflow. */
    int64_t (*count)(const void *shape);
    /* Outputs: elements of a row; count is a multiple. */
    int64_t (*columns)(const void *shape);
};

enum { ASSAY_STORED_DIMS = 4, ASSAY_MAX_STORED = 3 };

/* Of no dimension. */
#define ASSAY_NO_DIM SIZE_MAX

/*
 * How a tensor of a model file serves as an op's weights. The pointer is then that of the file's
 * first byte, and the dimension `offset_dim` says how many bytes after it the tensor is; or, where
 * that is ASSAY_NO_DIM, the tensor's own.
 */
struct assay_stored {
    size_t tensor;    /* an ASSAY_WEIGHTS tensor of the op, of type u8 */
    const char *type; /* that the file must say: "q4_K" */
    size_t offset_dim;
    /* The dimensions of the shape that are those of the file's tensor, fastest first. Its others
     * must be 1; where one stands several times it is their product. */
    size_t n_dims;
    size_t dims[ASSAY_STORED_DIMS];
};

/* The index of a member of an op's shape. */
#define ASSAY_DIM(shape, member) (offsetof(shape, member) / sizeof(int64_t))

enum assay_fill_kind { ASSAY_FILL_EXACT, ASSAY_FILL_MODEL, ASSAY_FILL_EDGE, ASSAY_FILL_COUNT };

enum assay_routing {
    ASSAY_ROUTE_UNIFORM,    /* top_k distinct experts, all equally likely */
    ASSAY_ROUTE_ZIPF,       /* distinct, expert e with weight 1/(e+1)^s */
    ASSAY_ROUTE_ONE_EXPERT, /* every pair to one expert */
    ASSAY_ROUTE_TILE_EDGES, /* counts around tile sizes: 31, 32, 33, 64, 65, 1, 0, 15, 16, 17, ...
                             */
    ASSAY_ROUTE_DUPLICATES, /* an expert may stand in several slots of a token */
    ASSAY_ROUTE_INVALID,    /* uniform, with -1, E and other illegal ids among them */
    ASSAY_ROUTE_ROUTER,     /* as a model's router chooses for model activations */
    ASSAY_ROUTE_COUNT
};

struct assay_fill {
    enum assay_fill_kind kind;
    enum assay_routing routing;
    double zipf; /* exponent s */
    /* ASSAY_ROUTE_ROUTER: the router's matrix [experts, hidden]. */
    const float *router;
    int64_t hidden;
};

/* Names as cases spell them, indexed by the enums. */
extern const char *const assay_fill_names[ASSAY_FILL_COUNT];
extern const char *const assay_routing_names[ASSAY_ROUTE_COUNT];
extern const char *const assay_numerics_names[ASSAY_NUMERICS_COUNT];

/* int8 digits of an activation in an integer class; 0: not one. */
static inline int assay_digits(enum assay_numerics numerics)
{
    switch (numerics) {
    case ASSAY_I8: return 1;
    case ASSAY_I16: return 2;
    case ASSAY_I24: return 3;
    default: return 0;
    }
}

/* A source of reproducible randomness. `start` opens the stream of that name anew; what a stream
 * yields depends on the case, the name and the seed alone. */
struct assay_random {
    void (*start)(struct assay_random *random, const char *stream);
    uint64_t (*bits)(struct assay_random *random);
    double (*gaussian)(struct assay_random *random);   /* mean 0, standard deviation 1 */
    double (*heavy_tail)(struct assay_random *random); /* Student's t with 4 degrees of freedom */
};

/* A number in [0, n), n >= 1; biased by less than n / 2^64. */
static inline int64_t assay_below(struct assay_random *random, int64_t n)
{
    return (int64_t)(random->bits(random) % (uint64_t)n);
}

/*
 * What the oracle says of one element of an ASSAY_OUT_REAL output. Sums run over the inner
 * dimension k, or over super-blocks b of 256; w is the dequantized weight, amax_b the largest
 * |activation| of block b. How tolerances follow from these: harness/judge.h. For class f16, w and x
 * are rounded to f16, magnitude is the sum of |w|*|x|, and what follows it is 0.
 */
struct assay_expected {
    double value; /* the result, computed in double; not finite: the output must not be either */
    double magnitude; /* sum of (|d*sc*q| + |dmin*m|)*|x|: what rounding errors scale with */
    double slack;     /* absolute error that every class is allowed, e.g. where f32 underflows */
    double flush;     /* further error that is allowed where MXCSR flushes subnormals */
    double
        terms_sq; /* sum of ((|d*sc*q| + |dmin*m|)*|x|)^2, what value^2 would be on average if signs
                      * were random; 0: not known */
    /* For the integer classes: */
    double step;    /* sum_b amax_b * sum |w| */
    double step_sq; /* sum_b amax_b^2 * sum w^2 */
    double reach; /* sum_b amax_b * sum (|d*sc*q| + |dmin*m|); class f32: what else may overflow */
    double flushed; /* sum over blocks that count as zero of amax_b * sum |w| */
    bool untouched; /* the contract says that this element is not written */
};

/* Work of one call. Counts only what the contract makes necessary, each byte once: no kernel can do
 * with less, so that a rate above the machine's best is a mistake of the count. */
struct assay_cost {
    double flop;         /* f32 operations, a multiply-add is two; those of `products` among them */
    double products;     /* multiply-adds of a weight and an activation, of int8 in some classes */
    double read_bytes;   /* those of weight_bytes among them */
    double weight_bytes; /* of ASSAY_WEIGHTS tensors */
    double written_bytes;
};

/*
 * A relation between the outputs of two legal calls that needs no reference. Given a call, `reshape`
 * sets the shape of the other, or returns false where the property says nothing; `derive` fills the
 * other's inputs from the first's; after both ran, `broken` returns the first element of the first
 * call's output tensor `*tensor` that breaks the relation, or -1. Pointers are as in the args
 * struct; a call's outputs are poison where it did not write.
 */
struct assay_property {
    const char *name; /* "scaling the activations by 8 scales the outputs by 8" */
    bool (*reshape)(const void *shape, const struct assay_fill *fill, void *other);
    void (*derive)(const void *shape, void *const *tensors, const void *other_shape,
                   void *const *other);
    int64_t (*broken)(const void *shape, void *const *tensors, const void *other_shape,
                      void *const *other, enum assay_numerics numerics, size_t *tensor);
};

/* Where an output element belongs, e.g. {"expert", 5}: for saying where errors cluster. */
struct assay_coordinate {
    const char *name;
    int64_t value;
};

enum { ASSAY_MAX_COORDINATES = 6, ASSAY_MARGIN_BINS = 8 };

struct assay_op {
    const char *name;
    size_t n_dims;
    const struct assay_dim *dims;
    size_t n_tensors;
    const struct assay_tensor *tensors;
    /* Cases have a routing, and the shape has a dimension "experts". If it also has "hidden", a
     * router is of so many, and on fill `model` it routes the case's own activations. */
    bool routed;
    /* The weights that a case may take from a model file, all or none of them; 0: it may not. */
    size_t n_stored;
    const struct assay_stored *stored;

    /* Sets optional dimensions that are ASSAY_UNSET. NULL if there are none. */
    void (*defaults)(void *shape);
    /* The rule between dimensions that a shape breaks, or NULL. May itself be NULL. */
    const char *(*illegal)(const void *shape);
    /* The shape's `exact` fill leaves no room for rounding: tolerance 0. NULL: always so. */
    bool (*exact)(const void *shape);
    /* Fills the inputs; those whose pointer is NULL, and outputs, are left alone. False: out of
     * memory. */
    bool (*fill)(const void *shape, const struct assay_fill *fill, void *const *tensors,
                 struct assay_random *random);
    /* Overwrites with NaN what the contract says is not read, given filled inputs. May be NULL. */
    void (*spoil)(const void *shape, void *const *tensors);
    /* Multiply-adds per output element; the harness samples columns when the total is large. */
    int64_t (*inner)(const void *shape);
    /* Roundings of a kernel that sums serially, where sums feed each other. NULL: `inner`. */
    int64_t (*chain)(const void *shape);
    /* Quantized activations of a call, for the statistics of the integer classes; NULL: none. */
    int64_t (*activations)(const void *shape);

    /* For ASSAY_OUT_REAL tensors: expected[row * n_columns + i] is that of column columns[i].
     * `numerics` is ASSAY_F16, if has_f16, or ASSAY_F32 for all other classes. False: out of
     * memory. */
    bool (*oracle)(const void *shape, void *const *tensors, size_t tensor,
                   enum assay_numerics numerics, const int64_t *columns, int64_t n_columns,
                   struct assay_expected *expected);
    bool has_f16; /* the oracle knows class f16 */
    /* The scalar twin of a numerics class for these columns, laid out as `expected`; returns
     * false if the class has no twin. NULL if no class has one. */
    bool (*twin)(const void *shape, void *const *tensors, size_t tensor,
                 enum assay_numerics numerics, const int64_t *columns, int64_t n_columns,
                 float *out);
    /* Where the contract lets a kernel choose (ties), rewrites the reference's ASSAY_OUT_BITS
     * outputs `expected` into the kernel's choice `got` if that is permitted. Returns how many
     * elements were changed. `oracle` is then called with the outputs in `expected`. */
    int64_t (*reconcile)(const void *shape, void *const *got, void *const *expected);

    struct assay_cost (*cost)(const void *shape, void *const *tensors);

    size_t n_properties;
    const struct assay_property *properties;
    /* The index of the dimension that varies between an engine's calls on the same buffers, e.g. of
     * `tokens`; 0 if there is none (a first dimension never is). */
    size_t batch_dim;
    /* The outputs' bits do not depend on MXCSR's flush bits at entry. */
    bool any_mxcsr;
    /* Zeroes the activations outside block `part` of the inner dimension, to find which blocks a
     * kernel gets wrong; returns false if there is no such block. With tensors NULL it only
     * says so. NULL: the op has no such blocks. */
    bool (*isolate)(const void *shape, void *const *tensors, int64_t part);
    /* Counts how far apart in f32 ULPs the neighbours lie among which the op chooses, by powers of
     * 16: histogram[0] equal, [1] below 1, [2] below 16, ... NULL: it makes no choice. */
    void (*margins)(const void *shape, void *const *tensors, int64_t histogram[ASSAY_MARGIN_BINS]);
    /* The coordinates of an output element, at most ASSAY_MAX_COORDINATES; returns how many. */
    size_t (*locate)(const void *shape, void *const *tensors, size_t tensor, int64_t row,
                     int64_t column, struct assay_coordinate *at);
    /* The naive reference, also the first kernel of the op's list. */
    const struct assay_kernel *reference;
};

extern const struct assay_op *const assay_ops[];
extern const size_t assay_n_ops;

/* NULL if there is none of that name. */
const struct assay_op *assay_find_op(const char *name);

/* The rule that a shape breaks, dimensions' limits first, or NULL if it is legal. `where`, unless
 * NULL, gets the name of the dimension, or NULL where the rule is between several. */
const char *assay_illegal(const struct assay_op *op, const void *shape, const char **where);

size_t assay_dtype_bytes(enum assay_dtype dtype);

/* Products and sums of counts; -1 if an operand is negative or the result overflows. */
int64_t assay_mul(int64_t a, int64_t b);
int64_t assay_add(int64_t a, int64_t b);

#endif
