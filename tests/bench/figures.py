# SPDX-License-Identifier: BSD-3-Clause
"""The figures beside the clock, counted.md, and where a request's time goes,
timeline.md."""
import os
from collections import defaultdict

import report
import timeline

# Heading, and what it is called in counted.csv.
COUNTS = (('work requests', 'work_requests'), ('doorbells', 'doorbells'),
          ('receives', 'receives'), ('completions', 'completions'),
          ('interrupts', 'interrupts'), ('arms', 'arms'),
          ('sleeps', 'sleeps'), ('system calls', 'system calls'),
          ('io_uring enters', 'io_uring_enter'),
          ('allocations', 'allocations'), ('copied bytes', 'copied_bytes'),
          ('instructions', 'instructions'))


def figure(value):
    if value is None:
        return ''
    return f'{value:.0f}' if value >= 100 or value == 0 else f'{value:.2f}'


def write_counted(folder):
    values = defaultdict(dict)
    for name in ('counted.csv', 'instructions.csv'):
        for row in report.read(folder, name):
            values[row['work'], row['contestant'], row['side']][
                row['count']] = float(row['per_io'])
    if not values:
        return
    lines = [
        report.WRITTEN, '# Counted, per I/O', '', report.describe(folder),
        'These do not depend on the clock, but for what is batched at depth '
        '32. Slopes between two numbers of requests, so that starting costs '
        'nothing. Work requests to copied bytes are counted by '
        '`tests/bench/probe.c`, preloaded: copies by memcpy and memmove from '
        '1 KiB on; sleeps are voluntary context switches; system calls are '
        'those that `strace` sees, and being traced changes what is batched; '
        'instructions are those of user space, all libraries included, by '
        'valgrind. The kernel\'s servers, and what TCP copies in the kernel, '
        'are not seen. Post and arm are system calls with rxe and not on a '
        'NIC.', '']
    for work in dict.fromkeys(key[0] for key in values):
        lines += [f'## {work}', '']
        rows = []
        for name in report.ORDER:
            for side in ('client', 'server'):
                its = values.get((work, name, side))
                if its:
                    # strace's silence is a zero where it was asked.
                    if 'system calls' in its:
                        its.setdefault('io_uring_enter', 0)
                    rows.append((report.TITLES[name], side,
                                 *(figure(its.get(key))
                                   for _, key in COUNTS)))
        report.table(lines, ('', 'side', *(head for head, _ in COUNTS)), rows)
    with open(os.path.join(folder, 'counted.md'), 'w') as file:
        file.write('\n'.join(lines))


def write_timeline(folder):
    rows = report.read(folder, 'timeline.csv')
    if not rows:
        return
    values = {(row['work'], row['contestant'], row['stage']):
              (row['us'], row['us_median']) for row in rows}
    lines = [
        report.WRITTEN, '# Where the time of a request goes', '',
        report.describe(folder),
        '4 KiB at depth 1, µs, by stamps that `tests/bench/probe.c` takes in '
        'client and server, of one clock. The mean of those requests whose '
        'whole time was in the middle half, so that the stages add up, and '
        'in brackets the median of all.', '']
    for work in dict.fromkeys(row['work'] for row in rows):
        names = list(dict.fromkeys(row['contestant'] for row in rows
                                   if row['work'] == work))
        lines += [f'## {work}', '']
        report.table(lines, ('', *(report.TITLES[name] for name in names)), [
            (stage, *('{} ({})'.format(*values[work, name, stage])
                      for name in names))
            for stage in (*timeline.STAGES, 'whole')])
    with open(os.path.join(folder, 'timeline.md'), 'w') as file:
        file.write('\n'.join(lines))


def write(folder):
    write_counted(folder)
    write_timeline(folder)
