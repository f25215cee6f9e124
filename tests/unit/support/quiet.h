/* SPDX-License-Identifier: BSD-3-Clause */
/* A log level for tests in which errors are expected: nothing is logged. */
#ifndef RDISK_UNIT_QUIET_H
#define RDISK_UNIT_QUIET_H

#include "common/log.h"

#define QUIET ((enum rdisk_log_level) - 1) /* below the lowest */

#endif
