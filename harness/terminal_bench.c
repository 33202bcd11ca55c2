/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness/paint.h"
#include "harness/terminal.h"

/* The reference's timing beside t; a slow reference has the cold one only. */
static const struct timing *reference_of(const struct run *run, const struct timing *t)
{
    const struct timing *found = NULL;
    for (size_t i = 0; i < run->timings.count; i++) {
        const struct timing *other = &run->timings.items[i];
        bool same = other->result->item == t->result->item &&
                    other->result->kernel->abi == t->result->item->op->reference;
        if (same && (other->mode == t->mode || !found))
            found = other;
    }
    return found;
}

static void print_ceiling(const struct timing *t)
{
    double fraction = t->ceiling.ns / t->median;
    if (!t->has_ceiling)
        printf("  -\n");
    else if (fraction > CEILINGS_OVER)
        printf("  %s%.0f %% %s: a counting bug%s\n", RED, 100 * fraction, t->ceiling.kind, PLAIN);
    else
        printf("  %2.0f %% %s\n", 100 * fraction, t->ceiling.kind);
}

/* The kernel's name without its op, which the case's key begins with; other libraries' with
 * theirs. */
static const char *label(const struct timing *t)
{
    return strchr(t->result->kernel->label, '/') + 1;
}

static int label_width(const struct run *run)
{
    size_t width = 22;
    for (size_t i = 0; i < run->timings.count; i++) {
        size_t length = strlen(label(&run->timings.items[i]));
        width = length > width ? length : width;
    }
    return (int)width;
}

static void print_timing(const struct run *run, const struct timing *t)
{
    char median[16], low[16], high[16];
    double gb = (t->cost.read_bytes + t->cost.written_bytes) / t->median;
    printf("  %-*s %-4s %8s  %8s .. %-8s", label_width(run), label(t), bench_mode_names[t->mode],
           duration_text(t->median, median), duration_text(t->interval.low, low),
           duration_text(t->interval.high, high));
    if (t->cost.flop > 0)
        printf(" %7.1f", t->cost.flop / t->median);
    else
        printf(" %7s", "-");
    printf(" %7.2f", gb);
    const struct timing *reference = reference_of(run, t);
    if (reference)
        printf(" %7.1f", reference->median / t->median);
    else
        printf(" %7s", "-");
    printf(" %4d%c", t->samples, t->noisy ? '?' : ' ');
    print_ceiling(t);
}

/* How much the kernel that is timed twice differs from itself, and what memory did meanwhile. */
static void print_aa(const struct run *run, const struct assay_case *item)
{
    const char *before = "  A/A: ";
    double plain_read = NAN;
    for (size_t i = 0; i < run->timings.count; i++) {
        const struct timing *t = &run->timings.items[i];
        if (!t->aa || t->result->item != item)
            continue;
        plain_read = fmax(plain_read, t->plain_read);
        const struct timing *twin = timings_twin(&run->timings, t);
        if (!twin)
            continue;
        printf("%s%s%s %s %+.1f %%%s", DIM, before, label(t), bench_mode_names[t->mode],
               100 * (t->median / twin->median - 1), PLAIN);
        before = ", ";
    }
    if (isfinite(plain_read))
        printf("%s; plain reads of the weights: %.1f GB/s%s", DIM, plain_read, PLAIN);
    if (*before == ',')
        printf("\n");
}

void terminal_bench_tables(const struct run *run)
{
    for (size_t c = 0; c < run->cases.count; c++) {
        const struct assay_case *item = &run->cases.items[c];
        bool first = true;
        for (size_t i = 0; i < run->timings.count; i++) {
            const struct timing *t = &run->timings.items[i];
            if (t->result->item != item || t->aa)
                continue;
            if (first) {
                printf("\n%s%s%s  (%d thread%s)\n", BOLD, item->key, PLAIN, t->threads,
                       t->threads == 1 ? "" : "s");
                printf("%s  %-*s %-4s %8s  %20s %7s %7s %7s %4s   %s%s\n", DIM, label_width(run),
                       "kernel", "mode", "a call", "95 % interval", "GFLOP/s", "GB/s", "x ref", "n",
                       "of ceiling", PLAIN);
            }
            first = false;
            print_timing(run, t);
        }
        print_aa(run, item);
    }
}

void terminal_bench_noise(const struct run *run)
{
    struct bench_quality quality;
    size_t noisy = 0, over = 0;
    bench_judge_noise(&run->timings, &quality);
    for (size_t i = 0; i < run->timings.count; i++) {
        const struct timing *t = &run->timings.items[i];
        noisy += t->noisy;
        over += t->has_ceiling && t->ceiling.ns / t->median > CEILINGS_OVER;
    }
    printf("\n%s, %d CPUs, load %.2f at the start, steal %.1f %%\n", run->context.cpu,
           run->context.cpus, run->context.load, 100 * fmax(0, steal_share(run->start, run->end)));
    printf("%d samples, of which %.1f %% were disturbed", quality.samples,
           100.0 * quality.disturbed / fmax(1, quality.samples));
    if (isfinite(quality.aa_spread))
        printf("; a block of a kernel differs from another of the same by %.1f %%",
               100 * quality.aa_spread);
    printf("\n");
    if (noisy > 0)
        printf("%s%zu timings (n?)%s have few undisturbed samples, and use all\n", YELLOW, noisy,
               PLAIN);
    if (quality.too_noisy)
        printf("%sthis machine is too noisy%s for timings to mean much\n", YELLOW, PLAIN);
    if (over > 0)
        printf("%s%zu timings are faster than the machine can be: their flops or bytes are "
               "counted wrongly%s\n",
               RED, over, PLAIN);
}
