/* SPDX-License-Identifier: MIT */
/* The GGUF reader against files that break its rules, and against tests/golden/moe.gguf. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "harness/gguf.h"
#include "harness/memory.h"
#include "opt/cpu.h"
#include "opt/kernels.h"
#include "ref/fill.h"
#include "ref/moe_ids_tpe.h"
#include "ref/q4_K_dequant.h"
#include "ref/q4_K_gemm_moe_id.h"
#include "tests/cunit_main.h"
#include "tests/tiny_gguf.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define GOLDEN       ASSAY_SOURCE_DIR "/tests/golden/"

static struct tiny_gguf tiny;

/* Reads a copy that ends where the file does, so that a sanitizer sees a read beyond. */
static bool read_copy(const struct tiny_gguf *file, struct error *error)
{
    struct gguf gguf;
    uint8_t *copy = malloc(file->size ? file->size : 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
    memcpy(copy, file->bytes, file->size);
    bool read = gguf_read(&gguf, "tiny", copy, file->size, error);
    if (read)
        gguf_close(&gguf);
    free(copy);
    return read;
}

/* `tiny` is refused with this message; then it is made anew. */
static void refused(const char *message)
{
    struct error error = {""};
    bool read = read_copy(&tiny, &error);
    if (read || strcmp(error.text, message) != 0)
        printf("\n  got      %s\n  expected %s\n", read ? "(accepted)" : error.text, message);
    CU_ASSERT_FALSE(read);
    CU_ASSERT_STRING_EQUAL(error.text, message);
    tiny_make(&tiny);
}

static void test_tiny(void)
{
    struct gguf gguf;
    struct error error = {""};
    uint32_t number;
    char text[8];
    tiny_make(&tiny);
    for (uint64_t version = 2; version <= 3; version++) {
        tiny_set(&tiny, 4, version, 4);
        CU_ASSERT_TRUE_FATAL(gguf_read(&gguf, "tiny", tiny.bytes, tiny.size, &error));
        CU_ASSERT_EQUAL(gguf.version, version);
        gguf_close(&gguf);
    }
    CU_ASSERT_TRUE_FATAL(gguf_read(&gguf, "tiny", tiny.bytes, tiny.size, &error));
    CU_ASSERT_EQUAL(gguf.alignment, 64);
    CU_ASSERT_EQUAL(gguf.n_keys, 6);
    CU_ASSERT_TRUE(gguf_text(&gguf, "general.architecture", text, sizeof(text)));
    CU_ASSERT_STRING_EQUAL(text, "tiny");
    CU_ASSERT_FALSE(gguf_text(&gguf, "general.architecture", text, 4));
    CU_ASSERT_FALSE(gguf_text(&gguf, "general.alignment", text, sizeof(text)));
    CU_ASSERT_FALSE(gguf_text(&gguf, "general", text, sizeof(text)));
    CU_ASSERT_TRUE(gguf_u32(&gguf, "tiny.expert_used_count", &number));
    CU_ASSERT_EQUAL(number, 2);
    CU_ASSERT_FALSE(gguf_u32(&gguf, "yes", &number));
    const struct gguf_tensor *experts = gguf_find(&gguf, "blk.0.ffn_up_exps.weight");
    CU_ASSERT_PTR_NOT_NULL_FATAL(experts);
    CU_ASSERT_STRING_EQUAL(experts->type->name, "q4_K");
    CU_ASSERT_EQUAL(experts->offset, (int64_t)tiny.data);
    CU_ASSERT_EQUAL(experts->bytes, 288);
    CU_ASSERT_TRUE(experts->ne[0] == 256 && experts->ne[1] == 1 && experts->ne[2] == 2 &&
                   experts->ne[3] == 1);
    CU_ASSERT_PTR_NULL(gguf_find(&gguf, "blk.0.ffn_up_exps"));
    gguf_close(&gguf);
}

/* Cut short anywhere, it is refused. */
static void test_truncated(void)
{
    tiny_make(&tiny);
    size_t whole = tiny.size;
    for (size_t size = 0; size < whole; size++) {
        struct error error = {""};
        tiny.size = size;
        bool read = read_copy(&tiny, &error);
        if (read)
            printf("\n  accepted with %zu of %zu bytes\n", size, whole);
        CU_ASSERT_FALSE(read);
        CU_ASSERT_TRUE(strncmp(error.text, "tiny: ", 6) == 0 && !strchr(error.text, '\n'));
    }
    tiny_make(&tiny);
    tiny.size = 3;
    refused("tiny: byte 0: the magic number of 4 bytes does not fit into the file");
    tiny.size = 12;
    refused("tiny: byte 8: the number of tensors of 8 bytes does not fit into the file");
    tiny.size--;
    refused("tiny: tensor \"blk.0.ffn_gate_inp.weight\": its data is not inside the file");
}

static void test_header(void)
{
    tiny_make(&tiny);
    tiny.bytes[3] = 'G';
    refused("tiny: byte 0: does not begin with \"GGUF\"");
    tiny_set(&tiny, 4, 1, 4);
    refused("tiny: byte 4: version 1; only 2 and 3 are read");
    tiny_set(&tiny, 4, 4, 4);
    refused("tiny: byte 4: version 4; only 2 and 3 are read");
    tiny_set(&tiny, 4, 0x03000000, 4);
    refused("tiny: byte 4: a big-endian file; only little-endian is read");
    tiny_set(&tiny, tiny.tensors, UINT64_MAX, 8);
    refused("tiny: byte 8: the number of tensors is 18446744073709551615, more than the file can "
            "hold or are read (1048576)");
    tiny_set(&tiny, tiny.keys, 1000, 8);
    refused("tiny: byte 16: the number of keys is 1000, more than the file can hold or "
            "are read (1048576)");
    tiny_set(&tiny, tiny.tensors, 3, 8); /* fits, but there are two: the third is data */
    struct error error = {""};
    CU_ASSERT_FALSE(read_copy(&tiny, &error));
}

/* A file that has room for them all. */
static void test_many(void)
{
    struct gguf gguf;
    struct error error = {""};
    size_t size = (size_t)48 << 20;
    uint8_t *data = calloc(size, 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(data);
    tiny_make(&tiny);
    tiny_set(&tiny, tiny.tensors, (1 << 20) + 1, 8);
    memcpy(data, tiny.bytes, tiny.size);
    CU_ASSERT_FALSE(gguf_read(&gguf, "tiny", data, size, &error));
    CU_ASSERT_STRING_EQUAL(error.text, "tiny: byte 8: the number of tensors is 1048577, more than "
                                       "the file can hold or are read (1048576)");
    free(data);
    tiny_make(&tiny);
}

static void test_keys(void)
{
    char message[200];
    tiny_make(&tiny);
    tiny_set(&tiny, 24, UINT64_MAX, 8);
    refused("tiny: byte 32: a key of 18446744073709551615 bytes does not fit into the file");
    tiny_set(&tiny, 24, 0, 8);
    refused("tiny: byte 24: a key must have 1 to 65535 bytes, not 0");
    tiny.bytes[32] = '\n';
    refused("tiny: byte 24: a key has a byte that is not printable ASCII");
    tiny_set(&tiny, tiny.depth, 13, 4);
    snprintf(message, sizeof(message), "tiny: byte %zu: unknown type of value 13", tiny.depth);
    refused(message);
    tiny_set(&tiny, tiny.array, UINT64_C(1) << 61, 8);
    snprintf(message, sizeof(message),
             "tiny: byte %zu: an array of 2305843009213693952 values overflows", tiny.array + 8);
    refused(message);
    tiny_set(&tiny, tiny.array, UINT64_C(1) << 60, 8);
    snprintf(message, sizeof(message),
             "tiny: byte %zu: an array of 9223372036854775808 bytes does not fit into the file",
             tiny.array + 8);
    refused(message);
    tiny_set(&tiny, tiny.boolean, 2, 1);
    snprintf(message, sizeof(message), "tiny: byte %zu: a bool must be 0 or 1, not 2",
             tiny.boolean);
    refused(message);
    memcpy(tiny.bytes + tiny.boolean - 7, "no!", 3); /* another name is no matter */
    struct error error = {""};
    CU_ASSERT_TRUE(read_copy(&tiny, &error));
}

static void test_same_keys(void)
{
    struct tiny_gguf file = {.size = 0};
    tiny_put(&file, 0x46554747, 4);
    tiny_put(&file, 3, 4);
    tiny_put(&file, 0, 8);
    tiny_put(&file, 3, 8);
    for (int i = 0; i < 3; i++) {
        tiny_key(&file, i == 1 ? "b" : "aa", 0);
        tiny_put(&file, 0, 1);
    }
    tiny = file;
    refused("tiny: key \"aa\" is there twice");
}

static void test_nested(void)
{
    for (int depth = 8; depth <= 9; depth++) {
        struct tiny_gguf file = {.size = 0};
        struct error error = {""};
        tiny_put(&file, 0x46554747, 4);
        tiny_put(&file, 3, 4);
        tiny_put(&file, 0, 8);
        tiny_put(&file, 1, 8);
        tiny_key(&file, "deep", 9);
        for (int i = 1; i < depth; i++) {
            tiny_put(&file, 9, 4);
            tiny_put(&file, 1, 8);
        }
        tiny_put(&file, 0, 4);
        tiny_put(&file, 0, 8);
        CU_ASSERT_EQUAL(read_copy(&file, &error), depth == 8);
        if (depth == 9)
            CU_ASSERT_STRING_EQUAL(error.text,
                                   "tiny: byte 136: arrays are nested more than 8 deep");
    }
}

static void test_alignment(void)
{
    tiny_make(&tiny);
    static const uint32_t wrong[] = {0, 1, 4, 24, 0x80000001};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        char message[128];
        tiny_set(&tiny, tiny.alignment, wrong[i], 4);
        snprintf(message, sizeof(message),
                 "tiny: general.alignment must be a power of two from 8 on, not %" PRIu32,
                 wrong[i]);
        refused(message);
    }
    tiny_set(&tiny, tiny.alignment - 4, 6, 4);
    refused("tiny: general.alignment must be a u32");
    tiny_set(&tiny, tiny.offset, 321, 8);
    refused("tiny: tensor \"blk.0.ffn_gate_inp.weight\": its offset is not a multiple of the "
            "alignment");
    tiny_set(&tiny, tiny.alignment, 256, 4);
    refused("tiny: tensor \"blk.0.ffn_gate_inp.weight\": its offset is not a multiple of the "
            "alignment");
}

#define GATE "tiny: tensor \"blk.0.ffn_gate_inp.weight\": "

static void test_tensors(void)
{
    tiny_make(&tiny);
    tiny.bytes[tiny.first + 8] = ' ';
    char message[128];
    snprintf(message, sizeof(message),
             "tiny: byte %zu: a tensor's name has a byte that is not printable ASCII", tiny.first);
    refused(message);
    tiny_set(&tiny, tiny.first, 65, 8);
    snprintf(message, sizeof(message),
             "tiny: byte %zu: a tensor's name must have 1 to 64 bytes, not 65", tiny.first);
    refused(message);
    tiny_set(&tiny, tiny.n_dims, 0, 4);
    refused(GATE "must have 1 to 4 dimensions");
    tiny_set(&tiny, tiny.n_dims, 5, 4);
    refused(GATE "must have 1 to 4 dimensions");
    tiny_set(&tiny, tiny.ne + 8, 0, 8);
    refused(GATE "has a dimension of 0");
    tiny_set(&tiny, tiny.ne, UINT64_C(1) << 63, 8);
    refused(GATE "has a dimension above 2^63 - 1");
    tiny_set(&tiny, tiny.ne, INT64_MAX, 8);
    refused(GATE "its size overflows");
    tiny_set(&tiny, tiny.ne, INT64_MAX / 8, 8);
    refused(GATE "its data is not inside the file");
    tiny_set(&tiny, tiny.type, 4, 4); /* removed from the format */
    refused(GATE "unknown type 4");
    tiny_set(&tiny, tiny.type, 43, 4);
    refused(GATE "unknown type 43");
    tiny_set(&tiny, tiny.type, 12, 4);
    refused(GATE "rows of q4_K must be a multiple of 256 long");
    tiny_make_named(&tiny, "blk.0.ffn_gate_inp.weight");
    refused(GATE "is there twice");
}

static void test_places(void)
{
    tiny_make(&tiny);
    tiny_set(&tiny, tiny.offset, 256, 8);
    refused(GATE "overlaps \"blk.0.ffn_up_exps.weight\"");
    tiny_set(&tiny, tiny.offset, 0, 8);
    struct error error = {""};
    CU_ASSERT_FALSE(read_copy(&tiny, &error));
    CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "overlaps"));
    tiny_make(&tiny);
    tiny_set(&tiny, tiny.offset, 384, 8);
    refused(GATE "its data is not inside the file");
    tiny_set(&tiny, tiny.offset, UINT64_MAX - 63, 8);
    refused(GATE "its data is not inside the file");
    tiny_set(&tiny, tiny.offset, INT64_MAX - 63, 8);
    refused(GATE "its data is not inside the file");
}

