/* SPDX-License-Identifier: MIT */
/* Which tier may run on which CPU, and which kernel tables are refused. */
#include <stdlib.h>
#include <string.h>

#include "harness/library.h"
#include "opt/cpu.h"
#include "opt/kernels.h"
#include "tests/cunit_main.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

#define EVERYTHING 0xffffffffu

static uint32_t bit_of(const char *feature)
{
    for (size_t i = 0; i < cpu_n_features; i++) {
        if (strcmp(cpu_features[i].name, feature) == 0)
            return cpu_features[i].bit;
    }
    return 0;
}

static bool equal(const char *a, const char *b)
{
    if (a && b ? strcmp(a, b) == 0 : a == b)
        return true;
    printf("\n  got \"%s\", expected \"%s\"\n", a ? a : "NULL", b ? b : "NULL");
    return false;
}

/* ---- tiers ---- */

static void test_ref_needs_nothing(void)
{
    CU_ASSERT_PTR_NULL(cpu_tier_lacks("ref", 0));
    CU_ASSERT_PTR_NULL(cpu_tier_lacks("ref", EVERYTHING));
    CU_ASSERT_PTR_NULL(cpu_tier_lacks("neon", 0));
    CU_ASSERT_PTR_NULL(cpu_tier_lacks("avx", 0));
    CU_ASSERT_PTR_NULL(cpu_tier_lacks("", 0));
}

#if defined(__x86_64__)

/* Every feature, how /proc/cpuinfo spells it, and which tiers need it. */
static const struct {
    const char *name, *cpuinfo;
    bool avx2, avx512vnni;
} needed[] = {
    {"avx2", "avx2", true, true},          {"fma", "fma", true, true},
    {"f16c", "f16c", true, true},          {"bmi2", "bmi2", true, true},
    {"avx512f", "avx512f", false, true},   {"avx512dq", "avx512dq", false, true},
    {"avx512cd", "avx512cd", false, true}, {"avx512bw", "avx512bw", false, true},
    {"avx512vl", "avx512vl", false, true}, {"avx512vnni", "avx512_vnni", false, true},
};

static void test_table_is_known(void)
{
    static const char *const tiers[] = {"ref", "avx2", "avx512vnni"};
    CU_ASSERT_EQUAL(cpu_n_features, COUNT(needed));
    CU_ASSERT_EQUAL_FATAL(cpu_n_tiers, COUNT(tiers));
    uint32_t seen = 0;
    for (size_t i = 0; i < COUNT(needed); i++) {
        uint32_t bit = bit_of(needed[i].name);
        CU_ASSERT_TRUE(bit != 0 && (bit & (bit - 1)) == 0 && (bit & seen) == 0);
        seen |= bit;
    }
    for (size_t i = 0; i < COUNT(tiers); i++)
        CU_ASSERT_STRING_EQUAL(cpu_tiers[i].name, tiers[i]);
}

static void test_all_and_none(void)
{
    CU_ASSERT_PTR_NULL(cpu_tier_lacks("avx2", EVERYTHING));
    CU_ASSERT_PTR_NULL(cpu_tier_lacks("avx512vnni", EVERYTHING));
    CU_ASSERT_TRUE(equal(cpu_tier_lacks("avx2", 0), "avx2"));
    CU_ASSERT_TRUE(equal(cpu_tier_lacks("avx512vnni", 0), "avx2"));
    uint32_t avx2 = bit_of("avx2") | bit_of("fma") | bit_of("f16c") | bit_of("bmi2");
    CU_ASSERT_PTR_NULL(cpu_tier_lacks("avx2", avx2));
    CU_ASSERT_TRUE(equal(cpu_tier_lacks("avx512vnni", avx2), "avx512f"));
    CU_ASSERT_TRUE(equal(cpu_tier_lacks("avx2", EVERYTHING & ~avx2), "avx2"));
}

static void test_each_feature(void)
{
    for (size_t i = 0; i < COUNT(needed); i++) {
        const char *name = needed[i].name;
        uint32_t without = EVERYTHING & ~bit_of(name);
        CU_ASSERT_PTR_NULL(cpu_tier_lacks("ref", without));
        CU_ASSERT_TRUE(equal(cpu_tier_lacks("avx2", without), needed[i].avx2 ? name : NULL));
        CU_ASSERT_TRUE(
            equal(cpu_tier_lacks("avx512vnni", without), needed[i].avx512vnni ? name : NULL));
    }
}

