/* SPDX-License-Identifier: MIT */
/* Case files, keys and selection. The corpus of malformed files is in tests/bad_cases. */
#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/case.h"
#include "harness/schema.h"

#define CASES_DIR ASSAY_SOURCE_DIR "/cases"
#define BAD_DIR   ASSAY_SOURCE_DIR "/tests/bad_cases"

static char temporary[] = "/tmp/assay-test-cases-XXXXXX";

/* Writes a file of the temporary directory and returns its path, which the next call overwrites. */
static const char *write_file(const char *name, const char *text, size_t size)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", temporary, name);
    FILE *file = fopen(path, "wb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL(fwrite(text, 1, size, file), size);
    CU_ASSERT_EQUAL(fclose(file), 0);
    return path;
}

/* The text of a file without its last newline, in a static buffer. */
static const char *read_file(const char *path)
{
    static char text[1 << 18];
    FILE *file = fopen(path, "rb");
    if (!file)
        return "";
    size_t size = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[size] = '\0';
    if (size > 0 && text[size - 1] == '\n')
        text[size - 1] = '\0';
    return text;
}

/* Removes "DIRECTORY/" wherever it stands in a message. */
static void strip_directory(char *message, const char *directory)
{
    size_t length = strlen(directory) + 1;
    for (char *at = message; (at = strstr(at, directory));)
        memmove(at, at + length, strlen(at + length) + 1);
}

static void check_refused(const char *path, const char *directory, const char *expected)
{
    struct cases cases = {0};
    struct error error = {""};
    CU_ASSERT_TRUE_FATAL(cases_from_key("q4_K_quantize n=256 fill=model", &cases, &error));
    CU_ASSERT_FALSE(cases_load(path, &cases, &error));
    CU_ASSERT_EQUAL(cases.count, 1);
    strip_directory(error.text, directory);
    if (strcmp(error.text, expected) != 0)
        printf("\n  %s\n  got      %s\n  expected %s", path, error.text, expected);
    CU_ASSERT_STRING_EQUAL(error.text, expected);
    cases_free(&cases);
}

static int is_json(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);
    return length > 5 && strcmp(entry->d_name + length - 5, ".json") == 0;
}

static void test_corpus(void)
{
    struct dirent **entries = NULL;
    int count = scandir(BAD_DIR, &entries, is_json, alphasort);
    CU_ASSERT_TRUE(count >= 40);
    for (int i = 0; i < count; i++) {
        char path[1024], expected[1024];
        int stem = (int)strlen(entries[i]->d_name) - 5;
        snprintf(path, sizeof(path), BAD_DIR "/%s", entries[i]->d_name);
        snprintf(expected, sizeof(expected), BAD_DIR "/%.*s.expected", stem, entries[i]->d_name);
        check_refused(path, BAD_DIR, read_file(expected));
        free(entries[i]);
    }
    free(entries);
}

static void test_missing_and_empty(void)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/none", temporary);
    check_refused(path, temporary, "none: cannot be read: No such file or directory");
    CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
    check_refused(path, temporary, "none: there is no *.json file below it");
    write_file("none/readme.txt", "x", 1);
    write_file("none/schema.json", "x", 1);
    write_file("none/.hidden.json", "x", 1);
    check_refused(path, temporary, "none: there is no *.json file below it");
}

static void test_huge_file(void)
{
    size_t size = CASE_FILE_MAX_BYTES + 1;
    char *text = malloc(size);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    memset(text, ' ', size);
    check_refused(write_file("huge.json", text, size), temporary,
                  "huge.json: is larger than 4194304 bytes");
    free(text);
}

static void test_deep_file(void)
{
    char text[10000];
    memset(text, '[', sizeof(text));
    check_refused(write_file("deep.json", text, sizeof(text)), temporary,
                  "deep.json:1:2049: maximum parsing depth reached near '['");
}

