# SPDX-License-Identifier: BSD-3-Clause
"""Reads what tests/bench/probe.c has counted and noted."""
import glob
import os
import struct

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), '../..'))
LIBRARY = os.path.join(TOP, 'build/lib/bench-probe.so')
# In the order of probe.h's enum.
COUNTERS = ('work_requests', 'doorbells', 'receives', 'receive_calls',
            'completions', 'polls', 'interrupts', 'arms', 'copied_bytes',
            'allocations')
HEAD = struct.Struct('16Q2Q2QQQ')
STAMP = struct.Struct('QQ')


def environment(path, stamps=0):
    return {'LD_PRELOAD': LIBRARY, 'PROBE': path,
            'PROBE_STAMPS': str(stamps)}


class Page:
    """Of one process."""
    def __init__(self, path):
        with open(path, 'rb') as file:
            data = file.read()
        head = HEAD.unpack_from(data)
        self.counters = dict(zip(COUNTERS, head))
        ticks, nanoseconds = head[16:18], head[18:20]
        capacity, taken = head[20:22]
        self.overrun = taken > capacity
        # Of a process that has not ended there is no second moment.
        self.tick = ((nanoseconds[1] - nanoseconds[0]) /
                     (ticks[1] - ticks[0]) if ticks[1] else None)
        self.stamps = [
            (time, chr(what)) for time, what in STAMP.iter_unpack(
                data[HEAD.size:HEAD.size + STAMP.size * min(capacity,
                                                            taken)])]


def pages(path):
    return [Page(name) for name in glob.glob(glob.escape(path) + '.*')]


def counters(path):
    """The sums of all processes that were told to write to this path."""
    total = dict.fromkeys(COUNTERS, 0)
    for page in pages(path):
        for name, value in page.counters.items():
            total[name] += value
    return total


def remove(path):
    for name in glob.glob(glob.escape(path) + '.*'):
        os.unlink(name)
