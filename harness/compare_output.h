/* SPDX-License-Identifier: MIT */
/* What came of a comparison, `compare`'s or `ab`'s: as a table, JSON or Markdown, and as an exit
 * status. Figures that are not known are NAN, and null in JSON. */
#ifndef ASSAY_HARNESS_COMPARE_OUTPUT_H
#define ASSAY_HARNESS_COMPARE_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "harness/error.h"
#include "harness/verdict.h"

#define COMPARISON_VERSION 1

/* What is compared: one kernel on one case in one mode. All strings belong to the caller and are
 * printable. */
struct comparison {
    const char *case_key, *kernel;
    const char *mode; /* NULL: not timed in both, and there is no speed to tell */
    int threads;
    double old_ns, new_ns; /* of a call, medians */
    struct speed_verdict speed;
    /* Accuracy: on the first of a case's and kernel's comparisons, the others do not repeat it. */
    bool accuracy_known, output_changed;
    double old_utilisation, new_utilisation, old_nmse, new_nmse;
    const char *old_check, *new_check; /* verdicts of the check, "PASS"; NULL: not known */
};

/* What stands on one side alone. */
struct unmatched {
    bool in_new;
    const char *case_key, *kernel, *mode; /* mode NULL: checked, not timed */
    int threads;
};

struct comparisons {
    const char *old_name, *new_name; /* one line each, as a user knows them apart */
    struct comparison *items;        /* those of a case stand together */
    size_t count;
    struct unmatched *unmatched;
    size_t n_unmatched;
    const char *const *notes; /* a line each: compilers differ, the machine was busy, ... */
    size_t n_notes;
    size_t tests; /* that alpha was divided by */
    struct speed_rule rule;
};

struct tally {
    size_t speed[SPEEDS], timed;
    size_t changed;        /* outputs */
    size_t newly_fails;    /* kernels on cases */
    size_t checks_changed; /* verdicts of the check, those included */
};
struct tally comparisons_tally(const struct comparisons *comparisons);

/* Whether the check's verdict is other than PASS or SKIPPED, and the old one was not. */
bool comparison_newly_fails(const struct comparison *c);
/* Whether its output or its check's verdict is another one. */
bool comparison_drifts(const struct comparison *c);

/* "1 slower, 3 faster, ...": what comparisons_print ends with. */
void comparisons_summary(const struct comparisons *comparisons, char *text, size_t size);

enum fail_on { FAIL_ON_SLOWER = 1, FAIL_ON_UNCLEAR = 2, FAIL_ON_ACCURACY = 4 };
#define FAIL_ON_DEFAULT (FAIL_ON_SLOWER | FAIL_ON_UNCLEAR)

/* "slower,accuracy"; "none" is none of them. */
bool fail_on_parse(const char *list, unsigned *fail_on, struct error *error);

/* 1: a kernel newly fails its check, or an output changed and that is asked for; 3: slower; 4:
 * unclear; the first of them that holds. 0: none. */
int comparisons_status(const struct comparisons *comparisons, unsigned fail_on);

/* Coloured if color_init says so. */
void comparisons_print(const struct comparisons *comparisons);

/* What a file that is replaced begins with. */
#define COMPARISON_JSON_MARK     "\"assay_comparison\""
#define COMPARISON_MARKDOWN_MARK "<!-- assay comparison -->"

/* Whether the files, NULL if there is none, can be written; better asked before all the timing. */
bool comparisons_writable(const char *json, const char *markdown, struct error *error);

/* Writes the files, and prints the table unless one of them is standard output. */
bool comparisons_output(const struct comparisons *comparisons, const char *json,
                        const char *markdown, struct error *error);

/* To a file, which may replace one of the same kind but nothing else; "-" is standard output. */
bool comparisons_write_json(const struct comparisons *comparisons, const char *path,
                            struct error *error);
bool comparisons_write_markdown(const struct comparisons *comparisons, const char *path,
                                struct error *error);

#endif
