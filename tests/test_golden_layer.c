/* SPDX-License-Identifier: MIT */
/* Quantized activations and the parts of an expert layer against values that others computed:
 * tests/golden/README.md. Bits where the class is bits, derived bounds elsewhere. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ref/activation_quantize.h"
#include "ref/moe_weighted_sum.h"
#include "ref/q4_K_dot.h"
#include "ref/silu_mul.h"
#include "tests/golden.h"

#define U 0x1p-24

/* ---- activations ---- */

static const struct rows {
    const char *name;
    int64_t rows, k;
} sets[] = {{"q8k_n256", 12, 256}, {"q8k_n768", 12, 768}, {"q8k_n2048", 8, 2048}};

/* Q8_K, as it lies in the files. */
struct block_q8_K {
    float d;
    int8_t q[256];
    int16_t sums[16];
};

/* What the op gives for a set. */
struct quantized {
    struct activation_quantize_shape shape;
    int8_t *q;
    int16_t *sums;
    float *d;
};

static struct quantized quantize(const struct rows *set, const float *x, int64_t digits,
                                 const struct assay_kernel *kernel)
{
    int64_t n = set->rows * digits * set->k;
    struct quantized out = {
        .shape = {digits, set->rows, set->k},
        .q = buffer(n),
        .sums = buffer(n / 16),
        .d = buffer(n / 64),
    };
    struct activation_quantize_args args = {x, out.q, out.sums, out.d};
    CU_ASSERT_TRUE(call(kernel, &out.shape, &args, 2));
    return out;
}

static void quantized_free(struct quantized *quantized)
{
    free(quantized->q);
    free(quantized->sums);
    free(quantized->d);
}

/* Q8_K scales by the largest activation with its sign, which is that of -d: its digits are ours, or
 * their negatives. d is the inverse of a rounded quotient, ours a rounded quotient. */
static bool same_as_q8_K(const struct block_q8_K *block, const int8_t *q, const int16_t *sums,
                         float d)
{
    int sign = block->d < 0 ? -1 : 1;
    double wanted = fabs((double)block->d);
    bool equal = fabs((double)d - wanted) <= 3 * U * wanted;
    for (int i = 0; i < 256; i++)
        equal = equal && q[i] == sign * block->q[i];
    for (int s = 0; s < 8; s++)
        equal = equal && sums[s] == sign * (block->sums[2 * s] + block->sums[2 * s + 1]);
    return equal;
}

static void test_digits_of_q8_K(void)
{
    for (size_t i = 0; i < COUNT(sets); i++) {
        int64_t blocks = sets[i].rows * sets[i].k / 256;
        float *x = load(sets[i].name, "_x", (size_t)blocks * 1024, NULL);
        struct block_q8_K *wanted = load(sets[i].name, "_blocks", (size_t)blocks * 292, NULL);
        const struct assay_kernel *kernel;
        for (size_t n = 0; (kernel = runnable("activation_quantize", ASSAY_BITS, n)); n++) {
            struct quantized got = quantize(&sets[i], x, 1, kernel);
            int64_t wrong = 0;
            for (int64_t b = 0; b < blocks; b++)
                wrong += !same_as_q8_K(&wanted[b], &got.q[b * 256], &got.sums[b * 8], got.d[b]);
            expect(wrong == 0, kernel, "other digits than Q8_K");
            quantized_free(&got);
        }
        free(wanted);
        free(x);
    }
}

static double largest_of_block(const float *x)
{
    double amax = 0;
    for (int i = 0; i < 256; i++)
        amax = fmax(amax, fabs((double)x[i]));
    return amax;
}

/* The largest distance of a rebuilt activation from its own, as a part of half a step and the three
 * roundings of quotient, product and scale. */
