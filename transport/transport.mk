# SPDX-License-Identifier: BSD-3-Clause
# librdisk: sessions, queues and memory over verbs. docs/architecture.md tells
# what each folder may include; `make lint` holds it.

TRANSPORT_SOURCES := $(addprefix transport/, \
	$(addprefix base/, error.c histogram.c secret.c stopwatch.c) \
	$(addprefix wire/, auth.c check.c connect.c list.c message.c name.c operation.c request.c \
		status.c) \
	$(addprefix verbs/, address.c channel.c cm_teardown.c control.c cq.c doorbell.c env.c limits.c mr.c \
		name.c qp.c verbs.c) \
	$(addprefix initiator/, addresses.c answer.c auth.c bounce.c cache.c call.c connection.c \
		create.c deadline.c device.c handshake.c join.c link.c list.c memory.c options.c \
		ping.c queue.c queue_connection.c recovery.c registrations.c resident.c \
		servers.c session.c slots.c stage.c state.c timer.c uri.c window.c) \
	$(addprefix target/, admission.c auth.c call.c conversation.c cq.c create.c join.c \
		latency.c list.c listener.c liveness.c machine.c open.c queue.c quota.c receive.c resident.c \
		session.c share.c slots.c target.c))
TRANSPORT_PACKAGES := libibverbs librdmacm libcrypto

LIBRDISK := $(O)/lib/librdisk.a

# gcc optimizes the library as a whole, into one object that any linker takes, and
# inlines more than elsewhere: each saves some 7 % of the instructions of a request.
# LTO=0 compiles file by file, as clang and sanitized builds do.
LTO ?= $(if $(SANFLAGS),0,$(shell $(CC) -v 2>&1 | grep -c '^gcc version'))
ifeq ($(LTO),0)
LIBRDISK_OBJECTS := $(call objects,$(TRANSPORT_SOURCES))
else
LIBRDISK_OBJECTS := $(O)/lib/librdisk.o
LTO_CFLAGS := $(if $(filter -O2,$(OPTIMIZE)),-O3)
$(LIBRDISK_OBJECTS): $(TRANSPORT_SOURCES:%.c=$(O)/obj/lto/%.o)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(LTO_CFLAGS) -flto=2 -flinker-output=nolto-rel -r -o $@ $^
endif

$(O)/obj/lto/%.o: %.c | $(O)/obj/packages
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) $(LTO_CFLAGS) -flto -MMD -MP -c -o $@ $<

$(LIBRDISK): $(LIBRDISK_OBJECTS)
	@mkdir -p $(@D)
	rm -f $@
	$(AR) rcs $@ $^

# The same for other programs, with the public names only. The number goes up
# when a program that was linked before would no longer work; rdiskd, rdisk and
# QEMU's driver have the library in them. It stays loaded (nodelete), since a
# thread that resolves a name cannot be ended.
LIBRDISK_SONAME := librdisk.so.1
LIBRDISK_SHARED := $(O)/lib/librdisk.so.$(VERSION)
LIBRDISK_MAP := transport/librdisk.map

$(LIBRDISK_SHARED): $(LIBRDISK_OBJECTS) $(LIBRDISK_MAP)
	@mkdir -p $(@D)
	$(CC) -shared -o $@ $(filter %.o,$^) -Wl,-soname,$(LIBRDISK_SONAME) \
		-Wl,--version-script,$(LIBRDISK_MAP) -Wl,-z,nodelete \
		-Wl,--no-undefined-version $(if $(SANFLAGS),,-Wl,-z,defs) \
		$(ALL_LDFLAGS) $(call libs,$(TRANSPORT_PACKAGES))

# What they include, as <rdisk/…>.
TRANSPORT_HEADERS := $(wildcard transport/include/rdisk/*.h)

.PHONY: install-librdisk uninstall-librdisk
install-librdisk: $(LIBRDISK) $(LIBRDISK_SHARED)
	install -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(INCLUDEDIR)/rdisk \
		$(DESTDIR)$(MANDIR)/man3
	install -m 644 $(LIBRDISK) $(LIBRDISK_SHARED) $(DESTDIR)$(LIBDIR)/
	ln -sf $(notdir $(LIBRDISK_SHARED)) $(DESTDIR)$(LIBDIR)/$(LIBRDISK_SONAME)
	ln -sf $(LIBRDISK_SONAME) $(DESTDIR)$(LIBDIR)/librdisk.so
	install -m 644 $(TRANSPORT_HEADERS) $(DESTDIR)$(INCLUDEDIR)/rdisk/
	install -m 644 docs/librdisk.3 $(DESTDIR)$(MANDIR)/man3/
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' \
		-e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' -e 's|@VERSION@|$(VERSION)|' \
		-e 's|@REQUIRES@|$(TRANSPORT_PACKAGES)|' transport/librdisk.pc.in \
		>$(DESTDIR)$(LIBDIR)/pkgconfig/librdisk.pc

uninstall-librdisk:
	rm -f $(addprefix $(DESTDIR)$(LIBDIR)/,librdisk.a librdisk.so \
		$(LIBRDISK_SONAME) $(notdir $(LIBRDISK_SHARED)) \
		pkgconfig/librdisk.pc) \
		$(addprefix $(DESTDIR)$(INCLUDEDIR)/rdisk/,$(notdir $(TRANSPORT_HEADERS))) \
		$(DESTDIR)$(MANDIR)/man3/librdisk.3
	-rmdir $(DESTDIR)$(INCLUDEDIR)/rdisk 2>/dev/null
