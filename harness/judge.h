/* SPDX-License-Identifier: MIT */
/*
 * Judging: how far outputs are from what is expected (measure), and whether that is allowed
 * (judge). Knows classes, not ops.
 *
 * Notation: u = 2^-24; D the kernel's declared depth; gamma = D*u / (1 - D*u); per output the
 * oracle's sums of struct assay_expected (ref/op.h). An output is within tolerance if
 *
 *   f32  |err| <= gamma * magnitude + slack
 *   f16  the same, of sums over weights and activations that are rounded to f16
 *   i8   |err| <= step/254 + 3*u*step + flushed + gamma * (magnitude + reach/254) + slack
 *   i16  |err| <= step/65276 + 3*u*step + flushed + gamma * (magnitude + reach/126) + slack
 *   i24  |err| <= step/16710000 + 3*u*step + flushed + gamma * (magnitude + reach/126) + slack
 *
 * f32: each term |w*x| passes at most D roundings, whatever the order of summation (Higham,
 * Accuracy and Stability, 2nd ed., 3.1); magnitude counts both parts of w = d*sc*q - dmin*m, since
 * kernels may sum them apart. i8: rounding to a digit moves x by at most half a step amax/254, its
 * own arithmetic (1/amax, the product, the scale) by 3*u*amax; the sums then run over the quantized
 * activations, whose magnitude is at most reach/254 larger. i16, i24: the same with the finer half
 * step; digits of one activation may have opposite signs, and their magnitudes add up to at most
 * amax/126 more than the activation's.
 *
 * On fill `model`, activations are independent and symmetric, and so are the errors of rounding
 * them. With top = 127, 32638 or 8355000, step/(2*top) is then no more than t * sigma_digits,
 * sigma_digits^2 = step_sq / (12*top^2), t^2 = 2 * ln(2 * outputs / 1e-9), but for a chance of 1e-9:
 * what roundings do that do not conspire. One output among many that is further off is seen by
 * this, where weights come from a file, too.
 *
 * Beside the bounds, on fill `model`: classes f32 and f16 must reach NMSE <= max(1e-11, D*u^2),
 * relative to the values' squares or, where larger, to terms_sq; for the integer classes the error
 * of an output is close to normal with
 *
 *   sigma^2 = sigma_digits^2 + D*u^2/6 * max(value^2, terms_sq)
 *
 * so z = err / sigma has mean square 1 and mean 0. The second part, of the sums in f32, matters for
 * i24 alone and is an upper estimate. The mean square must lie in its chi-square interval, whose
 * lower end is taken times the first part's share, without the twin's promise just not above it, the
 * means of z over outputs, row by row, in their t interval, at 1e-9 each. Errors of a row
 * share its activations, so their effective number is 1 / (1/outputs + 3.2/activations): the
 * variance of a squared uniform error is 0.8 of its mean squared, against 2 for a normal one, and
 * the few blocks with a large channel, an eighth or more, carry the sum.
 *
 * On fill `exact`: tolerance 0 (zeros of either sign are equal), except for i8 without the twin and
 * for i16 and i24, whose steps are no powers of two.
 * A kernel that promises the twin must have its bits everywhere. A value that is not finite must
 * come out so. An output whose magnitude or reach passes FLT_MAX/2 may overflow and is excused.
 *
 * A case is telling if more than a tenth of its values, and of the differences between neighbours
 * in a row, exceed 2*u * magnitude + slack, and the former's magnitude exceeds their tolerance:
 * neither zeros nor one value for all would be right, and results of the same terms can be out of
 * tolerance.
 */
#ifndef ASSAY_HARNESS_JUDGE_H
#define ASSAY_HARNESS_JUDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "harness/error.h"
#include "ref/op.h"

#define JUDGE_MAX_NMSE_F32 1e-11
#define JUDGE_ALPHA        1e-9

/* What can find fault with a kernel. */
enum layer {
    LAYER_BITS,        /* differs from the reference's bits */
    LAYER_BOUND,       /* outside the derived bound, or on exact inputs not exact */
    LAYER_TWIN,        /* differs from the scalar twin */
    LAYER_STATISTICS,  /* NMSE, mean square or mean of the errors */
    LAYER_OUTLIER,     /* within the bound, but further off than independent roundings */
    LAYER_NONFINITE,   /* finite where an input is not */
    LAYER_WRITES,      /* poison: written what it must not, or not what it must */
    LAYER_AGAIN,       /* other threads, poison, alignment or reused memory change the bits */
    LAYER_FLUSHING,    /* FTZ and DAZ change the result */
    LAYER_PROPERTY,    /* a relation between two calls */
    LAYER_CANARY,      /* bytes beside a buffer */
    LAYER_FLOAT_STATE, /* MXCSR or x87 control word not restored */
    LAYER_CRASH,       /* guard pages, read-only inputs, signals */
    LAYER_TIME,        /* does not return */
    LAYER_REFUSAL,     /* refuses a legal call */
    LAYERS
};
extern const char *const layer_names[LAYERS];

