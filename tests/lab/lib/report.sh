# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# What became of a run: the job's status, and the kernel's complaints.

# What a healthy kernel never says.
kernel_complaints='BUG:|Oops:|Kernel panic|general protection fault'
kernel_complaints+='|soft lockup|hard LOCKUP|rcu.*(stall|starved)'
kernel_complaints+='|blocked for more than|kernel BUG at|KASAN'
kernel_complaints+='|WARNING: |refcount_t|Out of memory: Killed'
kernel_complaints+='|scheduling from the idle thread'
kernel_complaints+='|rdma_rxe.*(err|fail)|rxe[0-9]+: .*(err|fail|cannot|unable)'

# The user-mode kernel's PCI bus has no device, see uml.config.
kernel_noise='virtio_pcidev_init'

# A complaint, but for when the machine is going down: a user-mode kernel that
# is ended by a signal says so, as it cleans up in the idle thread, and may then
# wait without end (console_exit, free_irq, synchronize_rcu).
kernel_shutdown_noise='scheduling from the idle thread'

# Print the first complaint in the kernel's log: report_complaint RUN_DIR DOWN
# DOWN is not empty if the machine was going down at the end of its console.
report_complaint()
{
    {
        # The log was saved before that, so it has none of it.
        grep -avE -- "${2:+$kernel_shutdown_noise|}^$" "$1/console"
        cat "$1/dmesg"
    } 2>/dev/null | tr -d '\r' |
        grep -aE -- "$kernel_complaints" |
        grep -avE -- "$kernel_noise${allow:+|$allow}" | head -n 1
}

# Keep the kernel's log: where the caller asked for, or, when something went
# wrong, beside the output or in the temporary folder.
report_keep_log()
{
    local wrong=$2
    if [ -z "$log" ]; then
        [ -n "$wrong" ] || return 0
        log=${output:+$output/kernel.log}
        log=${log:-$(mktemp --suffix=.log "${TMPDIR:-/tmp}/lab-kernel.XXXXXX")}
    fi
    if [ -s "$1/dmesg" ]; then
        cat "$1/dmesg" >"$log"
    else
        cat "$1/console" >"$log" 2>/dev/null || : >"$log"
    fi
    if [ -e "$1/lingered" ]; then
        echo "$engine: still there $grace s after the status, ended; its console:"
        sed "s/^/$engine: /" "$1/console"
    fi >>"$log"
    if [ -s "$1/engine" ]; then
        sed "s/^/$engine: /" "$1/engine" >>"$log"
    fi
    if [ "$nodes" != 1 ]; then
        if [ -s "$1/2/dmesg" ]; then
            cat "$1/2/dmesg"
        else
            cat "$1/2/console" "$1/2/engine" 2>/dev/null
        fi | sed 's/^/node 2: /' >>"$log"
    fi
}

# Say what happened and set `status`: report RUN_DIR VM_STATUS
report()
{
    local run=$1 vm_status=$2 wrong='' complaint down=''
    if [ "$vm_status" -eq 124 ] || [ "$vm_status" -eq 137 ] ||
            [ -e "$run/lingered" ]; then
        # What a user-mode kernel says of our signal.
        kernel_noise+='|Kernel panic .*Segfault with no mm'
        down=1
    fi
    [ ! -s "$run/status" ] || down=1
    complaint=$(report_complaint "$run" $down)
    [ "$nodes" = 1 ] || [ -n "$complaint" ] ||
        complaint=$(report_complaint "$run/2" 1)
    if [ -s "$run/status" ]; then
        status=$(cat "$run/status")
    else
        status=125
    fi
    if [ -n "$complaint" ]; then
        wrong="the kernel complained: $complaint"
        [ "$status" -ne 0 ] || status=125
    elif [ ! -s "$run/status" ]; then
        if [ -s "$run/failure" ] || [ -s "$run/2/failure" ]; then
            wrong="the lab could not be set up: $(cat "$run/2/failure" \
                "$run/failure" 2>/dev/null | head -n 1)"
        elif [ "$vm_status" -eq 124 ] || [ "$vm_status" -eq 137 ]; then
            wrong="not finished after $limit s (--time-limit), ended"
            status=124
        else
            wrong="the virtual machine ended (status $vm_status) before the"
            wrong+=" command did: $(cat "$run/engine" "$run/console" \
                2>/dev/null | tr -d '\r' | grep -a . | tail -n 1)"
        fi
    fi
    report_keep_log "$run" "$wrong"
    [ -z "$wrong" ] ||
        echo "lab: $wrong; the kernel's log is in $log" >&2
}
