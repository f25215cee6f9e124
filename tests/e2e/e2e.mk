# SPDX-License-Identifier: BSD-3-Clause
#
# The end-to-end tests alone: all, or those of E2E="io open".
E2E_PRELOADS := $(O)/lib/count-allocations.so $(O)/lib/count-locks.so \
	$(O)/lib/slow-users.so $(O)/lib/slow-reads.so

$(O)/lib/count-%.so: $(O)/obj/tests/e2e/%.o
	@mkdir -p $(@D)
	$(CC) -shared -o $@ $^

$(O)/lib/slow-users.so: $(O)/obj/tests/e2e/slow_users.o
$(O)/lib/slow-reads.so: $(O)/obj/tests/e2e/slow_reads.o
$(O)/lib/slow-users.so $(O)/lib/slow-reads.so:
	@mkdir -p $(@D)
	$(CC) -shared -o $@ $^

.PHONY: e2e e2e-programs
e2e-programs: ours $(E2E_PRELOADS) $(EXAMPLES) $(VHOST_CLIENT) \
	bench-programs adversary $(O)/bin/rdisk-storm
e2e: e2e-programs qemu lab-guest
	@tests/e2e/run $(E2E)
