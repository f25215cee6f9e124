# SPDX-License-Identifier: BSD-3-Clause
#
# The end-to-end tests alone: all, or those of E2E="io open".
.PHONY: e2e
e2e: ours qemu
	@tests/e2e/run $(E2E)