/* A file of 317 * rows cases, n from `first` on. */
static const char *write_many(const char *name, int first, int rows)
{
    static char text[10000];
    int used = sprintf(text, "{\"schema\": 1, \"cases\": [{\"name\": \"a\", \"op\": \"q4_K_gemv\","
                             " \"fill\": \"exact\", \"shape\": {\"k\": [256");
    for (int k = 2; k <= 317; k++)
        used += sprintf(text + used, ",%d", 256 * k);
    used += sprintf(text + used, "], \"n\": [%d", first);
    for (int n = 1; n < rows; n++)
        used += sprintf(text + used, ",%d", first + n);
    used += sprintf(text + used, "]}}]}");
    return write_file(name, text, (size_t)used);
}

/* 317 * 316 > 100000 > 317 * 315, in one file or in several. */
static void test_too_many_cases(void)
{
    struct cases cases = {0};
    struct error error = {""};
    check_refused(write_many("many.json", 1, 316), temporary,
                  "many.json: cases[0]: more than 100000 cases in all");
    CU_ASSERT_TRUE(cases_load(write_many("fewer.json", 1, 315), &cases, &error));
    CU_ASSERT_EQUAL(cases.count, 317 * 315);
    CU_ASSERT_FALSE(cases_load(write_many("more.json", 1000, 1), &cases, &error));
    strip_directory(error.text, temporary);
    CU_ASSERT_STRING_EQUAL(error.text, "more.json: cases[0]: more than 100000 cases in all");
    CU_ASSERT_EQUAL(cases.count, 317 * 315);
    cases_free(&cases);
}

static int by_key(const void *a, const void *b)
{
    const struct assay_case *x = a, *y = b;
    return strcmp(x->key, y->key);
}

static struct cases load_all(void)
{
    struct cases cases = {0};
    struct error error = {""};
    bool loaded = cases_load(CASES_DIR, &cases, &error);
    if (!loaded)
        printf("\n  %s", error.text);
    CU_ASSERT_TRUE_FATAL(loaded);
    CU_ASSERT_TRUE(cases.count > 200);
    return cases;
}

static void test_all_cases_load(void)
{
    struct cases cases = load_all();
    for (size_t i = 0; i < cases.count; i++) {
        const struct assay_case *item = &cases.items[i];
        bool large = false;
        for (size_t t = 0; t < item->n_tags; t++)
            large = large || strcmp(item->tags[t], "large") == 0;
        CU_ASSERT_EQUAL(large, shape_bytes(item->op, item->shape) > INT64_C(1) << 30);
        CU_ASSERT_PTR_NOT_NULL(item->source);
        CU_ASSERT_PTR_NOT_NULL(strstr(item->where, ".json: cases["));
    }
    qsort(cases.items, cases.count, sizeof(*cases.items), by_key);
    for (size_t i = 1; i < cases.count; i++)
        CU_ASSERT_STRING_NOT_EQUAL(cases.items[i - 1].key, cases.items[i].key);
    cases_free(&cases);
}

/* The key with the tokens after the op in reverse order. */
static void reverse_tokens(const char *key, char *out)
{
    const char *first = strchr(key, ' ');
    const char *end = key + strlen(key);
    out += sprintf(out, "%.*s", (int)(first - key), key);
    for (const char *c = end - 1; c >= first; c--) {
        if (*c == ' ') {
            out += sprintf(out, "%.*s", (int)(end - c), c);
            end = c;
        }
    }
}

static void test_keys_round_trip(void)
{
    struct cases cases = load_all();
    for (size_t i = 0; i < cases.count; i++) {
        const struct assay_case *item = &cases.items[i];
        char reversed[512];
        reverse_tokens(item->key, reversed);
        const char *const keys[] = {item->key, reversed};
        for (int k = 0; k < 2; k++) {
            struct cases one = {0};
            struct error error;
            CU_ASSERT_TRUE_FATAL(cases_from_key(keys[k], &one, &error));
            CU_ASSERT_EQUAL_FATAL(one.count, 1);
            const struct assay_case *again = &one.items[0];
            CU_ASSERT_STRING_EQUAL(again->key, item->key);
            CU_ASSERT_STRING_EQUAL(again->name, item->op->name);
            CU_ASSERT_STRING_EQUAL(again->where, "key");
            CU_ASSERT_PTR_EQUAL(again->op, item->op);
            CU_ASSERT_EQUAL(memcmp(again->shape, item->shape, sizeof(item->shape)), 0);
            CU_ASSERT_EQUAL(again->fill.kind, item->fill.kind);
            CU_ASSERT_EQUAL(again->fill.routing, item->fill.routing);
            CU_ASSERT_EQUAL(again->fill.zipf, item->fill.zipf);
            CU_ASSERT_EQUAL(again->threads, item->threads);
            CU_ASSERT_EQUAL(case_hash(again), case_hash(item));
            cases_free(&one);
        }
    }
    cases_free(&cases);
}

