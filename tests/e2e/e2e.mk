# SPDX-License-Identifier: BSD-3-Clause
#
# The two commands that do everything, and the end-to-end tests alone.

# e2e runs all, or those of E2E="io open".
.PHONY: demo check e2e
demo:
	@MAKE='$(MAKE)' tests/e2e/demo

check:
	@MAKE='$(MAKE)' tests/check

e2e: ours qemu
	@tests/e2e/run $(E2E)