static void test_files(void)
{
    struct gguf gguf;
    struct error error = {""};
    CU_ASSERT_FALSE(gguf_open(&gguf, "/nonexistent/model.gguf", &error));
    CU_ASSERT_STRING_EQUAL(error.text,
                           "/nonexistent/model.gguf: cannot be read: No such file or directory");
    CU_ASSERT_FALSE(gguf_open(&gguf, "/dev", &error));
    CU_ASSERT_STRING_EQUAL(error.text, "/dev: is not a regular file");
    CU_ASSERT_FALSE(gguf_open(&gguf, "/dev/null", &error));
    CU_ASSERT_STRING_EQUAL(error.text, "/dev/null: is not a regular file");
    CU_ASSERT_FALSE(gguf_open(&gguf, ASSAY_SOURCE_DIR "/README.md", &error));
    CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "does not begin with \"GGUF\""));
}

/* ---- the golden file ---- */

static struct gguf golden;

static int open_golden(void)
{
    struct error error;
    if (gguf_open(&golden, GOLDEN "moe.gguf", &error))
        return 0;
    printf("\n  %s\n", error.text);
    return 1;
}

static int close_golden(void)
{
    gguf_close(&golden);
    return 0;
}

/* As tests/golden/README.md lists them. */
static const struct {
    const char *name, *type;
    int64_t ne[3], offset, bytes;
    uint64_t dequantized; /* FNV-1a of all weights as f32 */
} wanted[] = {
    {"token_embd.weight", "f16", {512, 8, 1}, 0, 8192, 0},
    {"rope_freqs.weight", "f32", {13, 1, 1}, 8192, 52, 0},
    {"blk.0.ffn_norm.weight", "f32", {512, 1, 1}, 8256, 2048, 0},
    {"blk.0.ffn_gate_inp.weight", "f32", {512, 8, 1}, 10304, 16384, 0},
    {"blk.0.ffn_gate_exps.weight", "q4_K", {512, 256, 8}, 26688, 589824, 0x6f368b36479e117f},
    {"blk.0.ffn_up_exps.weight", "q4_K", {512, 256, 8}, 616512, 589824, 0xc22b47b1d1e101c1},
    {"blk.0.ffn_down_exps.weight", "q4_K", {256, 512, 8}, 1206336, 589824, 0x5badec89877e4bec},
    {"blk.0.attn_output.weight", "bf16", {512, 8, 1}, 1796160, 8192, 0},
    {"blk.1.ffn_norm.weight", "f32", {512, 1, 1}, 1804352, 2048, 0},
    {"blk.1.ffn_gate_inp.weight", "f32", {512, 8, 1}, 1806400, 16384, 0},
    {"blk.1.ffn_down_exps.weight", "q4_K", {256, 512, 8}, 1822784, 589824, 0x6f6cf7d093710a40},
    {"blk.1.ffn_up_exps.weight", "q4_K", {512, 256, 8}, 2412608, 589824, 0x101778ea6c1f1c03},
    {"blk.1.ffn_gate_exps.weight", "q4_K", {512, 256, 8}, 3002432, 589824, 0xe148ad0828fee880},
    {"output_norm.weight", "f32", {512, 1, 1}, 3592256, 2048, 0},
    {"output.weight", "q6_K", {512, 8, 1}, 3594304, 3360, 0},
};
enum { GOLDEN_DATA = 2432 };