static void test_canonical_keys(void)
{
    static const char *const keys[][2] = {
        {" q4_K_gemv  seed=7 k=256 w_offset=0\tn=3 fill=edge\n",
         "q4_K_gemv n=3 k=256 fill=edge seed=7"},
        {"q4_K_dequant n=256 w_offset=2 fill=exact threads=4",
         "q4_K_dequant n=256 w_offset=2 fill=exact threads=4 seed=1"},
        {"moe_ids_tpe experts=4 top_k=2 tokens=3 stride=6 m_down=64 routing=zipf:0.10 fill=model",
         "moe_ids_tpe experts=4 top_k=2 tokens=3 m_down=64 routing=zipf:0.1 fill=model seed=1"},
        {"moe_ids_tpe experts=4 top_k=2 tokens=3 routing=zipf:0.30000000000000004 fill=model",
         "moe_ids_tpe experts=4 top_k=2 tokens=3 routing=zipf:0.30000000000000004 fill=model "
         "seed=1"},
        {"q4_K_gemv n=1 k=256 fill=model seed=9007199254740992",
         "q4_K_gemv n=1 k=256 fill=model seed=9007199254740992"},
    };
    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
        struct cases cases = {0};
        struct error error;
        CU_ASSERT_TRUE_FATAL(cases_from_key(keys[i][0], &cases, &error));
        CU_ASSERT_STRING_EQUAL(cases.items[0].key, keys[i][1]);
        cases_free(&cases);
    }
}

static void test_bad_keys(void)
{
    static const char *const keys[][2] = {
        {"", "key: unknown op \"\""},
        {"q4_K", "key: unknown op \"q4_K\""},
        {"q4_K_gemv n=1 k=256 fill=model m=3", "key: unknown token \"m=3\""},
        {"q4_K_gemv n=1 k=256 fill=model fast", "key: unknown token \"fast\""},
        {"q4_K_gemv n=1 k=256 fill=model tags=smoke", "key: unknown token \"tags=smoke\""},
        {"q4_K_gemv n=1 n=2 k=256 fill=model", "key: n is there twice"},
        {"q4_K_gemv n=1 k=300 fill=model", "key: shape.k: 300 must be a multiple of 256"},
        {"q4_K_gemv n=[1,2] k=256 fill=model", "key: shape.n: must be an integer, not a string"},
        {"q4_K_gemv n= k=256 fill=model", "key: shape.n: must be an integer, not a string"},
        {"q4_K_gemv n=9223372036854775808 k=256 fill=model",
         "key: n: too big integer \"9223372036854775808\""},
        {"q4_K_gemv n=1.5 k=256 fill=model", "key: shape.n: must be an integer, not a real number"},
        {"q4_K_gemv n=1 fill=model", "key: shape: dimension \"k\" is missing"},
        {"q4_K_gemv n=1 k=256", "key: \"fill\" is missing"},
        {"q4_K_gemv n=1 k=256 fill=5", "key: fill: unknown fill \"5\", known: exact, model, edge"},
        {"q4_K_gemv n=1 k=256 fill=model routing=uniform",
         "key: routing: op q4_K_gemv has no routing"},
        {"moe_ids_tpe experts=4 top_k=2 tokens=3 routing=zipf fill=model",
         "key: routing: \"zipf\" needs its exponent, as in {\"zipf\": 1.1}"},
        {"moe_ids_tpe experts=4 top_k=2 tokens=3 routing=zipf:x fill=model",
         "key: routing.zipf: must be a number, not a string"},
        {"q4_K_gemv n=1 k=256 fill=model seed=-1",
         "key: seed: must be 0 to 9007199254740992, not -1"},
        {"moe_ffn top_k=1 tokens=1 routing=uniform fill=model weights=x:gate=a:up=b:gate=c",
         "key: weights: \"gate\" is there twice"},
        {"moe_ffn top_k=1 tokens=1 routing=uniform fill=model weights=x:gate=a:b",
         "key: weights: \"b\" is not NAME=TENSOR"},
        {"moe_ffn top_k=1 tokens=1 routing=uniform fill=model weights=x::gate=a",
         "key: weights: \"\" is not NAME=TENSOR"},
        {"moe_ffn top_k=1 tokens=1 routing=uniform fill=model weights=x:a",
         "key: weights.tensor: must be an object, not a string"},
        {"moe_ffn top_k=1 tokens=1 routing=uniform fill=model weights=none%20.gguf:gate=a:up=b:"
         "down=c",
         "key: weights.gguf: none .gguf: cannot be read: No such file or directory"},
        {"q4_K_gemv fill=model weights=x:w=a",
         "key: weights.tensor: must be a string, not an object"},
        {"q4_K_gemv n=1 k=256 fill=\xff", "key: has a character that is not printable ASCII"},
    };
    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
        struct cases cases = {0};
        struct error error = {""};
        CU_ASSERT_FALSE(cases_from_key(keys[i][0], &cases, &error));
        CU_ASSERT_STRING_EQUAL(error.text, keys[i][1]);
        CU_ASSERT_EQUAL(cases.count, 0);
        cases_free(&cases);
    }
}

