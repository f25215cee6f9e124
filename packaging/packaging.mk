# SPDX-License-Identifier: BSD-3-Clause
#
# What goes onto a machine: make install, and the packages made of that.

SYSTEMDDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
UDEVDIR ?= $(PREFIX)/lib/udev/rules.d
APPARMORDIR ?= $(PREFIX)/share/doc/rdisk/apparmor
DOCDIR ?= $(PREFIX)/share/doc/rdisk
QEMUDIR ?= $(PREFIX)/lib/rdisk
LABDIR ?= $(PREFIX)/lib/rdma-lab
BASHDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR ?= $(PREFIX)/share/zsh/site-functions

# $(call put,MODE,FILES,DIRECTORY)
put = install -d $(DESTDIR)$(3) && install -m $(1) $(2) $(DESTDIR)$(3)/
# $(call put_as,MODE,FILE,DIRECTORY,NAME)
put_as = install -d $(DESTDIR)$(3) && install -m $(1) $(2) $(DESTDIR)$(3)/$(4)
# $(call unit,NAME): with the folders of the programs
unit = install -d $(DESTDIR)$(SYSTEMDDIR) && \
	sed -e 's|@SBINDIR@|$(SBINDIR)|g' -e 's|@BINDIR@|$(BINDIR)|g' \
		packaging/systemd/$(1) >$(DESTDIR)$(SYSTEMDDIR)/$(1)
# $(call take,DIRECTORY,NAMES)
take = rm -f $(addprefix $(DESTDIR)$(1)/,$(2))
# $(call take_folders,DIRECTORIES): of ours, when they are empty
take_folders = for folder in $(addprefix $(DESTDIR),$(1)); do \
	[ ! -d $$folder ] || rmdir --ignore-fail-on-non-empty $$folder; done

# The man pages of the programs; librdisk and rdisk-vhost have their own.
MAN_PAGES := docs/rdisk.1 docs/rdiskd.conf.5 docs/rdiskd.8
# Of each command of rdisk; made when they are installed.
COMMAND_PAGES = $(shell docs/command-pages --list | sed 's/.*/rdisk-&.1/')