static void test_golden_tensors(void)
{
    uint32_t used = 0;
    char text[32];
    CU_ASSERT_EQUAL(golden.version, 3);
    CU_ASSERT_EQUAL(golden.alignment, 32);
    CU_ASSERT_EQUAL(golden.n_keys, 34);
    CU_ASSERT_TRUE(gguf_text(&golden, "general.architecture", text, sizeof(text)));
    CU_ASSERT_STRING_EQUAL(text, "qwen3moe");
    CU_ASSERT_TRUE(gguf_u32(&golden, "qwen3moe.expert_used_count", &used) && used == 4);
    CU_ASSERT_EQUAL_FATAL(golden.n_tensors, COUNT(wanted));
    for (size_t i = 0; i < COUNT(wanted); i++) {
        const struct gguf_tensor *tensor = gguf_find(&golden, wanted[i].name);
        CU_ASSERT_PTR_EQUAL_FATAL(tensor, &golden.tensors[i]);
        CU_ASSERT_STRING_EQUAL(tensor->type->name, wanted[i].type);
        CU_ASSERT_EQUAL(tensor->offset, GOLDEN_DATA + wanted[i].offset);
        CU_ASSERT_EQUAL(tensor->bytes, wanted[i].bytes);
        for (int d = 0; d < 3; d++)
            CU_ASSERT_EQUAL(tensor->ne[d], wanted[i].ne[d]);
    }
}

