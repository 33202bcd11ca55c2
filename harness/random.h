/* SPDX-License-Identifier: MIT */
/* The randomness of fills and of the harness's own choices: GSL's distributions over splitmix64. */
#ifndef ASSAY_HARNESS_RANDOM_H
#define ASSAY_HARNESS_RANDOM_H

#include <gsl/gsl_rng.h>
#include <stdbool.h>
#include <stdint.h>

#include "ref/op.h"

struct random {
    struct assay_random source;
    gsl_rng *generator;
    uint64_t seed;
};

/* False: out of memory. The stream "" is open. */
bool random_open(struct random *random, uint64_t seed);
void random_close(struct random *random);

void random_shuffle(struct random *random, void *items, size_t count, size_t bytes);

uint64_t hash_text(const char *text, uint64_t hash);
uint64_t hash_bytes(const void *bytes, size_t count, uint64_t hash);
uint64_t hash_mix(uint64_t hash);

#endif
