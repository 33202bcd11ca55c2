/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "harness/attempt.h"
#include "harness/check.h"
#include "harness/random.h"

/* Above this, all attempts read the same inputs, and properties are not tried. */
#define MAX_COPIED_BYTES (64 << 20)

static int64_t rows_of(const struct assay_tensor *tensor, const void *shape)
{
    int64_t count = tensor->count(shape);
    return count == 0 ? 0 : count / tensor->columns(shape);
}

double case_work(const struct assay_case *item)
{
    double elements = 0;
    for (size_t i = 0; i < item->op->n_tensors; i++) {
        if (is_output(&item->op->tensors[i]))
            elements += (double)item->op->tensors[i].count(item->shape);
    }
    return elements * (double)item->op->inner(item->shape);
}

bool case_exact(const struct assay_case *item)
{
    return item->fill.kind == ASSAY_FILL_EXACT &&
           (!item->op->exact || item->op->exact(item->shape));
}

static int compare_columns(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* All columns, or as many as the oracle's budget allows: the first and the last, those beside
 * multiples of 16 at both ends, and others at random, by the case's seed. */
static bool choose_columns(struct expectation *x, int64_t columns, int64_t budget,
                           struct error *error)
{
    int64_t row_work = x->rows * x->item->op->inner(x->item->shape);
    int64_t wanted = budget / (row_work > 0 ? row_work : 1);
    wanted = wanted < 16 ? 16 : wanted;
    x->n_columns = wanted < columns ? wanted : columns;
    x->columns = malloc((size_t)x->n_columns * sizeof(*x->columns));
    struct random random;
    if (!x->columns || !random_open(&random, case_hash(x->item)))
        return fail(error, "out of memory");
    random.source.start(&random.source, "columns");
    const int64_t edges[] = {0, 1, 15, 16, 63, 64, columns - 17, columns - 2, columns - 1};
    const int64_t n_edges = sizeof(edges) / sizeof(*edges);
    int64_t count = 0;
    for (int64_t i = 0; count < x->n_columns; i++) {
        int64_t column = x->n_columns == columns ? i
                         : i < n_edges           ? edges[i]
                                                 : assay_below(&random.source, columns);
        bool taken = column < 0 || column >= columns;
        for (int64_t j = 0; x->n_columns < columns && j < count; j++)
            taken = taken || x->columns[j] == column;
        if (!taken)
            x->columns[count++] = column;
    }
    random_close(&random);
    qsort(x->columns, (size_t)count, sizeof(*x->columns), compare_columns);
    return true;
}

/* Runs the reference over outputs full of poison, if it has any that are compared bit by bit. */
static bool run_reference(const struct expectation *x, struct tensors *outputs, enum poison poison,
                          struct error *error)
{
    const struct assay_op *op = x->item->op;
    const void *shape = x->item->shape;
    if (!tensors_make(outputs, op, shape, OUTPUTS, AT_END, PRIVATE, error))
        return false;
    bool has_bits = false;
    for (size_t i = 0; i < op->n_tensors; i++) {
        has_bits = has_bits || op->tensors[i].role == ASSAY_OUT_BITS;
        if (is_output(&op->tensors[i]))
            poison_fill(outputs->buffers[i].data, outputs->buffers[i].bytes, poison);
        else
            outputs->pointers[i] = x->inputs[PLAIN].pointers[i];
    }
    if (!has_bits)
        return true;
    int64_t scratch = op->reference->scratch_bytes ? op->reference->scratch_bytes(shape, 1) : 0;
    struct guarded memory;
    if (!guarded_make_aligned(&memory, scratch, error))
        return false;
    const char *refused = op->reference->run(shape, outputs->pointers, NULL, memory.data, 1);
    guarded_free(&memory);
    return !refused || fail(error, "%s: the reference refuses it: %s", x->item->key, refused);
}

static bool ask_twins(struct expectation *x, unsigned needs, struct error *error)
{
    const struct assay_op *op = x->item->op;
    for (int n = 0; op->twin && n < ASSAY_NUMERICS_COUNT; n++) {
        enum assay_numerics numerics = (enum assay_numerics)n;
        if (!(needs >> n & 1) || assay_digits(numerics) == 0)
            continue;
        x->twin[n] = malloc((size_t)(x->rows * x->n_columns) * sizeof(*x->twin[n]));
        if (!x->twin[n])
            return fail(error, "%s: out of memory", x->item->key);
        op->twin(x->item->shape, x->reference.pointers, x->real, numerics, x->columns, x->n_columns,
                 x->twin[n]);
    }
    return true;
}

static bool ask_oracle(struct expectation *x, unsigned needs, int64_t budget, struct error *error)
{
    const struct assay_op *op = x->item->op;
    const void *shape = x->item->shape;
    for (x->real = 0; x->real < op->n_tensors; x->real++) {
        if (op->tensors[x->real].role == ASSAY_OUT_REAL)
            break;
    }
    if (x->real == op->n_tensors)
        return true;
    const struct assay_tensor *tensor = &op->tensors[x->real];
    x->rows = rows_of(tensor, shape);
    if (!choose_columns(x, tensor->columns(shape), budget, error))
        return false;
    size_t count = (size_t)(x->rows * x->n_columns);
    x->expected = malloc(count * sizeof(*x->expected));
    bool rounded = needs >> ASSAY_F16 & 1;
    x->rounded = rounded ? malloc(count * sizeof(*x->rounded)) : NULL;
    if (!x->expected || (rounded && !x->rounded))
        return fail(error, "%s: out of memory", x->item->key);
    if (!op->oracle(shape, x->reference.pointers, x->real, ASSAY_F32, x->columns, x->n_columns,
                    x->expected) ||
        (rounded && !op->oracle(shape, x->reference.pointers, x->real, ASSAY_F16, x->columns,
                                x->n_columns, x->rounded)))
        return fail(error, "%s: out of memory", x->item->key);
    return ask_twins(x, needs, error);
}

/* The inputs for attempts after the first; weights of a file serve all of them. */
static bool copy_inputs(struct expectation *x, struct error *error)
{
    const struct assay_op *op = x->item->op;
    int64_t bytes = shape_bytes(op, x->item->shape);
    int64_t stored = case_prefix_bytes(x->item) + case_stored_bytes(x->item);
    x->copies_weights = bytes <= MAX_COPIED_BYTES;
    if (bytes - stored > MAX_COPIED_BYTES)
        return true;
    for (int copy = AGAIN; copy <= FLUSHING; copy++) {
        enum placement placement = copy == AGAIN ? AT_START : MISALIGNED;
        struct tensors *inputs = &x->inputs[copy];
        if (!inputs_make(inputs, x->item, placement, error))
            return false;
        for (size_t i = 0; i < op->n_tensors; i++) {
            if (is_stored(x->item, i)) {
                guarded_free(&inputs->buffers[i]);
                inputs->pointers[i] = x->inputs[PLAIN].pointers[i];
            } else if (inputs->buffers[i].data) {
                memcpy(inputs->buffers[i].data, x->inputs[PLAIN].buffers[i].data,
                       inputs->buffers[i].bytes);
            }
        }
    }
    x->has_copies = true;
    return true;
}

/* Inputs of a call with about half the batch, on the weights of the AGAIN attempt. */
static bool make_small(struct expectation *x, struct error *error)
{
    const struct assay_op *op = x->item->op;
    memcpy(x->small_shape, x->item->shape, sizeof(x->small_shape));
    int64_t *batch = &x->small_shape[op->batch_dim];
    if (op->batch_dim == 0 || *batch < 2 || !x->has_copies)
        return true;
    *batch = (*batch + 1) / 2;
    struct assay_case small = *x->item;
    memcpy(small.shape, x->small_shape, sizeof(small.shape));
    if (!inputs_make(&x->small_inputs, &small, AT_END, error))
        return false;
    for (size_t i = 0; i < op->n_tensors; i++) {
        if (op->tensors[i].role != ASSAY_WEIGHTS)
            continue;
        guarded_free(&x->small_inputs.buffers[i]);
        x->small_inputs.pointers[i] = NULL;
    }
    if (!case_fill(&small, x->small_inputs.pointers, 1, error))
        return false;
    for (size_t i = 0; i < op->n_tensors; i++) {
        if (op->tensors[i].role == ASSAY_WEIGHTS)
            x->small_inputs.pointers[i] = x->inputs[AGAIN].pointers[i];
    }
    x->has_small = true;
    return true;
}

static void protect_inputs(const struct expectation *x)
{
    for (size_t i = 0; i < x->item->op->n_tensors; i++) {
        for (int copy = PLAIN; copy <= FLUSHING; copy++)
            guarded_read_only(&x->inputs[copy].buffers[i]);
        guarded_read_only(&x->small_inputs.buffers[i]);
    }
}

unsigned expectation_needs(const struct assay_kernel *kernel)
{
    return kernel->twin || kernel->numerics == ASSAY_F16 ? 1u << kernel->numerics : 0;
}

const struct assay_expected *expected_of(const struct expectation *x,
                                         const struct assay_kernel *kernel)
{
    return kernel->numerics == ASSAY_F16 ? x->rounded : x->expected;
}

bool expectation_make(struct expectation *x, const struct assay_case *item, unsigned needs,
                      const struct check_options *options, struct error *error)
{
    *x = (struct expectation){.item = item};
    const struct assay_op *op = item->op;
    bool made = inputs_make(&x->inputs[PLAIN], item, AT_END, error) &&
                case_fill(item, x->inputs[PLAIN].pointers, 0, error);
    if (made && op->spoil)
        op->spoil(item->shape, x->inputs[PLAIN].pointers);
    made = made && run_reference(x, &x->reference, POISON_A, error) &&
           run_reference(x, &x->reference_b, POISON_B, error) &&
           ask_oracle(x, needs, options->max_oracle, error) && copy_inputs(x, error) &&
           make_small(x, error);
    if (made)
        protect_inputs(x);
    else
        expectation_free(x);
    return made;
}

bool expectation_untouched(const struct expectation *x, size_t index, int64_t element)
{
    const struct assay_tensor *tensor = &x->item->op->tensors[index];
    int64_t columns = tensor->columns(x->item->shape);
    if (tensor->role == ASSAY_OUT_REAL)
        return x->expected[element / columns * x->n_columns].untouched;
    size_t bytes = assay_dtype_bytes(tensor->dtype);
    return still_poison(&x->reference.buffers[index], element, bytes, POISON_A) &&
           still_poison(&x->reference_b.buffers[index], element, bytes, POISON_B);
}

void expectation_free(struct expectation *x)
{
    for (int copy = PLAIN; copy <= FLUSHING; copy++)
        tensors_free(&x->inputs[copy]);
    tensors_free(&x->small_inputs);
    tensors_free(&x->reference);
    tensors_free(&x->reference_b);
    free(x->columns);
    free(x->expected);
    free(x->rounded);
    for (int n = 0; n < ASSAY_NUMERICS_COUNT; n++)
        free(x->twin[n]);
    *x = (struct expectation){0};
}