/* Linux, too, hides features whose registers it does not save. */
static void test_detection(void)
{
    FILE *file = fopen("/proc/cpuinfo", "r");
    if (!file) {
        printf("(no /proc/cpuinfo) ");
        CU_PASS("nothing to compare with");
        return;
    }
    char line[1 << 14] = "";
    while (fgets(line, sizeof(line), file) && strncmp(line, "flags", 5) != 0)
        ;
    fclose(file);
    CU_ASSERT_TRUE_FATAL(strncmp(line, "flags", 5) == 0);
    line[strcspn(line, "\n")] = ' ';
    uint32_t detected = cpu_detect(), known = 0;
    for (size_t i = 0; i < COUNT(needed); i++) {
        char word[32];
        uint32_t bit = bit_of(needed[i].name);
        snprintf(word, sizeof(word), " %s ", needed[i].cpuinfo);
        CU_ASSERT_EQUAL((detected & bit) != 0, strstr(line, word) != NULL);
        known |= bit;
    }
    CU_ASSERT_EQUAL(detected & ~known, 0);
}

#endif

/* ---- the project's own table ---- */

static struct kernels own_kernels(uint32_t features)
{
    struct kernels kernels = {0};
    struct error error = {""};
    bool added = kernels_add(&kernels, assay_own_kernels(), features, &error);
    CU_ASSERT_TRUE_FATAL(added);
    CU_ASSERT_EQUAL(kernels.count, assay_own_kernels()->count);
    return kernels;
}

static void test_missing_is_marked(void)
{
    struct kernels all = own_kernels(EVERYTHING), none = own_kernels(0);
    for (size_t i = 0; i < all.count; i++) {
        CU_ASSERT_PTR_NULL(all.items[i].missing);
        bool ref = strcmp(none.items[i].abi->tier, "ref") == 0;
        CU_ASSERT_TRUE(equal(none.items[i].missing, ref ? NULL : "avx2"));
    }
    kernels_free(&all);
    kernels_free(&none);
    uint32_t avx2 = bit_of("avx2") | bit_of("fma") | bit_of("f16c") | bit_of("bmi2");
    struct kernels some = own_kernels(avx2);
    for (size_t i = 0; i < some.count; i++) {
        bool wide = strcmp(some.items[i].abi->tier, "avx512vnni") == 0;
        CU_ASSERT_TRUE(equal(some.items[i].missing, wide ? "avx512f" : NULL));
    }
    kernels_free(&some);
}

/* No kernel may name a tier that nobody checks, or its features would not be asked for. */
static void test_own_tiers_are_known(void)
{
    struct kernels kernels = own_kernels(0);
    for (size_t i = 0; i < kernels.count; i++) {
        bool known = false;
        for (size_t t = 0; t < cpu_n_tiers; t++)
            known = known || strcmp(cpu_tiers[t].name, kernels.items[i].abi->tier) == 0;
        CU_ASSERT_TRUE(known);
        CU_ASSERT_STRING_EQUAL(kernels.items[i].library, "assay");
    }
    kernels_free(&kernels);
}

static void test_every_op_has_a_reference(void)
{
    struct kernels kernels = own_kernels(0);
    CU_ASSERT_TRUE(assay_n_ops >= 6);
    for (size_t i = 0; i < assay_n_ops; i++) {
        char label[96];
        const struct kernel *found = NULL;
        snprintf(label, sizeof(label), "%s/ref", assay_ops[i]->name);
        for (size_t k = 0; k < kernels.count; k++) {
            if (strcmp(kernels.items[k].label, label) == 0)
                found = &kernels.items[k];
        }
        CU_ASSERT_PTR_NOT_NULL_FATAL(found);
        CU_ASSERT_PTR_EQUAL(found->op, assay_ops[i]);
        CU_ASSERT_PTR_EQUAL(found->abi, assay_ops[i]->reference);
        CU_ASSERT_STRING_EQUAL(found->abi->tier, "ref");
        CU_ASSERT_PTR_EQUAL(assay_find_op(assay_ops[i]->name), assay_ops[i]);
    }
    kernels_free(&kernels);
    CU_ASSERT_PTR_NULL(assay_find_op("q4_K"));
}

/* ---- tables of others ---- */

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    (void)shape, (void)args, (void)prepared, (void)scratch, (void)threads;
    return NULL;
}

static int64_t one(const void *shape)
{
    (void)shape;
    return 1;
}

static void prepare(const void *shape, const void *args, void *prepared, int threads)
{
    (void)shape, (void)args, (void)prepared, (void)threads;
}

static const struct assay_kernel good = {.op = "q4_K_gemv",
                                         .name = "mine",
                                         .tier = "mine",
                                         .numerics = ASSAY_F32,
                                         .depth = one,
                                         .run = run};

