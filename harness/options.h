/* SPDX-License-Identifier: MIT */
/* The command line. */
#ifndef ASSAY_HARNESS_OPTIONS_H
#define ASSAY_HARNESS_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "harness/error.h"
#include "harness/layer.h"
#include "harness/terminal.h"
#include "harness/vectors.h"

enum command {
    COMMAND_LIST,
    COMMAND_CHECK,
    COMMAND_BENCH,
    COMMAND_REPLAY,
    COMMAND_EXPORT,
    COMMAND_JUDGE,
    COMMAND_AB
};

struct options {
    enum command command;
    const char *selected, *cases, *tag; /* NULL: all */
    const char *json;                   /* report path, or NULL */
    size_t shard_index, shard_count;
    int threads; /* 0: one per CPU */
    bool seed_given;
    uint64_t seed;
    double timeout_seconds, seconds; /* seconds 0: the command's own */
    int blocks, rounds;              /* of bench */
    const char *revision, *markdown; /* of ab; or NULL */
    unsigned fail_on;
    int64_t memory_bytes;
    uint32_t features; /* what this CPU has and --cpu allows */
    enum color color;
    bool verbose, schema, no_fork;
    double shrink_seconds;
    const char *directory, *given; /* of export; of judge; or NULL */
    struct promise promise;
    const char **libraries;
    size_t n_libraries;
    const char *gguf;         /* NULL: none */
    struct model_layer layer; /* its index is -1 unless given */
    char **arguments; /* files and directories, keys (replay, export), or an exported directory */
    size_t n_arguments;
};

/* libraries and arguments are due to be freed, on failure too. Does not return on --help or --version, which exit 0. */
bool options_parse(int argc, char **argv, struct options *options, struct error *error);

#endif
