# SPDX-License-Identifier: BSD-3-Clause
"""Runs a contestant's client, and tells what that and its server have used."""
import os
import re
import signal
import subprocess
from collections import namedtuple

TICK = os.sysconf('SC_CLK_TCK')
# CPU seconds of the client and of the machine; how often the client slept.
Run = namedtuple('Run', 'output cpu machine sleeps')


def process_cpu(pids):
    """Seconds of CPU time that these processes have used, all threads."""
    ticks = 0
    for pid in pids:
        with open(f'/proc/{pid}/stat') as file:
            fields = file.read().rsplit(')', 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICK


def process_sleeps(pids):
    """Voluntary context switches of these processes, all threads."""
    total = 0
    for pid in pids:
        for task in os.listdir(f'/proc/{pid}/task'):
            with open(f'/proc/{pid}/task/{task}/status') as file:
                total += int(re.search(r'\nvoluntary_ctxt_switches:\s*(\d+)',
                                       file.read())[1])
    return total


def machine_cpu():
    """Seconds that the CPUs of this machine were busy, the kernel included."""
    with open('/proc/stat') as file:
        user, nice, system, _, _, irq, softirq = map(
            int, file.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / TICK


def complaint(output):
    """What it complained of, or else the last it said."""
    words = output.strip().splitlines() or ['no word']
    return ([line for line in words
             if re.search('rror|ailed|annot|nable', line)] or words)[-1]


def run_client(command, limit, environment=None):
    machine = machine_cpu()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True,
                               env=dict(os.environ, **(environment or {})),
                               start_new_session=True)

    def expired(*_):
        os.killpg(process.pid, signal.SIGKILL)
    signal.signal(signal.SIGALRM, expired)
    signal.alarm(limit)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    signal.alarm(0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode == -signal.SIGKILL:
        raise RuntimeError(f'not finished after {limit} s')
    if process.returncode:
        raise RuntimeError(f'status {process.returncode}: '
                           + complaint(output))
    return Run(output, usage.ru_utime + usage.ru_stime,
               machine_cpu() - machine, usage.ru_nvcsw)
