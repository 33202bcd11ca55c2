/* SPDX-License-Identifier: MIT */
/* The parts of a page that need no report: texts, figures, words, styles, gnuplot's scripts. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness/html.h"
#include "harness/page_style.h"
#include "harness/page_words.h"
#include "harness/plot.h"
#include "tests/cunit_main.h"

#define IS(got, expected) CU_ASSERT_STRING_EQUAL(got, expected)

typedef void writer(FILE *out, const char *text);

/* What a writer makes of a text. */
static const char *written(writer *write, const char *text)
{
    static char buffer[512];
    memset(buffer, 0, sizeof(buffer));
    FILE *out = fmemopen(buffer, sizeof(buffer) - 1, "w");
    write(out, text);
    fclose(out);
    return buffer;
}

static void test_html(void)
{
    IS(written(html_text, "a<b>&\"c'd"), "a&lt;b&gt;&amp;&quot;c&#39;d");
    IS(written(html_text, "</script>"), "&lt;/script&gt;");
    IS(written(html_text, "1\n2\t3\x1b[0m"), "1\n2 3 [0m");
    IS(written(html_text, "\u00b5s"), "\u00b5s");
    IS(written(html_text, ""), "");
}

static void test_quotes(void)
{
    IS(written(plot_text, "it's"), "'it''s'");
    IS(written(plot_text, "'; system('x') #"), "'''; system(''x'') #'");
    IS(written(plot_text, "a\nplot x"), "'a?plot x'");
    IS(written(plot_text, "`date` @x \\n \""), "'`date` @x \\n \"'");
}

static void test_figures(void)
{
    char text[FIGURE_SIZE];
    static const struct {
        double ns;
        const char *text;
    } times[] = {{0.5, "0.50 ns"},     {9.994, "9.99 ns"}, {9.996, "10.0 ns"},
                 {99.96, "100 ns"},    {999.4, "999 ns"},  {999.6, "1.00 \u00b5s"},
                 {31.44e6, "31.4 ms"}, {3.68e9, "3.68 s"}, {1e13, "10000 s"},
                 {NAN, "\u2013"}};
    for (size_t i = 0; i < sizeof(times) / sizeof(*times); i++)
        IS(figure_ns(times[i].ns, text), times[i].text);
    IS(figure(0, text), "0.00");
    IS(figure(0.0042, text), "4.2e-03");
    IS(figure(1620, text), "1620");
    IS(figure(9999, text), "9999");
    IS(figure(56340, text), "56.3 k");
    IS(figure(-2.5e9, text), "-2.50 G");
    IS(figure(INFINITY, text), "\u2013");
    IS(figure_bytes(32768, text), "32 KiB");
    IS(figure_bytes(1536, text), "1.5 KiB");
    IS(figure_bytes(0, text), "\u2013");
}

static void test_words(void)
{
    char common[] = "n=1 k=256 fill=model seed=1";
    words_meet(common, "n=17 k=256 fill=model seed=1");
    IS(common, "k=256 fill=model seed=1");
    words_meet(common, "seed=11 fill=model k=25");
    IS(common, "fill=model");
    char *own = words_without("n=1 fill=model fill=models m=2", common);
    IS(own, "n=1 fill=models m=2");
    free(own);
    own = words_without("fill=model", common);
    IS(own, "");
    free(own);
    words_meet(common, "");
    IS(common, "");
}

/* Two ops, as in the project: of no op two kernels look alike, one arithmetic has one shape in all
 * tiers, and what is the reference's tier is neutral. */
