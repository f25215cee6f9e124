# SPDX-License-Identifier: BSD-3-Clause
# A vhost-user-blk device's other side, without a VMM: for tests/e2e.

VHOST_CLIENT := $(O)/bin/vhost-client

$(VHOST_CLIENT): $(call objects,$(addprefix tests/vhost/, \
		client.c dirty.c frontend.c hostile.c message.c random.c \
		reset.c ring.c vmm.c))
	@mkdir -p $(@D)
	$(CC) -o $@ $^ $(ALL_LDFLAGS)
