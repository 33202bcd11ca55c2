/* SPDX-License-Identifier: MIT */
#include "harness/judge.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/statistics.h"
#include "ref/activation_i8.h"

#define U           0x1p-24
/* Magnitudes of two or three digits add up to at most |x| + amax / this. */
#define MORE_DIGITS 126.0

/* Outputs that the test of the mean square needs, and rows that the t test of their means needs. */
#define MIN_OUTPUTS 32
#define MIN_ROWS    8
/* Share of outputs that must tell a wrong kernel from a right one. */
#define MIN_TELLING 0.1

const char *const layer_names[LAYERS] = {
    "bits",        "bound",    "twin",   "statistics",  "outlier", "non-finite", "writes",  "again",
    "FTZ and DAZ", "property", "canary", "float state", "crash",   "time",       "refusal",
};

double judge_tolerance(const struct assay_expected *expected, enum assay_numerics numerics,
                       int64_t depth)
{
    double gamma = (double)depth * U / (1 - (double)depth * U);
    int digits = assay_digits(numerics);
    if (digits > 0) {
        double half_steps = 2 * (double)activation_top(digits); /* in amax */
        double more = digits == 1 ? half_steps : MORE_DIGITS;
        return expected->step / half_steps + 3 * U * expected->step + expected->flushed +
               gamma * (expected->magnitude + expected->reach / more) + expected->slack;
    }
    return gamma * expected->magnitude + expected->slack;
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

/* The part of the variance that rounding to digits causes. */
static double digits_variance(const struct assay_expected *expected, enum assay_numerics numerics)
{
    double steps = (double)activation_top(assay_digits(numerics));
    return expected->step_sq / (12 * steps * steps);
}

double judge_sigma(const struct assay_expected *expected, enum assay_numerics numerics,
                   int64_t depth)
{
    double sums = fmax(expected->value * expected->value, expected->terms_sq);
    return sqrt(digits_variance(expected, numerics) + (double)depth * U * U / 6 * sums);
}

/* Running sums of one tensor. */
struct measure {
    bool repeated;       /* the row at hand has the terms of an earlier one */
    double *utilisation; /* of every judged element */
    size_t count;
    double err_sq, value_sq, scale_sq;
    double z_sq, z_max;           /* of all outputs, z = err / sigma */
    double digits_share;          /* of sigma^2, the part of rounding to digits */
    double row_mean, row_mean_sq; /* of the rows' mean z */
    size_t z_count, row_count, z_rows, nonfinite;
    size_t telling, apart, pairs;
    int64_t found[LAYERS]; /* elements that each layer finds fault with */
    double worst_rank;     /* largest err / tolerance so far, at least 1 where the twin differs */
};

double judge_allowed(const struct judge_input *in, const struct assay_expected *expected)
{
    int digits = assay_digits(in->numerics); /* more than one never divide amax by a power of 2 */
    bool exact = in->exact && (digits == 0 || (digits == 1 && in->twin));
    double flush = in->flushing ? expected->flush : 0;
    return flush + (exact ? 0 : judge_tolerance(expected, in->numerics, in->depth));
}

/* Whether it is known how far off roundings alone bring an output. */
static bool seeks_outliers(const struct judge_input *in)
{
    return in->independent && assay_digits(in->numerics) > 0;
}

double judge_likely(const struct judge_input *in, const struct assay_expected *expected)
{
    double count = (double)(in->rows * in->n_columns);
    double half_steps = 2 * (double)activation_top(assay_digits(in->numerics)); /* in amax */
    double rounding =
        rare_deviation(count, JUDGE_ALPHA) * sqrt(digits_variance(expected, in->numerics));
    double spared = fmax(0, expected->step / half_steps - rounding);
    return judge_allowed(in, expected) - spared;
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
    bool integers = in->statistical && assay_digits(in->numerics) > 0 && expected->step_sq > 0;
    if (integers && !m->repeated) {
        double sigma = judge_sigma(expected, in->numerics, in->depth);
        *z += err / sigma;
        m->z_sq += err / sigma * (err / sigma);
        m->z_max = fmax(m->z_max, fabs(err / sigma));
        m->digits_share += digits_variance(expected, in->numerics) / (sigma * sigma);
        m->z_count++;
        m->row_count++;
    }
    m->err_sq += err * err;
    m->value_sq += expected->value * expected->value;
    m->scale_sq += fmax(expected->value * expected->value, expected->terms_sq);
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

/* What is wrong with one element: bits of layers. *utilisation: err / tolerance, of an outlier by
 * its own measure, infinite where no tolerance helps. */
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
        double err = fabs((double)got - expected->value);
        if (*utilisation > 1) {
            layers |= 1u << LAYER_BOUND;
        } else if (seeks_outliers(in) && err > judge_likely(in, expected)) {
            layers |= 1u << LAYER_OUTLIER;
            *utilisation = err / judge_likely(in, expected);
        }
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
    m->repeated = in->statistical && assay_digits(in->numerics) > 0 && repeats(in, row);
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
            bool twin = layers == 1u << LAYER_TWIN;
            double tolerance = layers & 1u << LAYER_OUTLIER ? judge_likely(in, expected)
                                                            : judge_allowed(in, expected);
            judgement->worst = (struct worst){
                .tensor = tensor,
                .row = row,
                .column = column,
                .got = (double)got,
                .expected = twin ? (double)in->twin[row * in->n_columns + i] : expected->value,
                .tolerance = twin ? 0 : tolerance};
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
    double found = m->scale_sq > 0 ? m->err_sq / m->scale_sq : 0;
    if (found > limit)
        judge_say(judgement, LAYER_STATISTICS, "NMSE %.2g is above %.2g", found, limit);
}

static void test_integer(const struct judge_input *in, const struct measure *m,
                         struct judgement *judgement)
{
    if (m->z_count < MIN_OUTPUTS)
        return;
    double outputs = (double)m->z_count;
    double share = outputs / (double)(in->rows * in->n_columns); /* of rows that have errors */
    double freedom = 1 / (1 / outputs + 3.2 / (share * (double)in->activations));
    struct interval allowed = mean_square_interval(freedom, JUDGE_ALPHA);
    judgement->z_mean_square = m->z_sq / outputs;
    /* Without the twin's promise the steps may be finer, and the errors smaller. The part of the
     * sums in f32 is an upper estimate. */
    double low = in->twin ? allowed.low * m->digits_share / outputs : 0;
    if (!(judgement->z_mean_square >= low && judgement->z_mean_square <= allowed.high))
        judge_say(judgement, LAYER_STATISTICS,
                  "mean square error is %.3g of what rounding to digits gives, outside %.3g..%.3g",
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
        {LAYER_OUTLIER, "is off by more than rounding the activations explains",
         "are off by more than rounding the activations explains"},
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
    judgement->z_max = seeks_outliers(in) && m->z_count > 0 ? m->z_max : NAN;
    judgement->nmse = m->value_sq > 0 ? m->err_sq / m->value_sq : 0;
    double enough = MIN_TELLING * (double)m->count;
    if ((double)m->telling > enough &&
        (m->pairs == 0 || (double)m->apart > MIN_TELLING * (double)m->pairs))
        judgement->telling = true;
    if (in->statistical && (in->numerics == ASSAY_F32 || in->numerics == ASSAY_F16))
        test_f32(in, m, judgement);
    if (in->statistical && assay_digits(in->numerics) > 0)
        test_integer(in, m, judgement);
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
    judgement->z_mean = judgement->z_mean_square = judgement->z_max = NAN;
    int64_t before = judgement->judged;
    for (int64_t row = 0; row < in->rows; row++)
        measure_row(in, tensor, row, &m, judgement);
    say_found(&m, tensor, judgement->judged - before, judgement);
    finish(in, &m, judgement);
    free(m.utilisation);
    return true;
}
