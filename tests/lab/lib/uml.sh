# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# The user-mode kernel: a Linux that is a process of this machine.  It is
# built once, see `make lab-uml`.

uml_works()
{
    return 1
}