static double distance(const struct rows *set, const float *x, const struct quantized *got)
{
    static const double tops[] = {127, 32638, 8355000};
    int64_t digits = got->shape.digits, blocks = set->k / 256;
    double used = 0;
    for (int64_t i = 0; i < set->rows * set->k; i++) {
        int64_t row = i / set->k, column = i % set->k;
        double amax = largest_of_block(&x[i / 256 * 256]), sum = 0;
        for (int64_t j = 0; j < digits; j++) {
            int64_t token = row * digits + j;
            sum += (double)got->d[token * blocks + column / 256] * got->q[token * set->k + column];
        }
        if (amax > 0)
            used = fmax(used,
                        fabs(sum - (double)x[i]) / (amax / (2 * tops[digits - 1]) + 3 * U * amax));
        else
            CU_ASSERT_EQUAL(sum, 0);
    }
    return used;
}

static void test_half_a_step(void)
{
    for (size_t i = 0; i < COUNT(sets); i++) {
        float *x = load(sets[i].name, "_x", (size_t)(sets[i].rows * sets[i].k) * 4, NULL);
        const struct assay_kernel *kernel;
        for (size_t n = 0; (kernel = runnable("activation_quantize", ASSAY_BITS, n)); n++) {
            for (int digits = 1; digits <= 3; digits++) {
                struct quantized got = quantize(&sets[i], x, digits, kernel);
                char what[64];
                snprintf(what, sizeof(what), "%s_x in %d digits", sets[i].name, digits);
                report_utilisation(kernel, what, distance(&sets[i], x, &got));
                quantized_free(&got);
            }
        }
        free(x);
    }
}

/* amax makes the step 1, so that Q is the activation; its digits by hand. */
static void test_digits_by_hand(void)
{
    static const struct {
        int digits;
        float x;
        int q[3];
    } table[] = {
        {1, 127, {127}},
        {1, -127, {-127}},
        {1, 2.5f, {2}},
        {2, 32638, {127, 126}},
        {2, -32638, {-127, -126}},
        {2, 127, {0, 127}},
        {2, 128, {1, -128}},
        {2, -128, {0, -128}},
        {2, -129, {-1, 127}},
        {2, 127.5f, {1, -128}}, /* a tie: 128 is even */
        {3, 8355000, {127, 125, -72}},
        {3, -8355000, {-127, -125, 72}},
        {3, 32767, {1, -128, -1}},
        {3, -32768, {0, -128, 0}},
        {3, -32769, {0, -128, -1}},
        {3, -32897, {-1, 127, 127}},
        {3, 65535.5f, {1, 0, 0}},
    };
    static const float amax[] = {127, 32638, 8355000};
    const struct rows set = {"by hand", 1, 256};
    const struct assay_kernel *kernel;
    for (size_t n = 0; (kernel = runnable("activation_quantize", ASSAY_BITS, n)); n++) {
        for (size_t i = 0; i < COUNT(table); i++) {
            int digits = table[i].digits;
            float x[256] = {[7] = amax[digits - 1], [200] = table[i].x};
            struct quantized got = quantize(&set, x, digits, kernel);
            bool equal = true;
            for (int j = 0; j < digits; j++)
                equal = equal && got.q[j * 256 + 200] == table[i].q[j] &&
                        got.sums[j * 8 + 6] == table[i].q[j] &&
                        got.d[j] == ldexpf(1, 8 * (digits - 1 - j));
            expect(equal, kernel, "other digits than by hand");
            quantized_free(&got);
        }
    }
}

/* The dot product of Q8_K blocks and weights by the scalar twin of class i8, whose roundings are
 * those of the conversion, two in t and one a super-block. Returns err / bound. */
