/* SPDX-License-Identifier: MIT */
/*
 * The include directions of the layers, and that the harness names no op:
 *
 *   ref/         libc; ref/
 *   opt/<tier>/  libc, intrinsics, OpenMP; ref/, opt/<tier>/, what tiers share
 *   opt/peers/   libc, public headers of ggml; ref/, opt/peers/
 *   opt/usual/   libc, OpenMP; ref/, opt/usual/, the table of kernels and what the CPU can run
 *   opt/         libc, CPUID, OpenMP; ref/, opt/
 *   harness/     anything but intrinsics, OpenMP and ggml; harness/, and of the others only the headers
 *                below; GSL and jansson only in the files below (main may set GSL's error handler)
 *
 * The checker itself is tested on a made-up tree that breaks each rule.
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/cunit_main.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* ---- rules ---- */

static const char *const libc[] = {
    "assert.h",   "complex.h",  "ctype.h",  "errno.h",       "fenv.h",    "float.h",
    "inttypes.h", "iso646.h",   "limits.h", "locale.h",      "math.h",    "setjmp.h",
    "signal.h",   "stdalign.h", "stdarg.h", "stdatomic.h",   "stdbool.h", "stddef.h",
    "stdint.h",   "stdio.h",    "stdlib.h", "stdnoreturn.h", "string.h",  "tgmath.h",
    "threads.h",  "time.h",     "uchar.h",  "wchar.h",       "wctype.h"};
static const char *const tier_system[] = {"immintrin.h", "omp.h"};
static const char *const peers_system[] = {"ggml.h", "ggml-backend.h", "ggml-cpu.h"};
static const char *const tier_own[] = {"opt/partition.h", "opt/scratch.h", "opt/matmul.h",
                                       "opt/moe_ffn.h", "opt/moe_lists.h"};
static const char *const opt_system[] = {"cpuid.h", "omp.h"};
static const char *const usual_system[] = {"omp.h"};
static const char *const usual_own[] = {"opt/kernels.h", "opt/cpu.h"};
static const char *const harness_own[] = {"ref/op.h",      "ref/kernel.h",        "ref/layer.h",
                                          "ref/f16.h",     "ref/activation_i8.h", "opt/cpu.h",
                                          "opt/kernels.h", "opt/probes.h",        "opt/team.h"};
static const char *const gsl_files[] = {"harness/statistics.c", "harness/random.c",
                                        "harness/random.h"};
static const char *const jansson_files[] = {"harness/case_json.c",
                                            "harness/case_load.c",
                                            "harness/case_parse.h",
                                            "harness/main.c",
                                            "harness/report.c",
                                            "harness/report_bench.c",
                                            "harness/report_bench.h",
                                            "harness/report_read.c",
                                            "harness/fields.h",
                                            "harness/compare_json.c",
                                            "harness/ceilings_show.c",
                                            "harness/schema.h",
                                            "harness/safetensors_write.c",
                                            "harness/page_data.c"};

#define IN(text, list) is_in(text, list, COUNT(list))

static bool is_in(const char *text, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, list[i]) == 0)
            return true;
    }
    return false;
}

