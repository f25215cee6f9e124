# SPDX-License-Identifier: BSD-3-Clause
"""Counts what does not depend on the clock, per I/O: for each contestant what
the probe has seen and what strace has, on both sides at once, as the slope
between two numbers of requests, so that starting costs nothing.

Instructions are those of user space, by valgrind, which sees all libraries.
"""
import os
import re
import signal
import subprocess
import time

import peers
import probe
from clients import process_sleeps, run_client

FEW, MANY = 200, 800
COLUMNS = ('store', 'contestant', 'work', 'side', 'count', 'per_io')
WORKS = ('4k-qd1-read', '4k-qd32-write')
VALGRIND_WORKS = WORKS[:1]      # takes minutes as it is
# Of interest by itself, besides the sum of all.
CALLS = ('io_uring_enter', 'io_submit', 'io_getevents', 'poll', 'ppoll',
         'epoll_wait', 'futex', 'read', 'write', 'sendmsg', 'recvmsg',
         'sendto', 'recvfrom', 'ioctl', 'pread64', 'pwrite64',
         'clock_gettime')
INSTRUCTIONS = ('rdisk', 'rdisk-resident', 'rdisk-lib', 'ideal', 'ideal-file', 'nbd-qemu',
                'nbd-nbdkit')


def slope(few, many):
    return {name: (many[name] - few.get(name, 0)) / (MANY - FEW)
            for name in many}


class Counted:
    def __init__(self, bench):
        self.bench, self.lab = bench, bench.lab

    def write(self, contestant, work, side, values, file='counted.csv'):
        for name, value in values.items():
            if value >= 0.005 or name in probe.COUNTERS:
                self.bench.write(file, COLUMNS, (
                    'tmpfs', contestant.name, work.name, side, name,
                    f'{max(value, 0):.3f}'))

    # ---- By the probe

    def probed(self, contestant, work, count):
        """(client, server): each what the probe and the scheduler counted."""
        path = os.path.join(self.lab.folder, 'counted')
        probe.remove(path)
        pids = contestant.pids()
        before = {**probe.counters(self.lab.probe),
                  'sleeps': process_sleeps(pids)}
        run = run_client(contestant.command(work, count), 120,
                         probe.environment(path))
        time.sleep(0.2)         # the server says good-bye
        after = {**probe.counters(self.lab.probe),
                 'sleeps': process_sleeps(pids)}
        server = {name: after[name] - before[name] for name in after}
        return {**probe.counters(path), 'sleeps': run.sleeps}, server

    def by_probe(self, contestant, work):
        few = self.probed(contestant, work, FEW)
        many = self.probed(contestant, work, MANY)
        client = slope(few[0], many[0])
        if contestant.in_kernel:
            client = {name: client[name] for name in ('allocations',
                                                      'sleeps')}
        self.write(contestant, work, 'client', client)
        if contestant.pids():
            self.write(contestant, work, 'server', slope(few[1], many[1]))

    # ---- By strace

    @staticmethod
    def parse(path):
        calls = {'system calls': 0}
        with open(path) as file:
            for line in file:
                words = line.split()
                if (len(words) >= 5 and re.fullmatch(r'[0-9.]+', words[0])
                        and words[-1] != 'total'):
                    calls['system calls'] += int(words[3])
                    if words[-1] in CALLS:
                        calls[words[-1]] = int(words[3])
        return calls

    def traced(self, contestant, work, count):
        ours = os.path.join(self.lab.folder, 'strace.client')
        its = os.path.join(self.lab.folder, 'strace.server')
        tracer = None
        if contestant.pids():
            tracer = subprocess.Popen(
                ['strace', '-f', '-c', '-o', its, '-p',
                 str(contestant.pids()[0])], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(0.7)
        try:
            run_client(['strace', '-f', '-c', '-o', ours,
                        *contestant.command(work, count)], 120)
        finally:
            if tracer:
                tracer.send_signal(signal.SIGINT)
                tracer.wait(20)
        return self.parse(ours), self.parse(its) if tracer else {}

    def by_strace(self, contestant, work):
        few = self.traced(contestant, work, FEW)
        many = self.traced(contestant, work, MANY)
        for i, side in enumerate(('client', 'server')):
            self.write(contestant, work, side, slope(few[i], many[i]))

    def attempt(self, contestant, what, works=WORKS):
        for work in peers.make_works():
            if (work.name not in works or
                    (contestant.reads_only and work.read != 100)):
                continue
            try:
                what(contestant, work)
            except (RuntimeError, OSError, TypeError, AttributeError,
                    subprocess.TimeoutExpired) as why:
                self.bench.absent('tmpfs', contestant.name,
                                  work.name + ' (counted)', why)

    def run(self, running):
        for contestant in running:
            if hasattr(contestant, 'before') or contestant.large_only:
                continue
            self.attempt(contestant, self.by_probe)
            self.attempt(contestant, self.by_strace)

    # ---- By valgrind

    @staticmethod
    def collected(output):
        return int(re.findall(r'Collected : (\d+)', output)[-1])

    def client_instructions(self, contestant, work):
        total = [self.collected(run_client(
            [*peers.VALGRIND, *contestant.command(work, count)], 120).output)
            for count in (FEW, MANY)]
        self.write(contestant, work, 'client', {
            'instructions': (total[1] - total[0]) / (MANY - FEW)},
            'instructions.csv')

    def server_instructions(self, kind, work, store):
        total = []
        self.lab.under = peers.VALGRIND
        try:
            for count in (FEW, MANY):
                contestant = kind(self.lab)
                log = os.path.join(self.lab.folder, contestant.name + '.log')
                contestant.start(store)
                try:
                    run_client(contestant.command(work, count), 120)
                finally:
                    contestant.stop()
                with open(log) as file:
                    total.append(self.collected(file.read()))
        finally:
            self.lab.under = []
        self.write(contestant, work, 'server', {
            'instructions': (total[1] - total[0]) / (MANY - FEW)},
            'instructions.csv')

    def instructions(self, store):
        peers.need('valgrind')
        for kind in peers.ALL:
            if kind.name not in INSTRUCTIONS:
                continue
            contestant = kind(self.lab)
            try:
                contestant.start(store)
                self.attempt(contestant, self.client_instructions,
                             VALGRIND_WORKS)
            finally:
                contestant.stop()
            # The variants of rdisk have one server.
            if kind is not peers.RdiskLibrary:
                self.attempt(contestant, lambda its, work: (
                    self.server_instructions(type(its), work, store)),
                    VALGRIND_WORKS)
