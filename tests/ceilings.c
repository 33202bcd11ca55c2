/* SPDX-License-Identifier: MIT */
/* `ceilings SECONDS THREADS huge|small`: what a report says of this machine's ceilings, alone, with
 * huge pages as there or without. For comparing with other tools: tests/likwid.py. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "harness/ceilings.h"
#include "opt/cpu.h"

int main(int argc, char **argv)
{
    struct context context;
    struct ceilings ceilings = {0};
    struct error error;
    double seconds = argc == 4 ? strtod(argv[1], NULL) : 0;
    int threads = argc == 4 ? atoi(argv[2]) : 0;
    if (!(seconds > 0) || threads < 1) {
        fprintf(stderr, "usage: ceilings SECONDS THREADS huge|small\n");
        return 2;
    }
    if (strcmp(argv[3], "small") == 0)
        prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    if (!context_read(&context, cpu_detect(), &error) ||
        !ceilings_measure(&ceilings, &context, cpu_detect(), threads, seconds, &error)) {
        fprintf(stderr, "%s\n", error.text);
        return 2;
    }
    ceilings_print(&ceilings, &context, stderr);
    json_t *json = ceilings_json(&ceilings);
    bool written = json && json_dumpf(json, stdout, JSON_INDENT(1)) == 0 && puts("") >= 0;
    json_decref(json);
    return written ? 0 : 2;
}
