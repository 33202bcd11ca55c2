/* SPDX-License-Identifier: MIT */
/*
 * A kernel library to start from: one q4_K_gemv kernel in plain C. Build, check, bench:
 *
 *   cc -O2 -shared -fPIC $(pkg-config --cflags assay) -o libmine.so mine.c
 *   assay check cases/smoke -k mine --kernels ./libmine.so
 *   assay bench cases/models -c 'gemv n=4096' -k 'mine|ref' --kernels ./libmine.so
 *
 * The library needs nothing of assay but its headers. Then replace `dot` by something faster, and
 * `depth` by what that does.
 */
#include <ref/assay.h>
#include <string.h>

enum { LANES = 8 };

/* One super-block. The terms of a lane are added in f32, lane after lane: 256 / LANES roundings of
 * sums and as many of products, of which each term meets one. */
static float dot(const struct block_q4_K *block, const float *x)
{
    float d = q4_K_f16(block->d), dmin = q4_K_f16(block->dmin);
    float lanes[LANES] = {0};
    for (int j = 0; j < Q4_K_SUB_BLOCKS; j++) {
        float scale = d * (float)q4_K_scale(block, j);
        float min = dmin * (float)q4_K_min(block, j);
        const uint8_t *bytes = &block->qs[32 * (j / 2)];
        for (int i = 0; i < Q4_K_SUB_BLOCK; i++) {
            int q = j % 2 == 0 ? bytes[i] & 15 : bytes[i] >> 4;
            lanes[i % LANES] += (scale * (float)q - min) * x[j * Q4_K_SUB_BLOCK + i];
        }
    }
    float sum = 0;
    for (int lane = 0; lane < LANES; lane++)
        sum += lanes[lane];
    return sum;
}

/* The longest way of a weight into y: its own rounding, the product's, 256 / LANES sums in its lane,
 * LANES sums over the lanes, one over the super-blocks for each of them. */
static int64_t depth(const void *shape)
{
    const struct q4_K_gemv_shape *s = (const struct q4_K_gemv_shape *)shape;
    return 2 + Q4_K_BLOCK / LANES + LANES + s->k / Q4_K_BLOCK;
}

/* The harness calls with legal shapes only; an engine may not. */
static const char *rule_broken(const struct q4_K_gemv_shape *s)
{
    if (s->n < 1 || s->k < Q4_K_BLOCK || s->k % Q4_K_BLOCK != 0)
        return "n must be at least 1 and k a positive multiple of 256";
    if (s->w_offset < 0 || s->w_offset % 2 != 0)
        return "w_offset must be even and not negative";
    return NULL;
}

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    (void)prepared, (void)scratch, (void)threads;
    const struct q4_K_gemv_shape *s = (const struct q4_K_gemv_shape *)shape;
    const struct q4_K_gemv_args *a = (const struct q4_K_gemv_args *)args;
    const char *broken = rule_broken(s);
    if (broken)
        return broken;
    int64_t blocks = s->k / Q4_K_BLOCK;
    const struct block_q4_K *w = (const struct block_q4_K *)(a->w + s->w_offset);
    for (int64_t r = 0; r < s->n; r++) {
        float y = 0;
        for (int64_t b = 0; b < blocks; b++)
            y += dot(&w[r * blocks + b], &a->x[b * Q4_K_BLOCK]);
        a->y[r] = y;
    }
    return NULL;
}

/* Why the kernel cannot do a legal shape; such cases are skipped, and say so. */
static const char *unsupported(const void *shape)
{
    const struct q4_K_gemv_shape *s = (const struct q4_K_gemv_shape *)shape;
    return s->k > 1 << 20 ? "k is above 2^20" : NULL;
}

static const struct assay_kernel gemv = {
    .op = "q4_K_gemv",
    .name = "plain",
    .tier = "c", /* not a tier that assay knows: it runs everywhere */
    .numerics = ASSAY_F32,
    .depth = depth,
    .unsupported = unsupported,
    .run = run,
};

static const struct assay_kernel *const kernels[] = {&gemv};

/* The one symbol that assay looks up. */
__attribute__((visibility("default"))) const struct assay_kernels *assay_kernels(void)
{
    static const struct assay_kernels table = {ASSAY_ABI_VERSION, 1, "mine", kernels};
    return &table;
}
