# SPDX-License-Identifier: BSD-3-Clause
# Programs that show how librdisk is used; other people's Makefiles have
# pkg-config (tests/library builds them so).

EXAMPLES := $(addprefix $(O)/bin/example-,cat)

$(EXAMPLES): $(O)/bin/example-%: $(O)/obj/examples/%.o $(LIBRDISK)
	@mkdir -p $(@D)
	$(CC) -o $@ $^ $(ALL_LDFLAGS) $(call libs,$(TRANSPORT_PACKAGES))

.PHONY: examples
examples: $(EXAMPLES)