static double dot_of_blocks(const struct block_q8_K *x, const struct block_q4_K *w, int64_t blocks,
                            double wanted)
{
    double magnitude = 0, depth = (double)blocks + 3;
    float sum = 0;
    for (int64_t b = 0; b < blocks; b++) {
        struct activation_i8 block = {.d = x[b].d};
        memcpy(block.q, x[b].q, sizeof(block.q));
        for (int s = 0; s < 8; s++)
            block.sums[s] = (int16_t)(x[b].sums[2 * s] + x[b].sums[2 * s + 1]);
        sum = q4_K_add_i8(&w[b], &block, sum);
        for (int i = 0; i < 256; i++) {
            double part = (double)q4_K_f16(w[b].d) * q4_K_scale(&w[b], i / 32);
            double min = (double)q4_K_f16(w[b].dmin) * q4_K_min(&w[b], i / 32);
            part = fabs(part * q4_K_nibble(&w[b], i)) + fabs(min);
            magnitude += part * fabs((double)x[b].d * x[b].q[i]);
        }
    }
    double bound = depth * U / (1 - depth * U) * magnitude + (double)blocks * 0x1p-100;
    return fabs((double)sum - wanted) / bound;
}

static void test_dot_of_q8_K(void)
{
    for (size_t i = 0; i < COUNT(sets); i++) {
        int64_t blocks = sets[i].k / 256, rows = sets[i].rows;
        struct block_q8_K *x = load(sets[i].name, "_blocks", (size_t)(rows * blocks) * 292, NULL);
        uint8_t *w = load(sets[i].name, "_w_q4k", (size_t)(rows * blocks) * 144, NULL);
        double *wanted = load(sets[i].name, "_dot_exact", (size_t)rows * sizeof(double), NULL);
        double used = 0;
        for (int64_t r = 0; r < rows; r++)
            used =
                fmax(used, dot_of_blocks(&x[r * blocks], (const struct block_q4_K *)w + r * blocks,
                                         blocks, wanted[r]));
        printf("\n    scalar twin, %s_dot_exact: %.3g of the bound", sets[i].name, used);
        CU_ASSERT_TRUE(used <= 1);
        free(wanted);
        free(w);
        free(x);
    }
}

/* ---- layer ---- */

enum { FFN = 256, HIDDEN = 512, EXPERTS = 8 };

static const struct layer {
    const char *name;
    int64_t tokens, top_k;
} layers[] = {{"moe_dec0_k4", 3, 4}, {"moe_dec1_k2", 2, 2}};

/* Of a value of a file, which is rounded once, and a kernel of this depth. */
static double f32_bound(double magnitude, double value, int64_t depth)
{
    double d = (double)depth;
    return d * U / (1 - d * U) * magnitude + U * fabs(value) + 0x1p-148;
}

/* ref/NUMERICS.md: what the argument of exp loses counts gate * sigmoid(-gate) times. */
static double silu_utilisation(const float *gate, const float *got, const float *wanted, int64_t n,
                               int64_t depth)
{
    double used = 0;
    for (int64_t i = 0; i < n; i++) {
        double g = (double)gate[i], value = (double)wanted[i];
        double argument = 2 * U * fabs(g) / (1 + exp(g)) * fabs(value);
        double bound = f32_bound(fabs(value), value, depth) + argument;
        used = fmax(used, fabs((double)got[i] - value) / bound);
    }
    return used;
}

static void test_silu_mul(void)
{
    for (size_t i = 0; i < COUNT(layers); i++) {
        struct silu_mul_shape shape = {FFN, layers[i].tokens * layers[i].top_k};
        int64_t n = shape.n * shape.rows;
        float *gate = load(layers[i].name, "_gate", (size_t)n * 4, NULL);
        float *up = load(layers[i].name, "_up", (size_t)n * 4, NULL);
        float *wanted = load(layers[i].name, "_h", (size_t)n * 4, NULL), *h = buffer(n * 4);
        struct silu_mul_args args = {gate, up, h};
        const struct assay_kernel *kernel;
        for (size_t k = 0; (kernel = runnable("silu_mul", ASSAY_F32, k)); k++) {
            char file[32];
            memset(h, 0xa5, (size_t)n * 4);
            call(kernel, &shape, &args, 2);
            snprintf(file, sizeof(file), "%s_h", layers[i].name);
            report_utilisation(kernel, file,
                               silu_utilisation(gate, h, wanted, n, kernel->depth(&shape)));
        }
        /* Rounded once as the file is; where double's exp errs, one in many is the next float. */
        silu_mul_elements(gate, up, n, h);
        CU_ASSERT_TRUE(count_different(h, wanted, (size_t)n) * 1000 <= (size_t)n);
        free(gate);
        free(up);
        free(wanted);
        free(h);
    }
}

