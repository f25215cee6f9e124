# SPDX-License-Identifier: BSD-3-Clause
#
# Two commands do everything on a fresh machine, set-up included:
#   make demo     a guest boots from an RDMA disk, visibly
#   make check    all tests
# `make help` lists the rest.

BUILD ?= build
CACHE := $(or $(RDISK_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/rdisk)
export RDISK_CACHE := $(CACHE)
VERSION := 0.1.0

CC ?= cc
PKG_CONFIG ?= pkg-config
OPTIMIZE ?= -O2 -g
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wpointer-arith -Wvla -Wno-unused-parameter
ifdef WERROR
WARNINGS += -Werror
endif

# SANITIZE=1: address and undefined behaviour; SANITIZE=thread: races;
# SANITIZE=coverage: which lines run. Their objects live beside the plain ones;
# the first two check contracts (transport/base/contract.h).
ifeq ($(SANITIZE),1)
O := $(BUILD)/san
CPPFLAGS += -DRDISK_DEBUG_CONTRACTS
SANFLAGS := -fsanitize=address,undefined -fno-sanitize-recover=all \
	-fno-omit-frame-pointer
else ifeq ($(SANITIZE),thread)
O := $(BUILD)/tsan
CPPFLAGS += -DRDISK_DEBUG_CONTRACTS
SANFLAGS := -fsanitize=thread
else ifeq ($(SANITIZE),coverage)
O := $(BUILD)/coverage
SANFLAGS := --coverage -fprofile-update=atomic
else
O := $(BUILD)
SANFLAGS :=
endif

# Where make install puts things, below DESTDIR.
PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
SBINDIR ?= $(PREFIX)/sbin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR ?= $(PREFIX)/share/man

CPPFLAGS += -D_GNU_SOURCE -DRDISK_VERSION='"$(VERSION)"' -I. -Itransport/include
# Nobody replaces a function of ours in a shared object: calls need no detour.
ALL_CFLAGS = -std=gnu11 $(OPTIMIZE) $(WARNINGS) -fPIC -fno-semantic-interposition \
	-pthread $(SANFLAGS) $(CFLAGS)
ALL_LDFLAGS = -pthread $(SANFLAGS) $(LDFLAGS)

# $(call objects,sources): where the objects of these sources go.
objects = $(patsubst %.c,$(O)/obj/%.o,$(1))
# $(call libs,packages): linker flags, asked for only when something links.
libs = $(shell $(PKG_CONFIG) --libs $(1))

.PHONY: all
all: ours

# The two commands that do everything, set-up included.
.PHONY: demo check
demo:
	@MAKE='$(MAKE)' tests/e2e/demo

check:
	@MAKE='$(MAKE)' tests/check

.SUFFIXES:
.DELETE_ON_ERROR:

include transport/transport.mk
include common/common.mk
include server/server.mk
include tools/tools.mk
include examples/examples.mk
include qemu-block-rdma/qemu.mk
include vhost-user-blk/vhost.mk
include tests/tests.mk
include tests/sim/sim.mk
include tests/scale/scale.mk
include tests/gateways/gateways.mk
include tests/coverage.mk
include tests/lab/lab.mk
include tests/bench/bench.mk
include tests/adversary/adversary.mk
include tests/vhost/vhost.mk
include tests/ceph/ceph.mk
include tests/e2e/e2e.mk
include tests/faults/faults.mk
include tests/fuzz/fuzz.mk
include tests/iotests/iotests.mk
include tests/kernels/kernels.mk
include tests/workloads/workloads.mk
include packaging/packaging.mk

# What is ours, without QEMU.
.PHONY: ours
ours: $(LIBRDISK) $(LIBRDISK_SHARED) $(RDISKD) $(RDISK) $(RBD_MODULE)

$(O)/obj/%.o: %.c | $(O)/obj/packages
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Is everything there that the sources include? A compiler says only which file
# it misses.
$(O)/obj/packages: server/server.mk tools/tools.mk transport/transport.mk
	@mkdir -p $(@D)
	@packaging/present '$(PKG_CONFIG)' '$(CC)' \
		$(SERVER_PACKAGES) $(TOOLS_PACKAGES)
	@touch $@

-include $(shell find $(O)/obj -name '*.d' 2>/dev/null)

# For editors and clangd.
.PHONY: compile_commands.json
compile_commands.json:
	$(MAKE) -Bn --no-print-directory ours $(UNIT) $(SIM) $(VHOST) e2e-programs | \
		packaging/compile-commands >$@.tmp
	mv $@.tmp $@

.PHONY: clean
clean:
	rm -rf $(BUILD)

.PHONY: help
help:
	@echo "make             librdisk, rdiskd and rdisk, in $(BUILD)"
	@echo "make demo        a guest boots from an RDMA disk (sets up everything)"
	@echo "make check       all tests (sets up everything)"
	@echo "make qemu        QEMU with the block driver, in $(BUILD)/bin"
	@echo "make vhost       rdisk-vhost, after make qemu (libvhost-user)"
	@echo "make lint        the rules of the tree: includes, names, licences, scripts, sizes, format"
	@echo "make format      format the sources (clang-format 14)"
	@echo "make unit        unit tests, also with SANITIZE=1 or SANITIZE=thread"
	@echo "make unit-valgrind"
	@echo "make ceph        the backend rbd, on a Ceph cluster that it starts"
	@echo "make library     install librdisk somewhere and build programs with it"
	@echo "make coverage    lines that unit tests and simulator run, by folder"
	@echo "make compile_commands.json  for editors"
	@echo "make sim         random faults in virtual time; SEED=n replays one"
	@echo "make sim-mutations  checks that all deliberate defects are found"
	@echo "make sim-scale   1000 sessions in one world; sim-scale-short: 100"
	@echo "make sim-gateways  two servers and the storage of both; -short: 2000"
	@echo "make fuzz        hostile peers, found by coverage (clang)"
	@echo "make faults      what breaks, broken on purpose, in the lab"
	@echo "make faults-gateways  200 times each fault of a gateway to a Ceph cluster"
	@echo "make iotests     QEMU's own tests of its block layer, on rdma://"
	@echo "make workloads   a Debian on an rdma disk: file systems, database, ..."
	@echo "make bench       rdisk beside its peers, measured (sets up everything)"
	@echo "make bench-guest fio in a guest on rdisk, NBD and a local file"
	@echo "make failover    a failover's timeline; bench-board, demo-film: other pictures"
	@echo "make foreign     RDMA test suites of others, in the lab"
	@echo "make verbs-page  docs/kernels.md: what works on which kernel"
	@echo "make lab-shell   a shell where an RDMA device exists"
	@echo "make lab-uml     the lab's user-mode kernel: faster guests (7 minutes)"
	@echo "make install     into PREFIX ($(PREFIX)), below DESTDIR; LIBDIR, BINDIR, ..."
	@echo "make install-vhost, install-qemu, install-lab  the same of those"
	@echo "make uninstall   what make install has put there; uninstall-qemu, ..."
	@echo "make deb         Debian packages of everything, in $(BUILD)/packages"
	@echo "make actions-test   the workflow's jobs and the image, in a clean Debian"
	@echo "make packages-test  install, upgrade and purge them in a Debian machine"
	@echo "make clean       remove $(BUILD); $(CACHE) stays"
