# SPDX-License-Identifier: BSD-3-Clause
# What programs share: configuration files, metrics, numbers, sizes.

COMMON_SOURCES := $(addprefix common/, ini.c metrics.c metrics_table.c \
	number.c size.c)

# What the two daemons share besides: the log, systemd, threads, the event loop,
# the control socket.
DAEMON_SOURCES := $(COMMON_SOURCES) $(addprefix common/, control_socket.c \
	journal.c log.c log_queue.c loop.c notify.c poll_window.c thread.c)