static uint64_t fnv1a(const void *data, size_t bytes)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ ((const uint8_t *)data)[i]) * 0x100000001b3;
    return hash;
}

/* Every dequantizer that can run, on the mapped file. */
static void test_golden_weights(void)
{
    const struct assay_kernels *own = assay_own_kernels();
    size_t tried = 0;
    for (size_t i = 0; i < COUNT(wanted); i++) {
        if (!wanted[i].dequantized)
            continue;
        struct q4_K_dequant_shape shape = {wanted[i].ne[0] * wanted[i].ne[1] * wanted[i].ne[2],
                                           GOLDEN_DATA + wanted[i].offset};
        size_t bytes = (size_t)shape.n * sizeof(float);
        float *y = malloc(bytes);
        CU_ASSERT_PTR_NOT_NULL_FATAL(y);
        struct q4_K_dequant_args args = {golden.data, y};
        for (uint32_t k = 0; k < own->count; k++) {
            const struct assay_kernel *kernel = own->kernels[k];
            if (strcmp(kernel->op, "q4_K_dequant") != 0 ||
                cpu_tier_lacks(kernel->tier, cpu_detect()))
                continue;
            memset(y, 0xa5, bytes);
            CU_ASSERT_PTR_NULL(kernel->run(&shape, &args, NULL, NULL, 2));
            CU_ASSERT_EQUAL(fnv1a(y, bytes), wanted[i].dequantized);
            tried++;
        }
        free(y);
    }
    CU_ASSERT_TRUE(tried >= 6);
}

