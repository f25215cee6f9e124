# SPDX-License-Identifier: BSD-3-Clause
# A vhost-user-blk device's other side, without a VMM: for tests/e2e.

VHOST_CLIENT := $(O)/bin/vhost-client

$(VHOST_CLIENT): $(call objects,tests/vhost/client.c tests/vhost/frontend.c)
	@mkdir -p $(@D)
	$(CC) -o $@ $^ $(ALL_LDFLAGS)
