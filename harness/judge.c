/* SPDX-License-Identifier: MIT */
#include "harness/judge.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/statistics.h"
#include "ref/f16.h"

#define U        0x1p-24
#define I8_STEPS 254.0 /* half steps of a digit in amax: error <= amax / 254 */

/* Outputs that the test of the mean square needs, and rows that the t test of their means needs. */
#define MIN_OUTPUTS 32
#define MIN_ROWS    8
/* Share of outputs that must tell a wrong kernel from a right one. */
#define MIN_TELLING 0.1

const char *const layer_names[LAYERS] = {
    "bits",        "bound",    "twin",   "statistics",  "non-finite", "writes", "again",
    "FTZ and DAZ", "property", "canary", "float state", "crash",      "time",   "refusal",
};

double judge_tolerance(const struct assay_expected *expected, enum assay_numerics numerics,
                       int64_t depth)
{
    double gamma = (double)depth * U / (1 - (double)depth * U);
    if (numerics == ASSAY_I8)
        return expected->step / I8_STEPS + 3 * U * expected->step + expected->flushed +
               gamma * (expected->magnitude + expected->reach / I8_STEPS) + expected->slack;
    return gamma * expected->magnitude + expected->slack;
}

/* Floats in the order of their values as integers, -0 next to +0. */
static int64_t ordinal(float x)
{
    uint32_t bits = assay_f32_bits(x);
    int64_t magnitude = bits & 0x7fffffff;
    return bits >> 31 ? -1 - magnitude : magnitude;
}

double ulp_distance(float a, float b)
{
    if (isnan(a) || isnan(b))
        return isnan(a) && isnan(b) ? 0 : INFINITY;
    return fabs((double)(ordinal(a) - ordinal(b)));
}

bool same_bits(float a, float b)
{
    return (isnan(a) && isnan(b)) || assay_f32_bits(a) == assay_f32_bits(b);
}

void judge_say(struct judgement *judgement, enum layer layer, const char *format, ...)
{
    judgement->layers |= 1u << layer;
    if (judgement->reason[0])
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(judgement->reason, sizeof(judgement->reason), format, args);
    va_end(args);
}

bool judge_may_overflow(const struct assay_expected *expected)
{
    return fmax(expected->magnitude, expected->reach) > FLT_MAX / 2.0;
}

double judge_sigma(const struct assay_expected *expected)
{
    return sqrt(expected->step_sq / 12) / 127;
}

/* Running sums of one tensor. */
struct measure {
    bool repeated;       /* the row at hand has the terms of an earlier one */
    double *utilisation; /* of every judged element */
    size_t count;
    double err_sq, value_sq;
    double z_sq;                  /* of all outputs, z = err / sigma */
    double row_mean, row_mean_sq; /* of the rows' mean z */
    size_t z_count, row_count, z_rows, nonfinite;
    size_t telling, apart, pairs;
    int64_t found[LAYERS]; /* elements that each layer finds fault with */
    double worst_rank;     /* largest err / tolerance so far, at least 1 where the twin differs */
};

double judge_allowed(const struct judge_input *in, const struct assay_expected *expected)
{
    bool exact = in->exact && (in->numerics != ASSAY_I8 || in->twin);
    double flush = in->flushing ? expected->flush : 0;
    return flush + (exact ? 0 : judge_tolerance(expected, in->numerics, in->depth));
}

/* What f32 arithmetic leaves in doubt of a value, whoever computes it: a property of the case. */
static double noise_of(const struct assay_expected *expected)
{
    return 2 * U * expected->magnitude + expected->slack;
}

/* The last tenth holds what is just within the tolerance. */
static int bin_of(double utilisation)
{
    return utilisation > 1 ? JUDGE_TENTHS : (int)fmin(utilisation * JUDGE_TENTHS, JUDGE_TENTHS - 1);
}

/* Measures one element with a finite expected value that cannot overflow; returns err / tolerance
 * and adds err / sigma to *z. */