.PHONY: install uninstall install-service uninstall-service
install: ours install-librdisk install-service
	$(call put,755,$(RDISKD),$(SBINDIR))
	$(call put,755,$(RDISK),$(BINDIR))
	$(if $(RBD_MODULE),$(call put,644,$(RBD_MODULE),$(MODULESDIR)))
	install -d $(DESTDIR)$(BASHDIR) $(DESTDIR)$(ZSHDIR)
	$(RDISK) completion bash >$(DESTDIR)$(BASHDIR)/rdisk
	$(RDISK) completion zsh >$(DESTDIR)$(ZSHDIR)/_rdisk
	for page in $(MAN_PAGES); do \
		$(call put,644,$$page,$(MANDIR)/man$${page##*.}) || exit; \
	done
	docs/command-pages $(RDISK) $(DESTDIR)$(MANDIR)/man1

uninstall: uninstall-librdisk uninstall-service
	$(call take,$(SBINDIR),$(notdir $(RDISKD)))
	$(call take,$(BINDIR),$(notdir $(RDISK)))
	$(call take,$(MODULESDIR),backend-rbd.so)
	$(call take_folders,$(MODULESDIR))
	$(call take,$(BASHDIR),rdisk)
	$(call take,$(ZSHDIR),_rdisk)
	for page in $(notdir $(MAN_PAGES)); do \
		rm -f $(DESTDIR)$(MANDIR)/man$${page##*.}/$$page; \
	done
	$(call take,$(MANDIR)/man1,$(COMMAND_PAGES))

# Configurations: of rdiskd, of Prometheus' alerts, of a board of Grafana.
EXAMPLES := packaging/rdiskd.conf packaging/prometheus/rdisk.rules.yml \
	packaging/grafana/rdisk.json

# rdiskd as a service. The configuration is an example: where there is one
# already, it stays.
install-service:
	$(call unit,rdiskd.service)
	$(call put_as,644,packaging/systemd/rdisk.sysusers,$(SYSUSERSDIR),rdisk.conf)
	$(call put_as,644,packaging/systemd/rdisk.tmpfiles,$(TMPFILESDIR),rdisk.conf)
	$(call put,644,packaging/systemd/90-rdisk.rules,$(UDEVDIR))
	$(call put,644,$(EXAMPLES),$(DOCDIR)/examples)

uninstall-service:
	$(call take,$(SYSTEMDDIR),rdiskd.service)
	$(call take,$(SYSUSERSDIR),rdisk.conf)
	$(call take,$(TMPFILESDIR),rdisk.conf)
	$(call take,$(UDEVDIR),90-rdisk.rules)
	$(call take,$(DOCDIR)/examples,$(notdir $(EXAMPLES)))
	$(call take_folders,$(DOCDIR)/examples $(DOCDIR))

# QEMU with the driver, in a folder of its own; its programs have names on the
# PATH that no other QEMU has.
QEMU_PROGRAMS := qemu-system-x86_64 qemu-img qemu-io qemu-nbd qemu-storage-daemon

.PHONY: install-qemu uninstall-qemu
install-qemu: qemu
	$(call put,755,$(addprefix $(BUILD)/bin/,$(QEMU_PROGRAMS)),$(QEMUDIR)/bin)
	$(call put,644,$(BUILD)/lib/qemu/block-rdma.so,$(QEMUDIR)/lib/qemu)
	$(call put,644,$(BUILD)/share/qemu/*.bin,$(QEMUDIR)/share/qemu)
	install -d $(DESTDIR)$(BINDIR)
	for program in $(QEMU_PROGRAMS); do \
		ln -sfr $(DESTDIR)$(QEMUDIR)/bin/$$program \
			$(DESTDIR)$(BINDIR)/$$program-rdisk || exit; \
	done
	$(call put,644,packaging/apparmor/rdisk,$(APPARMORDIR))

uninstall-qemu:
	$(call take,$(QEMUDIR)/bin,$(QEMU_PROGRAMS))
	$(call take,$(QEMUDIR)/lib/qemu,block-rdma.so)
	rm -f $(DESTDIR)$(QEMUDIR)/share/qemu/*.bin
	$(call take,$(BINDIR),$(addsuffix -rdisk,$(QEMU_PROGRAMS)))
	$(call take,$(APPARMORDIR),rdisk)
	$(call take_folders,$(APPARMORDIR) $(DOCDIR) $(QEMUDIR)/bin \
		$(QEMUDIR)/lib/qemu $(QEMUDIR)/lib $(QEMUDIR)/share/qemu \
		$(QEMUDIR)/share $(QEMUDIR))

# The lab, which needs nothing of this tree.
LAB_PROGRAMS := $(addprefix tests/lab/,lab fetch init initramfs net on \
	drop-packets)
LAB_FILES := $(wildcard tests/lab/*.config)
LAB_PARTS := $(wildcard tests/lab/lib/*.sh)
LAB_PATCHES := $(wildcard tests/lab/patches/*.patch)

.PHONY: install-lab uninstall-lab
install-lab:
	$(call put,755,$(LAB_PROGRAMS),$(LABDIR))
	$(call put,644,$(LAB_FILES),$(LABDIR))
	$(call put,644,$(LAB_PARTS),$(LABDIR)/lib)
	$(call put,644,$(LAB_PATCHES),$(LABDIR)/patches)
	install -d $(DESTDIR)$(BINDIR)
	ln -sfr $(DESTDIR)$(LABDIR)/lab $(DESTDIR)$(BINDIR)/rdma-lab
	$(call put,644,docs/rdma-lab.1,$(MANDIR)/man1)

uninstall-lab:
	$(call take,$(LABDIR),$(notdir $(LAB_PROGRAMS) $(LAB_FILES)))
	$(call take,$(LABDIR)/lib,$(notdir $(LAB_PARTS)))
	$(call take,$(LABDIR)/patches,$(notdir $(LAB_PATCHES)))
	$(call take,$(BINDIR),rdma-lab)
	$(call take,$(MANDIR)/man1,rdma-lab.1)
	$(call take_folders,$(LABDIR)/lib $(LABDIR)/patches $(LABDIR))

# Debian packages, in $(BUILD)/packages. They are built in a copy of what is
# committed, so that an edit in the tree does not get into them.
.PHONY: deb packages-test
deb:
	@packaging/setup build qemu deb
	@packaging/build-deb --output $(BUILD)/packages
	lintian --allow-root --fail-on error $(BUILD)/packages/*.changes

# Install, use, upgrade and purge them, in a Debian in a virtual machine; half an
# hour without KVM.
packages-test: deb
	@packaging/setup lab workloads
	@tests/packages/run $(BUILD)/packages

# The jobs of the workflow that need no half hour, and the image of the container
# file, in a clean Debian.
.PHONY: actions-test
actions-test:
	@packaging/setup test workloads
	@tests/actions/run lint lab image