static void *load(const char *name, size_t bytes)
{
    char path[1024];
    snprintf(path, sizeof(path), GOLDEN "moe_%s.bin", name);
    FILE *file = fopen(path, "rb");
    void *data = malloc(bytes + 1);
    CU_ASSERT_TRUE_FATAL(file && data);
    CU_ASSERT_EQUAL(fread(data, 1, bytes + 1, file), bytes);
    fclose(file);
    return data;
}

/* The file's router chooses the experts that other code chose for the same activations. */
static void check_router(const char *x_name, const char *ids_name, int64_t tokens, int64_t top_k)
{
    const struct gguf_tensor *router = gguf_find(&golden, "blk.0.ffn_gate_inp.weight");
    float *x = load(x_name, (size_t)tokens * 512 * sizeof(*x));
    int32_t *ids = load(ids_name, (size_t)(tokens * top_k) * sizeof(*ids));
    struct assay_fill fill = {.router = (const float *)(golden.data + router->offset),
                              .hidden = 512};
    for (int64_t t = 0; t < tokens; t++) {
        double logits[8];
        int32_t selected[8];
        route_by_router(&fill, 8, top_k, &x[t * 512], logits, selected);
        CU_ASSERT_EQUAL(memcmp(selected, &ids[t * top_k], (size_t)top_k * sizeof(*ids)), 0);
    }
    free(x);
    free(ids);
}

static void test_golden_router(void)
{
    check_router("pre0_x", "pre0_k2_ids", 40, 2);
    check_router("pre0_x", "pre0_k4_ids", 40, 4);
    check_router("dec0_x", "dec0_k4_ids", 3, 4);
}

