# SPDX-License-Identifier: BSD-3-Clause
# librdisk: sessions, queues and memory over verbs.

TRANSPORT_SOURCES := $(addprefix transport/, \
	error.c env.c verbs.c wire.c uri.c options.c device.c memory.c qp.c \
	control.c bounce.c initiator.c initiator_link.c initiator_message.c \
	initiator_queue.c \
	target.c target_session.c target_queue.c)
TRANSPORT_PACKAGES := libibverbs librdmacm

LIBRDISK := $(O)/lib/librdisk.a

$(LIBRDISK): $(call objects,$(TRANSPORT_SOURCES))
	@mkdir -p $(@D)
	rm -f $@
	$(AR) rcs $@ $^
