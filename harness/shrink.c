/* SPDX-License-Identifier: MIT */
#include "harness/shrink.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* How often the case that was found is tried again. */
#define REPEATS 3

/* What of a case may change. */
struct variant {
    int64_t shape[ASSAY_MAX_DIMS];
    enum assay_routing routing;
};

/* Compared from the first member on. */
struct size {
    double bytes, routed, beside_defaults, sum;
};

struct search {
    const struct assay_case *failing;
    const struct assay_op *op;
    shrink_fails *fails;
    void *context;
    double deadline;
    bool stopped; /* the time is up, or the harness failed */
    bool broken;  /* the harness failed */
    struct variant best;
    struct cases found;   /* the case of `best` */
    struct variant *seen; /* those that did not fail */
    size_t n_seen, room;
    struct error *error;
};

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The shape with all optional dimensions left out. */
static void plain_shape(const struct assay_op *op, const int64_t *shape, int64_t *plain)
{
    for (size_t d = 0; d < op->n_dims; d++)
        plain[d] = op->dims[d].optional ? ASSAY_UNSET : shape[d];
    if (op->defaults)
        op->defaults(plain);
}

static struct size size_of(const struct assay_op *op, const struct variant *variant)
{
    int64_t plain[ASSAY_MAX_DIMS];
    plain_shape(op, variant->shape, plain);
    struct size size = {.bytes = (double)shape_bytes(op, variant->shape)};
    size.routed = variant->routing != ASSAY_ROUTE_UNIFORM;
    for (size_t d = 0; d < op->n_dims; d++) {
        size.beside_defaults += variant->shape[d] != plain[d];
        size.sum += (double)variant->shape[d];
    }
    return size;
}

static bool smaller(const struct assay_op *op, const struct variant *a, const struct variant *b)
{
    struct size x = size_of(op, a), y = size_of(op, b);
    if (x.bytes != y.bytes)
        return x.bytes >= 0 && x.bytes < y.bytes;
    if (x.routed != y.routed)
        return x.routed < y.routed;
    if (x.beside_defaults != y.beside_defaults)
        return x.beside_defaults < y.beside_defaults;
    return x.sum < y.sum;
}

/* ---- questions ---- */

static bool same(const struct search *search, const struct variant *a, const struct variant *b)
{
    return a->routing == b->routing &&
           memcmp(a->shape, b->shape, search->op->n_dims * sizeof(*a->shape)) == 0;
}

static bool is_seen(const struct search *search, const struct variant *variant)
{
    for (size_t i = 0; i < search->n_seen; i++) {
        if (same(search, &search->seen[i], variant))
            return true;
    }
    return false;
}

static bool remember(struct search *search, const struct variant *variant)
{
    if (search->n_seen == search->room) {
        size_t room = search->room ? 2 * search->room : 64;
        struct variant *seen = realloc(search->seen, room * sizeof(*seen));
        if (!seen)
            return fail(search->error, "out of memory");
        search->seen = seen;
        search->room = room;
    }
    search->seen[search->n_seen++] = *variant;
    return true;
}

/* The variant's case; what does not change is as in the failing case's key. */
static bool make_case(const struct search *search, const struct variant *variant,
                      struct cases *cases)
{
    const struct assay_op *op = search->op;
    bool rerouted = variant->routing != search->failing->fill.routing;
    const char *rest =
        strstr(search->failing->key, op->routed && !rerouted ? " routing=" : " fill=");
    char *key = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&key, &length);
    if (!out || !rest) {
        if (out)
            fclose(out);
        free(key);
        return fail(search->error, "%s: cannot be taken to pieces", search->failing->key);
    }
    fputs(op->name, out);
    for (size_t d = 0; d < op->n_dims; d++) {
        if (!case_ties(search->failing, d))
            fprintf(out, " %s=%" PRId64, op->dims[d].name, variant->shape[d]);
    }
    fprintf(out, "%s%s%s", rerouted ? " routing=" : "",
            rerouted ? assay_routing_names[variant->routing] : "", rest);
    bool made = fclose(out) == 0;
    made =
        (made || fail(search->error, "out of memory")) && cases_from_key(key, cases, search->error);
    free(key);
    return made;
}

/* Weights of a file stay as they are. */
static bool keeps_weights(const struct search *search, const struct variant *variant)
{
    for (size_t d = 0; d < search->op->n_dims; d++) {
        if (case_ties(search->failing, d) && variant->shape[d] != search->failing->shape[d])
            return false;
    }
    return true;
}

/* Asks whether the variant fails, if it is legal, smaller and new; then it is the best. */
static bool try(struct search *search, const struct variant *variant)
{
    struct cases made = {0};
    bool fails = false;
    search->stopped = search->stopped || seconds_now() >= search->deadline;
    if (search->stopped || assay_illegal(search->op, variant->shape, NULL) ||
        !keeps_weights(search, variant) || !smaller(search->op, variant, &search->best) ||
        is_seen(search, variant))
        return false;
    if (!make_case(search, variant, &made) ||
        !search->fails(&made.items[0], search->context, &fails, search->error) ||
        (!fails && !remember(search, variant))) {
        search->stopped = search->broken = true;
        fails = false;
    }
    if (fails) {
        cases_free(&search->found);
        search->found = made;
        search->best = *variant;
    } else {
        cases_free(&made);
    }
    return fails;
}

