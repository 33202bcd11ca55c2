/* SPDX-License-Identifier: MIT */
#include "harness/terminal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "harness/paint.h"
#include "harness/stored.h"
#include "harness/text.h"

static const char *verdict_color(enum verdict verdict)
{
    return verdict == PASS ? GREEN : verdict == SKIPPED ? YELLOW : RED;
}

void terminal_progress(size_t done, size_t count, const char *what)
{
    struct winsize size;
    if (!isatty(STDERR_FILENO))
        return;
    int width = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
    char line[256];
    snprintf(line, sizeof(line), "[%zu/%zu] %s", done + 1, count, what);
    fprintf(stderr, "\r\033[K%.*s", width - 1, line);
    fflush(stderr);
}

void terminal_progress_end(void)
{
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
}

void terminal_kernels(const struct kernels *kernels)
{
    printf("%s%-42s %-11s %-5s %s%s\n", BOLD, "kernel", "tier", "class", "here", PLAIN);
    for (size_t i = 0; i < kernels->count; i++) {
        const struct kernel *kernel = &kernels->items[i];
        printf("%-42s %-11s %-5s ", kernel->label, kernel->abi->tier,
               assay_numerics_names[kernel->abi->numerics]);
        if (kernel->missing)
            printf("%scannot run: no %s%s\n", YELLOW, kernel->missing, PLAIN);
        else
            printf("%sruns%s\n", GREEN, PLAIN);
    }
}

void terminal_cases(const struct cases *cases)
{
    for (size_t i = 0; i < cases->count; i++)
        printf("%s\n", cases->items[i].key);
}

/* "q4_K [512, 256, 8]" */
static void print_type(const struct gguf_tensor *tensor)
{
    size_t n = GGUF_DIMS;
    while (n > 1 && tensor->ne[n - 1] == 1)
        n--;
    printf("%s [", tensor->type->name);
    for (size_t i = 0; i < n; i++)
        printf("%s%lld", i ? ", " : "", (long long)tensor->ne[i]);
    printf("]");
}

void terminal_skipped(const struct gguf_tensor *tensor, const char *why)
{
    printf("%sskipped%s %s, ", YELLOW, PLAIN, tensor->name);
    print_type(tensor);
    printf(": %s\n", why);
}

void terminal_gguf(const struct gguf *gguf)
{
    printf("GGUF version %u, %zu keys, %zu tensors\n", gguf->version, gguf->n_keys,
           gguf->n_tensors);
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        const struct gguf_tensor *tensor = &gguf->tensors[i];
        struct error why;
        printf("%s, ", tensor->name);
        print_type(tensor);
        printf(", %.2f MiB:", (double)tensor->bytes / (1 << 20));
        if (!stored_usable(tensor, &why))
            printf(" %s%s%s", YELLOW, why.text, PLAIN);
        for (size_t op = 0; op < assay_n_ops; op++) {
            if (stored_usable_by(assay_ops[op], tensor, &why))
                printf(" %s%s%s", GREEN, assay_ops[op]->name, PLAIN);
        }
        printf("\n");
    }
}

static void print_worst(const struct worst *worst)
{
    if (!worst->tensor)
        return;
    double got = isnan(worst->got) ? NAN : worst->got; /* no "-nan" */
    bool bounded = worst->tolerance > 0 && isfinite(worst->tolerance);
    char at[96];
    snprintf(at, sizeof(at), "%s[%lld, %lld]", worst->tensor, (long long)worst->row,
             (long long)worst->column);
    switch (worst->kind) {
    case WORST_UNWRITTEN:
        printf("    first: %s", at);
        if (!isnan(worst->expected))
            printf(", expected %.9g", worst->expected);
        break;
    case WORST_FORBIDDEN: printf("    first: %s = %.9g", at, got); break;
    case WORST_UNSTEADY:
        printf("    first: %s = %.9g, but %.9g in the first call", at, got, worst->expected);
        break;
    default:
        printf("    %s: %s = %.9g, expected %.9g",
               bounded && fabs(worst->got - worst->expected) <= worst->tolerance ? "largest error"
                                                                                 : "worst",
               at, got, worst->expected);
        if (bounded)
            printf(", tolerance %.3g", worst->tolerance);
    }
    printf("\n");
}

