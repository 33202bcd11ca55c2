/* SPDX-License-Identifier: MIT */
/*
 * Feeds spoilt GGUF files, case files, keys and reports to their readers, in this process. Whatever
 * they do but accept or refuse with one line ends the program: a signal, a minute for one input,
 * more memory than MAX_BYTES. What they accept must hold what they promise.
 *
 *   fuzz SEED COUNT [FIRST]   COUNT inputs of each kind, from number FIRST (0) on
 *
 * An input follows from SEED and its number alone, and the number is printed if it ends badly.
 */
#include <dirent.h>
#include <gsl/gsl_errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "harness/compare.h"
#include "harness/layer.h"
#include "harness/memory.h"
#include "harness/random.h"
#include "tests/tiny_gguf.h"
#include "tests/tiny_report.h"

#define GOLDEN     ASSAY_SOURCE_DIR "/tests/golden/moe.gguf"
#define SMOKE      ASSAY_SOURCE_DIR "/cases/smoke"
#define MAX_BYTES  ((rlim_t)1 << 30)
#define HEAD_BYTES 4096 /* of the golden file: all but the tensors' data, which is left as zeros */

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

static int fd; /* of a file in memory, by this path */
static char path[32];
static uint64_t seed;
static long long number;

static void fail_with(const char *what)
{
    fprintf(stderr, "fuzz %llu 1 %lld: %s\n", (unsigned long long)seed, number, what);
    _exit(1);
}

static void on_signal(int sig)
{
    fail_with(strsignal(sig)); /* not async-signal-safe; the process is lost anyway */
}

/* ---- spoiling ---- */

struct input {
    uint8_t *bytes;
    size_t size, room;
};

static int64_t below(struct random *random, size_t n)
{
    return assay_below(&random->source, n ? (int64_t)n : 1);
}

static uint64_t odd_number(struct random *random)
{
    static const uint64_t odd[] = {
        0,          1,         2,          3,          5,
        7,          8,         31,         32,         64,
        255,        256,       4095,       65535,      65536,
        0x7fffffff, 1u << 31,  UINT32_MAX, 1ull << 32, 1ull << 40,
        1ull << 61, INT64_MAX, 1ull << 63, UINT64_MAX, UINT64_MAX - 31,
    };
    uint64_t value = odd[below(random, sizeof(odd) / sizeof(*odd))];
    return below(random, 4) == 0 ? value + (uint64_t)below(random, 5) - 2 : value;
}

static void put_number(struct input *input, size_t at, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes && at + i < input->size; i++)
        input->bytes[at + i] = (uint8_t)(value >> 8 * i);
}

/* Takes `removed` bytes out and makes room for `added`, which the caller fills. */
static void replace(struct input *input, size_t at, size_t removed, size_t added)
{
    size_t rest = input->size - at;
    removed = removed < rest ? removed : rest;
    if (input->size - removed + added > input->room)
        return;
    memmove(input->bytes + at + added, input->bytes + at + removed, rest - removed);
    input->size += added - removed;
}

/* One change within the first `head` bytes. */
static void spoil(struct input *input, size_t head, struct random *random)
{
    head = head < input->size ? head : input->size;
    if (head == 0)
        return;
    size_t at = (size_t)below(random, head), from = (size_t)below(random, head);
    size_t length = (size_t)below(random, 24);
    switch (below(random, 8)) {
    case 0: input->bytes[at] ^= (uint8_t)(1 << below(random, 8)); break;
    case 1: input->bytes[at] = (uint8_t)below(random, 256); break;
    case 2: put_number(input, at, odd_number(random), below(random, 2) ? 4 : 8); break;
    case 3: input->bytes[at] += (uint8_t)(below(random, 3) - 1); break;
    case 4: input->size = below(random, 3) ? at : input->size - (size_t)below(random, head); break;
    case 5:
        length = length < head - at ? length : head - at;
        length = length < head - from ? length : head - from;
        memmove(input->bytes + at, input->bytes + from, length);
        break;
    case 6: replace(input, at, length, 0); break;
    default:
        if (input->size + length > input->room)
            break;
        replace(input, at, 0, length);
        for (size_t i = 0; i < length; i++)
            input->bytes[at + i] = input->bytes[at + length + i % (input->size - at - length + 1)];
    }
}

/* ---- GGUF files ---- */

static uint8_t golden[HEAD_BYTES];
static size_t golden_size;

