# SPDX-License-Identifier: GPL-2.0-or-later
# QEMU with the block driver "rdma". The script decides what there is to do: a
# second when only the driver or librdisk has changed, minutes the first time.

.PHONY: qemu
qemu: $(LIBRDISK)
	$(if $(SANITIZE),$(error QEMU is built without SANITIZE only))
	@packaging/setup qemu
	@qemu-block-rdma/build-qemu --lib $(LIBRDISK) --headers transport/include \
		--output $(BUILD)
