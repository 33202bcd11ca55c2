/* SPDX-License-Identifier: MIT */
/* References and kernels against values that others computed: tests/golden/README.md. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ref/activation_i8.h"
#include "ref/moe_ids_tpe.h"
#include "ref/moe_router_topk_softmax.h"
#include "ref/q4_K.h"
#include "ref/q4_K_dequant.h"
#include "ref/q4_K_gemv.h"
#include "ref/q4_K_quantize.h"
#include "tests/golden.h"

/* ---- f16 ---- */

static void test_every_half(void)
{
    size_t wrong = 0;
    for (uint32_t h = 0; h < 65536; h++) {
        float x = assay_f16_to_f32((uint16_t)h);
        uint16_t back = assay_f32_to_f16(x);
        if ((h & 0x7c00) == 0x7c00 && (h & 1023))
            wrong += !isnan(x) || (back & 0x7c00) != 0x7c00 || !(back & 1023);
        else
            wrong += !same(x, value_of_half(h)) || back != h;
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

static void test_rounding_to_half(void)
{
    static const struct {
        float x;
        uint16_t half;
    } table[] = {
        {1.0f, 0x3c00},
        {65504, 0x7bff},
        {65519.996f, 0x7bff}, /* the float below 65520 */
        {65520, 0x7c00},      /* halfway to 2^16: up */
        {1e30f, 0x7c00},
        {INFINITY, 0x7c00},
        {0x1p-24f, 0x0001},
        {0x1p-25f, 0x0000}, /* a tie with 0, which is even */
        {0x1.000002p-25f, 0x0001},
        {0x1.8p-24f, 0x0002}, /* a tie of 1 and 2 */
        {0x1.4p-23f, 0x0002}, /* of 2 and 3 */
        {0x1.400002p-23f, 0x0003},
        {0x1.fffffep-26f, 0x0000},
        {0x1p-149f, 0x0000},
        {0x1p-14f, 0x0400},        /* the smallest normal */
        {0x1.ff8p-15f, 0x03ff},    /* the largest subnormal: 1023 * 2^-24 */
        {0x1.ffcp-15f, 0x0400},    /* 1023.5 * 2^-24: up, into the normals */
        {0x1.ffbffep-15f, 0x03ff}, /* just below */
        {2047, 0x67ff},
        {2049, 0x6800}, /* ties among 2048, 2050, 2052 */
        {2051, 0x6802},
        {2049.0002f, 0x6801},
        {4095, 0x6c00}, /* a tie of 4094 and 4096: the fraction is full, so the exponent rises */
    };
    for (size_t i = 0; i < COUNT(table); i++) {
        CU_ASSERT_EQUAL(assay_f32_to_f16(table[i].x), table[i].half);
        CU_ASSERT_EQUAL(assay_f32_to_f16(-table[i].x), table[i].half | 0x8000);
    }
    CU_ASSERT_EQUAL(assay_f32_to_f16(assay_f32_from_bits(0x7f800001)) & 0x7e00, 0x7e00);
    CU_ASSERT_EQUAL(assay_f32_to_f16(assay_f32_from_bits(0xffffffff)) & 0xfe00, 0xfe00);
}

/* ---- q4_K blocks ---- */

static void test_quantizer(void)
{
    enum { BLOCKS = 202 };
    float *x = load("q4k", "_x", BLOCKS * Q4_K_BLOCK * sizeof(float), NULL);
    uint8_t *wanted = load("q4k", "_blocks", BLOCKS * Q4_K_BLOCK_BYTES, NULL);
    size_t wrong = 0;
    for (size_t b = 0; b < BLOCKS; b++) {
        struct block_q4_K block;
        memset(&block, 0xa5, sizeof(block));
        q4_K_quantize_block(&x[b * Q4_K_BLOCK], &block);
        wrong += memcmp(&block, wanted + b * Q4_K_BLOCK_BYTES, sizeof(block)) != 0;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    uint8_t *got = buffer(BLOCKS * Q4_K_BLOCK_BYTES);
    struct q4_K_quantize_shape shape = {BLOCKS * Q4_K_BLOCK};
    struct q4_K_quantize_args args = {x, got};
    const struct assay_kernel *kernel;
    for (size_t n = 0; (kernel = runnable("q4_K_quantize", ASSAY_BITS, n)); n++) {
        memset(got, 0xa5, BLOCKS * Q4_K_BLOCK_BYTES);
        call(kernel, &shape, &args, 2);
        expect(memcmp(got, wanted, BLOCKS * Q4_K_BLOCK_BYTES) == 0, kernel, "other bytes");
    }
    free(got);
    free(wanted);
    free(x);
}

/* Every kernel over the whole run of blocks, and over each block alone. */
static void check_dequant_kernels(const uint8_t *blocks, size_t n_blocks, const float *wanted)
{
    size_t count = n_blocks * Q4_K_BLOCK;
    float *y = buffer((int64_t)(count * sizeof(float)));
    const struct assay_kernel *kernel;
    for (size_t n = 0; (kernel = runnable("q4_K_dequant", ASSAY_BITS, n)); n++) {
        for (int threads = 1; threads <= 3; threads++) {
            struct q4_K_dequant_shape shape = {(int64_t)count, 0};
            struct q4_K_dequant_args args = {blocks, y};
            memset(y, 0xa5, count * sizeof(float));
            call(kernel, &shape, &args, threads);
            expect(count_different(y, wanted, count) == 0, kernel, "other weights");
        }
        memset(y, 0xa5, count * sizeof(float));
        for (size_t b = 0; b < n_blocks; b++) {
            struct q4_K_dequant_shape shape = {Q4_K_BLOCK, (int64_t)(b * Q4_K_BLOCK_BYTES)};
            struct q4_K_dequant_args args = {blocks, &y[b * Q4_K_BLOCK]};
            call(kernel, &shape, &args, 1);
        }
        expect(count_different(y, wanted, count) == 0, kernel, "other weights, block by block");
    }
    free(y);
}

static void check_dequant(const char *group, size_t n_blocks)
{
    uint8_t *blocks = load(group, "_blocks", n_blocks * Q4_K_BLOCK_BYTES, NULL);
    float *wanted = load(group, "_dequant", n_blocks * Q4_K_BLOCK * sizeof(float), NULL);
    size_t wrong = 0;
    for (size_t b = 0; b < n_blocks; b++) {
        float w[Q4_K_BLOCK];
        q4_K_weights((const struct block_q4_K *)blocks + b, w);
        wrong += count_different(w, &wanted[b * Q4_K_BLOCK], Q4_K_BLOCK);
    }
    CU_ASSERT_EQUAL(wrong, 0);
    check_dequant_kernels(blocks, n_blocks, wanted);
    free(wanted);
    free(blocks);
}

static void test_dequant(void)
{
    check_dequant("q4k_raw", 112);
}

static void test_dequant_not_finite(void)
{
    check_dequant("q4k_nonfinite", 28);
}

/* ---- gemv ---- */

struct gemv_data {
    int64_t rows, k;
    float *x;       /* [rows][k] */
    uint8_t *w;     /* [rows][k / 256] blocks */
    double *wanted; /* [rows]: row r of w with row r of x */
};

static struct gemv_data gemv_load(int64_t rows, int64_t k)
{
    char group[32];
    snprintf(group, sizeof(group), "q8k_n%d", (int)k);
    size_t count = (size_t)(rows * k);
    return (struct gemv_data){
        .rows = rows,
        .k = k,
        .x = load(group, "_x", count * sizeof(float), NULL),
        .w = load(group, "_w_q4k", count / Q4_K_BLOCK * Q4_K_BLOCK_BYTES, NULL),
        .wanted = load(group, "_dot_f32act", (size_t)rows * sizeof(double), NULL),
    };
}

static void gemv_free(struct gemv_data *data)
{
    free(data->x);
    free(data->w);
    free(data->wanted);
}

static const struct assay_kernel *const twins[ASSAY_NUMERICS_COUNT] = {
    [ASSAY_I8] = &q4_K_gemv_ref_i8,
    [ASSAY_I16] = &q4_K_gemv_ref_i16,
    [ASSAY_I24] = &q4_K_gemv_ref_i24,
};

/* All rows of w with row r of x; only row r's result is in the file. Returns err / bound. */
static double check_gemv_row(const struct gemv_data *data, const struct assay_kernel *kernel,
                             int64_t r, int threads)
{
    const float *x = &data->x[r * data->k];
    struct q4_K_gemv_shape shape = {data->rows, data->k, 0};
    float *y = buffer(data->rows * (int64_t)sizeof(float));
    struct q4_K_gemv_args args = {data->w, x, y};
    if (!call(kernel, &shape, &args, threads)) {
        free(y);
        return 0;
    }
    struct bounds bounds = {0};
    for (int64_t b = 0; b < data->k / 256; b++)
        add_bounds(data->w + (r * data->k / 256 + b) * 144, &x[b * 256], &bounds);
    double bound =
        bound_of(&bounds, (enum assay_numerics)kernel->numerics, kernel->depth(&shape), data->k);
    double used = fabs((double)y[r] - data->wanted[r]) / bound;
    if (twins[kernel->numerics]) {
        float *twin = buffer(data->rows * (int64_t)sizeof(float));
        args.y = twin;
        call(twins[kernel->numerics], &shape, &args, 1);
        expect(count_different(y, twin, (size_t)data->rows) == 0, kernel, "not the twin's bits");
        free(twin);
    }
    free(y);
    return used;
}

static void check_gemv(enum assay_numerics numerics)
{
    static const int64_t rows[] = {12, 12, 8}, k[] = {256, 768, 2048};
    for (size_t i = 0; i < COUNT(k); i++) {
        struct gemv_data data = gemv_load(rows[i], k[i]);
        const struct assay_kernel *kernel;
        for (size_t n = 0; (kernel = runnable("q4_K_gemv", numerics, n)); n++) {
            char file[32];
            double used = 0;
            for (int64_t r = 0; r < data.rows; r++) {
                used = fmax(used, check_gemv_row(&data, kernel, r, 1));
                used = fmax(used, check_gemv_row(&data, kernel, r, 2));
            }
            snprintf(file, sizeof(file), "q8k_n%d_dot_f32act", (int)k[i]);
            report_utilisation(kernel, file, used);
        }
        gemv_free(&data);
    }
}

static void test_gemv_f32(void)
{
    check_gemv(ASSAY_F32);
}

static void test_gemv_integer(void)
{
    check_gemv(ASSAY_I8);
    check_gemv(ASSAY_I16);
    check_gemv(ASSAY_I24);
}

/* amax = 127 makes the scale 1, so that digits are the activations, rounded half to even. */
static void test_activations(void)
{
    static const float values[] = {127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 126.5f, -127};
    static const int digits[] = {127, 0, 2, 2, 0, -2, 126, -127};
    float x[ACTIVATION_BLOCK] = {0};
    struct activation_i8 block;
    for (int i = 0; i < 8; i++)
        x[31 * i] = values[i];
    activation_i8_quantize(x, &block);
    CU_ASSERT_EQUAL(block.d, 1);
    for (int i = 0; i < ACTIVATION_BLOCK; i++)
        CU_ASSERT_EQUAL(block.q[i], i % 31 == 0 && i < 8 * 31 ? digits[i / 31] : 0);
    CU_ASSERT_EQUAL(block.sums[0], 127); /* elements 0 and 31 */
    CU_ASSERT_EQUAL(block.sums[1], 2);   /* 62 */
    CU_ASSERT_EQUAL(block.sums[6], -127);
    memset(x, 0, sizeof(x));
    x[255] = -0x1p-100f;
    activation_i8_quantize(x, &block);
    CU_ASSERT_EQUAL(block.q[255], -127);
    CU_ASSERT_EQUAL(block.d, 0x1p-100f / 127);
    x[255] = 0x1.fffffep-101f; /* counts as zero */
    activation_i8_quantize(x, &block);
    CU_ASSERT_TRUE(block.d == 0 && block.q[255] == 0 && block.sums[7] == 0);
    x[3] = INFINITY;
    activation_i8_quantize(x, &block);
    CU_ASSERT_TRUE(isnan(block.d) && block.q[3] == 0);
}

/* Activations that lie at rounding ties of the digits but for the rounding of 127/amax: only its
 * very bits give the twin's. */
static void test_ties_of_digits(void)
{
    struct gemv_data data = gemv_load(12, 768);
    struct q4_K_gemv_shape shape = {12, 768, 0};
    float x[768], twin[12], y[12];
    for (int step = 0; step < 100; step++) {
        float amax = 1 + (float)step / 100;
        for (int i = 0; i < 768; i++)
            x[i] = ((float)(i * 37 % 127) + 0.5f) * (amax / 127) * (i % 3 ? 1.0f : -1.0f);
        x[step] = x[256 + step] = x[512 + step] = amax;
        struct q4_K_gemv_args args = {data.w, x, twin};
        call(&q4_K_gemv_ref_i8, &shape, &args, 1);
        args.y = y;
        const struct assay_kernel *kernel;
        for (size_t n = 0; (kernel = runnable("q4_K_gemv", ASSAY_I8, n)); n++) {
            memset(y, 0xa5, sizeof(y));
            if (call(kernel, &shape, &args, 1))
                expect(count_different(y, twin, 12) == 0, kernel, "not the twin's bits at ties");
        }
    }
    gemv_free(&data);
}

/* ---- routing ---- */

static const struct route {
    const char *name;
    int64_t tokens, experts, top_k;
    int n_m;      /* the file of grids has one for each m */
    int64_t m[4]; /* in pairs: gate and up, down */
    bool agree;   /* there is a file that says which rankings agree */
} routes[] = {
    {"route_ties_k2", 12, 8, 2, 4, {1, 64, 65, 768}, true},
    {"route_ties_k4", 12, 8, 4, 4, {1, 64, 65, 768}, true},
    {"route_ties_e64_k8", 6, 64, 8, 2, {256, 2048}, true},
    {"route_extreme_k2", 6, 8, 2, 2, {256, 2048}, true},
    {"route_extreme_k4", 6, 8, 4, 2, {256, 2048}, true},
    {"route_one", 1, 8, 2, 4, {1, 64, 65, 768}, true},
    {"route_e128_k8", 9, 128, 8, 2, {256, 2048}, true},
    {"route_hot_k4", 70, 8, 4, 2, {256, 2048}, false},
    {"route_edge31", 31, 4, 1, 4, {1, 64, 65, 768}, false},
    {"route_edge32", 32, 4, 1, 4, {1, 64, 65, 768}, false},
    {"route_edge33", 33, 4, 1, 4, {1, 64, 65, 768}, false},
    {"route_edge64", 64, 4, 1, 4, {1, 64, 65, 768}, false},
    {"route_edge65", 65, 4, 1, 4, {1, 64, 65, 768}, false},
};

/* Tokens that a rule allows to compare: ranking by logit (bit 0) and by an f32 softmax (bit 1) both
 * give the ids of the file, which ranks by softmax in double. Where they do not, f32 underflow or
 * the tie band of the contract leaves a choice. */
static bool comparable(const int32_t *agree, int64_t token)
{
    return !agree || (agree[token] & 3) == 3;
}

/* Floats between a and b. */
static double ulps(float a, float b)
{
    return fabs((double)(int32_t)assay_f32_bits(a) - (double)(int32_t)assay_f32_bits(b));
}

/* Floats that a weight may be off: 4 for exp, sum and quotient, and, since a rounding of
 * logit - max by 2^-24 of it is one of exp by as much, the distance to the largest logit. (Where
 * that is large, the weight is 0.) */
static double ulps_allowed(const float *logits, int64_t experts, int32_t e)
{
    float max = logits[0];
    for (int64_t other = 1; other < experts; other++)
        max = fmaxf(max, logits[other]);
    return fmin(4 + (double)max - (double)logits[e], 128);
}

struct routing {
    int32_t *ids, *agree;
    float *logits, *weights[2]; /* by norm */
};

static void check_router(const struct route *route, const struct routing *wanted,
                         const struct assay_kernel *kernel, int64_t norm, int threads)
{
    struct moe_router_topk_softmax_shape shape = {route->experts, route->top_k, route->tokens,
                                                  norm};
    int64_t pairs = route->tokens * route->top_k, compared = 0, wrong_ids = 0, wrong_weights = 0;
    int32_t *ids = buffer(pairs * (int64_t)sizeof(*ids));
    float *weights = buffer(pairs * (int64_t)sizeof(*weights));
    struct moe_router_topk_softmax_args args = {wanted->logits, ids, weights};
    if (call(kernel, &shape, &args, threads)) {
        for (int64_t i = 0; i < pairs; i++) {
            int64_t token = i / route->top_k;
            if (!comparable(wanted->agree, token))
                continue;
            compared++;
            wrong_ids += ids[i] != wanted->ids[i];
            wrong_weights += ulps(weights[i], wanted->weights[norm][i]) >
                             ulps_allowed(&wanted->logits[token * route->experts], route->experts,
                                          wanted->ids[i]);
        }
        expect(compared * 2 >= pairs, kernel, "too little was compared");
        expect(wrong_ids == 0, kernel, "other experts");
        expect(wrong_weights == 0, kernel, "other weights");
    }
    free(ids);
    free(weights);
}

static struct routing routing_load(const struct route *route)
{
    size_t pairs = (size_t)(route->tokens * route->top_k);
    size_t logits = (size_t)(route->tokens * route->experts);
    return (struct routing){
        .ids = load(route->name, "_ids", pairs * 4, NULL),
        .agree = route->agree ? load(route->name, "_agree", (size_t)route->tokens * 4, NULL) : NULL,
        .logits = load(route->name, "_logits", logits * 4, NULL),
        .weights = {load(route->name, "_weights", pairs * 4, NULL),
                    load(route->name, "_weights_norm", pairs * 4, NULL)},
    };
}

static void routing_free(struct routing *routing)
{
    free(routing->ids);
    free(routing->agree);
    free(routing->logits);
    free(routing->weights[0]);
    free(routing->weights[1]);
}

static void test_router(void)
{
    for (size_t i = 0; i < COUNT(routes); i++) {
        struct routing wanted = routing_load(&routes[i]);
        const struct assay_kernel *kernel;
        for (size_t n = 0; (kernel = runnable("moe_router_topk_softmax", ASSAY_F32, n)); n++) {
            for (int norm = 0; norm <= 1; norm++) {
                check_router(&routes[i], &wanted, kernel, norm, 1);
                check_router(&routes[i], &wanted, kernel, norm, 2);
            }
        }
        routing_free(&wanted);
    }
}

/* -1 in the file marks what the contract says is not written. */
static size_t count_wrong_ids(const int32_t *got, const int32_t *wanted, size_t count)
{
    static const uint8_t poison[] = {0xa5, 0xa5, 0xa5, 0xa5};
    size_t wrong = 0;
    for (size_t i = 0; i < count; i++)
        wrong += memcmp(&got[i], wanted[i] == -1 ? (const void *)poison : &wanted[i], 4) != 0;
    return wrong;
}

struct lists {
    int32_t *selected, *tpe, *ids;
    uint32_t *grids; /* [n_m][3] */
};

static void check_ids_tpe(const struct route *route, const struct lists *wanted, int first,
                          const struct assay_kernel *kernel, int threads)
{
    int64_t stride = route->tokens * route->top_k;
    struct moe_ids_tpe_shape shape = {route->experts,  route->top_k,        route->tokens,
                                      route->m[first], route->m[first + 1], stride};
    size_t n_ids = (size_t)(route->experts * stride);
    int32_t *tpe = buffer(route->experts * 4), *ids = buffer((int64_t)n_ids * 4);
    uint32_t *grids = buffer(6 * 4);
    struct moe_ids_tpe_args args = {wanted->selected, tpe, ids, grids};
    if (call(kernel, &shape, &args, threads)) {
        expect(memcmp(tpe, wanted->tpe, (size_t)route->experts * 4) == 0, kernel, "other tpe");
        expect(count_wrong_ids(ids, wanted->ids, n_ids) == 0, kernel, "other ids");
        expect(memcmp(grids, &wanted->grids[3 * first], 24) == 0, kernel, "other grids");
    }
    free(tpe);
    free(ids);
    free(grids);
}

static void test_ids_tpe(void)
{
    for (size_t i = 0; i < COUNT(routes); i++) {
        const struct route *route = &routes[i];
        size_t pairs = (size_t)(route->tokens * route->top_k), experts = (size_t)route->experts;
        struct lists wanted = {
            .selected = load(route->name, "_ids", pairs * 4, NULL),
            .tpe = load(route->name, "_tpe", experts * 4, NULL),
            .ids = load(route->name, "_lists", experts * pairs * 4, NULL),
            .grids = load(route->name, "_args", (size_t)route->n_m * 12, NULL),
        };
        const struct assay_kernel *kernel;
        for (size_t n = 0; (kernel = runnable("moe_ids_tpe", ASSAY_BITS, n)); n++) {
            for (int first = 0; first < route->n_m; first += 2) {
                check_ids_tpe(route, &wanted, first, kernel, 1);
                check_ids_tpe(route, &wanted, first, kernel, 2);
            }
        }
        free(wanted.selected);
        free(wanted.tpe);
        free(wanted.ids);
        free(wanted.grids);
    }
}

/* Without a kernel a test would pass unseen. */
static void test_there_are_kernels(void)
{
    static const char *const ops[] = {"q4_K_dequant", "q4_K_quantize", "moe_ids_tpe"};
    for (size_t i = 0; i < COUNT(ops); i++)
        CU_ASSERT_PTR_NOT_NULL(runnable(ops[i], ASSAY_BITS, 0));
    CU_ASSERT_PTR_NOT_NULL(runnable("q4_K_gemv", ASSAY_F32, 0));
    CU_ASSERT_PTR_NOT_NULL(runnable("q4_K_gemv", ASSAY_I8, 0));
    CU_ASSERT_PTR_NOT_NULL(runnable("moe_router_topk_softmax", ASSAY_F32, 0));
}

static CU_TestInfo halves[] = {
    {"all 65536", test_every_half},
    {"rounding", test_rounding_to_half},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo blocks[] = {
    {"quantizer", test_quantizer},
    {"random blocks", test_dequant},
    {"infinite and NaN blocks", test_dequant_not_finite},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo kernels[] = {
    {"there are kernels", test_there_are_kernels},
    {"gemv f32", test_gemv_f32},
    {"gemv i8, i16, i24", test_gemv_integer},
    {"activations", test_activations},
    {"ties of digits", test_ties_of_digits},
    {"router", test_router},
    {"lists of pairs", test_ids_tpe},
    CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
    {"f16", NULL, NULL, NULL, NULL, halves},
    {"q4_K", NULL, NULL, NULL, NULL, blocks},
    {"kernels", NULL, NULL, NULL, NULL, kernels},
    CU_SUITE_INFO_NULL,
};

int main(void)
{
    return cunit_main(suites);
}