/* One ASSAY_OUT_REAL tensor of one run, and what is expected of it. Arrays of judged elements are
 * [rows][n_columns]; `got` is the whole tensor, [rows][columns]. */
struct judge_input {
    enum assay_numerics numerics;
    int64_t depth;
    bool exact;          /* the fill is exact: tolerance 0 */
    bool statistical;    /* the fill suits the statistical tests */
    bool independent;    /* the roundings of activations are, and outputs are linear in them */
    bool flushing;       /* MXCSR flushed subnormals: the bound is wider by `flush` */
    int64_t activations; /* different ones that the outputs were computed from */
    int64_t rows, columns, n_columns;
    const int64_t *judged_columns;
    const struct assay_expected *expected;
    const float *twin; /* NULL: none promised */
    const float *got;
    bool *wrong; /* gets which judged elements are bad; may be NULL */
};

/* What an element is shown for. */
enum worst_kind {
    WORST_VALUE,     /* the largest err / tolerance, or the first that differs from the bits */
    WORST_UNWRITTEN, /* the first; got is NAN, and expected if it is not known */
    WORST_FORBIDDEN, /* the first written against the contract; expected is NAN */
    WORST_UNSTEADY,  /* the first; got in a later call what in the first was expected */
};

struct worst {
    const char *tensor; /* NULL: no element is to be shown */
    int64_t row, column;
    double got, expected, tolerance;
    enum worst_kind kind;
};

/* Tenths of the tolerance, and what is above it. */
enum { JUDGE_TENTHS = 10, JUDGE_BINS = JUDGE_TENTHS + 1 };

struct judgement {
    int64_t judged, excused, bad;
    int64_t histogram[JUDGE_BINS]; /* of err / tolerance, of the real elements with a tolerance */
    double utilisation;            /* largest err / tolerance; 0 where tolerance is 0 and met */
    double utilisation_median, utilisation_p99;
    double nmse;
    double max_ulp;
    double z_mean_square, z_mean, z_max; /* NAN: not tested */
    int64_t tie_swaps;
    bool telling; /* outputs are not all zero or alike, nor as small as what is tolerated anyway */
    struct worst worst;
    uint32_t layers;       /* bits of those that found fault */
    char reason[256];      /* what the first of them says; empty: nothing wrong */
    char explanation[512]; /* where the wrong elements cluster; empty: not known */
};

double judge_tolerance(const struct assay_expected *expected, enum assay_numerics numerics,
                       int64_t depth);

/* The error that judge_real allows an element: 0 where exact, more where flushing. */
double judge_allowed(const struct judge_input *input, const struct assay_expected *expected);

/* No more than that: the error beyond which, of class i8 and where roundings are independent, an
 * element of so many is but for a chance of JUDGE_ALPHA. */
double judge_likely(const struct judge_input *input, const struct assay_expected *expected);

/* Whether it may overflow on the way, and is excused. */
bool judge_may_overflow(const struct assay_expected *expected);

/* Standard deviation of the error of an integer class, on fill `model`. */
double judge_sigma(const struct assay_expected *expected, enum assay_numerics numerics,
                   int64_t depth);

/* Distance of two floats in units in the last place; NaNs are equal, +0 and -0 are apart by 1. */
double ulp_distance(float a, float b);

/* Bitwise equality in which any NaN equals any NaN. */
bool same_bits(float a, float b);

/* Adds to `judgement`, which starts zeroed. False: out of memory. */
bool judge_real(const struct judge_input *input, const char *tensor, struct judgement *judgement,
                struct error *error);

double element_value(const struct assay_tensor *tensor, const void *data, int64_t i);

/* Whether element i has the same bits in both, any NaN being equal to any NaN. */
bool elements_equal(const struct assay_tensor *tensor, const void *expected, const void *got,
                    int64_t i);

/* Compares whole tensors of any type, 0 ULP. */
void judge_bits(const struct assay_tensor *tensor, int64_t rows, int64_t columns,
                const void *expected, const void *got, struct judgement *judgement);

/* Notes that a layer found fault; the first sentence becomes the reason. */
void judge_say(struct judgement *judgement, enum layer layer, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
