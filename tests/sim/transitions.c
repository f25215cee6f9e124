/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The transitions of the state machines that were taken. Each process of the
 * simulator adds what its sessions took; a row of a table that none of them
 * took is either impossible, and should assert, or lacks a fault here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "tests/sim/transitions.h"
#include "transport/initiator/state.h"
#include "transport/target/session.h"

#define CELLS_MAX 2048u /* of all machines */

static const struct rdisk_machine *const machines[] = {
    &rdisk_target_machine,
    &rdisk_initiator_machine,
    NULL,
};

/* Shared by all processes: the cells of one machine behind the other's. */
static atomic_ulong *sums;

void sim_transitions_begin(void)
{
    unsigned int cells = 0;

    for (unsigned int i = 0; machines[i]; i++) {
        cells += machines[i]->states * machines[i]->events;
    }
    if (cells > CELLS_MAX) {
        fprintf(stderr, "sim: %u transitions are more than %u\n", cells,
                CELLS_MAX);
        exit(2);
    }
    sums = mmap(NULL, CELLS_MAX * sizeof(sums[0]), PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (sums == MAP_FAILED) {
        perror("sim");
        exit(2);
    }
}

void sim_transitions_add(void)
{
    atomic_ulong *sum = sums;

    for (unsigned int i = 0; machines[i]; i++) {
        unsigned int cells = machines[i]->states * machines[i]->events;

        for (unsigned int cell = 0; cell < cells; cell++) {
            atomic_fetch_add(sum++,
                             atomic_exchange(&machines[i]->taken[cell], 0));
        }
    }
}

static unsigned int check_machine(const struct rdisk_machine *machine,
                                  const atomic_ulong *sum, bool list)
{
    unsigned int missing = 0;

    for (unsigned int state = 0; state < machine->states; state++) {
        for (unsigned int event = 0; event < machine->events; event++) {
            unsigned long count = atomic_load(
                &sum[state * machine->events + event]);

            if (!machine->possible(state, event) || (count && !list)) {
                continue;
            }
            missing += count == 0;
            printf("%s %s: %s in state %s was taken %lu times\n",
                   count ? "ok  " : "FAIL", machine->name,
                   machine->event_name(event), machine->state_name(state),
                   count);
        }
    }
    return missing;
}

unsigned int sim_transitions_missing(bool list)
{
    const atomic_ulong *sum = sums;
    unsigned int missing = 0;

    for (unsigned int i = 0; machines[i]; i++) {
        missing += check_machine(machines[i], sum, list);
        sum += machines[i]->states * machines[i]->events;
    }
    return missing;
}
