# SPDX-License-Identifier: BSD-3-Clause
# Many sessions in one simulated world (docs/simulator.md):
#   make sim-scale               1000 sessions, or COUNT=n of them
#   make sim-scale-short         100; and 40 for each deliberate defect, which is to be found
# Also with SANITIZE=1.

SCALE := $(O)/bin/rdisk-sim-scale

$(SCALE): $(call objects,$(wildcard tests/scale/*.c tests/fake/*.c)) \
		$(SIM_TRANSPORT)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) \
		$(call libs,$(TRANSPORT_PACKAGES))

.PHONY: sim-scale sim-scale-short
sim-scale: $(SCALE)
	$(SCALE) -n $(or $(COUNT),1000)

sim-scale-short: $(SCALE)
	$(SCALE) -n 100
	$(SCALE) -n 40 -M