static double sum_utilisation(const struct layer *layer, const struct moe_weighted_sum_args *a,
                              const float *wanted, int64_t depth)
{
    double used = 0;
    for (int64_t i = 0; i < layer->tokens * HIDDEN; i++) {
        int64_t token = i / HIDDEN;
        double magnitude = 0;
        for (int64_t slot = 0; slot < layer->top_k; slot++) {
            int64_t pair = token * layer->top_k + slot;
            magnitude +=
                fabs((double)a->weights[pair] * (double)a->rows[pair * HIDDEN + i % HIDDEN]);
        }
        double value = (double)wanted[i];
        used = fmax(used, fabs((double)a->out[i] - value) / f32_bound(magnitude, value, depth));
    }
    return used;
}

static void check_weighted_sum(const struct layer *layer, const char *weights_file,
                               const char *y_file)
{
    struct moe_weighted_sum_shape shape = {EXPERTS, layer->top_k, layer->tokens, HIDDEN};
    size_t pairs = (size_t)(layer->tokens * layer->top_k), n = (size_t)layer->tokens * HIDDEN;
    int32_t *ids = load(layer->name, "_ids", pairs * 4, NULL);
    float *weights = load(layer->name, weights_file, pairs * 4, NULL);
    float *down = load(layer->name, "_down", pairs * HIDDEN * 4, NULL);
    float *wanted = load(layer->name, y_file, n * 4, NULL), *y = buffer((int64_t)n * 4);
    struct moe_weighted_sum_args args = {ids, weights, down, y};
    const struct assay_kernel *kernel;
    for (size_t k = 0; (kernel = runnable("moe_weighted_sum", ASSAY_F32, k)); k++) {
        char file[32];
        memset(y, 0xa5, n * 4);
        call(kernel, &shape, &args, 2);
        snprintf(file, sizeof(file), "%s%s", layer->name, y_file);
        report_utilisation(kernel, file,
                           sum_utilisation(layer, &args, wanted, kernel->depth(&shape)));
    }
    call(&moe_weighted_sum_ref, &shape, &args, 1);
    CU_ASSERT_EQUAL(count_different(y, wanted, n), 0);
    free(ids);
    free(weights);
    free(down);
    free(wanted);
    free(y);
}

static void test_weighted_sum(void)
{
    for (size_t i = 0; i < COUNT(layers); i++) {
        check_weighted_sum(&layers[i], "_weights", "_y");
        check_weighted_sum(&layers[i], "_weights_norm", "_y_norm");
    }
}

/* Without a kernel a test would pass unseen. */
static void test_there_are_kernels(void)
{
    CU_ASSERT_PTR_NOT_NULL(runnable("activation_quantize", ASSAY_BITS, 0));
    CU_ASSERT_PTR_NOT_NULL(runnable("silu_mul", ASSAY_F32, 0));
    CU_ASSERT_PTR_NOT_NULL(runnable("moe_weighted_sum", ASSAY_F32, 0));
}

static CU_TestInfo activations[] = {
    {"there are kernels", test_there_are_kernels},
    {"digits of Q8_K", test_digits_of_q8_K},
    {"half a step", test_half_a_step},
    {"digits by hand", test_digits_by_hand},
    {"dot of Q8_K", test_dot_of_q8_K},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo parts[] = {
    {"silu_mul", test_silu_mul},
    {"weighted sum", test_weighted_sum},
    CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
    {"activations", NULL, NULL, NULL, NULL, activations},
    {"parts of a layer", NULL, NULL, NULL, NULL, parts},
    CU_SUITE_INFO_NULL,
};

int main(void)
{
    return cunit_main(suites);
}
