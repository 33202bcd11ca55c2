/* SPDX-License-Identifier: MIT */
/* harness/ceilings.h: which ceiling binds, on a machine made up. */
#include <math.h>
#include <string.h>

#include "harness/ceilings.h"
#include "tests/cunit_main.h"

#define KIB 1024.0
#define MIB (1024 * KIB)

/* Reads 100, 50 and 10 GB/s of 16 KiB, 1 MiB and 64 MiB a thread, with two threads twice as much, but
 * for memory; stores half of it, past the caches 8. */
static struct ceilings machine(void)
{
    struct ceilings c = {.n_teams = 2,
                         .n_peaks = 6,
                         .peaks = {{"portable", 1, 1000, 2000},
                                   {"avx2", 1, 10, 40},
                                   {"avx512vnni", 1, 25, 200},
                                   {"portable", 2, 1000, 2000},
                                   {"avx2", 2, 20, 80},
                                   {"avx512vnni", 2, 50, 400}}};
    const double bytes[] = {16 * KIB, MIB, 64 * MIB}, rates[] = {100, 50, 10};
    for (size_t t = 0; t < c.n_teams; t++) {
        struct team_ceilings *team = &c.teams[t];
        *team = (struct team_ceilings){.threads = (int)t + 1, .n_sizes = 3};
        team->nt_store_gb_per_s = 8;
        for (size_t i = 0; i < team->n_sizes; i++) {
            double rate = i < 2 ? rates[i] * team->threads : rates[i];
            team->bytes[i] = bytes[i];
            team->gb_per_s[STREAM_READ][i] = rate;
            team->gb_per_s[STREAM_STORE][i] = rate / 2;
            team->gb_per_s[STREAM_COPY][i] = rate;
        }
    }
    return c;
}

static void binds(const struct work *work, const char *kind, double ns, const char *name)
{
    const struct ceilings c = machine();
    struct binding binding;
    CU_ASSERT_FATAL(ceilings_bind(&c, work, &binding));
    CU_ASSERT_STRING_EQUAL(binding.kind, kind);
    CU_ASSERT_STRING_EQUAL(binding.name, name);
    CU_ASSERT_DOUBLE_EQUAL(binding.ns, ns, 1e-9 * ns);
}

/* Products are two flop each, as many times as an activation has digits. */
static void test_arithmetic(void)
{
    struct work work = {.cost = {.flop = 2e6, .products = 9e5}, .tier = "avx2", .threads = 1};
    binds(&work, "f32", 2e5, "f32 FMA, avx2");
    work.threads = 2;
    binds(&work, "f32", 1e5, "f32 FMA, avx2");
    work.digits = 1; /* 1.8e6 / 80 of int8, beside 2e5 / 20 */
    binds(&work, "int8", 22500, "int8 dot, avx2");
    work.digits = 2;
    binds(&work, "int8", 45000, "int8 dot, avx2");
    work.cost.products = 1e5;
    binds(&work, "f32", 90000, "f32 FMA, avx2");
}

/* What is not a tier has the best of all; what the compiler is worth is for references alone. */
static void test_tiers(void)
{
    struct work work = {.cost = {.flop = 5e6}, .tier = "other", .threads = 1};
    binds(&work, "f32", 2e5, "f32 FMA, avx512vnni");
    struct ceilings c = machine();
    struct binding binding;
    c.n_peaks = 1;
    CU_ASSERT_FALSE(ceilings_bind(&c, &work, &binding));
    work.tier = "ref";
    CU_ASSERT_FATAL(ceilings_bind(&c, &work, &binding));
    CU_ASSERT_DOUBLE_EQUAL(binding.ns, 5000, 1e-6);
}

static void test_memory(void)
{
    struct work work = {.cost = {.read_bytes = MIB, .weight_bytes = MIB},
                        .tier = "avx2",
                        .threads = 2,
                        .cold = true};
    binds(&work, "read", MIB / 10, "read, memory");
    work.cold = false; /* no more than 512 KiB a thread, which are between two sizes */
    binds(&work, "read", MIB / 200, "read, 512 KiB a thread");
    work.threads = 1;
    binds(&work, "read", MIB / 50, "read, 1 MiB a thread");
    work.cost.flop = 2 * MIB; /* takes longer */
    binds(&work, "f32", MIB / 5, "f32 FMA, avx2");
}

/* What is not weights stays where the caches have it, also with cold weights. */
static void test_activations(void)
{
    struct work work = {.cost = {.read_bytes = 64 * MIB}, .tier = "avx2", .threads = 1};
    work.cold = true;
    binds(&work, "read", 64 * MIB / 10, "read, 64 MiB a thread");
    work.cost = (struct assay_cost){.read_bytes = KIB, .written_bytes = 15 * KIB};
    binds(&work, "store", 15 * KIB / 50, "store, 16 KiB a thread");
    work.cost = (struct assay_cost){.written_bytes = 64 * MIB}; /* past the caches */
    binds(&work, "store", 64 * MIB / 8, "store, 64 MiB a thread");
}

static void test_unknown(void)
{
    const struct ceilings none = {0};
    struct ceilings c = machine();
    struct binding binding;
    const struct work work = {.cost = {.flop = 1, .read_bytes = 1}, .tier = "avx2", .threads = 1};
    CU_ASSERT_FALSE(ceilings_bind(&none, &work, &binding));
    c.peaks[1].f32_gflops = NAN;
    c.teams[0].gb_per_s[STREAM_READ][0] = NAN;
    c.n_peaks = 2;
    CU_ASSERT(ceilings_bind(&c, &work, &binding));
    CU_ASSERT_STRING_EQUAL(binding.kind, "read");
    CU_ASSERT_DOUBLE_EQUAL(binding.ns, 1.0 / 50, 1e-12);
}

static CU_TestInfo tests[] = {{"arithmetic", test_arithmetic}, {"tiers", test_tiers},
                              {"memory", test_memory},         {"activations", test_activations},
                              {"unknown", test_unknown},       CU_TEST_INFO_NULL};
static CU_SuiteInfo suites[] = {{"ceilings", NULL, NULL, NULL, NULL, tests}, CU_SUITE_INFO_NULL};

int main(void)
{
    return cunit_main(suites);
}
