/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/thread.h"

_Thread_local enum thread_role thread_role;
_Thread_local const void *thread_reactor;
