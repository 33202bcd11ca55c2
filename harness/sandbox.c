/* SPDX-License-Identifier: MIT */
#include "harness/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness/interrupt.h"

static bool disabled;

void sandbox_disable(void)
{
    disabled = true;
}

/* What the child's signal handler leaves, seen by the parent. */
struct crash {
    int code;
    uintptr_t address;
};
static volatile struct crash *crash;

static void on_crash(int signal, siginfo_t *info, void *context)
{
    (void)context;
    crash->code = info->si_code;
    crash->address = (uintptr_t)info->si_addr;
    /* SA_RESETHAND restored the default action: this ends the child with the signal. */
    raise(signal);
}

static void install_handlers(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
    static uint8_t stack[1 << 16];
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof(stack)};
    sigaltstack(&alternate, NULL);
    struct sigaction action = {.sa_sigaction = on_crash,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND};
    for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
        sigaction(signals[i], &action, NULL);
}

int stdout_divert(void)
{
    fflush(stdout);
    int saved = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
    if (saved >= 0)
        dup2(STDERR_FILENO, STDOUT_FILENO);
    return saved;
}

void stdout_restore(int saved)
{
    fflush(stdout);
    if (saved < 0)
        return;
    dup2(saved, STDOUT_FILENO);
    close(saved);
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Waits for the child's end; false: it cannot be waited for. */
static bool wait_for(int fd, double seconds, enum sandbox_end *end)
{
    /* poll passes over a negative descriptor. */
    struct pollfd events[] = {{.fd = fd, .events = POLLIN},
                              {.fd = interrupt_fd(), .events = POLLIN}};
    double deadline = seconds_now() + seconds;
    int ready;
    do {
        double left = fmax(0, deadline - seconds_now());
        struct timespec limit = {.tv_sec = (time_t)left,
                                 .tv_nsec = (long)((left - floor(left)) * 1e9)};
        ready = ppoll(events, 2, &limit, NULL);
    } while (ready < 0 && errno == EINTR);
    *end = ready == 0          ? SANDBOX_TIMED_OUT
           : events[0].revents ? SANDBOX_RETURNED
                               : SANDBOX_INTERRUPTED;
    return ready >= 0;
}

/* LLVM's OpenMP leaves a page of shared memory by the number of each process that does not exit() by
 * itself; a later process of that number would find it, perhaps cut short, and get SIGBUS. */
static void clean_up_after(pid_t child)
{
    char name[64];
    snprintf(name, sizeof(name), "/__KMP_REGISTERED_LIB_%d_%d", (int)child, (int)getuid());
    shm_unlink(name);
}

static bool supervise(pid_t child, int fd, double seconds, struct sandbox_result *result,
                      struct error *error)
{
    bool waiting = wait_for(fd, seconds, &result->end);
    if (!waiting)
        fail(error, "cannot wait for a child process: %s", strerror(errno));
    if (!waiting || result->end != SANDBOX_RETURNED)
        kill(child, SIGKILL);
    kill(-child, SIGKILL); /* what it left behind */
    int status = 0;
    pid_t waited;
    do {
        waited = waitpid(child, &status, 0);
    } while (waited < 0 && errno == EINTR);
    if (waiting && waited < 0)
        return fail(error, "cannot wait for a child process: %s", strerror(errno));
    clean_up_after(child);
    if (result->end == SANDBOX_RETURNED && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
        result->end = SANDBOX_CRASHED;
        result->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
        result->code = crash->code;
        result->address = crash->address;
    }
    return waiting;
}

/* In the child. */
__attribute__((noreturn)) static void be_child(void (*work)(void *context), void *context)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0); /* signals to the group stay in it, and end it whole */
    dup2(STDERR_FILENO, STDOUT_FILENO);
    install_handlers();
    interrupt_release();
    work(context);
    fflush(stdout);
    _exit(0);
}

bool sandbox_run(void (*work)(void *context), void *context, double seconds,
                 struct sandbox_result *result, struct error *error)
{
    *result = (struct sandbox_result){.end = SANDBOX_RETURNED};
    if (disabled) {
        int saved = stdout_divert();
        work(context);
        stdout_restore(saved);
        return true;
    }
    void *page =
        mmap(NULL, sizeof(*crash), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return fail(error, "cannot map memory: %s", strerror(errno));
    crash = page;
    fflush(NULL); /* or the child would print it again */
    pid_t child = fork();
    if (child == 0)
        be_child(work, context);
    int fd = child < 0 ? -1 : pidfd_open(child, 0);
    bool supervised = false;
    if (fd >= 0) {
        supervised = supervise(child, fd, seconds, result, error);
        close(fd);
    } else {
        fail(error, "cannot start a child process: %s", strerror(errno));
        if (child > 0) {
            kill(child, SIGKILL);
            waitpid(child, NULL, 0);
        }
    }
    munmap(page, sizeof(*crash));
    return supervised;
}
