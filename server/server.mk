# SPDX-License-Identifier: BSD-3-Clause
# rdiskd, the server.

SERVER_SOURCES := $(addprefix server/, \
	access.c backend.c command.c completion.c config.c config_volume.c control.c \
	create.c drain.c identity.c lease.c log.c loop.c mailbox.c offload.c options.c \
	placement.c poll_window.c pool.c queue.c reactor.c records.c request.c \
	resize.c ring.c ring_table.c server.c session.c size.c \
	stat.c volume.c) \
	$(addprefix server/backends/, file.c file_offload.c file_poll.c memory.c null.c)
SERVER_PACKAGES := $(TRANSPORT_PACKAGES) liburing numa json-c inih

RDISKD := $(O)/bin/rdiskd

$(RDISKD): $(call objects,server/main.c $(SERVER_SOURCES)) $(LIBRDISK)
	@mkdir -p $(@D)
	$(CC) -o $@ $^ $(ALL_LDFLAGS) $(call libs,$(SERVER_PACKAGES))

# What the unit tests link besides the transport.
SERVER_UNIT_OBJECTS := $(call objects,$(SERVER_SOURCES))
SERVER_UNIT_PACKAGES := liburing numa json-c inih
