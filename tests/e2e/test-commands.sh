#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Commands of rdisk that move data: bench, import, export.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

# result EXPRESSION: a Python expression on what a command has printed, r
result()
{
    python3 -Sc 'import json, sys
r = json.load(open(sys.argv[1]))
print(eval("(%s)" % sys.argv[2]))' "$work/result" "$1"
}

check_bench_counts_what_the_server_counts()
{
    printf '[volume b]\nbackend = memory\nsize = 8M\n' >"$work/conf"
    start_server --config "$work/conf"
    within 30 rdisk bench -o json --time 1 --depth 4 --random "$(uri b)" \
        >"$work/result"
    cat "$work/result"
    equal "reads of the server" \
        "$(stat_server 's["volumes"][0]["counters"]["reads"]')" \
        "$(result 'r["requests"]')"
    [ "$(result 'r["latency_us"]["min"] <= r["latency_us"]["p50"] * 1.04')" \
        = True ] || fail "the median is below the minimum"
    [ "$(result '[r["latency_us"][p] for p in ("p50", "p99", "p999")] ==
        sorted(r["latency_us"][p] for p in ("p50", "p99", "p999"))')" \
        = True ] || fail "the percentiles are not in order"
    # Of each of 4 requests at a time.
    [ "$(result 'abs(r["iops"] * r["latency_us"]["mean"] / 1e6 / 4 - 1) < 0.3')" \
        = True ] || fail "rate and latency are inconsistent"
    within 30 rdisk bench --time 0.3 "$(uri b)" | tee "$work/text"
    says "$work/text" 'IOPS, [0-9.]+ MB/s'
}

check_bench_writes_only_when_data_may_be_lost()
{
    start_server
    volume w 1M
    refused '--destroy-data' 10 rdisk bench --write "$(uri w)"
    io w 'write -P 5 0 1M'
    within 30 rdisk bench --write --destroy-data --time 0.3 \
        --block-size 64k "$(uri w)"
    io w 'read -P 0 0 64k'
    refused 'in blocks of' 10 rdisk bench --block-size 100 "$(uri w)"
    refused 'not 1…1024' 10 rdisk bench --depth 0 "$(uri w)"
}

# An image with data, zeroes, a hole, and an end within a block.
image()
{
    python3 -Sc 'import random, sys
random.seed(7)
with open(sys.argv[1], "wb") as file:
    file.write(random.randbytes(3 << 20))
    file.write(bytes(2 << 20))
    file.seek(10 << 20)
    file.write(random.randbytes((1 << 20) + 777))' "$1"
}

check_an_image_comes_back_as_it_was()
{
    start_server
    image "$work/image"
    volume v 16M
    # Whatever was there before is overwritten.
    io v 'write -P 9 4M 8M'
    within 60 rdisk import -o json "$work/image" "$(uri v)" >"$work/result"
    cat "$work/result"
    equal "bytes" "$(result 'r["bytes"]')" "$(stat -c %s "$work/image")"
    at_most "bytes that were sent" "$(result 'r["data"]')" $((12 << 20))
    within 60 rdisk export "$(uri v)" "$work/back"
    equal "size" "$(stat -c %s "$work/back")" $((16 << 20))
    cmp -n "$(stat -c %s "$work/image")" "$work/image" "$work/back" ||
        fail "the data differs"
    at_most "space of the exported file" \
        $(($(stat -c %b "$work/back") * 512)) $((12 << 20))
    refused 'File exists; --replace' 10 rdisk export "$(uri v)" "$work/back"
    within 60 rdisk export --replace "$(uri v)" "$work/back"
    cmp -n "$(stat -c %s "$work/image")" "$work/image" "$work/back" ||
        fail "the data differs"
}

check_an_image_that_does_not_fit_is_refused()
{
    start_server
    volume small 1M
    image "$work/image"
    refused 'resize the volume first' 10 rdisk import "$work/image" \
        "$(uri small)"
    refused 'No such file' 10 rdisk import "$work/nothing" "$(uri small)"
    io small 'read -P 0 0 1M'
}

check_a_server_that_goes_ends_bench_and_export()
{
    start_server
    volume gone 64M
    rdisk bench --time 60 "$(uri gone)" >"$work/bench" 2>&1 &
    bench=$!
    end_later $bench
    wait_until 10 reads_come
    kill_server
    wait_until 30 gone $bench || fail "bench does not end"
    wait $bench && fail "bench reports success"
    cat "$work/bench"
}

reads_come()
{
    [ "$(stat_server 'sum(x["counters"]["reads"] for x in s["sessions"])')" \
        -gt 100 ]
}

run_checks