static void test_hash(void)
{
    struct cases cases = {0};
    struct error error;
    static const char *const keys[] = {
        "q4_K_gemv n=1 k=256 fill=model seed=1",
        "q4_K_gemv n=1 k=256 fill=model threads=1 seed=1",
        "q4_K_gemv n=1 k=256 fill=model threads=12 seed=1",
        "q4_K_gemv n=1 k=256 fill=model seed=2",
        "q4_K_gemv n=1 k=256 fill=exact seed=1",
    };
    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
        CU_ASSERT_TRUE_FATAL(cases_from_key(keys[i], &cases, &error));
    uint64_t hash = case_hash(&cases.items[0]);
    CU_ASSERT_EQUAL(case_hash(&cases.items[1]), hash);
    CU_ASSERT_EQUAL(case_hash(&cases.items[2]), hash);
    CU_ASSERT_NOT_EQUAL(case_hash(&cases.items[3]), hash);
    CU_ASSERT_NOT_EQUAL(case_hash(&cases.items[4]), hash);
    /* FNV-1a and splitmix64 computed apart. Fixed for good: inputs of old reports must stay
     * reproducible. */
    CU_ASSERT_EQUAL(hash, 0xdb2776ba11b1980c);
    CU_ASSERT_FALSE(cases_from_key(keys[1], &cases, &error));
    CU_ASSERT_STRING_EQUAL(error.text, "key: the same case as in key: "
                                       "q4_K_gemv n=1 k=256 fill=model threads=1 seed=1");
    CU_ASSERT_EQUAL(cases.count, 5);
    cases_free(&cases);
}

static const char example[] =
    "{ \"schema\": 1, \"source\": \"here\", \"cases\": ["
    "  { \"name\": \"b\", \"op\": \"moe_ids_tpe\", \"tags\": [\"x\", \"y\"],"
    "    \"fill\": \"edge\", \"routing\": [\"invalid\", {\"zipf\": 2}], \"threads\": [2, 1],"
    "    \"shape\": {\"tokens\": [5, 3]},"
    "    \"zip\": {\"experts\": [4, 8], \"top_k\": [2, 1]}, \"seed\": 3 },"
    "  { \"name\": \"a\", \"op\": \"q4_K_gemv\", \"fill\": [\"model\", \"exact\"],"
    "    \"shape\": {\"k\": [512, 256], \"n\": [2, 1]} } ] }";

