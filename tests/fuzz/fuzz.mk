# SPDX-License-Identifier: BSD-3-Clause
# Parsers and conversations under random input (CONTRIBUTING.md):
#   make fuzz                 search with libFuzzer (clang), FUZZ_SECONDS each
#   make fuzz FUZZ=server     one of them
#   make fuzz-corpus          run what was found worth keeping; any compiler

FUZZERS := wire text files server client guest
FUZZ_SECONDS ?= 60
FUZZ_DIR := tests/fuzz
FUZZ_COMMON := tests/fuzz/check.c $(addprefix tests/unit/support/, hostile.c raw.c \
	$(notdir $(wildcard tests/unit/support/scene*.c))) $(wildcard tests/fake/*.c) \
	$(SERVER_SOURCES)

# Objects of their own, with coverage and sanitizers.
FO := $(BUILD)/fuzz
FUZZ_FLAGS := -std=gnu11 -O1 -g -fPIC -pthread -fno-omit-frame-pointer \
	-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
fuzz_objects = $(patsubst %.c,$(FO)/%.o,$(1))

$(FO)/%.o: %.c
	@mkdir -p $(@D)
	clang $(CPPFLAGS) $(FUZZ_FLAGS) -MMD -MP -c -o $@ $<

$(addprefix $(FO)/bin/,$(FUZZERS)): $(FO)/bin/%: $(FO)/tests/fuzz/%.o \
		$(call fuzz_objects,$(FUZZ_COMMON) $(TRANSPORT_SOURCES))
	@mkdir -p $(@D)
	clang $(FUZZ_FLAGS) -fsanitize=fuzzer -o $@ $^ \
		$(call libs,$(SERVER_PACKAGES))

-include $(shell find $(FO) -name '*.d' 2>/dev/null)

$(addprefix $(O)/bin/rdisk-fuzz-,$(FUZZERS)): $(O)/bin/rdisk-fuzz-%: \
		$(O)/obj/tests/fuzz/%.o $(O)/obj/tests/fuzz/main.o \
		$(call objects,$(FUZZ_COMMON)) $(LIBRDISK)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) \
		$(call libs,$(SERVER_PACKAGES))

# A guest chooses where its tables lie: libvhost-user reads them unaligned.
$(FO)/tests/fuzz/guest.o $(O)/obj/tests/fuzz/guest.o: \
	CPPFLAGS += -isystem $(VHOST_LIB)/src
$(FO)/tests/fuzz/guest.o $(O)/obj/tests/fuzz/guest.o: \
	$(VHOST_LIB)/libvhost-user.o
$(FO)/libvhost-user.o: $(VHOST_LIB)/libvhost-user.o
	@mkdir -p $(@D)
	clang $(FUZZ_FLAGS) -fno-sanitize=alignment -w -D_GNU_SOURCE -I $(VHOST_LIB)/src -c -o $@ \
		$(VHOST_LIB)/src/libvhost-user.c
$(FO)/bin/guest: $(FO)/libvhost-user.o $(FO)/vhost-user-blk/request.o
$(O)/bin/rdisk-fuzz-guest: $(VHOST_LIB)/libvhost-user.o \
	$(call objects,vhost-user-blk/request.c)

# What is new goes to build/fuzz/NAME; a failing input is kept beside it.
.PHONY: fuzz fuzz-corpus
fuzz: $(addprefix $(FO)/bin/,$(or $(FUZZ),$(FUZZERS)))
	@status=0; for name in $(or $(FUZZ),$(FUZZERS)); do \
		mkdir -p $(FO)/$$name; \
		if $(FO)/bin/$$name -max_total_time=$(FUZZ_SECONDS) -timeout=20 \
		    -max_len=1024 -print_final_stats=1 \
		    -artifact_prefix=$(FO)/$$name- $(FO)/$$name \
		    $(FUZZ_DIR)/corpus/$$name 2>$(FO)/$$name.log; \
		then echo "ok - $$name survives $$(sed -n \
		    's/^stat::number_of_executed_units: *//p' \
		    $(FO)/$$name.log) inputs made up in $(FUZZ_SECONDS) s"; \
		else tail -n 40 $(FO)/$$name.log; \
		    echo "not ok - $$name survives what is made up"; status=1; fi; \
	done; exit $$status

fuzz-corpus: $(addprefix $(O)/bin/rdisk-fuzz-,$(FUZZERS))
	@status=0; for name in $(FUZZERS); do \
		if $(O)/bin/rdisk-fuzz-$$name $(FUZZ_DIR)/corpus/$$name; \
		then echo "ok - $$name survives its corpus"; \
		else echo "not ok - $$name survives its corpus"; status=1; fi; \
	done; exit $$status
