/* SPDX-License-Identifier: MIT */
/*
 * The mutation score. Every wrong-on-purpose kernel must be caught on the smoke cases, under each of
 * several seeds; every control must pass. A bug that says which layers may see it must be seen by no
 * other, so that it is missed if they are removed.
 *
 *   test_wrong DIRECTORY SEEDS          other bugs until they are caught; what ctest runs
 *   test_wrong DIRECTORY SEEDS table    each bug on all cases: which layers catch it
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/check.h"
#include "tests/wrong/wrong.h"

static const struct check_options options = {
    .threads = 2,
    .memory_bytes = (int64_t)1 << 30,
    .max_oracle = (int64_t)1 << 28,
    .max_ref = (int64_t)1 << 30,
};

/* Multiply-adds of a case beyond which a bug that was caught elsewhere is not tried on it. */
#define MUCH_WORK 0x1p18

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
    struct check_options limits = options;
    limits.seconds = trial->wrong->only == ONLY(TIME) ? 1 : 60; /* the machine may be busy */
    struct expectation uncopied = *x;
    uncopied.has_copies = uncopied.has_small = uncopied.copies_weights = false;
    if (!check_kernel(trial->wrong->uncopied ? &uncopied : x, &trial->kernel, &limits, &result,
                      error))
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

/* Without `all`, a bug that any layer may see is tried until it is caught, others on small cases
 * beyond that. */
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
        bool enough =
            hangs || (!all && (trials[i].wrong->only == 0 || case_work(item) > MUCH_WORK));
        bool done = trials[i].wrong->bug && trials[i].caught && enough;
        if (trials[i].kernel.op != item->op || done)
            continue;
        ok = (x.item || expectation_make(&x, item, needs, &options, error)) &&
             run_trial(&trials[i], &x, error);
    }
    expectation_free(&x);
    return ok;
}

static void print_layers(uint32_t layers)
{
    const char *separator = (layers & (layers - 1)) == 0 ? "only " : "";
    for (int layer = 0; layer < LAYERS; layer++) {
        if (layers >> layer & 1) {
            printf("%s%s", separator, layer_names[layer]);
            separator = ", ";
        }
    }
    printf("\n");
}

static bool is_seen_elsewhere(const struct trial *trial)
{
    return trial->wrong->only && trial->layers & ~trial->wrong->only;
}

static size_t report(const struct trial *trials, size_t count, uint64_t seed, bool all)
{
    size_t bugs = 0, killed = 0, alarms = 0, elsewhere = 0;
    for (size_t i = 0; i < count; i++) {
        const struct trial *trial = &trials[i];
        bool is_bug = trial->wrong->bug != NULL;
        bugs += is_bug;
        killed += is_bug && trial->caught;
        alarms += !is_bug && trial->caught;
        if (is_bug != (trial->caught > 0))
            printf("%s %s/%s: %s %s\n", is_bug ? "SURVIVED" : "FALSE ALARM", trial->kernel.op->name,
                   trial->wrong->kernel.name, is_bug ? trial->wrong->bug : "", trial->how);
        if (is_seen_elsewhere(trial)) {
            elsewhere++;
            printf("SEEN BY OTHER LAYERS %s/%s: ", trial->kernel.op->name,
                   trial->wrong->kernel.name);
            print_layers(trial->layers & ~trial->wrong->only);
        }
        if (is_bug && trial->caught && all) {
            printf("%-24s %-61s %4zu  ", trial->kernel.op->name, trial->wrong->bug, trial->caught);
            print_layers(trial->layers);
        }
    }
    printf(
        "seed %llu: %zu of %zu wrong kernels caught, %zu false alarms, %zu seen by other layers\n",
        (unsigned long long)seed, killed, bugs, alarms, elsewhere);
    return bugs - killed + alarms + elsewhere;
}

static bool run_seed(const char *directory, uint64_t seed, struct trial *trials, size_t count,
                     bool all, struct error *error)
{
    struct cases cases = {0};
    bool ok = cases_load(directory, &cases, error) && cases_set_seed(&cases, seed, error);
    for (size_t i = 0; i < count; i++) {
        trials[i].caught = trials[i].layers = 0;
        trials[i].how[0] = '\0';
    }
    for (size_t c = 0; ok && c < cases.count; c++)
        ok = run_case(&cases.items[c], trials, count, all, error);
    cases_free(&cases);
    return ok;
}

static const struct {
    const struct wrong *items;
    const size_t *count;
} sets[] = {
    {wrong_matmul, &n_wrong_matmul}, {wrong_matmul_more, &n_wrong_matmul_more},
    {wrong_digits, &n_wrong_digits}, {wrong_calls, &n_wrong_calls},
    {wrong_others, &n_wrong_others}, {wrong_elementwise, &n_wrong_elementwise},
    {wrong_affine, &n_wrong_affine}, {wrong_moe_ffn, &n_wrong_moe_ffn},
};

static struct trial *make_trials(size_t *count)
{
    *count = 0;
    for (size_t i = 0; i < sizeof(sets) / sizeof(*sets); i++)
        *count += *sets[i].count;
    struct trial *trials = calloc(*count, sizeof(*trials)), *next = trials;
    for (size_t i = 0; trials && i < sizeof(sets) / sizeof(*sets); i++) {
        for (size_t j = 0; j < *sets[i].count; j++) {
            const struct wrong *wrong = &sets[i].items[j];
            *next++ = (struct trial){
                .wrong = wrong,
                .kernel = {.abi = &wrong->kernel,
                           .op = assay_find_op(wrong->kernel.op),
                           .library = "wrong"},
            };
        }
    }
    return trials;
}

int main(int argc, char **argv)
{
    struct error error = {0};
    size_t count, missed = 0;
    struct trial *trials = make_trials(&count);
    bool all = argc == 4 && strcmp(argv[3], "table") == 0;
    if ((argc != 3 && !all) || !trials)
        return 2;
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
