/* SPDX-License-Identifier: BSD-3-Clause */
/* What a client's RESIZE or STAT was answered with. */
#ifndef RDISK_UNIT_CALL_ANSWER_H
#define RDISK_UNIT_CALL_ANSWER_H

#include <rdisk/initiator.h>

struct call_answer {
    unsigned int times; /* calls that were answered; the rest: of the last */
    int result;
    uint64_t allocated;
    struct rdisk_error err;
};

extern struct call_answer answer;

/* For rdisk_initiator_resize() and rdisk_initiator_stat(). */
void answer_resize(void *opaque, int result, const struct rdisk_error *err);
void answer_stat(void *opaque, int result, uint64_t allocated,
                 const struct rdisk_error *err);

#endif
