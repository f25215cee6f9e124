# SPDX-License-Identifier: BSD-3-Clause
# rdisk, the command line.

TOOLS_SOURCES := $(addprefix tools/, rdisk.c bench.c control_socket.c copy.c disk.c drain.c flatten.c info.c \
	map.c option.c ping.c pump.c reload.c remote.c \
	secret.c server.c snapshot.c table.c throttle.c top.c volume.c) \
	$(COMMON_SOURCES)
TOOLS_PACKAGES := $(TRANSPORT_PACKAGES) json-c smartcols

RDISK := $(O)/bin/rdisk

$(RDISK): $(call objects,$(TOOLS_SOURCES)) $(LIBRDISK)
	@mkdir -p $(@D)
	$(CC) -o $@ $^ $(ALL_LDFLAGS) $(call libs,$(TOOLS_PACKAGES))