/* A change to a field that leaves the file whole, so that the later rules are reached. */
static void spoil_field(const struct tiny_gguf *tiny, struct input *input, struct random *random)
{
    static const uint8_t types[] = {0, 1, 8, 12, 14, 24, 30, 43};
    switch (below(random, 8)) {
    case 0: put_number(input, tiny->offset, 32 * (uint64_t)below(random, 14), 8); break;
    case 1: put_number(input, tiny->type, types[below(random, sizeof(types))], 4); break;
    case 2:
        put_number(input, tiny->ne + 8 * (size_t)below(random, 2), odd_number(random), 8);
        break;
    case 3: put_number(input, tiny->ne, (uint64_t)below(random, 9), 8); break;
    case 4: put_number(input, tiny->alignment, 1u << below(random, 9), 4); break;
    case 5: put_number(input, tiny->n_dims, (uint64_t)below(random, 6), 4); break;
    case 6:
        put_number(input, tiny->tensors + 8 * (size_t)below(random, 2), odd_number(random), 8);
        break;
    default: put_number(input, tiny->array, odd_number(random), 8);
    }
}

/* Everything that harness/gguf.h promises of a file that was read. */
static void check_promises(const struct gguf *gguf)
{
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        const struct gguf_tensor *t = &gguf->tensors[i];
        int64_t elements = t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
        if (t->offset <= 0 || t->bytes <= 0 || (uint64_t)t->offset > gguf->size ||
            (uint64_t)t->bytes > gguf->size - (uint64_t)t->offset)
            fail_with("a tensor outside the file was accepted");
        if (elements / t->type->block * t->type->block_bytes != t->bytes)
            fail_with("a tensor has another size than its dimensions say");
        if (t->offset % gguf->alignment != 0)
            fail_with("a misaligned tensor was accepted");
        if (gguf_find(gguf, t->name) != t)
            fail_with("a tensor is not found by its name");
        for (size_t j = 0; j < i; j++) {
            const struct gguf_tensor *u = &gguf->tensors[j];
            if (t->offset < u->offset + u->bytes && u->offset < t->offset + t->bytes)
                fail_with("tensors that overlap were accepted");
        }
    }
}

static void check_message(bool good, const struct error *error)
{
    if (!good && (error->text[0] == '\0' || strchr(error->text, '\n')))
        fail_with("refused without a message of one line");
}

static void ignore(const struct gguf_tensor *tensor, const char *why)
{
    if (!*tensor->name || !*why)
        fail_with("skipped without a reason");
}

static void write_input(const struct input *input, size_t whole)
{
    if (ftruncate(fd, 0) != 0 || ftruncate(fd, (off_t)whole) != 0 ||
        pwrite(fd, input->bytes, input->size, 0) != (ssize_t)input->size)
        fail_with("cannot write a file");
}

/* Makes the cases of a file that was accepted, and the inputs of the small ones. */
static void use_file(void)
{
    const struct model_layer layer = {.index = 0, .n_tokens = 1, .tokens = {3}};
    struct gguf gguf;
    struct cases cases = {0};
    struct error error = {""};
    if (!gguf_open(&gguf, path, &error))
        fail_with("a file is accepted in memory, but not from disk");
    check_message(layer_cases(&gguf, &layer, &cases, ignore, &error), &error);
    gguf_close(&gguf);
    for (size_t i = 0; i < cases.count; i++) {
        struct tensors inputs;
        if (case_bytes(&cases.items[i]) > 1 << 20)
            continue;
        if (!inputs_make(&inputs, &cases.items[i], AT_END, &error))
            fail_with(error.text);
        if (!case_fill(&cases.items[i], inputs.pointers, 0, &error))
            fail_with(error.text);
        tensors_free(&inputs);
    }
    cases_free(&cases);
}