/* The command that runs this kernel alone on a case. */
static void print_replay(const struct run *run, const struct result *result, const char *what,
                         const char *key)
{
    if (!result->kernel->abi->run) /* computed elsewhere */
        return;
    printf("    %s: assay replay '%s' -k '^", what, key);
    for (const char *c = result->kernel->label; *c; c++)
        printf(strchr("^.[$()|*+?{\\", *c) ? "\\%c" : "%c", *c);
    printf("$' --threads %d", threads_of(result->item, &run->check));
    if (result->kernel->path) {
        printf(" --kernels ");
        text_quote(stdout, result->kernel->path);
    }
    printf("\n");
}

static void print_result(const struct run *run, const struct result *result)
{
    const struct judgement *j = &result->judgement;
    printf("%s%s%s %s  %s\n", verdict_color(result->verdict), verdict_names[result->verdict], PLAIN,
           result->kernel->label, result->item->key);
    if (j->reason[0])
        printf("    %s\n", j->reason);
    if (result->verdict == PASS || result->verdict == SKIPPED)
        return;
    if (j->explanation[0])
        printf("    %s\n", j->explanation);
    print_worst(&j->worst);
    print_replay(run, result, "replay", result->item->key);
    if (result->smallest && strcmp(result->smallest, result->item->key) != 0)
        print_replay(run, result, "smaller", result->smallest);
}

void terminal_results(const struct run *run, bool verbose)
{
    for (size_t i = 0; i < run->n_results; i++) {
        const struct result *result = &run->results[i];
        if (verbose || (result->verdict != PASS && result->verdict != SKIPPED))
            print_result(run, result);
    }
}

void terminal_check_table(const struct run *run)
{
    /* NMSE on fill `model` only: others hold values that a class is right to round to nothing. */
    printf("%s%-42s %-5s %6s %6s %7s  %-11s %-9s%s\n", BOLD, "kernel", "class", "pass", "fail",
           "skipped", "utilisation", "NMSE", PLAIN);
    for (size_t k = 0; k < run->kernels.count; k++) {
        const struct kernel *kernel = &run->kernels.items[k];
        size_t passed = 0, failed = 0, skipped = 0;
        double utilisation = 0, nmse = 0;
        for (size_t i = 0; i < run->n_results; i++) {
            const struct result *result = &run->results[i];
            if (result->kernel != kernel)
                continue;
            passed += result->verdict == PASS;
            skipped += result->verdict == SKIPPED;
            failed += result->verdict != PASS && result->verdict != SKIPPED;
            utilisation = fmax(utilisation, result->judgement.utilisation);
            if (result->item->fill.kind == ASSAY_FILL_MODEL)
                nmse = fmax(nmse, result->judgement.nmse);
        }
        if (passed + failed + skipped == 0)
            continue;
        printf("%-42s %-5s %s%6zu%s %s%6zu%s %s%7zu%s  ", kernel->label,
               assay_numerics_names[kernel->abi->numerics], passed ? GREEN : "", passed, PLAIN,
               failed ? RED : "", failed, PLAIN, skipped ? YELLOW : "", skipped, PLAIN);
        if (kernel->abi->numerics == ASSAY_BITS || passed + failed == 0)
            printf("%-11s %-9s\n", "-", "-");
        else
            printf("%-11.3g %-9.2g\n", utilisation, nmse);
    }
}

static void print_skips(const struct run *run)
{
    for (size_t i = 0; i < run->n_results; i++) {
        const char *reason = run->results[i].judgement.reason;
        if (run->results[i].verdict != SKIPPED)
            continue;
        size_t count = 0;
        bool first = true;
        for (size_t j = 0; j < run->n_results; j++) {
            if (run->results[j].verdict != SKIPPED ||
                strcmp(run->results[j].judgement.reason, reason) != 0)
                continue;
            first = first && j >= i;
            count++;
        }
        if (first)
            printf("%sskipped %zu%s: %s\n", YELLOW, count, PLAIN, reason);
    }
}

void terminal_summary(const struct run *run)
{
    size_t sampled = 0, failed = 0;
    for (size_t c = 0; c < run->cases.count; c++)
        sampled += run->coverage[c].judged != NULL;
    for (int v = FAIL; v < SKIPPED; v++)
        failed += run_count(run, (enum verdict)v);
    print_skips(run);
    if (sampled > 0)
        printf("%zu case%s judged on a sample of columns, which the report lists\n", sampled,
               sampled == 1 ? " was" : "s were");
    printf("%zu cases, %zu checks: %s%zu passed%s, %s%zu failed%s, %zu skipped, in %.1f s\n",
           run_count_cases(run), run->n_results, GREEN, run_count(run, PASS), PLAIN,
           failed ? RED : "", failed, failed ? PLAIN : "", run_count(run, SKIPPED),
           run->elapsed_seconds);
}
