# SPDX-License-Identifier: GPL-2.0-or-later
# rdisk-vhost, the vhost-user-blk daemon. It uses libvhost-user, which comes
# with QEMU's source; qemu-block-rdma/build-qemu unpacks that.

VHOST := $(O)/bin/rdisk-vhost
VHOST_LIB := $(O)/libvhost-user
VHOST_SOURCES := $(addprefix vhost-user-blk/, adding.c client_record.c close_last.c config.c \
	command.c connection.c daemon.c device.c dirty_log.c disk.c disk_options.c disk_session.c \
	guest_memory.c listener.c main.c message.c reactor.c receive.c request.c virtqueue.c)
VHOST_PACKAGES := $(TRANSPORT_PACKAGES) json-c $(DAEMON_PACKAGES)

# The library's own source is compiled as it is, but for our patches. A guest
# chooses where its tables lie, and the library reads them unaligned.
$(VHOST_LIB)/libvhost-user.o: $(wildcard vhost-user-blk/patches/*.patch) \
		qemu-block-rdma/build-qemu
	@mkdir -p $(@D)
	source=$$(qemu-block-rdma/build-qemu --where)/src/subprojects/libvhost-user; \
	[ -d "$$source" ] || { echo "make: libvhost-user comes with QEMU's" \
		"source, which is not there yet; run: make qemu" >&2; exit 1; }; \
	rm -rf $(VHOST_LIB)/src && cp -rL "$$source" $(VHOST_LIB)/src && \
	for patch in vhost-user-blk/patches/*.patch; do \
		patch -s -d $(VHOST_LIB)/src -p1 <"$$patch" || exit; \
	done && \
	$(CC) -D_GNU_SOURCE $(OPTIMIZE) -std=gnu11 -w -fPIC -pthread \
		$(SANFLAGS) $(if $(SANFLAGS),-fno-sanitize=alignment) \
		-I $(VHOST_LIB)/src -c -o $@ \
		$(VHOST_LIB)/src/libvhost-user.c

# What does without the library's header, and so is part of the unit tests.
VHOST_UNIT_OBJECTS := $(call objects,$(addprefix vhost-user-blk/, close_last.c \
	config.c dirty_log.c disk_options.c request.c))
VHOST_OBJECTS := $(filter-out $(VHOST_UNIT_OBJECTS),$(call objects,$(VHOST_SOURCES)))
$(VHOST_OBJECTS): \
	CPPFLAGS += -isystem $(VHOST_LIB)/src
# The patches change its header too, which -MMD leaves out.
$(VHOST_OBJECTS): $(VHOST_LIB)/libvhost-user.o

$(VHOST): $(call objects,$(VHOST_SOURCES) $(DAEMON_SOURCES)) \
		$(VHOST_LIB)/libvhost-user.o $(LIBRDISK)
	@mkdir -p $(@D)
	$(CC) -o $@ $^ $(ALL_LDFLAGS) $(call libs,$(VHOST_PACKAGES))

.PHONY: vhost
vhost: $(VHOST)

# Apart from `make install`, since it needs QEMU's source to build.
VHOST_PAGES := docs/rdisk-vhost.8 docs/rdisk-vhost.conf.5

.PHONY: install-vhost uninstall-vhost
install-vhost: $(VHOST)
	install -d $(DESTDIR)$(SBINDIR) $(addprefix $(DESTDIR)$(MANDIR)/man,5 8)
	install -m 755 $(VHOST) $(DESTDIR)$(SBINDIR)/
	for page in $(VHOST_PAGES); do \
		install -m 644 $$page $(DESTDIR)$(MANDIR)/man$${page##*.}/; \
	done
	$(call unit,rdisk-vhost@.service)
	$(call put,644,packaging/rdisk-vhost.conf,$(DOCDIR)/examples)
	$(call put,755,packaging/libvirt/rdisk-hook,$(DOCDIR)/examples)

uninstall-vhost:
	rm -f $(DESTDIR)$(SBINDIR)/$(notdir $(VHOST)) \
		$(DESTDIR)$(SYSTEMDDIR)/rdisk-vhost@.service \
		$(DESTDIR)$(DOCDIR)/examples/rdisk-vhost.conf \
		$(DESTDIR)$(DOCDIR)/examples/rdisk-hook
	for page in $(notdir $(VHOST_PAGES)); do \
		rm -f $(DESTDIR)$(MANDIR)/man$${page##*.}/$$page; \
	done