static struct error add_table(const struct assay_kernels *table, size_t count)
{
    struct kernels kernels = {0};
    struct error error = {""};
    bool added = kernels_add(&kernels, table, 0, &error);
    CU_ASSERT_EQUAL(added, error.text[0] == 0);
    if (added)
        CU_ASSERT_EQUAL(kernels.count, count);
    kernels_free(&kernels);
    return error;
}

static struct error add_one(const struct assay_kernel *kernel)
{
    return add_table(&(struct assay_kernels){ASSAY_ABI_VERSION, 1, "lib 1.0", &kernel}, 1);
}

/* "": nothing is refused. */
#define REFUSED(kernel, wanted) CU_ASSERT_TRUE(equal(add_one(&(kernel)).text, wanted))

static void test_good_tables(void)
{
    struct assay_kernel kernel = good;
    REFUSED(kernel, "");
    kernel.prepare = prepare;
    kernel.prepared_bytes = one;
    REFUSED(kernel, "");
    kernel = good;
    kernel.op = "q4_K_dequant";
    kernel.numerics = ASSAY_BITS;
    kernel.depth = NULL;
    REFUSED(kernel, "");
}

static void test_classes(void)
{
    static const struct {
        const char *op;
        bool classes[ASSAY_NUMERICS_COUNT]; /* bits, f32, i8, f16, i16, i24 */
    } known[] = {
        {"q4_K_dequant", {true, false, false, false, false, false}},
        {"moe_router_topk_softmax", {false, true, false, false, false, false}},
        {"affine_gemv", {false, true, false, false, false, false}},
        {"q4_K_gemm_moe_id", {false, true, true, true, true, true}},
        {"moe_ffn", {false, true, true, false, false, false}},
    };
    struct assay_kernel kernel = good;
    for (size_t i = 0; i < COUNT(known); i++) {
        for (uint32_t n = 0; n < ASSAY_NUMERICS_COUNT; n++) {
            char refusal[128];
            snprintf(refusal, sizeof(refusal), "lib 1.0: kernel \"mine\" of %s %s", known[i].op,
                     "promises a numerics class that the op does not have");
            kernel.op = known[i].op;
            kernel.numerics = n;
            REFUSED(kernel, known[i].classes[n] ? "" : refusal);
        }
    }
}

static void test_wrong_tables(void)
{
    const struct assay_kernel *kernel = &good;
    struct assay_kernels table = {ASSAY_ABI_VERSION + 1, 1, "lib", &kernel};
    CU_ASSERT_TRUE(equal(add_table(&table, 0).text, "lib: its ABI version is 2, this program's 1"));
    table.abi_version = 0;
    CU_ASSERT_TRUE(equal(add_table(&table, 0).text, "lib: its ABI version is 0, this program's 1"));
    static const char none[] = "lib: its table has no kernels, or more than 4096";
    table.abi_version = ASSAY_ABI_VERSION;
    table.count = 0;
    CU_ASSERT_TRUE(equal(add_table(&table, 0).text, none));
    table.count = 4097;
    CU_ASSERT_TRUE(equal(add_table(&table, 0).text, none));
    table.count = 1;
    table.kernels = NULL;
    CU_ASSERT_TRUE(equal(add_table(&table, 0).text, none));
    CU_ASSERT_TRUE(equal(add_table(NULL, 0).text, "unnamed library: assay_kernels() returns NULL"));
}

static void test_bad_ops_and_names(void)
{
    struct assay_kernel kernel = good;
    kernel.op = "q4_K_gem";
    REFUSED(kernel, "lib 1.0: a kernel is of the unknown op \"q4_K_gem\"");
    kernel.op = NULL;
    REFUSED(kernel, "lib 1.0: a kernel is of the unknown op \"\"");
    kernel = good;
    kernel.name = NULL;
    REFUSED(kernel, "lib 1.0: kernel \"\" of q4_K_gemv has no name");
    kernel.name = "";
    REFUSED(kernel, "lib 1.0: kernel \"\" of q4_K_gemv has no name");
    kernel = good;
    kernel.tier = NULL;
    REFUSED(kernel, "lib 1.0: kernel \"mine\" of q4_K_gemv has no tier");
    const struct assay_kernel *null = NULL;
    struct assay_kernels table = {ASSAY_ABI_VERSION, 1, NULL, &null};
    CU_ASSERT_TRUE(
        equal(add_table(&table, 0).text, "unnamed library: a kernel is of the unknown op \"\""));
}

