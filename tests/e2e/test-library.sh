#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A program outside of the tree, by librdisk's public headers only.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

check_the_example_copies_a_volume()
{
    head -c 5M /dev/urandom >"$pool/v"
    timeout -k 2 60 "$top/build/bin/example-cat" "$(uri v)" >"$work/copy"
    cmp "$pool/v" "$work/copy"
}

check_the_example_says_what_is_wrong()
{
    refused "no volume 'nobody'" 20 "$top/build/bin/example-cat" \
        "$(uri nobody)"
}

start_server
volume v 1M
run_checks
