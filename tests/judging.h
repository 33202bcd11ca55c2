/* SPDX-License-Identifier: MIT */
/* What the tests of harness/judge.h share. */
#ifndef ASSAY_TESTS_JUDGING_H
#define ASSAY_TESTS_JUDGING_H

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/judge.h"
#include "tests/cunit_main.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

#define SAID(judgement, text) CU_ASSERT_STRING_EQUAL((judgement).reason, text)

/* The layers that found fault, and no others. */
#define FOUND(judgement, bits) CU_ASSERT_EQUAL((judgement).layers, bits)
#define BIT(layer)             (1u << LAYER_##layer)

enum { ROW = 4 };

/* Four outputs 1, 2, 3, 4, each with the tolerance 0.25 in every class, and what is got. */
struct row {
    struct assay_expected expected[ROW];
    float got[ROW], twin[ROW];
    struct judge_input in;
};

static const int64_t first_columns[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
                                        11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
                                        22, 23, 24, 25, 26, 27, 28, 29, 30, 31};

static inline bool near(double got, double wanted, double relative)
{
    return fabs(got - wanted) <= relative * fabs(wanted);
}

static inline void row_set(struct row *row, enum assay_numerics numerics)
{
    *row = (struct row){.in = {.numerics = numerics,
                               .activations = 256,
                               .rows = 1,
                               .columns = ROW,
                               .n_columns = ROW,
                               .judged_columns = first_columns,
                               .expected = row->expected,
                               .got = row->got}};
    for (int i = 0; i < ROW; i++) {
        row->expected[i] = (struct assay_expected){.value = i + 1, .magnitude = 1, .slack = 0.25};
        row->got[i] = row->twin[i] = (float)(i + 1);
    }
}

static inline struct judgement judge(const struct judge_input *in)
{
    struct judgement judgement = {0};
    struct error error;
    CU_ASSERT_TRUE_FATAL(judge_real(in, "y", &judgement, &error));
    return judgement;
}

#endif
