/* SPDX-License-Identifier: MIT */
/*
 * The matmul kernels of this tier (opt/matmul.h): panels of 16 rows (panel.h) times activations in
 * f32 or f16 (f32.h) or int8 digits (i8.h). A panel meets the tokens of a group in tiles, as equal
 * as can be: 17 tokens are three tiles of 6, 6 and 5. Rows past m are zero blocks in a panel and
 * masked out of the store. Results that no cache would keep until they are read are written past
 * it.
 */
#include "opt/avx512vnni/f32.h"
#include "opt/avx512vnni/i8.h"
#include "opt/avx512vnni/kernels.h"
#include "opt/avx512vnni/tier.h"

static void quantize(const float *x, int digits, void *to)
{
    quantize_block(x, digits, to);
}

static struct matrix matrix_of(const struct matmul_job *job, const struct matmul_group *group)
{
    return (struct matrix){matmul_panel(job, group->list->matrix, 0), job->matmul.m, job->blocks};
}

static void multiply_digits(const struct matmul_job *job, const struct matmul_group *group,
                            int64_t panel, int64_t end, const uint8_t *after)
{
    const struct matmul *mm = &job->matmul;
    const struct digits *digits = job->prepared_sources;
    const struct matrix matrix = matrix_of(job, group);
    struct tokens_i8 tokens;
    tokens.n = (int)(group->last - group->first);
    tokens.digits = matmul_digits(job->class);
    tokens.stream = job->stream;
    for (int t = 0; t < tokens.n; t++) {
        int64_t pair = matmul_pair(group->list, group->first + t);
        tokens.x[t] = digits + matmul_source(mm, pair) * job->blocks * tokens.digits;
        tokens.y[t] = mm->dst + pair * mm->m;
    }
    panels_i8(&matrix, job->packed ? NULL : group->scratch, panel, end, after, &tokens);
    if (job->stream)
        _mm_sfence(); /* before barriers, which do not order such stores */
}

static void multiply_floats(const struct matmul_job *job, const struct matmul_group *group,
                            int64_t panel, int64_t end, const uint8_t *after)
{
    const struct matmul *mm = &job->matmul;
    const struct matrix matrix = matrix_of(job, group);
    const bool half = job->class == MATMUL_F16;
    const float *src = half ? job->prepared_sources : mm->src;
    struct tokens_f32 tokens;
    tokens.n = (int)(group->last - group->first);
    for (int t = 0; t < tokens.n; t++) {
        int64_t pair = matmul_pair(group->list, group->first + t);
        tokens.x[t] = src + matmul_source(mm, pair) * mm->k;
        tokens.y[t] = mm->dst + pair * mm->m;
    }
    for (int64_t p = panel; p < end; p++) {
        const uint8_t *ahead = p + 1 < end ? panel_start(&matrix, p + 1) : after;
        panel_f32(&matrix, p, half, ahead, &tokens, group->scratch);
    }
}

static void multiply(const struct matmul_job *job, const struct matmul_group *group, int64_t panel,
                     int64_t end, const uint8_t *after)
{
    if (matmul_digits(job->class) > 0)
        multiply_digits(job, group, panel, end, after);
    else
        multiply_floats(job, group, panel, end, after);
}

static void pack(const uint8_t *w, int64_t rows, int64_t blocks, int64_t panel, uint8_t *packed)
{
    struct matrix matrix = {w, rows, blocks};
    pack_panel(&matrix, panel, packed);
}

const struct matmul_tier avx512vnni_matmul = {
    .quantize = quantize,
    .digit_bytes = sizeof(struct digits),
    .round = round_block,
    .multiply = multiply,
    .float_scratch = sizeof(struct scratch_f32),
    .float_group = MATMUL_GROUP,
    .float_depth = panels_f32_depth,
    .pack = pack,
    .streams = true,
};

MATMUL_INTEGER_KERNELS(avx512vnni, q4_K_gemv)
MATMUL_KERNEL(avx512vnni, q4_K_gemm, f32, "f32", MATMUL_F32, ASSAY_F32, .twin = 0)
MATMUL_INTEGER_KERNELS(avx512vnni, q4_K_gemm)
MATMUL_KERNEL(avx512vnni, q4_K_gemm_moe_id, f32, "f32", MATMUL_F32, ASSAY_F32, .twin = 0)
MATMUL_KERNEL(avx512vnni, q4_K_gemm_moe_id, f16, "f16", MATMUL_F16, ASSAY_F16, .twin = 0)
MATMUL_INTEGER_KERNELS(avx512vnni, q4_K_gemm_moe_id)
MATMUL_KERNEL(avx512vnni, q4_K_gemv_moe_id, f32, "f32", MATMUL_F32, ASSAY_F32, .twin = 0)
MATMUL_INTEGER_KERNELS(avx512vnni, q4_K_gemv_moe_id)
