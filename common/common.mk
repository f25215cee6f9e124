# SPDX-License-Identifier: BSD-3-Clause
# What all programs read and write alike: configuration files, numbers, sizes.

COMMON_SOURCES := $(addprefix common/, ini.c number.c size.c)
