/* SPDX-License-Identifier: MIT */
/* Judging bit by bit. */
#include <math.h>

#include "harness/judge.h"
#include "ref/f16.h"

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
