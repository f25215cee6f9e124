#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Whole images: converted onto a volume, compared, converted back.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

size=$((24 << 20))
head -c $size /dev/urandom >"$work/random"

check_a_converted_image_is_in_the_backing_file()
{
    volume image 24M
    within 60 qemu-img convert -n -f raw -O raw "$work/random" "$(uri image)"
    cmp "$work/random" "$pool/image"
}

check_a_volume_compares_equal_to_its_image()
{
    within 60 qemu-img compare -f raw -F raw "$work/random" "$(uri image)"
}

check_a_volume_that_differs_in_one_byte_does_not()
{
    local byte
    cp "$pool/image" "$pool/other"
    # The image is random, so a fixed byte would be the same one in 256 runs.
    byte=$(od -An -tu1 -j 9999999 -N 1 "$pool/image")
    # shellcheck disable=SC2059 # the format is the byte
    printf "\\$(printf %03o $((byte ^ 1)))" |
        dd of="$pool/other" bs=1 seek=9999999 conv=notrunc status=none
    refused 'mismatch at offset' 60 \
        qemu-img compare -f raw -F raw "$work/random" "$(uri other)"
}

check_a_volume_converts_back_whole()
{
    within 60 qemu-img convert -f raw -O raw "$(uri image)" "$work/back"
    cmp "$work/random" "$work/back"
}

check_convert_without_n_accepts_a_volume_of_the_size()
{
    volume again 24M
    within 60 qemu-img convert -f raw -O raw "$work/random" "$(uri again)"
    cmp "$work/random" "$pool/again"
}

check_convert_to_a_volume_that_may_not_grow_is_refused()
{
    start_server --resize deny
    volume small 8M
    refused '8388608 bytes|smaller|too small|resize' 60 \
        qemu-img convert -f raw -O raw "$work/random" "$(uri small)"
}

check_out_of_order_convert_with_many_requests_is_whole()
{
    volume wild 24M
    within 60 qemu-img convert -n -W -m 16 -f raw -O raw "$work/random" \
        "$(uri wild)"
    cmp "$work/random" "$pool/wild"
}

check_a_qcow2_image_works_on_a_volume()
{
    volume cow 40M
    within 60 qemu-img create -q -f qcow2 "$(uri cow)" 24M
    within 60 qemu-img convert -n -f raw -O qcow2 "$work/random" "$(uri cow)"
    within 60 qemu-img compare -f raw -F qcow2 "$work/random" "$(uri cow)"
    within 60 qemu-img check -f qcow2 "$(uri cow)"
}

# import FORMAT [OPTION…]: an image in this format onto a volume, and back
import()
{
    local format=$1
    shift
    within 60 qemu-img convert -f raw -O "$format" "$@" "$work/random" \
        "$work/foreign"
    within 60 qemu-img convert -n -f "$format" -O raw "$work/foreign" \
        "$(uri again)"
    cmp "$work/random" "$pool/again" || fail "$format differs"
    within 60 qemu-img convert -f raw -O "$format" "$@" "$(uri again)" \
        "$work/foreign"
    within 60 qemu-img compare -f "$format" -F raw "$work/foreign" \
        "$work/random" || fail "$format differs when it is converted back"
    rm "$work/foreign"
}

# Of what others' hypervisors export; Debian's qemu-utils reads the same.
check_images_of_other_formats_convert_onto_a_volume_and_back()
{
    import vmdk
    import vmdk -o subformat=streamOptimized
    import vhdx
    import vdi
    import vpc -o force_size=on
    import qed
    import parallels
    import qcow
    import qcow2 -c -o compression_type=zstd
}

check_info_tells_size_and_driver()
{
    within 20 qemu-img info -f raw "$(uri image)" >"$work/info"
    cat "$work/info"
    says "$work/info" '24 MiB \(25165824 bytes\)'
    says "$work/info" "rdma://$addr:$port/image"
}

check_blockdev_options_open_the_same_volume()
{
    within 20 qemu-io --image-opts \
        "driver=rdma,server.host=$addr,server.port=$port,volume=image" \
        -c "write -q -P 7 1M 4k" -c "read -q -P 7 1M 4k"
    dd if="$pool/image" bs=4k skip=256 count=1 status=none | tr -d '\007' |
        wc -c | grep -qx 0
}

check_nbd_exports_a_volume()
{
    within 60 qemu-nbd -f raw -r -t -k "$work/nbd" "$(uri again)" &
    end_later $!
    wait_until 20 accepts "$work/nbd"
    within 60 qemu-img compare -f raw -F raw "$work/random" \
        "nbd+unix:///?socket=$work/nbd"
}

start_server
run_checks
