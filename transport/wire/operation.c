/* SPDX-License-Identifier: BSD-3-Clause */
/* The names of operations, for messages, logs and statistics. */
#include "transport/wire/wire.h"

static const struct {
    const char *one, *many;
} names[RDISK_OPS] = {
    [RDISK_OP_READ] = { "read", "reads" },
    [RDISK_OP_WRITE] = { "write", "writes" },
    [RDISK_OP_FLUSH] = { "flush", "flushes" },
    [RDISK_OP_DISCARD] = { "discard", "discards" },
    [RDISK_OP_ZEROES] = { "zeroes", "zeroes" },
    [RDISK_OP_EXTENTS] = { "extents", "extents" },
    [RDISK_OP_COPY] = { "copy", "copies" },
};

static bool known(unsigned int op)
{
    return op < RDISK_OPS && names[op].one;
}

const char *rdisk_op_name(unsigned int op)
{
    return known(op) ? names[op].one : "unknown operation";
}

const char *rdisk_op_plural(unsigned int op)
{
    return known(op) ? names[op].many : "unknown operations";
}
