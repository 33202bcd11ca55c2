/* SPDX-License-Identifier: MIT */
/* The fast kernels of q4_K_gemm_moe_id with a dispatch that is smaller than the lists: what it
 * covers has the bits of the whole, nothing else is written. (The contract has no such dispatch;
 * the references take all.) */
#include "ref/fill.h"
#include "ref/moe_ids_tpe.h"
#include "ref/q4_K.h"
#include "ref/q4_K_gemm_moe_id.h"
#include "tests/golden.h"

enum { EXPERTS = 3, EACH = 40, TOKENS = EXPERTS * EACH, M = 100, K = 512 };

static struct q4_K_gemm_moe_id_shape shape_of(int64_t indirect)
{
    return (struct q4_K_gemm_moe_id_shape){EXPERTS, M, K, 1, 1, TOKENS, TOKENS, 0, indirect};
}

struct data {
    struct block_q4_K w[EXPERTS * M * (K / Q4_K_BLOCK)];
    float src[TOKENS * K], whole[TOKENS * M], part[TOKENS * M];
    int32_t ids[EXPERTS * TOKENS], tpe[EXPERTS];
};

/* Token t meets expert t % EXPERTS; weights are small numbers of both signs. */
static void make(struct data *data)
{
    uint8_t *bytes = (uint8_t *)data->w;
    for (size_t i = 0; i < sizeof(data->w); i++)
        bytes[i] = (uint8_t)(i * 37 + i / 144 * 11);
    for (size_t i = 0; i < COUNT(data->w); i++) {
        memcpy(data->w[i].d, (uint8_t[]){0, 0x20}, 2);
        memcpy(data->w[i].dmin, (uint8_t[]){0, 0x28}, 2);
    }
    for (int i = 0; i < TOKENS * K; i++)
        data->src[i] = (float)(i * 7919 % 255 - 127);
    memset(data->tpe, 0, sizeof(data->tpe));
    for (int t = 0; t < TOKENS; t++) {
        int e = t % EXPERTS;
        data->ids[e * TOKENS + data->tpe[e]++] = t;
    }
}

static void run(const struct data *data, const struct assay_kernel *kernel, const uint32_t *grid,
                float *dst)
{
    const struct q4_K_gemm_moe_id_shape shape = shape_of(grid != NULL);
    struct q4_K_gemm_moe_id_args args = {
        (const uint8_t *)data->w, data->src, data->ids, data->tpe, grid, dst};
    memset(dst, 0xa5, sizeof(data->part));
    call(kernel, &shape, &args, 3);
}

static void check_grid(struct data *data, const struct assay_kernel *kernel, const uint32_t grid[3])
{
    float untouched;
    memset(&untouched, 0xa5, sizeof(untouched));
    run(data, kernel, grid, data->part);
    size_t wrong = 0;
    for (int t = 0; t < TOKENS; t++) {
        bool listed =
            (uint32_t)(t % EXPERTS) < grid[2] && (uint32_t)(t / EXPERTS) < grid[0] * MOE_TILE_PAIRS;
        for (int r = 0; r < M; r++) {
            bool covered = listed && (uint32_t)r < grid[1] * MOE_TILE_ROWS;
            float expected = covered ? data->whole[t * M + r] : untouched;
            wrong += assay_f32_bits(data->part[t * M + r]) != assay_f32_bits(expected);
        }
    }
    expect(wrong == 0, kernel, "a dispatch is not what was computed");
}

static void test_smaller(void)
{
    static const uint32_t grids[][3] = {{2, 2, 3}, {1, 2, 3}, {2, 1, 3}, {2, 2, 2},   {1, 1, 1},
                                        {0, 2, 3}, {2, 0, 3}, {2, 2, 0}, {99, 99, 99}};
    static struct data data;
    make(&data);
    CU_ASSERT_EQUAL(data.tpe[EXPERTS - 1], EACH);
    for (int numerics = 0; numerics < ASSAY_NUMERICS_COUNT; numerics++) {
        const struct assay_kernel *kernel;
        for (size_t n = 0; (kernel = runnable("q4_K_gemm_moe_id", numerics, n)); n++) {
            if (strncmp(kernel->name, "ref", 3) == 0)
                continue;
            run(&data, kernel, NULL, data.whole);
            for (size_t g = 0; g < COUNT(grids); g++)
                check_grid(&data, kernel, grids[g]);
        }
    }
}

static CU_TestInfo tests[] = {
    {"smaller", test_smaller},
    CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
    {"indirect", NULL, NULL, NULL, NULL, tests},
    CU_SUITE_INFO_NULL,
};

int main(void)
{
    return cunit_main(suites);
}
