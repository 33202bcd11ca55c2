/* SPDX-License-Identifier: MIT */
/*
 * The kernel ABI: how an implementation of an op is described and called.
 *
 * Everything here is a plain C layout, so that a kernel may come from C, C++ or Rust. A kernel
 * library exports one function, `assay_kernels`, that returns its table.
 *
 * An op (`ref/<op>.h`) defines a shape struct, whose members are all int64_t, and an args struct,
 * whose members are all pointers. A kernel gets both, plus what it asked for by size: `prepared`
 * (packed weights, made once) and `scratch` (working memory; undefined at entry). It allocates
 * nothing and keeps no state between calls.
 *
 * The caller's floating-point mode is that of a C program: rounding to nearest, ties to even,
 * exceptions masked. Flushing of subnormals, in and out, may be on or off. A kernel leaves the mode as
 * it found it; in other rounding modes nothing is promised.
 */
#ifndef ASSAY_REF_KERNEL_H
#define ASSAY_REF_KERNEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ASSAY_ABI_VERSION 1

/* `prepared` and `scratch` start at a multiple of this many bytes, and it may be of no more. */
#define ASSAY_BUFFER_ALIGN 64

/* What arithmetic a kernel promises; it decides how the kernel is judged. */
enum assay_numerics {
    ASSAY_BITS, /* the reference's bits */
    ASSAY_F32,  /* f32 arithmetic, any order, FMA allowed */
    ASSAY_I8,   /* activations quantized to int8 per 256, see ref/activation_i8.h */
    ASSAY_F16,  /* weights and activations rounded to f16, then as ASSAY_F32 */
    ASSAY_I16,  /* as ASSAY_I8, with two int8 digits an activation */
    ASSAY_I24,  /* with three */
    ASSAY_NUMERICS_COUNT
};

struct assay_kernel {
    const char *op;
    const char *name;  /* unique within its op and library, e.g. "avx2-i8"; see below */
    const char *tier;  /* "ref", "avx2", ...: what the CPU must have; other words are not checked */
    uint32_t numerics; /* enum assay_numerics */
    uint32_t twin;     /* 1: promises the bits of the class's scalar twin in ref/ */

    /* Roundings on the longest path from an input to an output; NULL for class bits. */
    int64_t (*depth)(const void *shape);
    /* Why the kernel cannot run a legal shape, or NULL. May itself be NULL: it runs them all. */
    const char *(*unsupported)(const void *shape);

    /* Weight packing, done once at load by an engine. Both NULL, or both set. `prepare` gets
     * only the op's weights, `run` then all but them; the other pointers are NULL. */
    int64_t (*prepared_bytes)(const void *shape);
    void (*prepare)(const void *shape, const void *args, void *prepared, int threads);

    /* NULL: no scratch. */
    int64_t (*scratch_bytes)(const void *shape, int threads);

    /* Returns NULL, or the rule that the call broke; then no output was written.
     * threads >= 1 is an upper limit; the outputs' bits do not depend on it. */
    const char *(*run)(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads);
};

/* Names and tiers are 1 to 64 printable ASCII characters, none a space, a quote or a backslash. */
struct assay_kernels {
    uint32_t abi_version; /* ASSAY_ABI_VERSION */
    uint32_t count;
    const char *library; /* its name, perhaps with a version, e.g. "mine-1.2"; NULL: the file's */
    const struct assay_kernel *const *kernels;
};

typedef const struct assay_kernels *assay_kernels_fn(void);

#ifdef __cplusplus
}
#endif

#endif
