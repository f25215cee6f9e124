# SPDX-License-Identifier: BSD-3-Clause
"""What was wanted of rdisk, and what came out: targets.md."""
import os
import statistics
from collections import namedtuple

import report

USER_SPACE = ('iser', 'nbd-qemu', 'nbd-nbdkit')
# A figure is a ratio of medians, best that of the best rounds, if there is one.
Target = namedtuple('Target', 'what work wanted figure best met')


class Targets:
    def __init__(self, folder, store):
        self.folder, self.store = folder, store
        self.medians = report.Summary(folder)
        self.best = report.Summary(folder, min)
        self.rows = []

    def add(self, what, work, ratio, limit, least=False):
        """The ratio is a function of a summary; None is not measured."""
        figure, best = ratio(self.medians), ratio(self.best)
        if figure is not None:
            met = figure >= limit if least else figure <= limit
            self.rows.append(Target(what, work, ('≥ ' if least else '≤ ')
                                    + str(limit), figure, best, met))

    def at_most(self, what, work, ours, other, limit):
        self.add(what, work, lambda summary: summary.ratio(
            self.store, work, ours, other), limit)

    def at_least(self, what, work, ours, other, limit):
        """Ratios of IOPS and throughput are inverse ratios of time."""
        self.add(what, work, lambda summary: summary.ratio(
            self.store, work, other, ours), limit, True)

    def above_ideal(self, work, ours, ideal):
        def ratio(summary):
            times = [summary.median(self.store, work, name)
                     for name in (ours, 'local', ideal)]
            return None if None in times else (times[0] - times[1]) / times[2]
        return ratio

    def latency(self, work):
        for ours, ideal, how in (('rdisk', 'ideal', 'both sleeping'),
                                 ('rdisk-both-poll', 'ideal-poll',
                                  'both polling')):
            self.add(f'(latency − local store) / ideal, {how}', work,
                     self.above_ideal(work, ours, ideal), 1.25)
        self.at_most('latency / NVMe-oF/RDMA', work, 'rdisk', 'nvme-rdma',
                     1.0)
        self.at_most('latency, both polling / NVMe-oF/RDMA', work,
                     'rdisk-both-poll', 'nvme-rdma', 0.5)
        for peer in USER_SPACE:
            self.at_most(f'latency / {report.TITLES[peer]}', work, 'rdisk',
                         peer, 0.6)

    def resident(self):
        """The image that many guests start from."""
        self.at_most('latency of a resident volume / NBD/TCP, qemu-nbd',
                     '4k-qd1-read', 'rdisk-resident', 'nbd-qemu', 0.6)
        for row in report.read(self.folder, 'instructions.csv'):
            if (row['contestant'], row['side']) == ('rdisk-resident',
                                                    'server'):
                figure = float(row['per_io'])
                # Heartbeats are less than that.
                self.rows.append(Target(
                    'instructions of the server, resident volume',
                    row['work'], '< 10', figure, None, figure < 10))

    def rate(self, work):
        self.at_least('IOPS / ideal', work, 'rdisk', 'ideal', 0.8)
        self.at_least('IOPS / NVMe-oF/RDMA', work, 'rdisk', 'nvme-rdma', 1.3)
        for peer in USER_SPACE:
            self.at_least(f'IOPS / {report.TITLES[peer]}', work, 'rdisk',
                          peer, 1.5)

    def throughput(self, work, size):
        wire = [float(row['mbs']) for row in report.read(self.folder,
                                                         'floors.csv')
                if row['floor'] == 'write_bw_64k']

        def of_the_wire(summary):
            time = summary.median(self.store, work, 'rdisk')
            # The wire's best is its highest.
            best = max if summary is self.best else statistics.median
            return size / time / best(wire) if time and wire else None
        self.at_least('throughput / ideal', work, 'rdisk', 'ideal', 0.95)
        self.add('throughput / ib_write_bw', work, of_the_wire, 0.95, True)
        self.at_least('throughput / NVMe-oF/RDMA', work, 'rdisk',
                      'nvme-rdma', 1.05)

    def cpu(self, side, work):
        def ratio(summary):
            ours = summary.median(self.store, work, 'rdisk',
                                  side + '_cpu_us')
            peers = [summary.median(self.store, work, name, side + '_cpu_us')
                     for name in USER_SPACE]
            peers = [value for value in peers if value]
            return ours / min(peers) if ours is not None and peers else None
        self.add(f'{side} CPU / least user-space peer', work, ratio, 1)

    def growth(self):
        for depth, its in report.growth(self.folder).items():
            if its:
                least = min(its.values()) / max(its.values())
                self.rows.append(Target(
                    f'IOPS of 1, 8, 64 sessions, {depth}: least / best',
                    '4k-read', '≥ 0.9', least, None, least >= 0.9))

    def counted(self):
        for row in report.read(self.folder, 'counted.csv'):
            if row['contestant'] == 'rdisk' and row['count'] == 'copied_bytes':
                figure = float(row['per_io'])
                self.rows.append(Target(
                    f'bytes copied by the {row["side"]}', row['work'], '0',
                    figure, None, figure == 0))

    def all(self, first):
        for way in ('read', 'write'):
            self.latency(f'4k-qd1-{way}')
        for way in ('read', 'write'):
            self.rate(f'4k-qd32-{way}')
        for label, size in (('128k-qd8', 131072), ('1m-qd4', 1 << 20)):
            for way in ('read', 'write'):
                self.throughput(f'{label}-{way}', size)
        for side in ('client', 'server'):
            for depth in ('qd1', 'qd32'):
                for way in ('read', 'write'):
                    self.cpu(side, f'4k-{depth}-{way}')
        if first:
            self.counted()
            self.growth()
            self.resident()
        return self.rows


def write(folder):
    summary = report.Summary(folder)
    lines = [report.WRITTEN, '# Targets', '', report.describe(folder),
             'Ratios of times are of the medians over the rounds, and beside '
             'them of the best rounds, in which the machine was disturbed '
             'least. What is not listed was not measured, '
             '[table.md](table.md) says why. Idle sessions and their '
             'wake-ups are held by `tests/e2e/test-cost.sh`.', '']
    for index, store in enumerate(summary.stores):
        rows = Targets(folder, store).all(index == 0)
        met = sum(row.met for row in rows)
        lines += [f'## Store {store}: {met} of {len(rows)} met', '']
        report.table(lines, ('target', 'work', 'wanted', 'medians',
                             'best rounds', ''), [
            (row.what, row.work, row.wanted, f'{row.figure:.2f}',
             report.factor(row.best), 'met' if row.met else '**missed**')
            for row in rows])
    with open(os.path.join(folder, 'targets.md'), 'w') as file:
        file.write('\n'.join(lines))