static double measure_element(const struct judge_input *in, int64_t row, int64_t i, float got,
                              struct measure *m, struct judgement *judgement, double *z)
{
    const struct assay_expected *expected = &in->expected[row * in->n_columns + i];
    double err = (double)got - expected->value;
    double sigma = judge_sigma(expected);
    if (sigma > 0 && !m->repeated) {
        *z += err / sigma;
        m->z_sq += err / sigma * (err / sigma);
        m->z_count++;
        m->row_count++;
    }
    m->err_sq += err * err;
    m->value_sq += fmax(expected->value * expected->value, expected->parts_sq);
    judgement->max_ulp = fmax(judgement->max_ulp, ulp_distance(got, (float)expected->value));
    m->telling += fabs(expected->value) > noise_of(expected);
    if (i > 0) {
        m->pairs++;
        m->apart += fabs(expected->value - expected[-1].value) > noise_of(expected);
    }
    double utilisation = err == 0 ? 0 : fabs(err) / judge_allowed(in, expected);
    if (!isfinite(got))
        utilisation = INFINITY;
    m->utilisation[m->count++] = utilisation;
    judgement->histogram[bin_of(utilisation)]++;
    return utilisation;
}

/* What is wrong with one element: bits of layers. *utilisation: err / tolerance, infinite where no
 * tolerance helps. */
static uint32_t measure_any(const struct judge_input *in, int64_t row, int64_t i, float got,
                            struct measure *m, struct judgement *judgement, double *z,
                            double *utilisation)
{
    const struct assay_expected *expected = &in->expected[row * in->n_columns + i];
    uint32_t layers = 0;
    *utilisation = 0;
    if (!isfinite(expected->value)) {
        m->nonfinite++;
        if (isfinite(got)) {
            *utilisation = INFINITY;
            layers |= 1u << LAYER_NONFINITE;
        }
    } else if (judge_may_overflow(expected)) {
        judgement->excused++;
    } else {
        *utilisation = measure_element(in, row, i, got, m, judgement, z);
        if (*utilisation > 1)
            layers |= 1u << LAYER_BOUND;
    }
    if (in->twin && !same_bits(got, in->twin[row * in->n_columns + i]))
        layers |= 1u << LAYER_TWIN;
    return layers;
}

/* Whether an earlier row has the same terms, as those of an expert that a token selects twice: its
 * errors are no new evidence. */
static bool repeats(const struct judge_input *in, int64_t row)
{
    const struct assay_expected *own = &in->expected[row * in->n_columns];
    for (int64_t earlier = 0; earlier < row; earlier++) {
        const struct assay_expected *other = &in->expected[earlier * in->n_columns];
        if (!other->untouched && other->value == own->value && other->step_sq == own->step_sq)
            return true;
    }
    return false;
}

static void measure_row(const struct judge_input *in, const char *tensor, int64_t row,
                        struct measure *m, struct judgement *judgement)
{
    double z = 0;
    m->row_count = 0;
    m->repeated = in->statistical && in->numerics == ASSAY_I8 && repeats(in, row);
    for (int64_t i = 0; i < in->n_columns; i++) {
        const struct assay_expected *expected = &in->expected[row * in->n_columns + i];
        float got = in->got[row * in->columns + in->judged_columns[i]];
        if (expected->untouched)
            continue;
        judgement->judged++;
        double utilisation;
        uint32_t layers = measure_any(in, row, i, got, m, judgement, &z, &utilisation);
        if (in->wrong)
            in->wrong[row * in->n_columns + i] = layers != 0;
        judgement->bad += layers != 0;
        for (int layer = 0; layer < LAYERS; layer++)
            m->found[layer] += layers >> layer & 1;
        double rank = layers ? fmax(utilisation, 1) : utilisation;
        if (rank > m->worst_rank) {
            m->worst_rank = rank;
            int64_t column = in->judged_columns[i];
            bool bound = layers != 1u << LAYER_TWIN;
            judgement->worst = (struct worst){
                .tensor = tensor,
                .row = row,
                .column = column,
                .got = (double)got,
                .expected = bound ? expected->value : (double)in->twin[row * in->n_columns + i],
                .tolerance = bound ? judge_allowed(in, expected) : 0};
        }
    }
    if (m->row_count == 0)
        return;
    double mean = z / (double)m->row_count;
    m->z_rows++;
    m->row_mean += mean;
    m->row_mean_sq += mean * mean;
}

