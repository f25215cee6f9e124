# SPDX-License-Identifier: BSD-3-Clause
"""The report of a bench: from raw.csv to summary.csv, table.md and plots."""
import csv
import json
import os
import statistics
from collections import defaultdict

import peers

FILES = ('raw.csv', 'floors.csv', 'growth.csv', 'timeline.csv', 'counted.csv',
         'instructions.csv', 'absent.csv', 'machine.json')
VALUES = ('us', 'iops', 'mbs', 'client_cpu_us', 'server_cpu_us',
          'machine_cpu_us', 'p50', 'p99', 'p999')
TITLES = {kind.name: kind.title for kind in peers.ALL}
ORDER = [kind.name for kind in peers.ALL]
WORKS = [work.name for work in peers.make_works()]
PEERS = ('iser', 'nvme-rdma', 'nvme-tcp', 'rnbd', 'nbd-qemu', 'nbd-nbdkit')
WRITTEN = '<!-- Written by tests/bench/run; do not edit. -->'


def read(folder, name):
    try:
        with open(os.path.join(folder, name), newline='') as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        return []


def add(old, new):
    """Put into raw.csv of folder NEW the rows of OLD for works that NEW has
    not got.  A work is compared within one boot, so two boots' works can be
    side by side, but not one work of two boots."""
    measured = {row['work'] for row in read(new, 'raw.csv')}
    merge(old, new, 'raw.csv', lambda row: row['work'] not in measured)


def merge(old, new, name, kept):
    """Before NEW's rows of this file those of OLD that are kept."""
    rows = list(filter(kept, read(old, name))) + read(new, name)
    if rows:
        with open(os.path.join(new, name), 'w', newline='') as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)


def machine(folder):
    try:
        with open(os.path.join(folder, 'machine.json')) as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


class Summary:
    """Medians over the rounds, and their spread."""
    def __init__(self, folder, middle=statistics.median):
        self.middle = middle
        self.values = defaultdict(list)
        for row in read(folder, 'raw.csv'):
            for name in VALUES:
                if row[name] != '':
                    self.values[row['store'], row['work'], row['contestant'],
                                name].append(float(row[name]))
        self.keys = sorted({key[:3] for key in self.values}, key=lambda key: (
            key[0] != 'tmpfs', WORKS.index(key[1]), ORDER.index(key[2])))
        self.stores = list(dict.fromkeys(key[0] for key in self.keys))

    def median(self, store, work, contestant, name='us'):
        values = self.values.get((store, work, contestant, name))
        if not values or len(values) < len(
                self.values[store, work, contestant, 'us']):
            return None         # some rounds could not measure it
        return self.middle(values)

    def spread(self, store, work, contestant):
        """Half the range between the quartiles, in percent of the median."""
        values = sorted(self.values[store, work, contestant, 'us'])
        if len(values) < 3:
            return None
        low, _, high = statistics.quantiles(values, n=4, method='inclusive')
        return (high - low) / 2 / statistics.median(values) * 100

    def best_peer(self, store, work):
        there = [(self.median(store, work, name), name) for name in PEERS
                 if self.median(store, work, name)]
        return min(there) if there else (None, None)

    def ratio(self, store, work, ours, other):
        """Time of ours through time of the other: below 1 is better."""
        ours = self.median(store, work, ours)
        other = self.median(store, work, other)
        return ours / other if ours and other else None


def number(value):
    if value is None:
        return ''
    return f'{value:.0f}' if value >= 100 else f'{value:.1f}'


def factor(value):
    return '' if value is None else f'{value:.2f}'


def table(lines, head, rows):
    lines.append('| ' + ' | '.join(head) + ' |')
    lines.append('|' + '---|' * len(head))
    lines.extend('| ' + ' | '.join(row) + ' |' for row in rows)
    lines.append('')


