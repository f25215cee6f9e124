# SPDX-License-Identifier: BSD-3-Clause
#
# RDMA test suites of others in the lab, and what works on which of its kernels.
KERNELS ?= 6.1 6.12 backports uml kasan
# Seconds for each.
KERNELS_LIMIT ?= 3600

.PHONY: foreign verbs-page
foreign:
	packaging/setup lab foreign
	@tests/kernels/run --parts "perftest libfabric ucx pyverbs"

# Some minutes for each kernel, many where it is emulated.
verbs-page:
	packaging/setup lab foreign
	$(foreach kernel,$(filter uml kasan,$(KERNELS)),$(MAKE) lab-$(kernel) &&) true
	-tests/kernels/run --time-limit $(KERNELS_LIMIT) $(KERNELS)
	tests/kernels/page $(O)/kernels >docs/kernels.md