/* Whether the file was accepted. */
static bool fuzz_gguf(struct random *random)
{
    static struct tiny_gguf tiny;
    uint8_t head[2 * TINY_MAX_BYTES];
    bool is_tiny = below(random, 4) != 0;
    tiny_make(&tiny);
    size_t whole = is_tiny ? tiny.size : golden_size;
    struct input input = {head, is_tiny ? tiny.size : HEAD_BYTES, sizeof(head)};
    memcpy(head, is_tiny ? tiny.bytes : golden, input.size);
    if (is_tiny && below(random, 2))
        spoil_field(&tiny, &input, random);
    else
        for (int64_t i = below(random, 6); i >= 0; i--)
            spoil(&input, is_tiny ? tiny.data : 2432, random);
    whole = is_tiny || input.size < HEAD_BYTES / 2 ? input.size : whole;
    whole = whole > input.size ? whole : input.size;
    struct gguf gguf;
    struct error error = {""};
    uint8_t *data = calloc(whole ? whole : 1, 1); /* its end is known to a sanitizer */
    if (!data)
        fail_with("out of memory");
    memcpy(data, input.bytes, input.size);
    bool accepted = gguf_read(&gguf, "file", data, whole, &error);
    check_message(accepted, &error);
    if (accepted) {
        check_promises(&gguf);
        gguf_close(&gguf);
        write_input(&input, whole);
        use_file();
    }
    free(data);
    return accepted;
}

/* ---- case files and keys ---- */

enum { MAX_SEEDS = 64, MAX_TEXT = 1 << 16 };

static struct input seeds[MAX_SEEDS];
static size_t n_seeds;
static struct cases known;

static const char with_weights[] =
    "{\"schema\": 1, \"cases\": [{\"name\": \"gate\", \"op\": \"q4_K_gemm_moe_id\", \"weights\": "
    "{\"gguf\": \"" GOLDEN "\", \"tensor\": \"blk.0.ffn_gate_exps.weight\"}, \"shape\": "
    "{\"top_k\": [1, 4], \"tokens\": 9}, \"routing\": [\"uniform\", {\"router\": "
    "\"blk.0.ffn_gate_inp.weight\"}], \"fill\": [\"model\", \"edge\"]},\n"
    "{\"name\": \"rows\", \"op\": \"q4_K_dequant\", \"fill\": \"model\", \"weights\": "
    "{\"gguf\": \"" GOLDEN "\", \"tensor\": \"blk.1.ffn_up_exps.weight\"}},\n"
    "{\"name\": \"layer\", \"op\": \"moe_ffn\", \"weights\": {\"gguf\": \"" GOLDEN
    "\", \"tensor\": "
    "{\"gate\": \"blk.1.ffn_gate_exps.weight\", \"up\": \"blk.1.ffn_up_exps.weight\", \"down\": "
    "\"blk.1.ffn_down_exps.weight\"}}, \"shape\": {\"top_k\": 4, \"tokens\": [1, 9]}, \"routing\": "
    "{\"router\": \"blk.1.ffn_gate_inp.weight\"}, \"fill\": [\"model\", \"edge\"]}]}";

static void add_seed(const void *bytes, size_t size)
{
    uint8_t *copy = malloc(size);
    if (!copy || n_seeds == MAX_SEEDS || size > MAX_TEXT)
        fail_with("too many or too large case files");
    memcpy(copy, bytes, size);
    seeds[n_seeds++] = (struct input){copy, size, size};
}

static void read_seeds(void)
{
    struct dirent **entries = NULL;
    struct error error;
    int count = scandir(SMOKE, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char name[512];
        static uint8_t text[MAX_TEXT];
        snprintf(name, sizeof(name), SMOKE "/%s", entries[i]->d_name);
        FILE *file = strstr(name, ".json") ? fopen(name, "rb") : NULL;
        if (file) {
            add_seed(text, fread(text, 1, sizeof(text), file));
            fclose(file);
        }
        free(entries[i]);
    }
    free(entries);
    if (n_seeds == 0 || !cases_load(SMOKE, &known, &error))
        fail_with("no case files to begin with");
    add_seed(with_weights, strlen(with_weights));
    FILE *file = fopen(GOLDEN, "rb");
    if (!file || fread(golden, 1, HEAD_BYTES, file) != HEAD_BYTES || fseek(file, 0, SEEK_END) != 0)
        fail_with("cannot read the golden file");
    golden_size = (size_t)ftell(file);
    fclose(file);
}

