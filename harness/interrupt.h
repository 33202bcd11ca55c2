/* SPDX-License-Identifier: MIT */
/*
 * SIGINT and SIGTERM, kept waiting: whoever works asks now and then, stops in good order, and at the
 * end the signal does what it was going to.
 */
#ifndef ASSAY_HARNESS_INTERRUPT_H
#define ASSAY_HARNESS_INTERRUPT_H

#include <stdbool.h>

/* From now on they wait. */
void interrupt_hold(void);

/* Whether one waits. Stays so. */
bool interrupted(void);

/* A file descriptor that is readable when one waits, for poll; -1: they are not held. */
int interrupt_fd(void);

/* Lets them through: a signal that waited ends the process, unless it was ignored from the start. */
void interrupt_release(void);

#endif
