# SPDX-License-Identifier: BSD-3-Clause
# Tests that need no RDMA device: make lint; make unit, with SANITIZE=1, SANITIZE=thread,
# or make unit-valgrind.

UNIT := $(O)/bin/rdisk-unit
# The folders are those of transport/ and server/; support/ has the helpers.
# server/server.mk tells which of its objects tests/unit/server needs.
UNIT_SOURCES := $(sort $(shell find tests/unit -name "*.c") $(wildcard tests/fake/*.c) \
	$(SERVER_UNIT_TESTS))
UNIT_PACKAGES := cunit $(TRANSPORT_PACKAGES) $(SERVER_UNIT_PACKAGES)

$(UNIT): $(call objects,$(UNIT_SOURCES)) $(SERVER_UNIT_OBJECTS) \
		$(VHOST_UNIT_OBJECTS) $(LIBRDISK)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) $(call libs,$(UNIT_PACKAGES))

.PHONY: unit unit-valgrind
unit: $(UNIT)
	$(UNIT)

unit-valgrind: $(UNIT)
	timeout -k 5 900 valgrind --quiet --error-exitcode=1 --leak-check=full \
	    --show-leak-kinds=definite,possible \
	    --errors-for-leak-kinds=definite,possible $(UNIT)

# librdisk as other programs see it.
.PHONY: library
library: ours
	tests/library/run

# The command line, without a server.
.PHONY: cli
cli: ours
	tests/cli/run

# What make install puts onto a machine, and systemd's opinion of it.
.PHONY: install-test
install-test: ours
	@MAKE='$(MAKE)' tests/install/run

# The rules of the tree that a program can check, and that program's own tests.
.PHONY: lint format
lint:
	tests/lint/test-lint 2>&1
	tests/lint/lint

format:
	tests/lint/lint --format
