# SPDX-License-Identifier: BSD-3-Clause
# Tests of what uses a Ceph cluster, on one that is started for them.

CEPH_TEST := $(O)/bin/rdisk-ceph-test
CEPH_TEST_SOURCES := tests/unit/main.c tests/unit/support/rig.c tests/unit/support/pool.c \
	tests/unit/support/flatten_asker.c \
	tests/unit/support/lease.c \
	$(wildcard tests/ceph/*.c)

$(CEPH_TEST): $(call objects,$(CEPH_TEST_SOURCES) $(RBD_SOURCES)) \
		$(SERVER_UNIT_OBJECTS) $(LIBRDISK)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) \
		$(call libs,$(UNIT_PACKAGES)) -lrbd -lrados

.PHONY: ceph
ceph: $(if $(RBD_MODULE),$(CEPH_TEST))
	@tests/ceph/run $(CEPH_TEST) $(CEPH)