/* Dimensions in the op's order, then zip, routing, fill, threads; the last changes fastest. */
static const char *const example_keys[] = {
    "moe_ids_tpe experts=4 top_k=2 tokens=5 routing=invalid fill=edge threads=2 seed=3",
    "moe_ids_tpe experts=4 top_k=2 tokens=5 routing=invalid fill=edge threads=1 seed=3",
    "moe_ids_tpe experts=4 top_k=2 tokens=5 routing=zipf:2 fill=edge threads=2 seed=3",
    "moe_ids_tpe experts=4 top_k=2 tokens=5 routing=zipf:2 fill=edge threads=1 seed=3",
    "moe_ids_tpe experts=8 top_k=1 tokens=5 routing=invalid fill=edge threads=2 seed=3",
    "moe_ids_tpe experts=8 top_k=1 tokens=5 routing=invalid fill=edge threads=1 seed=3",
    "moe_ids_tpe experts=8 top_k=1 tokens=5 routing=zipf:2 fill=edge threads=2 seed=3",
    "moe_ids_tpe experts=8 top_k=1 tokens=5 routing=zipf:2 fill=edge threads=1 seed=3",
    "moe_ids_tpe experts=4 top_k=2 tokens=3 routing=invalid fill=edge threads=2 seed=3",
    "moe_ids_tpe experts=4 top_k=2 tokens=3 routing=invalid fill=edge threads=1 seed=3",
    "moe_ids_tpe experts=4 top_k=2 tokens=3 routing=zipf:2 fill=edge threads=2 seed=3",
    "moe_ids_tpe experts=4 top_k=2 tokens=3 routing=zipf:2 fill=edge threads=1 seed=3",
    "moe_ids_tpe experts=8 top_k=1 tokens=3 routing=invalid fill=edge threads=2 seed=3",
    "moe_ids_tpe experts=8 top_k=1 tokens=3 routing=invalid fill=edge threads=1 seed=3",
    "moe_ids_tpe experts=8 top_k=1 tokens=3 routing=zipf:2 fill=edge threads=2 seed=3",
    "moe_ids_tpe experts=8 top_k=1 tokens=3 routing=zipf:2 fill=edge threads=1 seed=3",
    "q4_K_gemv n=2 k=512 fill=model seed=1",
    "q4_K_gemv n=2 k=512 fill=exact seed=1",
    "q4_K_gemv n=2 k=256 fill=model seed=1",
    "q4_K_gemv n=2 k=256 fill=exact seed=1",
    "q4_K_gemv n=1 k=512 fill=model seed=1",
    "q4_K_gemv n=1 k=512 fill=exact seed=1",
    "q4_K_gemv n=1 k=256 fill=model seed=1",
    "q4_K_gemv n=1 k=256 fill=exact seed=1",
};

static struct cases load_example(void)
{
    struct cases cases = {0};
    struct error error;
    const char *path = write_file("example.json", example, strlen(example));
    CU_ASSERT_TRUE_FATAL(cases_load(path, &cases, &error));
    return cases;
}

static void test_expansion(void)
{
    struct cases cases = load_example();
    size_t count = sizeof(example_keys) / sizeof(*example_keys);
    CU_ASSERT_EQUAL_FATAL(cases.count, count);
    for (size_t i = 0; i < count; i++) {
        CU_ASSERT_STRING_EQUAL(cases.items[i].key, example_keys[i]);
        CU_ASSERT_STRING_EQUAL(cases.items[i].name, i < 16 ? "b" : "a");
        CU_ASSERT_STRING_EQUAL(cases.items[i].source, "here");
        CU_ASSERT_EQUAL(cases.items[i].n_tags, i < 16 ? 2 : 0);
    }
    CU_ASSERT_STRING_EQUAL(cases.items[0].tags[1], "y");
    CU_ASSERT_PTR_NOT_NULL(strstr(cases.items[16].where, "/example.json: cases[1]"));
    const int64_t defaults[] = {4, 2, 5, 768, 2048, 10};
    CU_ASSERT_EQUAL(memcmp(cases.items[0].shape, defaults, sizeof(defaults)), 0);
    cases_free(&cases);
}