def write_summary(folder, summary):
    with open(os.path.join(folder, 'summary.csv'), 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(('store', 'work', 'contestant', 'runs', *VALUES,
                         'us_min', 'us_max', 'time_to_best_peer',
                         'time_to_ideal'))
        for store, work, name in summary.keys:
            runs = summary.values[store, work, name, 'us']
            best = summary.best_peer(store, work)[0]
            median = summary.median(store, work, name)
            ideal = summary.median(store, work, 'ideal')
            writer.writerow((
                store, work, name, len(runs),
                *(number(summary.median(store, work, name, value))
                  for value in VALUES),
                number(min(runs)), number(max(runs)),
                factor(median / best if best else None),
                factor(median / ideal if ideal else None)))


# ---- Markdown


def describe(folder):
    facts = machine(folder)
    return (f'Engine {facts.get("engine", "?")}, Linux '
            f'{facts.get("kernel", "?")}, {facts.get("cpus", "?")} CPU(s), '
            f'{facts.get("date", "?")}; when it began the machine had a load '
            f'of {facts.get("load", "?")} from other work. What the figures mean, and what they '
            'do not: [performance.md](../../performance.md).\n')


def write_table(folder, summary):
    lines = [
        WRITTEN, '# Bench', '', describe(folder),
        'Medians of the rounds; ± is half the range between the quartiles. '
        'Ratios are of time per I/O: below 1 is better. CPU is per I/O; '
        '"machine" is all busy CPU time, the kernel\'s and the device\'s '
        'included; empty where a round lost it in the noise of starting.', '']
    for store in summary.stores:
        write_store(summary, store, lines)
    write_floors(folder, lines)
    write_growth(folder, lines)
    rows = dict.fromkeys(
        (row.get('part', ''), row['store'],
         TITLES.get(row['contestant'], row['contestant']), row['work'],
         row['reason']) for row in read(folder, 'absent.csv'))
    if rows:
        lines += ['## Not measured', '']
        table(lines, ('part', 'store', 'contestant', 'work', 'why'), rows)
    with open(os.path.join(folder, 'table.md'), 'w') as file:
        file.write('\n'.join(lines))


def write_store(summary, store, lines):
    lines += [f'## Store: {store}', '']
    for work in WORKS:
        rows = []
        best, best_name = summary.best_peer(store, work)
        ideal = summary.median(store, work, 'ideal')
        for key_store, key_work, name in summary.keys:
            if (key_store, key_work) != (store, work):
                continue
            us = summary.median(store, work, name)
            spread = summary.spread(store, work, name)
            rows.append((
                TITLES[name] + (' (best peer)' if name == best_name else ''),
                number(us) + ('' if spread is None else f' ± {spread:.0f} %'),
                *(number(summary.median(store, work, name, value))
                  for value in ('iops', 'mbs', 'client_cpu_us',
                                'server_cpu_us', 'machine_cpu_us', 'p50',
                                'p99', 'p999')),
                factor(us / best if best else None),
                factor(us / ideal if ideal else None)))
        if rows:
            lines += [f'### {store}, {work}', '']
            table(lines, ('', 'µs per I/O', 'IOPS', 'MB/s', 'client CPU µs',
                          'server CPU µs', 'machine CPU µs', 'p50 µs',
                          'p99 µs', 'p99.9 µs', 'to best peer', 'to ideal'),
                  rows)


def write_floors(folder, lines):
    values = defaultdict(list)
    for row in read(folder, 'floors.csv'):
        values[row['floor']].append((float(row['us']), float(row['mbs'])))
    if values:
        lines += ['## perftest, one way', '']
        table(lines, ('', 'µs', 'MB/s'), [
            (name, number(statistics.median(us for us, _ in pairs)),
             number(statistics.median(mbs for _, mbs in pairs)))
            for name, pairs in values.items()])


def growth(folder):
    """IOPS of each number of sessions, for each way to share the depth."""
    values = defaultdict(lambda: defaultdict(list))
    for row in read(folder, 'growth.csv'):
        values[row['depth']][int(row['sessions'])].append(float(row['iops']))
    return {depth: {sessions: statistics.median(iops)
                    for sessions, iops in its.items()}
            for depth, its in values.items()}


def write_growth(folder, lines):
    rows = [(depth, str(sessions), number(iops),
             factor(iops / max(its.values())))
            for depth, its in growth(folder).items()
            for sessions, iops in its.items()]
    if rows:
        lines += ['## Sessions', '', '4 KiB reads of the memory backend by '
                  'one process of librdisk\'s client.', '']
        table(lines, ('requests in flight', 'sessions', 'IOPS',
                      'of the best'), rows)


def write(folder):
    summary = Summary(folder)
    write_summary(folder, summary)
    write_table(folder, summary)
