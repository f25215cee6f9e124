# SPDX-License-Identifier: BSD-3-Clause
# The base class of Proxmox VE's storage plugins: nothing that it would do for
# this one is used.
package PVE::Storage::Plugin;
use strict;
use warnings;

1;