/* A directory's files come in name order, subdirectories among them. */
static void test_directory(void)
{
    static const char format[] = "{\"schema\": 1, \"cases\": [{\"name\": \"%d\", \"op\": "
                                 "\"q4_K_gemv\", \"fill\": \"exact\", \"shape\": {\"n\": %d, "
                                 "\"k\": 256}}]}";
    static const char *const names[] = {"set/A.json", "set/b/a.json", "set/b/c/d.json",
                                        "set/c.json"};
    char text[256], path[256];
    struct cases cases = {0};
    struct error error;
    static const char *const directories[] = {"set", "set/b", "set/b/c"};
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/%s", temporary, directories[i]);
        CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
    }
    for (int i = 3; i >= 0; i--) {
        int size = snprintf(text, sizeof(text), format, i, i + 1);
        write_file(names[i], text, (size_t)size);
    }
    snprintf(path, sizeof(path), "%s/set", temporary);
    CU_ASSERT_TRUE_FATAL(cases_load(path, &cases, &error));
    CU_ASSERT_EQUAL_FATAL(cases.count, 4);
    for (int i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(cases.items[i].shape[0], i + 1);
    cases_free(&cases);
    int size = snprintf(text, sizeof(text), format, 9, 2);
    write_file("set/z.json", text, (size_t)size);
    check_refused(path, temporary,
                  "set/z.json: cases[0]: the same case as in set/b/a.json: "
                  "cases[0]: q4_K_gemv n=2 k=256 fill=exact seed=1");
}

static size_t count_selected(const char *regex, const char *tag, size_t shard, size_t shards)
{
    struct cases cases = load_example();
    struct error error;
    CU_ASSERT_TRUE(cases_select(&cases, regex, tag, shard, shards, &error));
    size_t count = cases.count;
    cases_free(&cases);
    return count;
}

static void test_select(void)
{
    CU_ASSERT_EQUAL(count_selected(NULL, NULL, 0, 1), 24);
    CU_ASSERT_EQUAL(count_selected("^a$", NULL, 0, 1), 8);
    CU_ASSERT_EQUAL(count_selected("zipf", NULL, 0, 1), 8);
    CU_ASSERT_EQUAL(count_selected("fill=(edge|exact)", NULL, 0, 1), 20);
    CU_ASSERT_EQUAL(count_selected("n=2 k=256 fill=model", NULL, 0, 1), 1);
    CU_ASSERT_EQUAL(count_selected(NULL, "y", 0, 1), 16);
    CU_ASSERT_EQUAL(count_selected("threads=1", "y", 0, 1), 8);
    CU_ASSERT_EQUAL(count_selected("gemv", "y", 0, 1), 0);
    CU_ASSERT_EQUAL(count_selected(NULL, "z", 0, 1), 0);
    CU_ASSERT_EQUAL(count_selected("threads=1", "y", 2, 3), 2);
}

static void test_shards_partition(void)
{
    int seen[24] = {0};
    for (size_t shard = 0; shard < 5; shard++) {
        struct cases cases = load_example();
        struct error error;
        CU_ASSERT_TRUE(cases_select(&cases, NULL, NULL, shard, 5, &error));
        for (size_t i = 0; i < cases.count; i++) {
            for (size_t k = 0; k < 24; k++)
                seen[k] += strcmp(cases.items[i].key, example_keys[k]) == 0;
        }
        cases_free(&cases);
    }
    for (size_t k = 0; k < 24; k++)
        CU_ASSERT_EQUAL(seen[k], 1);
}

static void test_bad_selection(void)
{
    struct cases cases = load_example();
    struct error error = {""};
    CU_ASSERT_FALSE(cases_select(&cases, "(", NULL, 0, 1, &error));
    CU_ASSERT_STRING_EQUAL(error.text, "regular expression \"(\": Unmatched ( or \\(");
    CU_ASSERT_FALSE(cases_select(&cases, NULL, NULL, 2, 2, &error));
    CU_ASSERT_FALSE(cases_select(&cases, NULL, NULL, 0, 0, &error));
    CU_ASSERT_EQUAL(cases.count, 24);
    cases_free(&cases);
}

