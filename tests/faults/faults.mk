# SPDX-License-Identifier: BSD-3-Clause
#
# What breaks, broken on purpose, in the lab: all of it in an hour, those of
# FAULTS="kill network", or QUICK=1 as in `make check`.
STORM := $(O)/bin/rdisk-storm

$(STORM): $(call objects,tests/faults/storm.c) $(LIBRDISK)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) \
		$(call libs,$(TRANSPORT_PACKAGES))

.PHONY: faults
faults: e2e-programs qemu lab-guest
	@tests/faults/run $(if $(QUICK),--quick) $(FAULTS)

# 200 times, or ROUNDS, each fault of a gateway to a Ceph cluster: some hours.
.PHONY: faults-gateways
faults-gateways: e2e-programs qemu
	@tests/faults/run --rounds $(or $(ROUNDS),200) failovers

# A failover as its client sees it, measured and drawn into the documentation.
.PHONY: failover
failover: e2e-programs
	packaging/setup bench ceph
	$(MAKE) RBD=1 ours qemu
	tests/faults/run timeline
	mkdir -p docs/performance/failover
	cp $(O)/logs/faults/failover*.csv $(O)/logs/faults/latency.csv docs/performance/failover
	docs/pictures/plots
