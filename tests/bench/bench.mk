# SPDX-License-Identifier: BSD-3-Clause
# The bench: every way to a remote disk, in one boot of the lab. The programs
# are tests/bench/ideal.c, the floor, and client.c, librdisk without QEMU.

BENCH_IDEAL := $(O)/bin/bench-ideal
BENCH_CLIENT := $(O)/bin/bench-client
BENCH_COUNT := $(O)/bin/bench-instructions
BENCH_ROUNDS ?= 5
BENCH_OPTIONS ?=

$(BENCH_IDEAL): $(call objects,$(addprefix tests/bench/, \
	ideal.c ideal_queue.c result.c))
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) \
		$(call libs,libibverbs librdmacm)

$(BENCH_CLIENT): $(call objects,$(addprefix tests/bench/, \
	client.c result.c)) $(LIBRDISK)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) \
		$(call libs,$(TRANSPORT_PACKAGES))

# For tgtd on a kernel without huge pages.
BENCH_SHMGET := $(O)/lib/bench-shmget.so

$(BENCH_SHMGET): $(call objects,tests/bench/shmget.c)
	@mkdir -p $(@D)
	$(CC) -shared -o $@ $^ -ldl

# Counts and notes what a program does with verbs.
BENCH_PROBE := $(O)/lib/bench-probe.so

$(BENCH_PROBE): $(call objects,tests/bench/probe.c tests/e2e/allocations.c)
	@mkdir -p $(@D)
	$(CC) -shared -o $@ $^ -ldl

$(BENCH_COUNT): $(call objects,tests/bench/instructions.c \
	tests/bench/result.c $(wildcard tests/unit/support/scene*.c tests/fake/*.c)) \
	$(LIBRDISK)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) \
		$(call libs,$(TRANSPORT_PACKAGES))

# The same through a lane of rdisk-vhost.
BENCH_VHOST_COUNT := $(O)/bin/bench-vhost-instructions
BENCH_VHOST_OBJECTS := $(call objects,tests/bench/vhost_instructions.c \
	$(addprefix vhost-user-blk/,dirty_log.c reactor.c request.c virtqueue.c) \
	common/poll_window.c common/thread.c)

$(call objects,tests/bench/vhost_instructions.c): \
	CPPFLAGS += -isystem $(VHOST_LIB)/src
$(call objects,tests/bench/vhost_instructions.c): $(VHOST_LIB)/libvhost-user.o

$(BENCH_VHOST_COUNT): $(BENCH_VHOST_OBJECTS) $(call objects, \
	tests/bench/result.c $(wildcard tests/unit/support/scene*.c tests/fake/*.c)) \
	$(VHOST_LIB)/libvhost-user.o $(LIBRDISK)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) \
		$(call libs,$(TRANSPORT_PACKAGES))

# After make qemu, with which libvhost-user comes.
.PHONY: bench-instructions
bench-instructions: $(BENCH_COUNT) $(BENCH_VHOST_COUNT)
	packaging/setup bench test
	tests/bench/instructions docs/performance/instructions.md

.PHONY: bench-programs bench bench-quick
bench-programs: $(BENCH_IDEAL) $(BENCH_CLIENT) $(BENCH_SHMGET) $(BENCH_PROBE)

# Sets up everything; results go to docs/performance/. Some 18 minutes.
bench: bench-programs ours
	packaging/setup lab bench
	$(MAKE) qemu
	tests/bench/run --rounds $(BENCH_ROUNDS) $(BENCH_OPTIONS)

# A few minutes, to see that nothing went wrong; results stay in build/.
bench-quick: bench-programs ours
	packaging/setup lab bench
	$(MAKE) qemu
	tests/bench/run --quick $(BENCH_OPTIONS)

# Where the time of a request goes, and what is counted of it.
.PHONY: bench-timeline bench-counts
bench-timeline bench-counts: bench-programs ours
	packaging/setup lab bench
	$(MAKE) qemu
	tests/bench/run --stores tmpfs --parts $(@:bench-%=%) \
		--output build/bench $(BENCH_OPTIONS)

# fio in a guest; minutes, or with BENCH_OPTIONS=--quick two.
.PHONY: bench-guest
bench-guest: ours
	packaging/setup lab bench workloads
	$(MAKE) qemu
	$(MAKE) vhost
	tests/bench/guest $(BENCH_OPTIONS)

# What each guest-memory costs a read, and what to gather or to copy a request
# in pieces; minutes, and the table on the screen.
.PHONY: bench-modes bench-pieces
bench-modes bench-pieces: ours $(BENCH_CLIENT)
	packaging/setup lab
	tests/lab/lab -- python3 -B tests/bench/modes.py \
		$(if $(filter bench-pieces,$@),--pieces) $(BENCH_OPTIONS)

# A session with one request at a time, alone and beside one with 256; a minute. The
# busy client is killed while the server writes into its memory, which is then refused.
.PHONY: bench-fairness
bench-fairness: ours $(BENCH_CLIENT)
	packaging/setup lab
	tests/lab/lab --allow 'non-flush error status = 10' -- \
		python3 -B tests/bench/fairness.py $(BENCH_OPTIONS)

# Grafana's board as a Prometheus of the lab sees it, a minute.
.PHONY: bench-board
bench-board: ours
	packaging/setup lab bench metrics
	tests/lab/lab --output $(CURDIR)/docs/performance -- \
		python3 -B tests/bench/board.py docs/performance/board.json
	docs/pictures/plots

# The demonstration as a film, for the README.
.PHONY: demo-film
demo-film:
	docs/pictures/cast record docs/pictures/demo.cast $(MAKE) --no-print-directory demo
	docs/pictures/cast draw docs/pictures/demo.cast docs/pictures/demo.svg