static void test_f32(const struct judge_input *in, const struct measure *m,
                     struct judgement *judgement)
{
    double limit = fmax(JUDGE_MAX_NMSE_F32, (double)in->depth * U * U);
    if (m->value_sq > 0 && judgement->nmse > limit)
        judge_say(judgement, LAYER_STATISTICS, "NMSE %.2g is above %.2g", judgement->nmse, limit);
}

static void test_i8(const struct judge_input *in, const struct measure *m,
                    struct judgement *judgement)
{
    if (m->z_count < MIN_OUTPUTS)
        return;
    double outputs = (double)m->z_count;
    double share = outputs / (double)(in->rows * in->n_columns); /* of rows that have errors */
    double freedom = 1 / (1 / outputs + 3.2 / (share * (double)in->activations));
    struct interval allowed = mean_square_interval(freedom, JUDGE_ALPHA);
    judgement->z_mean_square = m->z_sq / outputs;
    /* Without the twin's promise the steps may be finer, and the errors smaller. */
    double low = in->twin ? allowed.low : 0;
    if (!(judgement->z_mean_square >= low && judgement->z_mean_square <= allowed.high))
        judge_say(judgement, LAYER_STATISTICS,
                  "mean square error is %.3g of what rounding to int8 gives, outside %.3g..%.3g",
                  judgement->z_mean_square, low, allowed.high);
    if (m->z_rows < MIN_ROWS)
        return;
    double rows = (double)m->z_rows, mean = m->row_mean / rows;
    judgement->z_mean = mean;
    double deviation = sqrt(fmax(0, m->row_mean_sq / rows - mean * mean) * rows / (rows - 1));
    allowed = mean_interval(m->z_rows, deviation, JUDGE_ALPHA);
    if (!(mean >= allowed.low && mean <= allowed.high))
        judge_say(judgement, LAYER_STATISTICS, "errors are biased: mean %.3g sigma, outside +-%.3g",
                  mean, allowed.high);
}

static void say_found(const struct measure *m, const char *tensor, int64_t judged,
                      struct judgement *judgement)
{
    static const struct {
        enum layer layer;
        const char *one, *many;
    } sentences[] = {
        {LAYER_NONFINITE, "is finite where an input is not", "are finite where an input is not"},
        {LAYER_BOUND, "is out of tolerance", "are out of tolerance"},
        {LAYER_TWIN, "differs from the scalar twin of the class",
         "differ from the scalar twin of the class"},
    };
    for (size_t i = 0; i < sizeof(sentences) / sizeof(*sentences); i++) {
        int64_t found = m->found[sentences[i].layer];
        if (found > 0)
            judge_say(judgement, sentences[i].layer, "%lld of %lld judged elements of %s %s",
                      (long long)found, (long long)judged, tensor,
                      found == 1 ? sentences[i].one : sentences[i].many);
    }
}

