/* SPDX-License-Identifier: MIT */
#include "harness/revision.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/context.h"
#include "harness/sandbox.h"

#define BUILD_SECONDS 3600
#define GIT_SECONDS   600
#define LOG_LINES     15

/* A command whose output goes to a file. */
struct command {
    const char *const *words; /* NULL at the end */
    const char *log;
};

/* In a child, which it becomes. */
static void become(void *context)
{
    const struct command *command = context;
    int log = open(command->log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (log < 0 || nothing < 0 || dup2(nothing, STDIN_FILENO) < 0 || dup2(log, STDOUT_FILENO) < 0 ||
        dup2(log, STDERR_FILENO) < 0)
        _exit(126);
    execvp(command->words[0], (char *const *)command->words);
    dprintf(STDERR_FILENO, "%s: %s\n", command->words[0], strerror(errno));
    _exit(127);
}

/* Whether the command ran and succeeded; if not, `error` is set only where it was not the command's
 * own fault. */
static bool run(const struct revisions *revisions, double seconds, const char *const *words,
                struct error *error)
{
    char log[PATH_MAX + 8];
    snprintf(log, sizeof(log), "%s/log", revisions->directory);
    struct command command = {words, log};
    struct sandbox_result end;
    if (!sandbox_run(become, &command, seconds, &end, error))
        return false;
    if (end.end == SANDBOX_INTERRUPTED)
        return fail(error, "interrupted");
    if (end.end == SANDBOX_TIMED_OUT)
        return fail(error, "%s did not end within %.0f s", words[0], seconds);
    return end.end == SANDBOX_RETURNED;
}

#define RUN(revisions, seconds, error, ...) \
    run(revisions, seconds, (const char *const[]){__VA_ARGS__, NULL}, error)

/* What the last command printed, cut to fit. */
static void read_log(const struct revisions *revisions, char *text, size_t size)
{
    char path[PATH_MAX + 8];
    snprintf(path, sizeof(path), "%s/log", revisions->directory);
    FILE *file = fopen(path, "r");
    size_t length = file ? fread(text, 1, size - 1, file) : 0;
    text[length] = 0;
    if (file)
        fclose(file);
}

static bool log_has(const struct revisions *revisions, const char *word)
{
    char text[1 << 14];
    read_log(revisions, text, sizeof(text));
    return strstr(text, word) != NULL;
}

/* The last lines of a log, to standard error. */
static void show_log(const struct revisions *revisions)
{
    char path[PATH_MAX + 8], *lines[LOG_LINES] = {0}, *line = NULL;
    size_t size = 0, count = 0;
    snprintf(path, sizeof(path), "%s/log", revisions->directory);
    FILE *file = fopen(path, "r");
    while (file && getline(&line, &size, file) >= 0) {
        free(lines[count % LOG_LINES]);
        lines[count++ % LOG_LINES] = line;
        line = NULL;
    }
    free(line);
    for (size_t i = 0; i < LOG_LINES; i++) {
        char *kept = lines[(count + i) % LOG_LINES];
        if (kept)
            fprintf(stderr, "  %s", kept);
        free(kept);
    }
    if (file)
        fclose(file);
}

bool revisions_open(struct revisions *revisions, struct error *error)
{
    const char *parent = getenv("TMPDIR");
    *revisions = (struct revisions){0};
    int length = snprintf(revisions->directory, sizeof(revisions->directory), "%s/assay.XXXXXX",
                          parent && parent[0] ? parent : "/tmp");
    if (length < 0 || length + 64 >= PATH_MAX || !mkdtemp(revisions->directory)) {
        revisions->directory[0] = 0;
        return fail(error, "cannot make a temporary directory: %s", strerror(errno));
    }
    if (!RUN(revisions, GIT_SECONDS, error, "git", "rev-parse", "--show-toplevel"))
        return error->text[0] ? false
                              : fail(error, "--rev: the working directory is in no git repository");
    read_log(revisions, revisions->top, sizeof(revisions->top));
    revisions->top[strcspn(revisions->top, "\n")] = 0;
    return true;
}

bool revisions_add(struct revisions *revisions, const char *name, char label[128],
                   struct error *error)
{
    char object[256], hash[64], *source = revisions->sources[revisions->count];
    if (!name) {
        memcpy(source, revisions->top, PATH_MAX);
        snprintf(label, 128, "working tree");
        revisions->count++;
        return true;
    }
    if (snprintf(object, sizeof(object), "%s^{commit}", name) >= (int)sizeof(object) ||
        !RUN(revisions, GIT_SECONDS, error, "git", "-C", revisions->top, "rev-parse", "--verify",
             "--quiet", "--end-of-options", object))
        return error->text[0] ? false
                              : fail(error, "--rev: there is no commit \"%s\"%s", name,
                                     revisions->count > 0 ? ", and no such file" : "");
    read_log(revisions, hash, sizeof(hash));
    hash[strcspn(hash, "\n")] = 0;
    snprintf(label, 128, "%.100s (%.12s)", name, hash);
    snprintf(source, PATH_MAX, "%.4000s/source%zu", revisions->directory, revisions->count++);
    if (RUN(revisions, GIT_SECONDS, error, "git", "-C", revisions->top, "worktree", "add",
            "--force", "--detach", source, hash))
        return true;
    if (!error->text[0]) {
        show_log(revisions);
        fail(error, "--rev: git cannot check out %s", label);
    }
    return false;
}

static bool build(struct revisions *revisions, const char *source, const char *directory,
                  const char *label, struct error *error)
{
    char compiler[PATH_MAX + 32];
    snprintf(compiler, sizeof(compiler), "-DCMAKE_C_COMPILER=%s", build_compiler_path);
    if (!RUN(revisions, BUILD_SECONDS, error, "cmake", "-S", source, "-B", directory, "-G",
             build_generator, compiler, "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_TESTING=OFF")) {
        if (error->text[0])
            return false;
        show_log(revisions);
        return fail(error, "--rev: cmake cannot configure %s", label);
    }
    if (RUN(revisions, BUILD_SECONDS, error, "cmake", "--build", directory, "--parallel",
            "--target", "assay_kernels"))
        return true;
    if (error->text[0])
        return false;
    if (log_has(revisions, "unknown target 'assay_kernels'") ||
        log_has(revisions, "No rule to make"))
        return fail(error, "--rev: %s has no target assay_kernels, which builds its kernel library",
                    label);
    show_log(revisions);
    return fail(error, "--rev: %s does not build", label);
}

bool revisions_build(struct revisions *revisions, size_t index, char *path, const char *label,
                     struct error *error)
{
    char directory[PATH_MAX];
    snprintf(directory, sizeof(directory), "%.4000s/build%zu", revisions->directory, index);
    if (!build(revisions, revisions->sources[index], directory, label, error))
        return false;
    if (snprintf(path, PATH_MAX, "%.4000s/libassay_kernels.so", directory) < 0 ||
        access(path, R_OK) != 0)
        return fail(error, "--rev: %s built no libassay_kernels.so", label);
    return true;
}

/* Runs a command to its end, also if a signal is waiting; the signals that wait here do so there. */
static void finish(const char *const *words)
{
    posix_spawn_file_actions_t actions;
    pid_t child;
    if (posix_spawn_file_actions_init(&actions) != 0)
        return;
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    if (posix_spawnp(&child, words[0], &actions, NULL, (char *const *)words, environ) == 0) {
        while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    posix_spawn_file_actions_destroy(&actions);
}

#define FINISH(...) finish((const char *const[]){__VA_ARGS__, NULL})

void revisions_close(struct revisions *revisions)
{
    if (revisions->directory[0])
        FINISH("rm", "-rf", "--", revisions->directory);
    for (size_t i = 0; i < revisions->count; i++) {
        if (strcmp(revisions->sources[i], revisions->top) != 0)
            FINISH("git", "-C", revisions->top, "worktree", "remove", "--force", "--force",
                   revisions->sources[i]);
    }
    *revisions = (struct revisions){0};
}
