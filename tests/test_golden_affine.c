/* SPDX-License-Identifier: MIT */
/* affine_gemv against values that others computed: tests/golden/README.md. */
#include "ref/affine_gemv.h"
#include "tests/golden.h"

static const struct set {
    int64_t bits, out, in;
    const char *pipeline; /* by the rule: 8 bits, or 4 up to in_dim 4096, or 4 above */
} sets[] = {
    {4, 7, 64, "v3_4bit"},     {8, 7, 64, "v3_8bit"},     {4, 65, 64, "v3_4bit"},
    {8, 65, 64, "v3_8bit"},    {4, 1, 4096, "v3_4bit"},   {8, 1, 4096, "v3_8bit"},
    {4, 7, 4160, "fast_4bit"}, {4, 3, 7168, "fast_4bit"}, {8, 3, 7168, "v3_8bit"},
};

struct data {
    struct affine_gemv_shape shape;
    uint8_t *w; /* as bytes */
    uint16_t *scales, *biases;
    float *x, *y, *sumabs;
};

static struct data data_load(const struct set *set)
{
    char group[64], x_group[64];
    snprintf(group, sizeof(group), "mlx_b%d_o%d_i%d", (int)set->bits, (int)set->out, (int)set->in);
    snprintf(x_group, sizeof(x_group), "mlx_x_i%d", (int)set->in);
    size_t weights = (size_t)(set->out * set->in), out = (size_t)set->out;
    return (struct data){
        .shape = {set->bits, set->out, set->in},
        .w = load(group, "_w", weights * (size_t)set->bits / 8, NULL),
        .scales = load(group, "_scales", weights / 64 * 2, NULL),
        .biases = load(group, "_biases", weights / 64 * 2, NULL),
        .x = load(x_group, "", (size_t)set->in * 4, NULL),
        .y = load(group, "_y", out * 4, NULL),
        .sumabs = load(group, "_sumabs", out * 4, NULL),
    };
}

static void data_free(struct data *data)
{
    free(data->w);
    free(data->scales);
    free(data->biases);
    free(data->x);
    free(data->y);
    free(data->sumabs);
}

/* What a finite bf16 stands for, by arithmetic instead of bits. */
static double value_of_bf16(unsigned h)
{
    int exponent = h >> 7 & 255;
    double fraction = h & 127;
    double size = exponent ? ldexp(128 + fraction, exponent - 134) : ldexp(fraction, -133);
    return h >> 15 ? -size : size;
}

/* Sum of |w*x| of row o, and of (|q*scale| + |bias|)*|x|, from the format's definition alone. */
static void sum_row(const struct data *data, int64_t o, double *sumabs, double *magnitude)
{
    *sumabs = *magnitude = 0;
    for (int64_t i = 0; i < data->shape.in_dim; i++) {
        int64_t at = o * data->shape.in_dim + i;
        double q = data->shape.bits == 8 ? data->w[at] : data->w[at / 2] >> at % 2 * 4 & 15;
        double product = q * value_of_bf16(data->scales[at / 64]);
        double bias = value_of_bf16(data->biases[at / 64]), x = (double)data->x[i];
        *sumabs += fabs((product + bias) * x);
        *magnitude += (fabs(product) + fabs(bias)) * fabs(x);
    }
}

/* The file's y is rounded once. */
static double bound(const struct data *data, int64_t o, int64_t depth)
{
    double sumabs, magnitude, u = 0x1p-24, gamma = (double)depth * u / (1 - (double)depth * u);
    sum_row(data, o, &sumabs, &magnitude);
    return gamma * magnitude + u * fabs((double)data->y[o]) + (double)data->shape.in_dim * 0x1p-142;
}

/* That this file reads the format as those did who computed the values. */
static void test_sums(void)
{
    for (size_t i = 0; i < COUNT(sets); i++) {
        struct data data = data_load(&sets[i]);
        for (int64_t o = 0; o < data.shape.out_dim; o++) {
            double sumabs, magnitude, wanted = (double)data.sumabs[o];
            sum_row(&data, o, &sumabs, &magnitude);
            CU_ASSERT(fabs(sumabs - wanted) <= 1e-6 * wanted);
            CU_ASSERT(magnitude >= sumabs);
        }
        data_free(&data);
    }
}

