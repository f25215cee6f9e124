# SPDX-License-Identifier: BSD-3-Clause
#
# The lab: where an RDMA device exists.  See docs/lab.md.

LAB := tests/lab/lab

# These are made once and cached outside the checkout; see RDISK_CACHE.
.PHONY: lab-setup lab-kernel lab-uml lab-kasan lab-guest
lab-setup:
	@packaging/setup lab

lab-kernel: lab-setup
	@$(LAB) fetch kernel

lab-uml:
	@packaging/setup uml
	@$(LAB) fetch uml

lab-kasan:
	@packaging/setup uml
	@$(LAB) fetch uml-kasan

lab-guest: lab-setup
	@tests/lab/guest/build

# A shell in the lab, and the lab's own tests.
.PHONY: lab-shell check-lab
lab-shell: lab-setup
	@$(LAB)

check-lab: lab-setup
	@tests/lab/test-lab.sh