/* Puts a word where a value may stand. */
static void spoil_word(struct input *input, struct random *random)
{
    static const char *const words[] = {"0",
                                        "-1",
                                        "256",
                                        "1e400",
                                        "9223372036854775807",
                                        "-9223372036854775808",
                                        "1.5",
                                        "null",
                                        "true",
                                        "[]",
                                        "{}",
                                        "[1, 2, 3]",
                                        "\"\"",
                                        "\"model\"",
                                        "\"router\"",
                                        "{\"zipf\": 0.5}",
                                        "{\"router\": \"blk.0.ffn_gate_inp.weight\"}",
                                        "\"weights\"",
                                        "\"tokens\"",
                                        "\"\\u0000\"",
                                        "\"\\ud800\"",
                                        "\"/dev/zero\"",
                                        "\"/\"",
                                        "\"blk.0.ffn_norm.weight\"",
                                        ",",
                                        ":",
                                        "[[[[",
                                        "%00",
                                        "%zz",
                                        "seed=",
                                        "k=256",
                                        "weights=",
                                        ":gate=",
                                        "{\"up\": \"blk.0.ffn_up_exps.weight\"}",
                                        "routing=router:",
                                        "routing=zipf:nan",
                                        "\t"};
    const char *word = words[below(random, sizeof(words) / sizeof(*words))];
    static const char starts[] = " :,[{=";
    size_t at = (size_t)below(random, input->size), length = strlen(word);
    while (at < input->size && !strchr(starts, input->bytes[at]))
        at++;
    at += at < input->size;
    if (input->size + length > input->room)
        return;
    size_t old = strcspn((const char *)input->bytes + at, " ,]}");
    replace(input, at, below(random, 4) ? old : 0, length);
    memcpy(input->bytes + at, word, length);
}

/* Another digit for the next one, which often leaves the text legal. */
static void spoil_digit(struct input *input, struct random *random)
{
    size_t at = (size_t)below(random, input->size);
    while (at < input->size && (input->bytes[at] < '0' || input->bytes[at] > '9'))
        at++;
    if (at < input->size)
        input->bytes[at] = (uint8_t)('0' + below(random, 10));
}

static void spoil_text(struct input *input, struct random *random)
{
    for (int64_t i = below(random, 4); i >= 0; i--) {
        input->bytes[input->size] = '\0';
        int64_t kind = below(random, 4);
        if (kind < 2)
            spoil_digit(input, random);
        else if (kind == 2)
            spoil_word(input, random);
        else
            spoil(input, input->size, random);
    }
    input->bytes[input->size] = '\0';
}

/* A case's key makes the same case again. */
static void check_key(const struct assay_case *item)
{
    struct cases again = {0};
    struct error error = {""};
    if (!cases_from_key(item->key, &again, &error))
        fail_with(error.text);
    if (strcmp(again.items[0].key, item->key) != 0 ||
        memcmp(again.items[0].shape, item->shape, sizeof(item->shape)) != 0)
        fail_with("a key does not make its case again");
    cases_free(&again);
}

static bool check_cases(bool accepted, struct cases *cases, const struct error *error)
{
    check_message(accepted, error);
    if (accepted && (cases->count == 0 || cases->count > CASES_MAX))
        fail_with("none or too many cases were accepted");
    if (accepted) {
        check_key(&cases->items[0]);
        check_key(&cases->items[cases->count - 1]);
    }
    cases_free(cases);
    return accepted;
}

static bool fuzz_cases(struct random *random)
{
    static uint8_t text[2 * MAX_TEXT + 1];
    const struct input *from =
        &seeds[below(random, 3) ? (size_t)below(random, n_seeds) : n_seeds - 1];
    struct input input = {text, from->size, sizeof(text) - 1};
    struct cases cases = {0};
    struct error error = {""};
    memcpy(text, from->bytes, from->size);
    spoil_text(&input, random);
    write_input(&input, input.size);
    return check_cases(cases_load(path, &cases, &error), &cases, &error);
}

static bool fuzz_key(struct random *random)
{
    static const char *const weights[] = {
        "q4_K_gemm_moe_id top_k=2 tokens=3 routing=router:blk.0.ffn_gate_"
        "inp.weight fill=edge weights=" GOLDEN ":blk.0.ffn_up_exps.weight threads=2 seed=3",
        "moe_ffn top_k=2 tokens=3 routing=router:blk.0.ffn_gate_inp.weight fill=model "
        "weights=" GOLDEN
        ":gate=blk.0.ffn_gate_exps.weight:up=blk.0.ffn%5Fup_exps.weight:down=blk.0.ffn_down_exps."
        "weight seed=3"};
    char text[2048];
    const char *key =
        below(random, 3) ? known.items[below(random, known.count)].key : weights[below(random, 2)];
    struct input input = {(uint8_t *)text, strlen(key), sizeof(text) - 1};
    struct cases cases = {0};
    struct error error = {""};
    memcpy(text, key, input.size);
    spoil_text(&input, random);
    return check_cases(cases_from_key(text, &cases, &error), &cases, &error);
}

