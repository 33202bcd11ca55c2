/* SPDX-License-Identifier: MIT */
#include "harness/interrupt.h"

#include <signal.h>
#include <stddef.h>
#include <sys/signalfd.h>
#include <unistd.h>

static int held = -1;

/* Those of both that are not ignored, as nohup or a shell's `&` may have arranged. */
static sigset_t wanted(void)
{
    static const int signals[] = {SIGINT, SIGTERM};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++) {
        struct sigaction action;
        if (sigaction(signals[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            sigaddset(&set, signals[i]);
    }
    return set;
}

void interrupt_hold(void)
{
    sigset_t set = wanted();
    if (sigprocmask(SIG_BLOCK, &set, NULL) == 0)
        held = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

bool interrupted(void)
{
    sigset_t waiting;
    return held >= 0 && sigpending(&waiting) == 0 &&
           (sigismember(&waiting, SIGINT) == 1 || sigismember(&waiting, SIGTERM) == 1);
}

int interrupt_fd(void)
{
    return held;
}

void interrupt_release(void)
{
    sigset_t set = wanted();
    if (held >= 0)
        close(held);
    held = -1;
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}
