/* SPDX-License-Identifier: MIT */
/*
 * The mutation score. Every wrong-on-purpose kernel must be caught on the smoke cases, under each of
 * several seeds; every control must pass.
 *
 *   test_wrong DIRECTORY SEEDS          each bug until it is caught; what ctest runs
 *   test_wrong DIRECTORY SEEDS table    each bug on all cases: which layers catch it
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/check.h"
#include "tests/wrong/wrong.h"

static const struct check_options options = {
    .threads = 2,
    .seconds = 20,
    .memory_bytes = (int64_t)1 << 30,
    .max_oracle = (int64_t)1 << 28,
    .max_ref = (int64_t)1 << 30,
};

struct trial {
    const struct wrong *wrong;
    struct kernel kernel;
    size_t caught;   /* cases, with this seed */
    uint32_t layers; /* that found fault in any of them */
    char how[400];   /* the first verdict and reason */
};

static bool run_trial(struct trial *trial, const struct expectation *x, struct error *error)
{
    struct result result;
    if (!check_kernel(x, &trial->kernel, &options, &result, error))
        return false;
    /* A case that cannot tell catches nothing; a control is not suspected either. */
    if (result.verdict == PASS || (trial->wrong->bug && result.verdict == MISTRUSTED))
        return true;
    trial->layers |= result.judgement.layers;
    if (trial->caught++ == 0)
        snprintf(trial->how, sizeof(trial->how), "%s: %.250s", verdict_names[result.verdict],
                 result.judgement.reason);
    return true;
}

/* Without `all`, a bug is tried until it is caught. */
static bool run_case(const struct assay_case *item, struct trial *trials, size_t count, bool all,
                     struct error *error)
{
    struct expectation x = {0};
    bool ok = true;
    unsigned needs = 0;
    for (size_t i = 0; i < count; i++)
        needs |= trials[i].kernel.op == item->op ? expectation_needs(trials[i].kernel.abi) : 0;
    for (size_t i = 0; ok && i < count; i++) {
        bool hangs = trials[i].layers >> LAYER_TIME & 1; /* once is enough */
        bool done = trials[i].wrong->bug && trials[i].caught && (!all || hangs);
        if (trials[i].kernel.op != item->op || done)
            continue;
        ok = (x.item || expectation_make(&x, item, needs, &options, error)) &&
             run_trial(&trials[i], &x, error);
    }
    expectation_free(&x);
    return ok;
}

static void print_layers(const struct trial *trial)
{
    bool only = (trial->layers & (trial->layers - 1)) == 0;
    printf("%-24s %-52s %4zu  %s", trial->kernel.op->name, trial->wrong->bug, trial->caught,
           only ? "only " : "");
    const char *separator = "";
    for (int layer = 0; layer < LAYERS; layer++) {
        if (trial->layers >> layer & 1) {
            printf("%s%s", separator, layer_names[layer]);
            separator = ", ";
        }
    }
    printf("\n");
}

static size_t report(const struct trial *trials, size_t count, uint64_t seed, bool all)
{
    size_t bugs = 0, killed = 0, alarms = 0;
    for (size_t i = 0; i < count; i++) {
        const struct trial *trial = &trials[i];
        bool is_bug = trial->wrong->bug != NULL;
        bugs += is_bug;
        killed += is_bug && trial->caught;
        alarms += !is_bug && trial->caught;
        if (is_bug != (trial->caught > 0))
            printf("%s %s/%s: %s %s\n", is_bug ? "SURVIVED" : "FALSE ALARM", trial->kernel.op->name,
                   trial->wrong->kernel.name, is_bug ? trial->wrong->bug : "", trial->how);
        else if (is_bug && all)
            print_layers(trial);
    }
    printf("seed %llu: %zu of %zu wrong kernels caught, %zu false alarms\n",
           (unsigned long long)seed, killed, bugs, alarms);
    return bugs - killed + alarms;
}

static bool run_seed(const char *directory, uint64_t seed, struct trial *trials, size_t count,
                     bool all, struct error *error)
{
    struct cases cases = {0};
    bool ok = cases_load(directory, &cases, error) && cases_set_seed(&cases, seed, error);
    for (size_t i = 0; i < count; i++)
        trials[i].caught = trials[i].layers = 0;
    for (size_t c = 0; ok && c < cases.count; c++)
        ok = run_case(&cases.items[c], trials, count, all, error);
    cases_free(&cases);
    return ok;
}

static void add(struct trial *trials, size_t *count, const struct wrong *wrong, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct assay_kernel *abi = &wrong[i].kernel;
        trials[(*count)++] = (struct trial){
            .wrong = &wrong[i],
            .kernel = {.abi = abi, .op = assay_find_op(abi->op), .library = "wrong"},
        };
    }
}

int main(int argc, char **argv)
{
    struct error error = {0};
    struct trial *trials = calloc(n_wrong_matmul + n_wrong_matmul_more + n_wrong_others +
                                      n_wrong_elementwise + n_wrong_affine,
                                  sizeof(*trials));
    size_t count = 0, missed = 0;
    bool all = argc == 4 && strcmp(argv[3], "table") == 0;
    if ((argc != 3 && !all) || !trials)
        return 2;
    add(trials, &count, wrong_matmul, n_wrong_matmul);
    add(trials, &count, wrong_matmul_more, n_wrong_matmul_more);
    add(trials, &count, wrong_others, n_wrong_others);
    add(trials, &count, wrong_elementwise, n_wrong_elementwise);
    add(trials, &count, wrong_affine, n_wrong_affine);
    for (int seed = 1; seed <= atoi(argv[2]); seed++) {
        if (!run_seed(argv[1], (uint64_t)seed, trials, count, all, &error)) {
            fprintf(stderr, "%s\n", error.text);
            free(trials);
            return 2;
        }
        missed += report(trials, count, (uint64_t)seed, all);
    }
    free(trials);
    return missed > 0;
}
