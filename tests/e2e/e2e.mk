# SPDX-License-Identifier: BSD-3-Clause
#
# The end-to-end tests alone: all, or those of E2E="io open".
E2E_PRELOAD := $(O)/lib/count-allocations.so

$(E2E_PRELOAD): $(call objects,tests/e2e/allocations.c)
	@mkdir -p $(@D)
	$(CC) -shared -o $@ $^

.PHONY: e2e e2e-programs
e2e-programs: ours $(E2E_PRELOAD) bench-programs adversary
e2e: e2e-programs qemu lab-guest
	@tests/e2e/run $(E2E)
