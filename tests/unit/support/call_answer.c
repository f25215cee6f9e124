/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/support/call_answer.h"

struct call_answer answer;

void answer_resize(void *opaque, int result, const struct rdisk_error *err)
{
    answer.times++;
    answer.result = result;
    answer.err = *err;
}

void answer_stat(void *opaque, int result, uint64_t allocated,
                 const struct rdisk_error *err)
{
    answer_resize(opaque, result, err);
    answer.allocated = allocated;
}
