# SPDX-License-Identifier: BSD-3-Clause
# Peers that keep no protocol, on a real device, for tests/e2e/test-adversary.sh
# and test-guest-memory.sh: a client and a server by bare verbs, a client of
# librdisk that watches its memory, and a look at what the device itself does.

ADVERSARY_NAMES := adversary-client adversary-server adversary-victim \
	adversary-window
ADVERSARY := $(addprefix $(O)/bin/,$(ADVERSARY_NAMES))

$(O)/bin/adversary-client: $(call objects,$(addprefix tests/adversary/, \
	client.c reads.c requests.c session.c end.c))
$(O)/bin/adversary-server: $(call objects,$(addprefix tests/adversary/, \
	server.c end.c))
$(O)/bin/adversary-window: $(call objects,$(addprefix tests/adversary/, \
	window.c end.c))
$(O)/bin/adversary-victim: $(call objects,tests/adversary/victim.c) \
	$(LIBRDISK)

$(ADVERSARY):
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) \
		$(call libs,$(TRANSPORT_PACKAGES))

.PHONY: adversary
adversary: $(ADVERSARY)
