/* SPDX-License-Identifier: MIT */
#include "harness/random.h"

#include <gsl/gsl_randist.h>
#include <string.h>

uint64_t hash_mix(uint64_t hash)
{
    hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9u;
    hash = (hash ^ hash >> 27) * 0x94d049bb133111ebu;
    return hash ^ hash >> 31;
}

uint64_t hash_bytes(const void *bytes, size_t count, uint64_t hash)
{
    const uint8_t *from = bytes;
    for (; count >= 8; count -= 8, from += 8) {
        uint64_t word;
        memcpy(&word, from, 8);
        hash = hash_mix(hash ^ word) + 0x9e3779b97f4a7c15u;
    }
    for (; count > 0; count--)
        hash = hash_mix(hash ^ *from++) + 0x9e3779b97f4a7c15u;
    return hash;
}

uint64_t hash_text(const char *text, uint64_t hash)
{
    return hash_bytes(text, strlen(text), hash);
}

/* splitmix64 (Steele, Lea and Flood, 2014): any 64-bit seed gives an unrelated stream, which none
 * of GSL's own generators, seeded by 32 bits, promises. */
static uint64_t splitmix(void *state)
{
    uint64_t *at = state;
    *at += 0x9e3779b97f4a7c15u;
    return hash_mix(*at);
}

static void splitmix_set(void *state, unsigned long seed)
{
    *(uint64_t *)state = seed;
}

static unsigned long splitmix_get(void *state)
{
    return (unsigned long)(splitmix(state) >> 32);
}

static double splitmix_get_double(void *state)
{
    return (double)(splitmix(state) >> 11) * 0x1p-53;
}

static const gsl_rng_type splitmix_type = {
    "splitmix64", 0xffffffffu, 0, sizeof(uint64_t), splitmix_set, splitmix_get, splitmix_get_double,
};

static void start(struct assay_random *source, const char *stream)
{
    struct random *random = (struct random *)source;
    *(uint64_t *)random->generator->state = hash_text(stream, hash_mix(random->seed));
}

static uint64_t bits(struct assay_random *source)
{
    return splitmix(((struct random *)source)->generator->state);
}

static double gaussian(struct assay_random *source)
{
    return gsl_ran_gaussian_ziggurat(((struct random *)source)->generator, 1);
}

static double heavy_tail(struct assay_random *source)
{
    return gsl_ran_tdist(((struct random *)source)->generator, 4);
}

bool random_open(struct random *random, uint64_t seed)
{
    *random = (struct random){
        .source = {start, bits, gaussian, heavy_tail},
        .generator = gsl_rng_alloc(&splitmix_type),
        .seed = seed,
    };
    if (!random->generator)
        return false;
    start(&random->source, "");
    return true;
}

void random_close(struct random *random)
{
    gsl_rng_free(random->generator);
}

void random_shuffle(struct random *random, void *items, size_t count, size_t bytes)
{
    gsl_ran_shuffle(random->generator, items, count, bytes);
}
