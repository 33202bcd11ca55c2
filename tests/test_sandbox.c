/* SPDX-License-Identifier: MIT */
/* The child process that runs foreign code: how it ends, how long it is waited for, what it prints;
 * and what is done to foreign text. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness/sandbox.h"
#include "harness/text.h"
#include "tests/cunit_main.h"

static void wait_forever(void *context)
{
    (void)context;
    for (;;)
        pause();
}

static void abort_there(void *context)
{
    (void)context;
    abort();
}

/* Gives the parent time to wait, also on a busy machine. */
static void let_parent_wait(void)
{
    const struct timespec time = {.tv_nsec = 500000000};
    nanosleep(&time, NULL);
}

static void abort_later(void *context)
{
    let_parent_wait();
    abort_there(context);
}

static void return_at_once(void *context)
{
    (void)context;
}

static void test_ends(void)
{
    struct error error = {{0}};
    struct sandbox_result result;
    CU_ASSERT_TRUE(sandbox_run(return_at_once, NULL, 10, &result, &error));
    CU_ASSERT_EQUAL(result.end, SANDBOX_RETURNED);
    CU_ASSERT_TRUE(sandbox_run(abort_there, NULL, 10, &result, &error));
    CU_ASSERT_EQUAL(result.end, SANDBOX_CRASHED);
    CU_ASSERT_EQUAL(result.signal, SIGABRT);
    CU_ASSERT_TRUE(sandbox_run(wait_forever, NULL, 0.05, &result, &error));
    CU_ASSERT_EQUAL(result.end, SANDBOX_TIMED_OUT);
    CU_ASSERT_TRUE(sandbox_run(return_at_once, NULL, 1e9, &result, &error));
    CU_ASSERT_EQUAL(result.end, SANDBOX_RETURNED);
}

static volatile sig_atomic_t interruptions;

static void interrupt(int signal)
{
    static const struct itimerval never = {{0, 0}, {0, 0}};
    (void)signal;
    if (++interruptions == 60) /* so that a wait that starts anew each time ends, too late */
        setitimer(ITIMER_REAL, &never, NULL);
}

/* Every 50 ms a signal that interrupts the wait. */
static void test_interrupted(void)
{
    struct error error = {{0}};
    struct sandbox_result result;
    struct sigaction action = {.sa_handler = interrupt}, before;
    struct itimerval often = {{0, 50000}, {0, 50000}}, never = {{0, 0}, {0, 0}};
    sigaction(SIGALRM, &action, &before);
    interruptions = 0;
    setitimer(ITIMER_REAL, &often, NULL);
    CU_ASSERT_TRUE(sandbox_run(wait_forever, NULL, 0.4, &result, &error));
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &before, NULL);
    CU_ASSERT_EQUAL(result.end, SANDBOX_TIMED_OUT);
    CU_ASSERT(interruptions > 0 && interruptions < 60);
}

/* In the child: leaves the parent without descriptors to wait on, and wakes it. */
static void break_the_wait(void *context)
{
    const struct rlimit *limit = context;
    pid_t parent = getppid();
    let_parent_wait();
    if (prlimit(parent, RLIMIT_NOFILE, limit, NULL) == 0)
        kill(parent, SIGUSR1);
    wait_forever(NULL);
}

static void ignore(int signal)
{
    (void)signal;
}