static bool starts(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static bool ends(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* "opt/avx2/" of "opt/avx2/gemv.c"; false for a file of opt/ itself. */
static bool tier_of(const char *file, char *tier, size_t size)
{
    const char *slash = starts(file, "opt/") ? strchr(file + 4, '/') : NULL;
    if (!slash)
        return false;
    snprintf(tier, size, "%.*s", (int)(slash - file + 1), file);
    return true;
}

static bool own_allowed(const char *file, const char *header)
{
    char tier[64];
    if (strstr(header, ".."))
        return false;
    if (starts(file, "ref/"))
        return starts(header, "ref/");
    if (starts(file, "opt/usual/") && IN(header, usual_own))
        return true;
    if (tier_of(file, tier, sizeof(tier)))
        return starts(header, "ref/") || starts(header, tier) ||
               (!starts(file, "opt/peers/") && IN(header, tier_own));
    if (starts(file, "opt/"))
        return starts(header, "ref/") || starts(header, "opt/");
    return starts(header, "harness/") || IN(header, harness_own);
}

static bool system_allowed(const char *file, const char *header)
{
    char tier[64];
    if (starts(header, "CUnit/"))
        return false;
    if (starts(file, "ref/"))
        return IN(header, libc);
    if (starts(file, "opt/peers/"))
        return IN(header, libc) || IN(header, peers_system);
    if (starts(file, "opt/usual/"))
        return IN(header, libc) || IN(header, usual_system);
    if (tier_of(file, tier, sizeof(tier)))
        return IN(header, libc) || IN(header, tier_system);
    if (starts(file, "opt/"))
        return IN(header, libc) || IN(header, opt_system);
    if (starts(header, "gsl/"))
        return IN(file, gsl_files) ||
               (strcmp(file, "harness/main.c") == 0 && strcmp(header, "gsl/gsl_errno.h") == 0);
    if (strcmp(header, "jansson.h") == 0)
        return IN(file, jansson_files);
    return !IN(header, tier_system) && !IN(header, peers_system);
}

/* ---- the checker ---- */

enum { MAX_OPS = 64 };

struct checker {
    const char *root;
    char ops[MAX_OPS][64];
    size_t n_ops, files, includes;
    char faults[1 << 14]; /* a line each */
    size_t n_faults;
};

static void fault(struct checker *checker, const char *file, int line, const char *text)
{
    size_t used = strlen(checker->faults);
    snprintf(checker->faults + used, sizeof(checker->faults) - used, "%s:%d: %s\n", file, line,
             text);
    checker->n_faults++;
}

static char *read_text(const char *root, const char *name)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    FILE *file = fopen(path, "rb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    char *text = calloc(1 << 20, 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    size_t size = fread(text, 1, (1 << 20) - 1, file);
    CU_ASSERT_TRUE(size < (1 << 20) - 1);
    fclose(file);
    return text;
}

/* Overwrites comments with spaces; keeps newlines, and what looks like a comment in a string. */
static void blank_comments(char *at)
{
    while (*at) {
        size_t length = 1;
        if (*at == '"' || *at == '\'') {
            char quote = *at;
            while (at[length] && at[length] != '\n' && at[length] != quote)
                length += at[length] == '\\' && at[length + 1] ? 2 : 1;
            at += length + (at[length] == quote);
            continue;
        }
        if (at[0] == '/' && at[1] == '/') {
            length = strcspn(at, "\n");
        } else if (at[0] == '/' && at[1] == '*') {
            const char *end = strstr(at + 2, "*/");
            length = end ? (size_t)(end - at) + 2 : strlen(at);
        } else {
            at++;
            continue;
        }
        for (; length > 0; length--, at++)
            *at = *at == '\n' ? '\n' : ' ';
    }
}

/* If the line is an include, judges it. */
static void check_include(struct checker *checker, const char *file, int number, const char *line)
{
    char header[256], text[512];
    line += strspn(line, " \t");
    if (*line != '#')
        return;
    line += 1 + strspn(line + 1, " \t");
    if (!starts(line, "include"))
        return;
    line += 7 + strspn(line + 7, " \t");
    checker->includes++;
    char close = *line == '<' ? '>' : '"';
    size_t length = 0;
    if (*line == '<' || *line == '"') {
        while (line[1 + length] && line[1 + length] != close)
            length++;
    }
    if (length == 0 || !line[1 + length] || length >= sizeof(header)) {
        fault(checker, file, number, "an include that cannot be read");
        return;
    }
    memcpy(header, line + 1, length);
    header[length] = 0;
    if (close == '>' ? system_allowed(file, header) : own_allowed(file, header))
        return;
    snprintf(text, sizeof(text), "must not include %s", header);
    fault(checker, file, number, text);
}

static void check_op_names(struct checker *checker, const char *file, int number, const char *line)
{
    char text[256];
    for (size_t i = 0; starts(file, "harness/") && i < checker->n_ops; i++) {
        if (!strstr(line, checker->ops[i]))
            continue;
        snprintf(text, sizeof(text), "names the op %s", checker->ops[i]);
        fault(checker, file, number, text);
    }
}

static void check_file(struct checker *checker, const char *file)
{
    char *text = read_text(checker->root, file), *rest = text;
    blank_comments(text);
    checker->files++;
    for (int number = 1; rest; number++) {
        char *line = strsep(&rest, "\n");
        check_include(checker, file, number, line);
        check_op_names(checker, file, number, line);
    }
    free(text);
}

static void visit(struct checker *checker, const char *directory,
                  void (*what)(struct checker *, const char *))
{
    char path[1024];
    struct dirent **entries = NULL;
    snprintf(path, sizeof(path), "%s/%s", checker->root, directory);
    int count = scandir(path, &entries, NULL, alphasort);
    CU_ASSERT_TRUE_FATAL(count >= 0);
    for (int i = 0; i < count; i++) {
        struct stat info;
        char name[512];
        snprintf(name, sizeof(name), "%.250s/%.250s", directory, entries[i]->d_name);
        snprintf(path, sizeof(path), "%s/%s", checker->root, name);
        if (entries[i]->d_name[0] != '.' && stat(path, &info) == 0) {
            if (S_ISDIR(info.st_mode))
                visit(checker, name, what);
            else if (ends(name, ".c") || ends(name, ".h"))
                what(checker, name);
        }
        free(entries[i]);
    }
    free(entries);
}

/* ref/NAME.h that declares NAME_op names an op. */
static void note_op(struct checker *checker, const char *file)
{
    char name[64], declared[80];
    if (!ends(file, ".h"))
        return;
    snprintf(name, sizeof(name), "%.*s", (int)strlen(file) - 6, file + 4);
    snprintf(declared, sizeof(declared), " %s_op;", name);
    char *text = read_text(checker->root, file);
    if (strstr(text, declared) && checker->n_ops < MAX_OPS)
        strcpy(checker->ops[checker->n_ops++], name);
    free(text);
}

static void check_tree(struct checker *checker, const char *root)
{
    *checker = (struct checker){.root = root};
    visit(checker, "ref", note_op);
    visit(checker, "ref", check_file);
    visit(checker, "opt", check_file);
    visit(checker, "harness", check_file);
}

/* ---- tests ---- */

static struct checker checker;

static void test_this_tree(void)
{
    check_tree(&checker, ASSAY_SOURCE_DIR);
    if (checker.n_faults > 0)
        printf("\n%s", checker.faults);
    CU_ASSERT_EQUAL(checker.n_faults, 0);
    CU_ASSERT_TRUE(checker.n_ops >= 6);
    CU_ASSERT_TRUE(checker.files >= 50);
    CU_ASSERT_TRUE(checker.includes >= 150);
}

/* One file of the made-up tree, and what must be said of it, NULL: nothing. */
static const struct sample {
    const char *file, *text, *fault;
} samples[] = {
    {"ref/good_op_name.h", "extern const struct assay_op good_op_name_op;\n", NULL},
    {"ref/a.c", "#include <stdio.h>\n#include \"ref/b.h\"\n/* #include \"opt/cpu.h\" */\n", NULL},
    {"ref/b.h", "\n#include \"opt/cpu.h\"\n", "ref/b.h:2: must not include opt/cpu.h"},
    {"ref/c.c", "#include <unistd.h>", "ref/c.c:1: must not include unistd.h"},
    {"ref/d.c", "#include <immintrin.h>", "ref/d.c:1: must not include immintrin.h"},
    {"ref/e.c", "#  include \"harness/judge.h\"", "ref/e.c:1: must not include harness/judge.h"},
    {"ref/f.c", "#include \"ref/../opt/cpu.h\"", "ref/f.c:1: must not include ref/../opt/cpu.h"},
    {"ref/g.c", "#include \"b.h\"", "ref/g.c:1: must not include b.h"},
    {"ref/h.c", "#include HEADER", "ref/h.c:1: an include that cannot be read"},
    {"ref/i.c", "/* x */ #include <omp.h>", "ref/i.c:1: must not include omp.h"},
    {"ref/j.c", "char a[] = \"/*\";\n#include <gsl/gsl_rng.h>\n/**/",
     "ref/j.c:2: must not include gsl/gsl_rng.h"},
    {"opt/a.c", "#include <cpuid.h>\n#include \"opt/avx2/kernels.h\"\n#include \"ref/op.h\"", NULL},
    {"opt/b.c", "#include \"harness/case.h\"", "opt/b.c:1: must not include harness/case.h"},
    {"opt/c.c", "#include <omp.h>\n#include <immintrin.h>",
     "opt/c.c:2: must not include immintrin.h"},
    {"opt/avx2/a.c", "#include <immintrin.h>\n#include <omp.h>\n#include \"opt/avx2/b.h\"", NULL},
    {"opt/avx2/b.h", "#include \"opt/partition.h\"\n#include \"ref/q4_K.h\"\n#include <math.h>",
     NULL},
    {"opt/avx2/c.c", "#include \"opt/avx512/b.h\"",
     "opt/avx2/c.c:1: must not include opt/avx512/b.h"},
    {"opt/avx2/d.c", "#include \"opt/cpu.h\"", "opt/avx2/d.c:1: must not include opt/cpu.h"},
    {"opt/avx2/e.c", "#include <hwloc.h>", "opt/avx2/e.c:1: must not include hwloc.h"},
    {"opt/avx2/f.c", "#include <ggml.h>", "opt/avx2/f.c:1: must not include ggml.h"},
    {"opt/peers/a.c", "#include <ggml-cpu.h>\n#include \"opt/peers/b.h\"\n#include \"ref/op.h\"",
     NULL},
    {"opt/peers/b.h", "#include <ggml.h>\n#include <ggml-quants.h>",
     "opt/peers/b.h:2: must not include ggml-quants.h"},
    {"opt/peers/e.c", "#include \"opt/partition.h\"",
     "opt/peers/e.c:1: must not include opt/partition.h"},
    {"opt/peers/c.c", "#include \"opt/avx2/b.h\"",
     "opt/peers/c.c:1: must not include opt/avx2/b.h"},
    {"opt/peers/d.c", "#include <immintrin.h>", "opt/peers/d.c:1: must not include immintrin.h"},
    {"opt/usual/a.c", "#include <omp.h>\n#include \"opt/kernels.h\"\n#include \"opt/usual/b.h\"",
     NULL},
    {"opt/usual/b.h", "#include \"opt/peers/b.h\"",
     "opt/usual/b.h:1: must not include opt/peers/b.h"},
    {"opt/usual/c.c", "#include <immintrin.h>", "opt/usual/c.c:1: must not include immintrin.h"},
    {"harness/report.c", "#include <jansson.h>\n#include \"harness/case.h\"\n#include \"ref/op.h\"",
     NULL},
    {"harness/random.c", "#include <gsl/gsl_sort.h>\n#include <unistd.h>\n/* good_op_name */",
     NULL},
    {"harness/a.c", "#include \"ref/good_op_name.h\"",
     "harness/a.c:1: must not include ref/good_op_name.h\nharness/a.c:1: names the op "
     "good_op_name"},
    {"harness/b.c", "\n\nfind(\"good_op_name\"); // good_op_name",
     "harness/b.c:3: names the op good_op_name"},
    {"harness/c.c", "#include <gsl/gsl_sort.h>", "harness/c.c:1: must not include gsl/gsl_sort.h"},
    {"harness/d.h", "#include <jansson.h>", "harness/d.h:1: must not include jansson.h"},
    {"harness/e.c", "#include <CUnit/CUnit.h>", "harness/e.c:1: must not include CUnit/CUnit.h"},
    {"harness/f.c", "#include \"opt/avx2/a.h\"", "harness/f.c:1: must not include opt/avx2/a.h"},
    {"harness/g.c", "#include <immintrin.h>", "harness/g.c:1: must not include immintrin.h"},
    {"harness/h.c", "#include <ggml.h>", "harness/h.c:1: must not include ggml.h"},
    {"harness/main.c", "#include <gsl/gsl_errno.h>\n#include <gsl/gsl_cdf.h>",
     "harness/main.c:2: must not include gsl/gsl_cdf.h"},
    {"harness/notes.txt", "#include \"ref/good_op_name.h\"", NULL},
};

static void write_text(const char *root, const char *name, const char *text)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    FILE *file = fopen(path, "wb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_TRUE(fputs(text, file) >= 0);
    CU_ASSERT_EQUAL(fclose(file), 0);
}

static void test_bad_tree(void)
{
    char root[] = "/tmp/assay-test-includes-XXXXXX", path[1024];
    static const char *const directories[] = {"ref",       "opt",       "opt/avx2",
                                              "opt/peers", "opt/usual", "harness"};
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(root));
    for (size_t i = 0; i < COUNT(directories); i++) {
        snprintf(path, sizeof(path), "%s/%s", root, directories[i]);
        CU_ASSERT_EQUAL_FATAL(mkdir(path, 0700), 0);
    }
    size_t wanted = 0;
    for (size_t i = 0; i < COUNT(samples); i++)
        write_text(root, samples[i].file, samples[i].text);
    check_tree(&checker, root);
    for (size_t i = 0; i < COUNT(samples); i++) {
        if (!samples[i].fault)
            continue;
        snprintf(path, sizeof(path), "%s\n", samples[i].fault);
        if (!strstr(checker.faults, path))
            printf("\n  not said: %s", path);
        CU_ASSERT_PTR_NOT_NULL(strstr(checker.faults, path));
        for (const char *at = path; (at = strchr(at, '\n')); at++)
            wanted++;
    }
    if (checker.n_faults != wanted)
        printf("\n%s", checker.faults);
    CU_ASSERT_EQUAL(checker.n_faults, wanted); /* and nothing else */
    CU_ASSERT_EQUAL(checker.n_ops, 1);
    CU_ASSERT_EQUAL(checker.files, COUNT(samples) - 1);
    snprintf(path, sizeof(path), "rm -r '%s'", root);
    CU_ASSERT_EQUAL(system(path), 0);
}

static CU_TestInfo tests[] = {
    {"this tree", test_this_tree},
    {"a bad tree", test_bad_tree},
    CU_TEST_INFO_NULL,
};

static CU_SuiteInfo suites[] = {
    {"includes", NULL, NULL, NULL, NULL, tests},
    CU_SUITE_INFO_NULL,
};

int main(void)
{
    return cunit_main(suites);
}
