/* SPDX-License-Identifier: MIT */
#include "harness/library.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "harness/float_state.h"
#include "harness/memory.h"
#include "harness/sandbox.h"
#include "harness/text.h"
#include "opt/cpu.h"

#define ENTRY        "assay_kernels"
#define LOAD_SECONDS 20
#define MAX_KERNELS  4096
#define NAME_RULE    "that is not 1 to 64 printable characters without spaces, quotes and backslashes"

bool op_has_class(const struct assay_op *op, enum assay_numerics numerics)
{
    bool has_real = false;
    for (size_t i = 0; i < op->n_tensors; i++)
        has_real = has_real || op->tensors[i].role == ASSAY_OUT_REAL;
    if (numerics == ASSAY_I8)
        return has_real && op->activations;
    if (assay_digits(numerics) > 1)
        return has_real && op->twin;
    if (numerics == ASSAY_F16)
        return has_real && op->has_f16;
    return has_real == (numerics != ASSAY_BITS);
}

/* What a table's kernel breaks of the rules in ref/kernel.h, or NULL. */
static const char *fault_of(const struct assay_op *op, const struct assay_kernel *abi)
{
    if (!abi->name || !abi->name[0])
        return "has no name";
    if (!abi->tier || !abi->tier[0])
        return "has no tier";
    if (!text_is_name(abi->name))
        return "has a name " NAME_RULE;
    if (!text_is_name(abi->tier))
        return "has a tier " NAME_RULE;
    if (!abi->run)
        return "has no run function";
    if (abi->numerics >= ASSAY_NUMERICS_COUNT)
        return "has an unknown numerics class";
    if (!op_has_class(op, (enum assay_numerics)abi->numerics))
        return "promises a numerics class that the op does not have";
    if (abi->numerics != ASSAY_BITS && !abi->depth)
        return "has no depth function, which its numerics class needs";
    if (abi->twin && assay_digits((enum assay_numerics)abi->numerics) == 0)
        return "promises a twin, which its numerics class does not have";
    if (!abi->prepare != !abi->prepared_bytes)
        return "must have both prepare and prepared_bytes, or neither";
    return NULL;
}

static const struct kernel *find(const struct kernels *kernels, const char *label)
{
    for (size_t i = 0; i < kernels->count; i++) {
        if (strcmp(kernels->items[i].label, label) == 0)
            return &kernels->items[i];
    }
    return NULL;
}

/* `prefix`: what a label has before the name, "" for the project's own kernels. */
static bool add(struct kernels *kernels, const char *library, const char *prefix,
                const struct assay_kernel *abi, uint32_t features, struct error *error)
{
    const struct assay_op *op = abi && abi->op ? assay_find_op(abi->op) : NULL;
    char word[128] = "";
    if (!op) {
        text_escape(word, sizeof(word), abi && abi->op ? abi->op : "", sizeof(word));
        return fail(error, "%s: a kernel is of the unknown op \"%s\"", library, word);
    }
    const char *fault = fault_of(op, abi);
    if (fault) {
        text_escape(word, sizeof(word), abi->name ? abi->name : "", sizeof(word));
        return fail(error, "%s: kernel \"%s\" of %s %s", library, word, op->name, fault);
    }
    struct kernel *items = realloc(kernels->items, (kernels->count + 1) * sizeof(*items));
    if (!items)
        return fail(error, "out of memory");
    kernels->items = items;
    char *label;
    if (asprintf(&label, "%s/%s%s", op->name, prefix, abi->name) < 0)
        return fail(error, "out of memory");
    if (find(kernels, label)) {
        fail(error, "%s: a second kernel is named %s", library, label);
        free(label);
        return false;
    }
    items[kernels->count++] = (struct kernel){
        .abi = abi,
        .op = op,
        .library = library,
        .label = label,
        .missing = cpu_tier_lacks(abi->tier, features),
    };
    return true;
}

static bool add_table(struct kernels *kernels, const char *library, const char *prefix,
                      const struct assay_kernels *table, uint32_t features, struct error *error)
{
    if (!table)
        return fail(error, "%s: " ENTRY "() returns NULL", library);
    if (table->abi_version != ASSAY_ABI_VERSION)
        return fail(error, "%s: its ABI version is %u, this program's %u", library,
                    (unsigned)table->abi_version, (unsigned)ASSAY_ABI_VERSION);
    if (table->count == 0 || table->count > MAX_KERNELS || !table->kernels)
        return fail(error, "%s: its table has no kernels, or more than %d", library, MAX_KERNELS);
    for (uint32_t i = 0; i < table->count; i++) {
        if (!add(kernels, library, prefix, table->kernels[i], features, error))
            return false;
    }
    return true;
}

bool kernels_add(struct kernels *kernels, const struct assay_kernels *table, uint32_t features,
                 struct error *error)
{
    const char *library = table && table->library ? table->library : "unnamed library";
    return add_table(kernels, library, "", table, features, error);
}

/* The library's table; it is a function of the library's, so whatever it does may fail. */
static bool load(const char *path, const struct assay_kernels **table, struct error *error)
{
    struct float_state before = float_state_get();
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    float_state_set(before); /* a constructor of gcc's -ffast-math sets MXCSR's flush bits */
    if (!handle)
        return fail(error, "%s", dlerror());
    void *symbol = dlsym(handle, ENTRY);
    if (!symbol)
        return fail(error, "%s: does not export " ENTRY, path);
    assay_kernels_fn *entry;
    memcpy(&entry, &symbol, sizeof(entry)); /* ISO C has no cast from object to function pointer */
    *table = entry();
    return true;
}