/* The reference, on byte offsets into the file, against products that other code summed. */
static void check_product(const char *weights, const char *x_name, const char *ids_name,
                          const char *wanted_name, int64_t tokens, int64_t top_k, int64_t ne11)
{
    const struct gguf_tensor *w = gguf_find(&golden, weights);
    int64_t pairs = tokens * top_k, k = w->ne[0], m = w->ne[1];
    struct q4_K_gemm_moe_id_shape shape = {8, m, k, top_k, ne11, tokens, pairs, w->offset, 0};
    float *x = load(x_name, (size_t)(tokens * ne11 * k) * sizeof(*x));
    float *y = load(wanted_name, (size_t)(pairs * m) * sizeof(*y));
    int32_t *selected = load(ids_name, (size_t)pairs * sizeof(*selected));
    int32_t tpe[8], *ids = malloc((size_t)(8 * pairs) * sizeof(*ids));
    float *dst = malloc((size_t)(pairs * m) * sizeof(*dst));
    double *sums = malloc((size_t)pairs * sizeof(*sums));
    CU_ASSERT_TRUE_FATAL(ids && dst && sums);
    moe_lists(selected, pairs, 8, pairs, tpe, ids);
    struct q4_K_gemm_moe_id_args args = {golden.data, x, ids, tpe, NULL, dst};
    CU_ASSERT_PTR_NULL(q4_K_gemm_moe_id_ref.run(&shape, &args, NULL, sums, 1));
    size_t wrong = 0;
    for (int64_t i = 0; i < pairs * m; i++)
        wrong += !(fabs((double)dst[i] - (double)y[i]) <= 0x1p-23 * fabs((double)y[i]));
    CU_ASSERT_EQUAL(wrong, 0);
    free(x);
    free(y);
    free(selected);
    free(ids);
    free(dst);
    free(sums);
}

static void test_golden_products(void)
{
    check_product("blk.0.ffn_gate_exps.weight", "pre0_x", "pre0_k2_ids", "pre0_k2_gate", 40, 2, 1);
    check_product("blk.0.ffn_gate_exps.weight", "dec0_x", "dec0_k4_ids", "dec0_k4_gate", 3, 4, 1);
    check_product("blk.0.ffn_up_exps.weight", "dec0_x", "dec0_k4_ids", "dec0_k4_up", 3, 4, 1);
    check_product("blk.0.ffn_down_exps.weight", "dec0_k4_h", "dec0_k4_ids", "dec0_k4_down", 3, 4,
                  4);
}

/* ---- mapped weights ---- */

/* Writing is private, and what comes before the tensor is not the file's. */
static void test_mapping(void)
{
    const struct gguf_tensor *tensor = gguf_find(&golden, "blk.1.ffn_up_exps.weight");
    struct guarded buffer;
    struct error error;
    int64_t offset = tensor->offset, bytes = tensor->bytes;
    CU_ASSERT_TRUE_FATAL(guarded_map_file(&buffer, GOLDEN "moe.gguf", 0, offset, bytes, &error));
    CU_ASSERT_EQUAL(buffer.hole, 0);
    CU_ASSERT_EQUAL(memcmp(buffer.data + offset, golden.data + offset, (size_t)bytes), 0);
    for (int64_t i = 0; i < offset; i++)
        buffer.map = buffer.data[i] == poison_byte((size_t)i, POISON_A) ? buffer.map : NULL;
    CU_ASSERT_PTR_NOT_NULL_FATAL(buffer.map);
    CU_ASSERT_TRUE(guarded_canary_intact(&buffer));
    buffer.data[offset] ^= 1;
    CU_ASSERT_NOT_EQUAL(buffer.data[offset], golden.data[offset]);
    guarded_free(&buffer);
    CU_ASSERT_FALSE(guarded_map_file(&buffer, GOLDEN "moe.gguf", 0, offset, 1 << 30, &error));
    CU_ASSERT_STRING_EQUAL(error.text, GOLDEN "moe.gguf: became shorter");
}

static CU_TestInfo reader_tests[] = {
    {"a small file", test_tiny},
    {"cut short", test_truncated},
    {"header", test_header},
    {"many tensors", test_many},
    {"keys", test_keys},
    {"the same keys", test_same_keys},
    {"nested arrays", test_nested},
    {"alignment", test_alignment},
    {"tensors", test_tensors},
    {"places", test_places},
    {"files", test_files},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo golden_tests[] = {
    {"tensors", test_golden_tensors}, {"weights", test_golden_weights},
    {"router", test_golden_router},   {"products", test_golden_products},
    {"mapped weights", test_mapping}, CU_TEST_INFO_NULL,
};

int main(void)
{
    CU_SuiteInfo suites[] = {
        {"GGUF files", NULL, NULL, NULL, NULL, reader_tests},
        {"the golden file", open_golden, close_golden, NULL, NULL, golden_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites);
}
