# SPDX-License-Identifier: BSD-3-Clause
# The simulator (docs/simulator.md):
#   make sim                    100 000 schedules from SEED=1
#   make sim SEED=n COUNT=m     m of them from seed n
#   make sim SEED=n             one, with everything that happens in it
#   make sim SEED=n MUTATE=name the same with something broken on purpose
#   make sim-short              2000 schedules
#   make sim-mutations          checks that all deliberate defects are found; also
#                               with SEED=n or MUTATE=name
# Also with SANITIZE=1.

SIM := $(O)/bin/rdisk-sim
SIM_SOURCES := $(wildcard tests/sim/*.c tests/fake/*.c) server/volume/volume.c \
	server/session/scheduler.c server/session/throttle.c \
	server/volume/lease.c server/volume/operation.c common/thread.c
SIM_COUNT = $(or $(COUNT),$(if $(SEED),1,100000))

# With the contracts checked, as in sanitized builds (transport/base/contract.h).
ifneq ($(filter 1 thread,$(SANITIZE)),)
SIM_TRANSPORT := $(LIBRDISK)
else
SIM_TRANSPORT := $(TRANSPORT_SOURCES:%.c=$(O)/obj/contracts/%.o)
endif

$(O)/obj/contracts/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -DRDISK_DEBUG_CONTRACTS $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(SIM): $(call objects,$(SIM_SOURCES)) $(SIM_TRANSPORT)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) \
		$(call libs,$(TRANSPORT_PACKAGES))

.PHONY: sim sim-short sim-mutations
sim: $(SIM)
	$(SIM) -s $(or $(SEED),1) -n $(SIM_COUNT) $(if $(MUTATE),-m $(MUTATE))

sim-short: $(SIM)
	$(SIM) -s $(or $(SEED),1) -n 2000

sim-mutations: $(SIM)
	$(SIM) -M -s $(or $(SEED),1) $(if $(MUTATE),-m $(MUTATE))
