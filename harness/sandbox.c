/* SPDX-License-Identifier: MIT */
#include "harness/sandbox.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* Waits for the child's end; false if the time was up first. */
static bool wait_for(int fd, double seconds)
{
    struct pollfd end = {.fd = fd, .events = POLLIN};
    int ready;
    do {
        ready = poll(&end, 1, seconds < INT_MAX / 1000 ? (int)(seconds * 1000) : INT_MAX);
    } while (ready < 0 && errno == EINTR);
    return ready != 0;
}

static void supervise(pid_t child, int fd, double seconds, struct sandbox_result *result)
{
    bool ended = wait_for(fd, seconds);
    if (!ended)
        kill(child, SIGKILL);
    kill(-child, SIGKILL); /* what it left behind */
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (!ended) {
        result->end = SANDBOX_TIMED_OUT;
    } else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        result->end = SANDBOX_CRASHED;
        result->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
        result->code = crash->code;
        result->address = crash->address;
    }
}

bool sandbox_run(void (*work)(void *context), void *context, double seconds,
                 struct sandbox_result *result, struct error *error)
{
    *result = (struct sandbox_result){.end = SANDBOX_RETURNED};
    if (disabled) {
        work(context);
        return true;
    }
    void *page =
        mmap(NULL, sizeof(*crash), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return fail(error, "cannot map memory: %s", strerror(errno));
    crash = page;
    fflush(NULL); /* or the child would print it again */
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setpgid(0, 0); /* signals to the group stay in it, and end it whole */
        install_handlers();
        work(context);
        _exit(0);
    }
    int fd = child < 0 ? -1 : pidfd_open(child, 0);
    if (fd >= 0) {
        supervise(child, fd, seconds, result);
        close(fd);
    } else {
        fail(error, "cannot start a child process: %s", strerror(errno));
        if (child > 0) {
            kill(child, SIGKILL);
            waitpid(child, NULL, 0);
        }
    }
    munmap(page, sizeof(*crash));
    return fd >= 0;
}
