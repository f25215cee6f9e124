# SPDX-License-Identifier: BSD-3-Clause
# Two servers with a store that both have, in one simulated world
# (docs/simulator.md):
#   make sim-gateways           100 000 schedules from SEED=1, or COUNT=n of them
#   make sim-gateways-short     2000; and for each deliberate defect: is it found?
# Also with SANITIZE=1.

GATEWAYS := $(O)/bin/rdisk-sim-gateways

$(GATEWAYS): $(call objects,$(wildcard tests/gateways/*.c)) $(SERVER_UNIT_OBJECTS) \
		$(LIBRDISK)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) \
		-Wl,--wrap=rdisk_target_session_fence,--wrap=rdisk_target_session_end,--wrap=rdisk_target_session_move \
		$(call libs,$(TRANSPORT_PACKAGES) $(SERVER_UNIT_PACKAGES))

.PHONY: sim-gateways sim-gateways-short
sim-gateways: $(GATEWAYS)
	$(GATEWAYS) -s $(or $(SEED),1) -n $(or $(COUNT),$(if $(SEED),1,100000))

sim-gateways-short: $(GATEWAYS)
	$(GATEWAYS) -n 2000
	$(GATEWAYS) -n 2000 -M
