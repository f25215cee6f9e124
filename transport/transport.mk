# SPDX-License-Identifier: BSD-3-Clause
# librdisk: sessions, queues and memory over verbs. docs/architecture.md tells
# what each folder may include; `make lint` holds it.

TRANSPORT_SOURCES := $(addprefix transport/, \
	$(addprefix base/, error.c histogram.c secret.c stopwatch.c) \
	$(addprefix wire/, auth.c check.c connect.c message.c name.c request.c \
		status.c) \
	$(addprefix verbs/, channel.c cm_teardown.c control.c cq.c env.c limits.c mr.c qp.c verbs.c) \
	$(addprefix initiator/, auth.c bounce.c cache.c call.c connection.c \
		create.c device.c handshake.c join.c link.c memory.c options.c \
		ping.c queue.c queue_connection.c recovery.c registrations.c \
		session.c stage.c state.c timer.c uri.c window.c) \
	$(addprefix target/, auth.c call.c conversation.c cq.c create.c join.c \
		latency.c listener.c liveness.c machine.c open.c queue.c \
		session.c target.c))
TRANSPORT_PACKAGES := libibverbs librdmacm libcrypto

LIBRDISK := $(O)/lib/librdisk.a

$(LIBRDISK): $(call objects,$(TRANSPORT_SOURCES))
	@mkdir -p $(@D)
	rm -f $@
	$(AR) rcs $@ $^

# For other programs: what they include, as <rdisk/…>, and link.
TRANSPORT_HEADERS := $(wildcard transport/include/rdisk/*.h)
PREFIX ?= /usr/local

.PHONY: install-librdisk
install-librdisk: $(LIBRDISK)
	install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig \
		$(DESTDIR)$(PREFIX)/include/rdisk
	install -m 644 $(LIBRDISK) $(DESTDIR)$(PREFIX)/lib/
	install -m 644 $(TRANSPORT_HEADERS) $(DESTDIR)$(PREFIX)/include/rdisk/
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' \
		-e 's|@REQUIRES@|$(TRANSPORT_PACKAGES)|' transport/librdisk.pc.in \
		>$(DESTDIR)$(PREFIX)/lib/pkgconfig/librdisk.pc
