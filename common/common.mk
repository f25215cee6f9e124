# SPDX-License-Identifier: BSD-3-Clause
# What programs share: configuration files, metrics, numbers, sizes.

COMMON_SOURCES := $(addprefix common/, hex.c ini.c metrics.c metrics_table.c \
	number.c size.c snapshot_name.c)

# What the two daemons share besides: the log, systemd, threads, the event loop,
# the control socket, metrics over HTTP.
DAEMON_SOURCES := $(COMMON_SOURCES) $(addprefix common/, control_server.c \
	journal.c listen_address.c log.c log_queue.c loop.c notify.c poll_window.c \
	stale_socket.c thread.c)

# Metrics over HTTP, where the library is there.
ifeq ($(shell $(PKG_CONFIG) --exists libmicrohttpd && echo yes),yes)
DAEMON_PACKAGES := libmicrohttpd
DAEMON_SOURCES += common/metrics_server.c
else
DAEMON_PACKAGES :=
DAEMON_SOURCES += common/metrics_server_none.c
endif