static void test_bad_functions(void)
{
    struct assay_kernel kernel = good;
    kernel.run = NULL;
    REFUSED(kernel, "lib 1.0: kernel \"mine\" of q4_K_gemv has no run function");
    kernel = good;
    kernel.depth = NULL;
    REFUSED(kernel, "lib 1.0: kernel \"mine\" of q4_K_gemv has no depth function, which its "
                    "numerics class needs");
    kernel.numerics = ASSAY_I8;
    REFUSED(kernel, "lib 1.0: kernel \"mine\" of q4_K_gemv has no depth function, which its "
                    "numerics class needs");
    kernel = good;
    kernel.numerics = ASSAY_NUMERICS_COUNT;
    REFUSED(kernel, "lib 1.0: kernel \"mine\" of q4_K_gemv has an unknown numerics class");
    kernel.numerics = UINT32_MAX;
    REFUSED(kernel, "lib 1.0: kernel \"mine\" of q4_K_gemv has an unknown numerics class");
    kernel = good;
    kernel.prepare = prepare;
    REFUSED(kernel, "lib 1.0: kernel \"mine\" of q4_K_gemv must have both prepare and "
                    "prepared_bytes, or neither");
    kernel.prepare = NULL;
    kernel.prepared_bytes = one;
    REFUSED(kernel, "lib 1.0: kernel \"mine\" of q4_K_gemv must have both prepare and "
                    "prepared_bytes, or neither");
}

static void test_duplicates(void)
{
    struct assay_kernel other = good;
    other.op = "q4_K_dequant";
    other.numerics = ASSAY_BITS;
    const struct assay_kernel *distinct[] = {&good, &other};
    struct assay_kernels table = {ASSAY_ABI_VERSION, 2, "lib", distinct};
    CU_ASSERT_TRUE(equal(add_table(&table, 2).text, "")); /* unique within its op */
    const struct assay_kernel *twice[] = {&good, &other, &good};
    table = (struct assay_kernels){ASSAY_ABI_VERSION, 3, "lib", twice};
    CU_ASSERT_TRUE(
        equal(add_table(&table, 0).text, "lib: a second kernel is named q4_K_gemv/mine"));
}

/* ---- selection ---- */

static size_t select_count(const char *regex)
{
    struct kernels kernels = own_kernels(0);
    struct error error = {""};
    CU_ASSERT_TRUE(kernels_select(&kernels, regex, &error));
    size_t count = kernels.count;
    for (size_t i = 0; i < count; i++)
        CU_ASSERT_PTR_NOT_NULL(strchr(kernels.items[i].label, '/'));
    kernels_free(&kernels);
    return count;
}

static void test_select(void)
{
    CU_ASSERT_EQUAL(select_count(NULL), assay_own_kernels()->count);
    CU_ASSERT_EQUAL(select_count("."), assay_own_kernels()->count);
    CU_ASSERT_EQUAL(select_count("^q4_K_gemv/ref$"), 1);
    CU_ASSERT_EQUAL(select_count("^q4_K_gemv/ref(-i8)?$"), 2);
    CU_ASSERT_EQUAL(select_count("/ref$"), assay_n_ops);
    CU_ASSERT_EQUAL(select_count("nosuch"), 0);
    CU_ASSERT_EQUAL(select_count("^ref"), 0);
}

static void test_bad_regex(void)
{
    struct kernels kernels = own_kernels(0);
    struct error error = {""};
    CU_ASSERT_FALSE(kernels_select(&kernels, "(", &error));
    CU_ASSERT_PTR_EQUAL(strstr(error.text, "kernel expression \"(\": "), error.text);
    CU_ASSERT_EQUAL(kernels.count, assay_own_kernels()->count);
    kernels_free(&kernels);
    CU_ASSERT_EQUAL(kernels.count, 0);
    CU_ASSERT_PTR_NULL(kernels.items);
}

static CU_TestInfo tiers[] = {
    {"ref needs nothing", test_ref_needs_nothing},
#if defined(__x86_64__)
    {"table", test_table_is_known},
    {"all and none", test_all_and_none},
    {"each feature", test_each_feature},
    {"detection", test_detection},
#endif
    CU_TEST_INFO_NULL,
};

static CU_TestInfo own[] = {
    {"missing features", test_missing_is_marked},
    {"known tiers", test_own_tiers_are_known},
    {"references", test_every_op_has_a_reference},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo others[] = {
    {"good", test_good_tables},
    {"tables", test_wrong_tables},
    {"names", test_bad_ops_and_names},
    {"functions", test_bad_functions},
    {"classes", test_classes},
    {"duplicates", test_duplicates},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo selection[] = {
    {"select", test_select},
    {"bad regex", test_bad_regex},
    CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
    {"tiers", NULL, NULL, NULL, NULL, tiers},
    {"own kernels", NULL, NULL, NULL, NULL, own},
    {"other tables", NULL, NULL, NULL, NULL, others},
    {"selection", NULL, NULL, NULL, NULL, selection},
    CU_SUITE_INFO_NULL,
};

int main(void)
{
    return cunit_main(suites);
}