/* Appends under the library's own name, or the file's. */
static bool load_and_add(struct kernels *kernels, const char *path, uint32_t features,
                         struct error *error)
{
    const struct assay_kernels *table = NULL;
    if (!load(path, &table, error))
        return false;
    const char *file = strrchr(path, '/') + 1;
    bool readable = table && table->abi_version == ASSAY_ABI_VERSION;
    const char *name = readable && table->library ? table->library : file;
    if (readable && !text_is_name(name))
        return fail(error, "%s: the library has a name " NAME_RULE, path);
    char prefix[128] = "";
    if (!kernels->plain)
        snprintf(prefix, sizeof(prefix), "%.64s:", name);
    return add_table(kernels, name == file ? path : name, prefix, table, features, error);
}

/* What the child tells the parent. */
struct answer {
    bool returned;
    struct error error;
};

/* Threads of this process; 0 where there is no /proc. */
static int count_threads(void)
{
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    const struct dirent *entry;
    while (tasks && (entry = readdir(tasks)))
        count += entry->d_name[0] != '.';
    if (tasks)
        closedir(tasks);
    return count;
}

struct trial {
    const char *path;
    uint32_t features;
    struct answer *answer; /* SHARED */
};

/* In a child: loads and validates, so that only what does not crash reaches this process. */
static void try_library(void *context)
{
    struct trial *trial = context;
    struct error *error = &trial->answer->error;
    struct kernels kernels = {0};
    int threads = count_threads();
    if (load_and_add(&kernels, trial->path, trial->features, error) && count_threads() > threads)
        fail(error, "%s: starts threads when it is loaded, and they do not survive fork()",
             trial->path);
    kernels_free(&kernels);
    trial->answer->returned = true;
}

bool kernels_open(struct kernels *kernels, const char *path, uint32_t features, struct error *error)
{
    char absolute[PATH_MAX];
    if (!realpath(path, absolute)) /* with a slash, dlopen does not search */
        return fail(error, "%s: cannot open", path);
    struct guarded shared;
    if (!guarded_make_aligned(&shared, sizeof(struct answer), error))
        return false;
    struct trial trial = {absolute, features, (struct answer *)shared.data};
    struct sandbox_result end;
    memset(trial.answer, 0, sizeof(*trial.answer));
    bool ok = sandbox_run(try_library, &trial, LOAD_SECONDS, &end, error);
    if (ok && end.end == SANDBOX_TIMED_OUT)
        ok = fail(error, "%s: did not load within %d s", path, LOAD_SECONDS);
    else if (ok && end.end == SANDBOX_INTERRUPTED)
        ok = fail(error, "%s: interrupted while it was loaded", path);
    else if (ok && !trial.answer->returned)
        ok = fail(error, "%s: crashed while it was loaded: %s", path,
                  end.signal ? strsignal(end.signal) : "ended the process");
    else if (ok && trial.answer->error.text[0])
        ok = fail(error, "%.900s", trial.answer->error.text);
    guarded_free(&shared);
    size_t first = kernels->count;
    int saved = stdout_divert();
    ok = ok && load_and_add(kernels, absolute, features, error);
    stdout_restore(saved);
    for (size_t i = first; i < kernels->count; i++)
        kernels->items[i].path = path;
    return ok;
}

/* A file that the loader has not seen; its descriptor stays open, so that no other has its name. */
static int copy_library(int file)
{
    off_t offset = 0;
    ssize_t count;
    int copy = memfd_create("kernels", MFD_CLOEXEC);
    do {
        count = copy < 0 ? -1 : sendfile(copy, file, &offset, 1 << 30);
    } while (count > 0);
    return count < 0 ? -1 : copy;
}

const struct assay_kernel *kernel_load_again(int file, const struct kernel *kernel, size_t pages,
                                             struct error *error)
{
    char path[64];
    const struct assay_kernels *table = NULL;
    size_t bytes = (pages + 1) * (size_t)sysconf(_SC_PAGESIZE);
    int copy = copy_library(file);
    void *gap = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", copy);
    if (copy < 0 || gap == MAP_FAILED) {
        fail(error, "%s: cannot be copied: %s", kernel->library, strerror(errno));
        return NULL;
    }
    if (!load(path, &table, error))
        return NULL;
    for (uint32_t i = 0; table && i < table->count; i++) {
        const struct assay_kernel *again = table->kernels[i];
        if (strcmp(again->op, kernel->abi->op) == 0 && strcmp(again->name, kernel->abi->name) == 0)
            return again;
    }
    fail(error, "%s: is another library when it is loaded again", kernel->library);
    return NULL;
}

bool kernels_select(struct kernels *kernels, const char *regex, struct error *error)
{
    if (!regex)
        return true;
    regex_t compiled;
    int code = regcomp(&compiled, regex, REG_EXTENDED | REG_NOSUB);
    if (code != 0) {
        char text[128];
        regerror(code, &compiled, text, sizeof(text));
        return fail(error, "kernel expression \"%s\": %s", regex, text);
    }
    size_t kept = 0;
    for (size_t i = 0; i < kernels->count; i++) {
        if (regexec(&compiled, kernels->items[i].label, 0, NULL, 0) == 0)
            kernels->items[kept++] = kernels->items[i];
        else
            free(kernels->items[i].label);
    }
    kernels->count = kept;
    regfree(&compiled);
    return true;
}

void kernels_free(struct kernels *kernels)
{
    for (size_t i = 0; i < kernels->count; i++)
        free(kernels->items[i].label);
    free(kernels->items);
    *kernels = (struct kernels){0};
}