/* ---- moves ---- */

/* The best variant with another value of dimension d. Optional dimensions keep their default; if
 * `follow`, others keep what ties them to d. */
static struct variant with_value(const struct search *search, size_t d, int64_t value, bool follow)
{
    const struct assay_op *op = search->op;
    const int64_t *old = search->best.shape;
    struct variant next = search->best;
    int64_t before[ASSAY_MAX_DIMS], after[ASSAY_MAX_DIMS];
    next.shape[d] = value;
    plain_shape(op, old, before);
    plain_shape(op, next.shape, after);
    for (size_t i = 0; i < op->n_dims; i++) {
        if (i == d || !op->dims[i].optional)
            continue;
        if (old[i] == before[i])
            next.shape[i] = after[i];
        else if (follow && old[i] == old[d])
            next.shape[i] = value;
        else if (follow)
            next.shape[i] = old[i] - before[i] + after[i];
    }
    return next;
}

static bool try_value(struct search *search, size_t d, int64_t value)
{
    struct variant following = with_value(search, d, value, true);
    struct variant alone = with_value(search, d, value, false);
    return try(search, &following) || try(search, &alone);
}

static int64_t floor_of(const struct assay_dim *dim)
{
    return (dim->min + dim->multiple - 1) / dim->multiple * dim->multiple;
}

/* Tries the minimum, then halfway between the best value and one that does not fail, until they are
 * neighbours. */
static bool bisect(struct search *search, size_t d)
{
    const struct assay_dim *dim = &search->op->dims[d];
    const int64_t *best = &search->best.shape[d];
    int64_t low = floor_of(dim);
    if (*best <= low)
        return false;
    if (try_value(search, d, low))
        return true;
    bool shrunk = false;
    while (!search->stopped && *best - low > dim->multiple) {
        int64_t middle = low + (*best - low) / dim->multiple / 2 * dim->multiple;
        if (try_value(search, d, middle))
            shrunk = true;
        else
            low = middle;
    }
    return shrunk;
}

static bool shrink_dim(struct search *search, size_t d)
{
    int64_t plain[ASSAY_MAX_DIMS];
    plain_shape(search->op, search->best.shape, plain);
    bool shrunk = search->op->dims[d].optional && try_value(search, d, plain[d]);
    return bisect(search, d) || shrunk;
}

/* Bytes that the smallest legal value of the dimension would save. */
static double bytes_to_win(const struct search *search, size_t d)
{
    const struct assay_dim *dim = &search->op->dims[d];
    int64_t value = search->best.shape[d];
    int64_t steps = (value - floor_of(dim)) / dim->multiple;
    for (; steps > 0; steps = steps == 1 ? 0 : steps - steps / 2) {
        struct variant next = with_value(search, d, value - steps * dim->multiple, true);
        if (!assay_illegal(search->op, next.shape, NULL))
            return size_of(search->op, &search->best).bytes - size_of(search->op, &next).bytes;
    }
    return 0;
}

/* The dimensions by bytes to win, the first of equals first. */
static void order_dims(const struct search *search, size_t *order)
{
    double wins[ASSAY_MAX_DIMS];
    for (size_t d = 0; d < search->op->n_dims; d++) {
        size_t at = d;
        wins[d] = bytes_to_win(search, d);
        for (; at > 0 && wins[order[at - 1]] < wins[d]; at--)
            order[at] = order[at - 1];
        order[at] = d;
    }
}

static bool shrink_round(struct search *search)
{
    size_t order[ASSAY_MAX_DIMS] = {0};
    order_dims(search, order);
    bool shrunk = false;
    for (size_t i = 0; i < search->op->n_dims; i++)
        shrunk = shrink_dim(search, order[i]) || shrunk;
    struct variant uniform = search->best;
    uniform.routing = ASSAY_ROUTE_UNIFORM;
    return (search->op->routed && try(search, &uniform)) || shrunk;
}

bool shrink_case(const struct assay_case *failing, shrink_fails *fails, void *context,
                 double seconds, struct cases *smallest, struct error *error)
{
    struct search search = {
        .failing = failing,
        .op = failing->op,
        .fails = fails,
        .context = context,
        .deadline = seconds_now() + seconds,
        .best = {.routing = failing->fill.routing},
        .error = error,
    };
    *smallest = (struct cases){0};
    memcpy(search.best.shape, failing->shape, sizeof(search.best.shape));
    if (!cases_from_key(failing->key, &search.found, error))
        return false;
    while (!search.stopped && shrink_round(&search))
        ;
    free(search.seen);
    if (search.broken) {
        cases_free(&search.found);
        return false;
    }
    *smallest = search.found;
    return true;
}

bool shrink_confirm(const struct assay_case *failing, shrink_fails *fails, void *context,
                    double seconds, struct cases *smallest, bool *steady, struct error *error)
{
    double deadline = seconds_now() + seconds;
    int asked = 0, failed = 0;
    do {
        bool again = false;
        if (!fails(&smallest->items[0], context, &again, error)) {
            cases_free(smallest);
            return false;
        }
        failed += again;
    } while (++asked < REPEATS && seconds_now() < deadline);
    *steady = failed == asked;
    if (failed > 0)
        return true;
    cases_free(smallest);
    return cases_from_key(failing->key, smallest, error);
}
