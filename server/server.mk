# SPDX-License-Identifier: BSD-3-Clause
# rdiskd, the server.

SERVER_SOURCES := $(addprefix server/, reload.c run.c server.c start.c \
	$(addprefix admin/, command.c listing.c parse.c stat.c) \
	$(addprefix backends/, backend.c file.c file_offload.c file_poll.c \
		file_request.c file_sync.c file_unaligned.c memory.c null.c range_lock.c) \
	$(addprefix config/, access.c command_line.c config.c limits.c \
		volume_section.c) \
	$(addprefix io/, jobs.c mailbox.c offload.c placement.c reactor.c \
		 ring.c ring_table.c) \
	$(addprefix session/, cq_watch.c create.c fence.c open.c queue.c \
		resize.c session.c) \
	$(addprefix volume/, drain.c identity.c identity_file.c lease.c lock.c \
		operation.c pool.c pool_change.c pool_identity.c records.c volume.c \
		volume_operation.c))
SERVER_PACKAGES := $(TRANSPORT_PACKAGES) liburing numa json-c $(DAEMON_PACKAGES)

RDISKD := $(O)/bin/rdiskd
SERVER_SOURCES += $(DAEMON_SOURCES)

$(RDISKD): $(call objects,server/main.c $(SERVER_SOURCES)) $(LIBRDISK)
	@mkdir -p $(@D)
	$(CC) -o $@ $^ $(ALL_LDFLAGS) $(call libs,$(SERVER_PACKAGES))

# What the unit tests link besides the transport.
SERVER_UNIT_OBJECTS := $(call objects,$(SERVER_SOURCES))
SERVER_UNIT_PACKAGES := liburing numa json-c $(DAEMON_PACKAGES)
