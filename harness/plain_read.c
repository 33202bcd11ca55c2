/* SPDX-License-Identifier: MIT */
#include "harness/plain_read.h"

#include "opt/cpu.h"
#include "opt/probes.h"
#include "opt/team.h"

/* run() has no context, and blocks are taken in children of this process: so what is to be read is
 * here. A call reads `chunk` bytes of each tensor, the next ones every time. */
static struct {
    const struct assay_op *op;
    const struct probes *probes;
    int64_t bytes[ASSAY_MAX_TENSORS], chunk[ASSAY_MAX_TENSORS];
    int64_t turn;
} plan;

struct call {
    void *const *tensors;
    int threads;
};

static void read_share(void *context, int rank)
{
    const struct call *call = context;
    for (size_t i = 0; i < plan.op->n_tensors; i++) {
        int64_t lines = plan.chunk[i] / PROBE_BYTES, places = plan.bytes[i] / PROBE_BYTES - lines;
        if (lines == 0)
            continue;
        int64_t first = lines * rank / call->threads, last = lines * (rank + 1) / call->threads;
        int64_t start = plan.turn * lines % (places + 1) + first;
        plan.probes->read((const char *)call->tensors[i] + start * PROBE_BYTES,
                          (size_t)(last - first) * PROBE_BYTES, 1);
    }
}

static const char *run(const void *shape, const void *args, const void *prepared, void *scratch,
                       int threads)
{
    struct call call = {args, threads};
    (void)shape;
    (void)prepared;
    (void)scratch;
    team_run(threads, read_share, &call);
    plan.turn++;
    return NULL;
}

double plain_read_bytes(void)
{
    double sum = 0;
    for (size_t i = 0; i < plan.op->n_tensors; i++)
        sum += (double)plan.chunk[i];
    return sum;
}

static int64_t weight_bytes_of(const struct assay_tensor *tensor, const struct assay_case *item)
{
    return tensor->role == ASSAY_WEIGHTS
               ? tensor->count(item->shape) * (int64_t)assay_dtype_bytes(tensor->dtype)
               : 0;
}

struct result *plain_read_of(const struct assay_case *item, double weight_bytes, uint32_t features)
{
    static struct assay_kernel abi = {.name = "plain read", .tier = "ref", .run = run};
    static struct kernel kernel = {.abi = &abi, .label = "plain read"};
    static struct result result;
    double all = 0;
    plan.op = item->op;
    plan.turn = 0;
    for (size_t i = 0; i < item->op->n_tensors; i++) {
        plan.bytes[i] = weight_bytes_of(&item->op->tensors[i], item);
        all += (double)plan.bytes[i];
    }
    for (size_t i = 0; i < item->op->n_tensors; i++)
        plan.chunk[i] =
            (int64_t)(weight_bytes / all * (double)plan.bytes[i]) / PROBE_BYTES * PROBE_BYTES;
    for (size_t p = 0; p < n_probes; p++) {
        if (!cpu_tier_lacks(probes[p]->tier, features))
            plan.probes = probes[p];
    }
    abi.op = item->op->name;
    kernel.op = item->op;
    result = (struct result){.item = item, .kernel = &kernel, .verdict = PASS};
    return !item->weights && weight_bytes <= all && plain_read_bytes() > 0 ? &result : NULL;
}
