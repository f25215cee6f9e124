/* SPDX-License-Identifier: BSD-3-Clause */
/* One that asks for a volume to be flattened, and what it was told. */
#ifndef TESTS_UNIT_SUPPORT_FLATTEN_ASKER_H
#define TESTS_UNIT_SUPPORT_FLATTEN_ASKER_H

#include "server/session/flatten.h"

struct flatten_asker {
    struct flatten_wait wait;
    unsigned int answers;
    int result;             /* 0 or a negative errno, */
    struct rdisk_error why; /* with a sentence */
    uint64_t done, size;
    bool ended;
};

/* The answer of a struct flatten_asker's wait. */
void flatten_asker_answered(struct flatten_wait *wait,
                            const struct flatten *flatten,
                            const struct rdisk_error *why);
/* Ask @times, or until it has ended. Each answer comes at once, or the test
 * fails. */
struct flatten_asker flatten_ask_times(struct server *server, const char *name,
                                       unsigned int times);

#endif
