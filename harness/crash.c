/* SPDX-License-Identifier: MIT */
#include "harness/crash.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

/* Linux maps nothing below (vm.mmap_min_addr). */
#define NULL_BYTES 65536

static bool locate(const struct guarded *buffer, const char *name, uintptr_t address, char *text,
                   size_t size)
{
    uintptr_t map = (uintptr_t)buffer->map, data = (uintptr_t)buffer->data;
    if (!buffer->map || address < map || address >= map + buffer->map_bytes)
        return false;
    if (address >= data && address < data + buffer->hole) {
        snprintf(text, size, "at byte %zu of the file that %s is mapped from, far before it",
                 (size_t)(address - data), name);
    } else if (address >= data + buffer->bytes) {
        size_t past = (size_t)(address - data - buffer->bytes) + 1;
        snprintf(text, size, "%zu byte%s past the end of %s", past, past == 1 ? "" : "s", name);
    } else if (address < data) {
        size_t before = (size_t)(data - address);
        snprintf(text, size, "%zu byte%s before the start of %s", before, before == 1 ? "" : "s",
                 name);
    } else {
        snprintf(text, size, "writing to byte %zu of %s, an input", (size_t)(address - data), name);
    }
    return true;
}

static bool locate_any(const struct job *job, uintptr_t address, char *text, size_t size)
{
    const struct assay_op *op = job->expectation->item->op;
    for (size_t i = 0; i < op->n_tensors; i++) {
        const char *name = op->tensors[i].name;
        if (locate(&job->expectation->small_inputs.buffers[i], name, address, text, size) ||
            locate(&job->small_outputs.buffers[i], name, address, text, size))
            return true;
    }
    for (size_t a = 0; a < job->count; a++) {
        const struct attempt *attempt = &job->attempts[a];
        for (size_t i = 0; i < op->n_tensors; i++) {
            const char *name = op->tensors[i].name;
            if (locate(&attempt->inputs->buffers[i], name, address, text, size) ||
                locate(&attempt->outputs.buffers[i], name, address, text, size))
                return true;
        }
    }
    return locate(&job->report->scratch, "scratch", address, text, size) ||
           locate(&job->report->prepared, "the prepared weights", address, text, size);
}

/* An address that is near 0, and which pointers were NULL by the contract. */
static void say_null(const struct job *job, uintptr_t address, char *text, size_t size)
{
    bool prepares = job->kernel->prepare && job->report->stage >= STAGE_PREPARE;
    const char *hint = !prepares ? ""
                       : job->report->stage == STAGE_PREPARE
                           ? "; prepare gets the weights only"
                           : "; run gets no weights after prepare";
    if (address == 0)
        snprintf(text, size, "a null pointer is read or written%s", hint);
    else
        snprintf(text, size, "address %zu, from a null pointer%s", (size_t)address, hint);
}

static void say_segfault(const struct job *job, const struct sandbox_result *end, char *text,
                         size_t size)
{
    if (end->code == SI_KERNEL && end->address == 0)
        snprintf(text, size,
                 "a general protection fault: often a vector access that is aligned "
                 "less than it says, or a wild pointer");
    else if (end->address < NULL_BYTES && end->code > 0)
        say_null(job, end->address, text, size);
    else if (end->code <= 0) /* sent by raise or kill */
        snprintf(text, size, "the signal was raised by the process itself");
    else if (!locate_any(job, end->address, text, size))
        snprintf(text, size, "an address in no buffer");
}

void crash_when(const struct job *job, char *text, size_t size)
{
    int attempt = job->report->finished;
    if (job->report->stage == STAGE_SMALL_RUN)
        snprintf(text, size, ", in a call with %s=%lld",
                 job->expectation->item->op->dims[job->expectation->item->op->batch_dim].name,
                 (long long)job->expectation->small_shape[job->expectation->item->op->batch_dim]);
    else if (attempt == AGAIN)
        snprintf(text, size, ", with %d threads", job->attempts[AGAIN].threads);
    else if (attempt == FLUSHING)
        snprintf(text, size, ", with FTZ and DAZ set and buffers at their least alignment");
    else if (attempt >= FIRST_PROPERTY && attempt < (int)job->count)
        snprintf(text, size, ", trying whether %s", job->attempts[attempt].property->name);
    else
        text[0] = '\0';
}

void crash_say(const struct job *job, const struct sandbox_result *end, const char *function,
               char *text, size_t size)
{
    char where[128];
    switch (end->signal) {
    case SIGABRT: snprintf(text, size, "abort() was called in %s", function); break;
    case SIGILL:
        snprintf(text, size, "Illegal instruction in %s: one that this CPU lacks, or a trap",
                 function);
        break;
    case SIGFPE: snprintf(text, size, "a division of integers by zero in %s", function); break;
    case SIGSEGV:
    case SIGBUS:
        say_segfault(job, end, where, sizeof(where));
        snprintf(text, size, "%s in %s: %s", strsignal(end->signal), function, where);
        break;
    default: snprintf(text, size, "%s in %s", strsignal(end->signal), function);
    }
}
