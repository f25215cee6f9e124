/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/support/flatten_asker.h"

#include "common/container_of.h"
#include "tests/unit/support/unit.h"

void flatten_asker_answered(struct flatten_wait *wait,
                            const struct flatten *flatten,
                            const struct rdisk_error *why)
{
    struct flatten_asker *asker = container_of(wait, struct flatten_asker,
                                               wait);

    asker->answers++;
    asker->result = why ? why->code : 0;
    if (why) {
        asker->why = *why;
    }
    if (flatten) {
        asker->done = flatten->done;
        asker->size = flatten->size;
        asker->ended = flatten->ended;
    }
}

struct flatten_asker flatten_ask_times(struct server *server, const char *name,
                                       unsigned int times)
{
    struct flatten_asker asker = { .wait.answer = flatten_asker_answered };

    for (unsigned int i = 0; i < times && !asker.ended && !asker.result; i++) {
        flatten_ask(server, name, &asker.wait);
        CHECK_EQUAL(asker.answers, i + 1);
    }
    return asker;
}
