# SPDX-License-Identifier: BSD-3-Clause
#
# RDMA test suites of others in the lab, and what works on which of its kernels.
KERNELS ?= 6.1 6.12 backports uml

.PHONY: foreign verbs-page
foreign:
	packaging/setup lab foreign
	@tests/kernels/run --parts "perftest libfabric ucx pyverbs"

# Some minutes for each kernel.
verbs-page:
	packaging/setup lab foreign
	tests/kernels/run $(KERNELS)
	tests/kernels/page $(O)/kernels >docs/kernels.md
