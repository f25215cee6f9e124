# SPDX-License-Identifier: BSD-3-Clause
# The rules of the tree that a program can check, and the tests of that program.

.PHONY: lint format
lint:
	tests/lint/test-lint 2>&1
	tests/lint/lint

format:
	tests/lint/lint --format
