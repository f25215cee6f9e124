# SPDX-License-Identifier: BSD-3-Clause
# librdisk: sessions, queues and memory over verbs.

TRANSPORT_SOURCES := $(addprefix transport/, \
	error.c env.c stopwatch.c verbs.c status.c wire.c wire_request.c auth.c \
	uri.c options.c device.c mr.c memory.c cq.c qp.c farewell.c control.c bounce.c histogram.c \
	initiator.c initiator_link.c initiator_message.c initiator_auth.c \
	initiator_lease.c initiator_queue.c initiator_stage.c \
	initiator_window.c initiator_cache.c initiator_call.c \
	initiator_create.c \
	initiator_memory.c initiator_recovery.c initiator_timer.c \
	target.c target_listener.c target_session.c target_auth.c target_open.c \
	target_pulse.c target_call.c target_join.c \
	target_cq.c target_queue.c target_latency.c)
TRANSPORT_PACKAGES := libibverbs librdmacm libcrypto

LIBRDISK := $(O)/lib/librdisk.a

$(LIBRDISK): $(call objects,$(TRANSPORT_SOURCES))
	@mkdir -p $(@D)
	rm -f $@
	$(AR) rcs $@ $^

# For other programs: what they include and link.
TRANSPORT_HEADERS := $(addprefix transport/, \
	error.h env.h verbs.h wire.h auth.h uri.h counter.h \
	histogram.h initiator.h target.h)
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
