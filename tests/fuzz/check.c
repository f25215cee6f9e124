/* SPDX-License-Identifier: BSD-3-Clause */
/* A CHECK that fails ends the process, so that the fuzzer keeps the input. */
#include <stdio.h>
#include <stdlib.h>
#include <CUnit/CUnit.h>

#include "common/log.h"
#include "fuzz.h"

CU_BOOL CU_assertImplementation(CU_BOOL value, unsigned int line,
                                const char *condition, const char *file,
                                const char *function, CU_BOOL fatal)
{
    if (!value) {
        fprintf(stderr, "%s:%u: %s\n", file, line, condition);
        abort();
    }
    return value;
}

/* Refusals by the thousand are no news. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    log_set_level(RDISK_LOG_ERROR);
    return 0;
}