static void test_wait_fails(void)
{
    struct error error = {{0}};
    struct sandbox_result result;
    struct sigaction action = {.sa_handler = ignore}, before;
    struct rlimit limit, none;
    getrlimit(RLIMIT_NOFILE, &limit);
    none = (struct rlimit){0, limit.rlim_max};
    sigaction(SIGUSR1, &action, &before);
    bool run = sandbox_run(break_the_wait, &none, 5, &result, &error);
    setrlimit(RLIMIT_NOFILE, &limit);
    sigaction(SIGUSR1, &before, NULL);
    CU_ASSERT_FALSE(run);
    CU_ASSERT_STRING_EQUAL(error.text, "cannot wait for a child process: Invalid argument");
    CU_ASSERT(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
}

static void test_unwaitable(void)
{
    struct error error = {{0}};
    struct sandbox_result result;
    void (*before)(int) = signal(SIGCHLD, SIG_IGN);
    CU_ASSERT_FALSE(sandbox_run(abort_later, NULL, 5, &result, &error));
    signal(SIGCHLD, before);
    CU_ASSERT_STRING_EQUAL(error.text, "cannot wait for a child process: No child processes");
}

/* What LLVM's OpenMP would leave, by way of a pipe: the child's number. */
static void leave_memory(void *context)
{
    char name[64];
    pid_t child = getpid();
    snprintf(name, sizeof(name), "/__KMP_REGISTERED_LIB_%d_%d", (int)child, (int)getuid());
    shm_open(name, O_CREAT | O_RDWR, 0600);
    ssize_t written = write(*(int *)context, &child, sizeof(child));
    (void)written;
}

static void test_leaves_nothing(void)
{
    int ends[2];
    char name[64];
    pid_t child = 0;
    struct sandbox_result result;
    struct error error;
    CU_ASSERT_FATAL(pipe(ends) == 0);
    CU_ASSERT_TRUE(sandbox_run(leave_memory, &ends[1], 10, &result, &error));
    CU_ASSERT_EQUAL(read(ends[0], &child, sizeof(child)), sizeof(child));
    snprintf(name, sizeof(name), "/__KMP_REGISTERED_LIB_%d_%d", (int)child, (int)getuid());
    CU_ASSERT_EQUAL(shm_open(name, O_RDONLY, 0), -1);
    CU_ASSERT_EQUAL(errno, ENOENT);
    close(ends[0]);
    close(ends[1]);
}

static void test_escape(void)
{
    static const char foreign[] = "a\033[1m\n\x7f\xc3\xa9";
    char text[64];
    text_escape(text, sizeof(text), foreign, sizeof(foreign));
    CU_ASSERT_STRING_EQUAL(text, "a\\x1b[1m\\x0a\\x7f\\xc3\\xa9");
    text_escape(text, sizeof(text), foreign, 1);
    CU_ASSERT_STRING_EQUAL(text, "a");
    memset(text, '!', sizeof(text));
    text_escape(text, 8, "bbbbbbbbbb", 10);
    CU_ASSERT(strlen(text) < 8 && text[8] == '!');
    memset(text, '!', sizeof(text));
    text_escape(text, 8, "\1\1\1", 3);
    CU_ASSERT_STRING_EQUAL(text, "\\x01");
    CU_ASSERT_EQUAL(text[8], '!');
}

static void test_names(void)
{
    char name[66] = {0};
    memset(name, 'n', 64);
    CU_ASSERT_TRUE(text_is_name(name));
    name[64] = 'n';
    CU_ASSERT_FALSE(text_is_name(name));
    CU_ASSERT_TRUE(text_is_name("mine++-1.2"));
    static const char *const unfit[] = {"",   " ",   "a b",  "a'",   "a\"",
                                        "`a", "a\\", "a\tb", "\033", "\xc3\xa9"};
    for (size_t i = 0; i < sizeof(unfit) / sizeof(*unfit); i++)
        CU_ASSERT_FALSE(text_is_name(unfit[i]));
}

static void quotes_as(const char *argument, const char *expected)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    CU_ASSERT_PTR_NOT_NULL_FATAL(out);
    text_quote(out, argument);
    fclose(out);
    CU_ASSERT_STRING_EQUAL(text, expected);
    free(text);
}

static void test_quote(void)
{
    quotes_as("./build/libmine.so", "./build/libmine.so");
    quotes_as("", "''");
    quotes_as("a b", "'a b'");
    quotes_as("it's", "'it'\\''s'");
    quotes_as("$x", "'$x'");
    quotes_as("~", "'~'");
}

int main(void)
{
    CU_TestInfo sandbox[] = {
        {"a child returns, crashes, hangs", test_ends},
        {"interruptions do not prolong the wait", test_interrupted},
        {"a wait that fails is an error", test_wait_fails},
        {"a child whose end is not told is an error", test_unwaitable},
        {"a child's shared memory goes with it", test_leaves_nothing},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo text[] = {
        {"what is not printable is escaped", test_escape},
        {"what can be a name", test_names},
        {"what a shell reads back", test_quote},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"sandbox", NULL, NULL, NULL, NULL, sandbox},
        {"text", NULL, NULL, NULL, NULL, text},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites);
}
