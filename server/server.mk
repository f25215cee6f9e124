# SPDX-License-Identifier: BSD-3-Clause
# rdiskd, the server.

SERVER_SOURCES := $(addprefix server/, reload.c run.c server.c start.c \
	$(addprefix admin/, command.c listing.c parse.c stat.c stat_throttle.c) \
	$(addprefix backends/, backend.c module.c file.c file_offload.c file_poll.c \
		file_request.c file_share.c file_sync.c file_unaligned.c memory.c \
		null.c range_lock.c resident.c) \
	$(addprefix config/, access.c command_line.c config.c limits.c \
		throttle_section.c volume_section.c) \
	$(addprefix io/, cq_watch.c jobs.c mailbox.c offload.c placement.c reactor.c \
		 ring.c ring_table.c timer.c) \
	$(addprefix session/, attachment.c barrier.c close.c copy.c create.c fence.c flatten.c \
		list.c open.c queue.c resident.c resize.c scheduler.c session.c slots.c snapshot.c \
		store_watch.c throttle.c throttled.c turns.c usage.c) \
	$(addprefix volume/, drain.c identity.c identity_file.c lease.c lock.c losses.c \
		operation.c pool.c pool_change.c pool_identity.c pool_images.c \
		pool_new.c pool_page.c pool_shot.c pool_snapshot.c record_text.c \
		records.c shared_records.c volume.c volume_operation.c))
SERVER_PACKAGES := $(TRANSPORT_PACKAGES) liburing numa json-c $(DAEMON_PACKAGES)

RDISKD := $(O)/bin/rdiskd

# Where modules are when they are installed; beside rdiskd as they are built.
MODULESDIR ?= $(LIBDIR)/rdisk
%/server/backends/module.o: CPPFLAGS += -DRDISK_MODULES='"$(MODULESDIR)"'

# The backend for Ceph RBD, a module, since librbd brings a hundred megabytes
# that other servers do not need. RBD=0 leaves it out, 1 insists.
RBD ?= $(shell printf '\043include <rbd/librbd.h>\n\043include <rados/librados.h>\n' | \
	$(CC) -E -x c - >/dev/null 2>&1 && echo 1 || echo 0)
RBD_SOURCES := $(addprefix server/backends/rbd/, cluster.c extents.c image.c \
	lock.c map_wait.c pool.c request.c snapshot.c usage.c)
ifneq ($(RBD),0)
RBD_MODULE := $(O)/bin/backend-rbd.so
endif
SERVER_SOURCES += $(DAEMON_SOURCES)

# What modules use of the server is exported, and nothing else.
EXPORTS := server/backends/module.exports
$(RDISKD): $(EXPORTS)
$(RDISKD): RDISKD_LDFLAGS := -Wl,--dynamic-list=$(EXPORTS)
$(O)/bin/backend-rbd.so: $(call objects,$(RBD_SOURCES))
	@mkdir -p $(@D)
	$(CC) -shared -o $@ $^ $(ALL_LDFLAGS) -lrbd -lrados

$(RDISKD): $(call objects,server/main.c $(SERVER_SOURCES)) $(LIBRDISK)
	@mkdir -p $(@D)
	$(CC) -o $@ $(filter %.o %.a,$^) $(ALL_LDFLAGS) $(RDISKD_LDFLAGS) \
		$(call libs,$(SERVER_PACKAGES))

# What the unit tests link besides the transport.
SERVER_UNIT_OBJECTS := $(call objects,$(SERVER_SOURCES))
SERVER_UNIT_PACKAGES := liburing numa json-c $(DAEMON_PACKAGES)