/* ---- reports ---- */

static struct reports whole_report;

static void read_whole_report(void)
{
    const struct input input = {(uint8_t *)(uintptr_t)tiny_report, strlen(tiny_report), 0};
    struct error error;
    write_input(&input, input.size);
    if (!reports_add(&whole_report, path, &error))
        fail_with(error.text);
}

/* What harness/verdict.h promises. */
static void check_comparison(const struct comparison *c)
{
    const struct speed_verdict *v = &c->speed;
    if (!c->mode)
        return;
    if (v->speed != SPEED_UNCLEAR && !(v->interval.low <= v->ratio && v->ratio <= v->interval.high))
        fail_with("a ratio outside its interval");
    if ((v->speed == SPEED_SLOWER && !(v->interval.low > 1)) ||
        (v->speed == SPEED_FASTER && !(v->interval.high < 1)) || !*v->reason)
        fail_with("a verdict that its interval does not allow");
}

static bool fuzz_report(struct random *random)
{
    static uint8_t text[2 * sizeof(tiny_report)];
    struct input input = {text, strlen(tiny_report), sizeof(text) - 1};
    const struct compare_options options = {speed_default_rule, below(random, 2) == 0};
    struct reports reports = {0};
    struct comparisons comparisons;
    struct error error = {""};
    memcpy(text, tiny_report, input.size);
    spoil_text(&input, random);
    write_input(&input, input.size);
    bool accepted = reports_add(&reports, path, &error);
    check_message(accepted, &error);
    bool compared =
        accepted && compare_reports(&whole_report, &reports, &options, &comparisons, &error);
    check_message(compared, &error);
    for (size_t i = 0; compared && i < comparisons.count; i++)
        check_comparison(&comparisons.items[i]);
    if (compared)
        compare_free(&comparisons);
    reports_free(&reports);
    return accepted;
}

/* ---- */

static void limit_memory(void)
{
#if !defined(SANITIZED) /* a sanitizer maps terabytes */
    const struct rlimit limit = {MAX_BYTES, MAX_BYTES};
    if (setrlimit(RLIMIT_AS, &limit) != 0)
        fail_with("cannot limit memory");
#endif
}

enum { KINDS = 4 };

int main(int argc, char **argv)
{
    static bool (*const kinds[KINDS])(struct random *) = {fuzz_gguf, fuzz_cases, fuzz_key,
                                                          fuzz_report};
    static const char *const names[KINDS] = {"GGUF files", "case files", "keys", "reports"};
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGABRT, SIGALRM};
    long long accepted[KINDS] = {0};
    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: fuzz SEED COUNT [FIRST]\n");
        return 2;
    }
    seed = strtoull(argv[1], NULL, 10);
    long long count = atoll(argv[2]), first = argc > 3 ? atoll(argv[3]) : 0;
    fd = memfd_create("fuzz", 0);
    if (fd < 0)
        fail_with("cannot make a file");
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
        signal(signals[i], on_signal);
    limit_memory();
    read_seeds();
    read_whole_report();
    gsl_set_error_handler_off(); /* as main does */
    for (number = first; number < first + count; number++) {
        for (size_t kind = 0; kind < KINDS; kind++) {
            struct random random;
            if (!random_open(&random, hash_mix(seed ^ hash_mix((uint64_t)(KINDS * number) + kind))))
                fail_with("out of memory");
            alarm(60);
            accepted[kind] += kinds[kind](&random);
            random_close(&random);
        }
    }
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    for (size_t kind = 0; kind < KINDS; kind++)
        printf("%lld %s, of which %lld were accepted\n", count, names[kind], accepted[kind]);
    printf("at most %ld MiB\n", usage.ru_maxrss >> 10);
    if (usage.ru_maxrss > (long)(MAX_BYTES >> 10))
        fail_with("too much memory");
    for (size_t i = 0; i < n_seeds; i++)
        free(seeds[i].bytes);
    cases_free(&known);
    reports_free(&whole_report);
    for (size_t kind = 0; kind < KINDS; kind++) {
        if (accepted[kind] == 0)
            return 1;
    }
    return 0;
}