static void finish(const struct judge_input *in, struct measure *m, struct judgement *judgement)
{
    if (m->nonfinite > 0) /* a kernel that is finite there would be seen */
        judgement->telling = true;
    if (m->count == 0)
        return;
    sort_samples(m->utilisation, m->count);
    judgement->utilisation = m->utilisation[m->count - 1];
    judgement->utilisation_median = quantile(m->utilisation, m->count, 0.5);
    judgement->utilisation_p99 = quantile(m->utilisation, m->count, 0.99);
    if (isnan(judgement->utilisation_p99)) /* between a finite and an infinite one */
        judgement->utilisation_p99 = INFINITY;
    judgement->nmse = m->value_sq > 0 ? m->err_sq / m->value_sq : 0;
    double enough = MIN_TELLING * (double)m->count;
    if ((double)m->telling > enough &&
        (m->pairs == 0 || (double)m->apart > MIN_TELLING * (double)m->pairs))
        judgement->telling = true;
    if (in->statistical && (in->numerics == ASSAY_F32 || in->numerics == ASSAY_F16))
        test_f32(in, m, judgement);
    if (in->statistical && in->numerics == ASSAY_I8)
        test_i8(in, m, judgement);
}

bool judge_real(const struct judge_input *in, const char *tensor, struct judgement *judgement,
                struct error *error)
{
    size_t count = (size_t)(in->rows * in->n_columns);
    struct measure m = {
        .utilisation = malloc((count + 1) * sizeof(double)),
    };
    if (!m.utilisation)
        return fail(error, "out of memory");
    judgement->z_mean = judgement->z_mean_square = NAN;
    int64_t before = judgement->judged;
    for (int64_t row = 0; row < in->rows; row++)
        measure_row(in, tensor, row, &m, judgement);
    say_found(&m, tensor, judgement->judged - before, judgement);
    finish(in, &m, judgement);
    free(m.utilisation);
    return true;
}

bool elements_equal(const struct assay_tensor *tensor, const void *expected, const void *got,
                    int64_t i)
{
    if (tensor->dtype == ASSAY_DTYPE_F32)
        return same_bits(((const float *)expected)[i], ((const float *)got)[i]);
    switch (assay_dtype_bytes(tensor->dtype)) {
    case 1: return ((const uint8_t *)expected)[i] == ((const uint8_t *)got)[i];
    case 2: return ((const uint16_t *)expected)[i] == ((const uint16_t *)got)[i];
    default: return ((const uint32_t *)expected)[i] == ((const uint32_t *)got)[i];
    }
}

double element_value(const struct assay_tensor *tensor, const void *data, int64_t i)
{
    switch (tensor->dtype) {
    case ASSAY_DTYPE_U8: return ((const uint8_t *)data)[i];
    case ASSAY_DTYPE_U16: return ((const uint16_t *)data)[i];
    case ASSAY_DTYPE_U32: return ((const uint32_t *)data)[i];
    case ASSAY_DTYPE_I32: return ((const int32_t *)data)[i];
    case ASSAY_DTYPE_I8: return ((const int8_t *)data)[i];
    case ASSAY_DTYPE_I16: return ((const int16_t *)data)[i];
    default: return (double)((const float *)data)[i];
    }
}

void judge_bits(const struct assay_tensor *tensor, int64_t rows, int64_t columns,
                const void *expected, const void *got, struct judgement *judgement)
{
    int64_t bad = 0;
    for (int64_t i = 0; i < rows * columns; i++) {
        double value = element_value(tensor, expected, i);
        if (i > 0 && !isnan(value) && value != element_value(tensor, expected, i - 1))
            judgement->telling = true;
        if (elements_equal(tensor, expected, got, i))
            continue;
        if (judgement->bad == 0)
            judgement->worst = (struct worst){.tensor = tensor->name,
                                              .row = i / columns,
                                              .column = i % columns,
                                              .got = element_value(tensor, got, i),
                                              .expected = element_value(tensor, expected, i)};
        if (tensor->dtype == ASSAY_DTYPE_F32)
            judgement->max_ulp = fmax(judgement->max_ulp, ulp_distance(((const float *)expected)[i],
                                                                       ((const float *)got)[i]));
        judgement->bad++;
        bad++;
    }
    judgement->judged += rows * columns;
    if (bad > 0)
        judge_say(judgement, LAYER_BITS, "%lld of %lld elements of %s %s from the reference",
                  (long long)bad, (long long)(rows * columns), tensor->name,
                  bad == 1 ? "differs" : "differ");
}