/* The largest err / bound; -1: the kernel cannot run these bits. */
static double utilisation(const struct data *data, const struct assay_kernel *kernel, int threads)
{
    const struct affine_gemv_shape *s = &data->shape;
    float *y = buffer(s->out_dim * (int64_t)sizeof(*y));
    struct affine_gemv_args args = {(const uint32_t *)(const void *)data->w, data->scales,
                                    data->biases, data->x, y};
    double worst = call(kernel, s, &args, threads) ? 0 : -1;
    for (int64_t o = 0; o < s->out_dim && worst >= 0; o++) {
        double err = fabs((double)y[o] - (double)data->y[o]);
        double used = err / bound(data, o, kernel->depth(s));
        worst = used <= worst ? worst : used; /* NaN too */
    }
    free(y);
    return worst;
}

static void test_kernels(void)
{
    const struct assay_kernel *kernel;
    size_t n = 0;
    printf("\n");
    for (; (kernel = runnable("affine_gemv", ASSAY_F32, n)); n++) {
        double worst = 0;
        int ran = 0;
        for (size_t i = 0; i < COUNT(sets); i++) {
            struct data data = data_load(&sets[i]);
            for (int threads = 1; threads <= 3; threads++) {
                double used = utilisation(&data, kernel, threads);
                expect(used <= 1, kernel, "beyond its bound");
                ran += used >= 0;
                worst = fmax(worst, used);
            }
            data_free(&data);
        }
        expect(ran > 0, kernel, "ran nothing");
        printf("    %-28s utilisation %.3g\n", kernel->name, worst);
    }
    CU_ASSERT_TRUE(n > 0);
}

static const struct assay_kernel *named(const char *tier, const char *pipeline)
{
    char name[64];
    const struct assay_kernel *kernel;
    snprintf(name, sizeof(name), "%s-%s", tier, pipeline);
    for (size_t n = 0; (kernel = runnable("affine_gemv", ASSAY_F32, n)); n++) {
        if (strcmp(kernel->name, name) == 0)
            return kernel;
    }
    return NULL;
}

/* The kernel with the tier's name gives the bits of the pipeline that the rule says, which has its
 * own order of summation, and declares its depth. */
static void check_selection(const struct data *data, const struct set *set,
                            const struct assay_kernel *kernel)
{
    const struct assay_kernel *pipeline = named(kernel->tier, set->pipeline);
    float y[2][128];
    CU_ASSERT_PTR_NOT_NULL_FATAL(pipeline);
    for (int i = 0; i < 2; i++) {
        struct affine_gemv_args args = {(const uint32_t *)(const void *)data->w, data->scales,
                                        data->biases, data->x, y[i]};
        CU_ASSERT_TRUE(call(i ? pipeline : kernel, &data->shape, &args, 1));
    }
    expect(count_different(y[0], y[1], (size_t)set->out) == 0, kernel, "another pipeline's bits");
    expect(kernel->depth(&data->shape) == pipeline->depth(&data->shape), kernel, "another depth");
}

static void test_selection(void)
{
    const struct assay_kernel *kernel;
    for (size_t n = 0; (kernel = runnable("affine_gemv", ASSAY_F32, n)); n++) {
        if (strcmp(kernel->tier, "ref") == 0 || strcmp(kernel->name, kernel->tier) != 0)
            continue;
        for (size_t i = 0; i < COUNT(sets); i++) {
            struct data data = data_load(&sets[i]);
            check_selection(&data, &sets[i], kernel);
            data_free(&data);
        }
    }
    CU_ASSERT_TRUE(COUNT(sets) > 0);
}

static CU_TestInfo tests[] = {
    {"sums of magnitudes", test_sums},
    {"kernels", test_kernels},
    {"selection", test_selection},
    CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
    {"affine_gemv", NULL, NULL, NULL, NULL, tests},
    CU_SUITE_INFO_NULL,
};

int main(void)
{
    return cunit_main(suites);
}
