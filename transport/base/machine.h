/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Internal to the transport: what a state machine exports of its table, so that
 * a test can see that each of its transitions is taken.
 *
 * A machine is a table state × event. Its step function counts each row that
 * it takes; an event in a state without a row is a fault of the program and
 * asserts. tests/sim/transitions.c holds the counts against the table.
 */
#ifndef RDISK_BASE_MACHINE_H
#define RDISK_BASE_MACHINE_H

#include <stdatomic.h>
#include <stdbool.h>

struct rdisk_machine {
    const char *name;
    unsigned int states, events;
    const char *(*state_name)(unsigned int state);
    const char *(*event_name)(unsigned int event);
    /* True if the table has a row for @event in @state. */
    bool (*possible)(unsigned int state, unsigned int event);
    /* How often each was taken, by all sessions of the process:
     * [state * events + event]. */
    atomic_uint *taken;
};

static inline void rdisk_machine_took(const struct rdisk_machine *machine,
                                      unsigned int state, unsigned int event)
{
    atomic_fetch_add_explicit(&machine->taken[state * machine->events + event],
                              1, memory_order_relaxed);
}

#endif