static void test_set_seed(void)
{
    struct cases cases = load_example();
    struct error error;
    uint64_t hash = case_hash(&cases.items[23]);
    CU_ASSERT_TRUE(cases_from_key("q4_K_gemv n=1 k=256 fill=exact seed=5", &cases, &error));
    CU_ASSERT_FALSE(cases_set_seed(&cases, (UINT64_C(1) << 53) + 1, &error));
    CU_ASSERT_EQUAL(cases.items[0].seed, 3);
    CU_ASSERT_TRUE(cases_set_seed(&cases, 42, &error));
    CU_ASSERT_EQUAL(cases.count, 24); /* the one from the key has become that before it */
    CU_ASSERT_STRING_EQUAL(cases.items[23].where + strlen(cases.items[23].where) - 8, "cases[1]");
    CU_ASSERT_STRING_EQUAL(cases.items[23].key, "q4_K_gemv n=1 k=256 fill=exact seed=42");
    CU_ASSERT_EQUAL(cases.items[0].seed, 42);
    CU_ASSERT_NOT_EQUAL(case_hash(&cases.items[23]), hash);
    cases_free(&cases);
}

/* w: 2 + 4*8*2*144 bytes, src1: 3*2*512 f32, ids: 4*7 i32, tpe: 4, grid: 3, dst: 3*2*8 f32. */
static void test_shape_bytes(void)
{
    struct cases cases = {0};
    struct error error;
    CU_ASSERT_TRUE_FATAL(cases_from_key("q4_K_gemm_moe_id experts=4 m=8 k=512 top_k=2 ne11=2 "
                                        "tokens=3 stride=7 w_offset=2 indirect=1 routing=uniform "
                                        "fill=exact",
                                        &cases, &error));
    struct assay_case *item = &cases.items[0];
    CU_ASSERT_EQUAL(shape_bytes(item->op, item->shape),
                    2 + 4 * 8 * 2 * 144 + 4 * (3 * 2 * 512 + 4 * 7 + 4 + 3 + 3 * 2 * 8));
    item->shape[1] = INT64_MAX / 2;
    CU_ASSERT_EQUAL(shape_bytes(item->op, item->shape), -1);
    cases_free(&cases);
}

static void test_schema_is_current(void)
{
    json_t *schema = schema_make();
    CU_ASSERT_PTR_NOT_NULL_FATAL(schema);
    char *text = json_dumps(schema, SCHEMA_DUMP_FLAGS);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    CU_ASSERT_STRING_EQUAL(read_file(CASES_DIR "/schema.json"), text);
    free(text);
    json_decref(schema);
}

static CU_TestInfo files[] = {
    {"malformed files", test_corpus},
    {"missing files, empty directories", test_missing_and_empty},
    {"huge file", test_huge_file},
    {"deep file", test_deep_file},
    {"too many cases", test_too_many_cases},
    {"all of cases/", test_all_cases_load},
    {"expansion", test_expansion},
    {"directory", test_directory},
    {"schema.json is current", test_schema_is_current},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo keys[] = {
    {"round trip", test_keys_round_trip},
    {"canonical form", test_canonical_keys},
    {"malformed keys", test_bad_keys},
    {"hash", test_hash},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo sets[] = {
    {"select", test_select},         {"shards partition", test_shards_partition},
    {"refused", test_bad_selection}, {"seed", test_set_seed},
    {"bytes", test_shape_bytes},     CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
    {"case files", NULL, NULL, NULL, NULL, files},
    {"keys", NULL, NULL, NULL, NULL, keys},
    {"sets of cases", NULL, NULL, NULL, NULL, sets},
    CU_SUITE_INFO_NULL,
};

int main(void)
{
    if (!mkdtemp(temporary) || CU_initialize_registry() != CUE_SUCCESS ||
        CU_register_suites(suites) != CUE_SUCCESS)
        return 2;
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned failures = CU_get_number_of_failures() + CU_get_number_of_tests_inactive();
    CU_cleanup_registry();
    char command[128];
    snprintf(command, sizeof(command), "rm -r '%s'", temporary);
    return system(command) != 0 || failures > 0;
}
