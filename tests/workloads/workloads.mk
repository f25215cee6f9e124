# SPDX-License-Identifier: BSD-3-Clause
#
# Real work in a guest whose disks are rdma:// volumes; FSX=5: nothing but fsx,
# for five minutes on each of two file systems.
.PHONY: workloads
workloads: ours qemu
	@packaging/setup lab workloads
	@tests/workloads/run $(if $(FSX),--fsx $(FSX))
