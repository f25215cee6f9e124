/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SIM_TRANSITIONS_H
#define SIM_TRANSITIONS_H

#include <stdbool.h>

/* Before the first process is forked. */
void sim_transitions_begin(void);
/* Add what this process has counted since the last call. */
void sim_transitions_add(void);
/* Print those that were not taken, or all with @list. Returns how many are
 * missing. */
unsigned int sim_transitions_missing(bool list);

#endif
