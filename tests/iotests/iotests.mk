# SPDX-License-Identifier: BSD-3-Clause
#
# QEMU's own tests of its block layer: all, or those of IOTESTS="raw 001 002".
.PHONY: iotests
iotests: ours qemu
	@packaging/setup lab
	@tests/iotests/run $(IOTESTS)