static void test_styles(void)
{
    struct page_kernel kernels[] = {
        {.op = "a", .name = "ref", .tier = "ref", .library = "assay", .reference = true},
        {.op = "a", .name = "avx2-f32", .tier = "avx2", .library = "assay"},
        {.op = "a", .name = "avx2-i8", .tier = "avx2", .library = "assay"},
        {.op = "a", .name = "avx512-f32", .tier = "avx512", .library = "assay"},
        {.op = "a", .name = "avx512-i8", .tier = "avx512", .library = "assay"},
        {.op = "a", .name = "avx512-i8-packed", .tier = "avx512", .library = "assay"},
        {.op = "a", .name = "ref-i8", .tier = "ref", .library = "assay"},
        {.op = "a", .name = "peer:dot", .tier = "avx512", .library = "peer"},
        {.op = "b", .name = "avx2-v3", .tier = "avx2", .library = "assay"},
        {.op = "b", .name = "avx2-fast", .tier = "avx2", .library = "assay"},
        {.op = "b", .name = "avx2", .tier = "avx2", .library = "assay"},
    };
    const size_t count = sizeof(kernels) / sizeof(*kernels);
    CU_ASSERT_TRUE_FATAL(page_style(kernels, count));
    for (size_t i = 0; i < count; i++) {
        CU_ASSERT_TRUE(kernels[i].shape >= 0 && kernels[i].shape < PLOT_SHAPES);
        for (size_t j = 0; j < i; j++) {
            bool alike =
                kernels[i].colour == kernels[j].colour && kernels[i].shape == kernels[j].shape;
            CU_ASSERT_FALSE(alike && strcmp(kernels[i].op, kernels[j].op) == 0);
        }
    }
    CU_ASSERT_EQUAL(kernels[1].shape, kernels[3].shape);
    CU_ASSERT_EQUAL(kernels[2].shape, kernels[4].shape);
    CU_ASSERT_EQUAL(kernels[1].colour, kernels[8].colour);
    CU_ASSERT_EQUAL(kernels[0].colour, PLOT_NEUTRAL);
    CU_ASSERT_EQUAL(kernels[6].colour, PLOT_NEUTRAL);
    CU_ASSERT_TRUE(kernels[7].colour != kernels[4].colour && kernels[7].colour != PLOT_NEUTRAL);
}

/* The script of an axis. */
static void check_axis(double low, double high, const char *expected)
{
    struct plots plots = {0};
    struct error error;
    struct plot *plot = plots_add(&plots, "axis");
    CU_ASSERT_PTR_NOT_NULL_FATAL(plot);
    plot_title(plot, "", "");
    plot_alt(plot, "%s", "");
    plot_log_axis(plot, 'y', low, high);
    CU_ASSERT_TRUE(plots_finish(&plots, &error));
    IS(plot->commands, expected);
    plots_free(&plots);
}

static void test_axes(void)
{
    check_axis(1.25, 80,
               "set logscale y\nset yrange [1:100]\nset ytics ('1' 1, '2' 2, '5' 5, '10' "
               "10, '20' 20, '50' 50, '100' 100)\n");
    check_axis(1.25e-2, 8e5,
               "set logscale y\nset yrange [0.01:1e+06]\nset ytics ('0.01' 0.01, '0.1' "
               "0.1, '1' 1, '10' 10, '100' 100, '1000' 1000, '10k' 10000, '100k' "
               "100000, '1M' 1e+06)\n");
    /* of equal values, twice to either side */
    check_axis(10, 10, "set logscale y\nset yrange [5:20]\nset ytics ('5' 5, '10' 10, '20' 20)\n");
    check_axis(INFINITY, 0,
               "set logscale y\nset yrange [0.5:2]\nset ytics ('0.5' 0.5, '1' 1, '2' "
               "2)\n");
}

/* Tips are text in the page, and a number that stands for none leaves none. */
static void test_svg(void)
{
    struct plot plot = {.alt = "<alt>", .width = 9, .height = 9};
    char raw[] = "<svg>\n<defs>\nsymbols\n</defs>\n<g id=\"gnuplot_canvas\">\n<g fill=\"none\" "
                 "color=\"black\">\n</g>\n<g fill=\"none\" stroke-width=\"1.00\">\n\t<g "
                 "onmousemove=\"gnuplot_svg.showHypertext(evt,'0')\" onmouseout=\"x\"><title> "
                 "</title>\n\t<use color='rgb(  0, 114, 178)'/></g>\n</g>\n\t<g id=\"p_plot_1\" "
                 "><title>p_plot_1</title>\n<text fill=\"rgb(31,35,40)\">&lt;</text>\n</svg>\n";
    struct drawing drawing;
    plot_tip(&plot, "%s", "a<b");
    CU_ASSERT_TRUE_FATAL(plot_svg(&plot, PLOT_INLINE, raw, &drawing));
    IS(drawing.text,
       "<svg viewBox=\"0 0 9 9\" width=\"9\" height=\"9\" role=\"img\" "
       "aria-label=\"&lt;alt&gt;\">\n<g>\n<g fill=\"none\">\n<g><title>a&lt;b</title>\n"
       "\t<use color='var(--series0)'/></g>\n</g>\n<g>\n<text fill=\"var(--ink)\">"
       "&lt;</text>\n</svg>\n");
    free(drawing.text);
    free(plot.tips[0]);
    free(plot.tips);
}

static CU_TestInfo tests[] = {
    {"HTML", test_html},   {"quotes", test_quotes}, {"figures", test_figures},
    {"words", test_words}, {"styles", test_styles}, {"axes", test_axes},
    {"SVG", test_svg},     CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
    {"page", NULL, NULL, NULL, NULL, tests},
    CU_SUITE_INFO_NULL,
};

int main(void)
{
    return cunit_main(suites);
}
