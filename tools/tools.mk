# SPDX-License-Identifier: BSD-3-Clause
# rdisk, the command line.

TOOLS_SOURCES := $(addprefix tools/, rdisk.c control_socket.c disk.c drain.c info.c \
	map.c ping.c reload.c remote.c \
	secret.c server.c top.c volume.c) \
	$(COMMON_SOURCES)
TOOLS_PACKAGES := $(TRANSPORT_PACKAGES) json-c

RDISK := $(O)/bin/rdisk

$(RDISK): $(call objects,$(TOOLS_SOURCES)) $(LIBRDISK)
	@mkdir -p $(@D)
	$(CC) -o $@ $^ $(ALL_LDFLAGS) $(call libs,$(TOOLS_PACKAGES))
