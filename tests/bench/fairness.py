#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What a busy session costs its neighbours: in the lab, by librdisk's client.

    make bench-fairness

A victim with one read at a time is measured alone and beside an aggressor with
256, in turn, round after round, in one boot. Both are at the same reactor, on
volumes in memory of their own. The table, Markdown, goes to standard output.
Where client, server and device share one CPU, as in the user-mode lab, the
aggressor's program takes time from the victim's, whatever the server does: ticks of
the scheduler, of 10 ms each. The last column tells how busy the aggressor is. The
counts of tests/unit/server/session/test_scheduler.c do not depend on that.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import modes

# Longer than a run. The client has room for as many latencies before it begins.
AGGRESSOR_COUNT = 1 << 21
AGGRESSORS = (('4 KiB, depth 256', ('-s', '4096', '-d', '256')),
              ('128 KiB, depth 64', ('-s', '131072', '-d', '64')))


def config(folder):
    path = os.path.join(folder, 'conf')
    with open(path, 'w') as file:
        for name in ('victim', 'aggressor'):
            file.write(f'[volume {name}]\nbackend = memory\nsize = 64M\n')
        file.write('[server]\ncores = 1\nmax-slots = 256\n')
    return path


def client(address, volume, options):
    return [os.path.join(modes.BIN, 'bench-client'),
            f'rdma://{address}/{volume}?heartbeat=0&slots=256', *options]


def measure(address, count):
    """The figures of the victim."""
    result = subprocess.run(client(address, 'victim', ('-c', str(count))),
                            capture_output=True, text=True, timeout=300)
    if result.returncode:
        sys.exit(f'fairness: {result.stderr.strip()}')
    return {name: float(value) for name, value in
            (word.split('=') for word in result.stdout.split())}


def served(folder, volume):
    """Reads so far of the session that has a volume open."""
    stat = json.loads(subprocess.run(
        [os.path.join(modes.BIN, 'rdisk'), 'stat', '--json', '--control',
         os.path.join(folder, 'control')],
        check=True, capture_output=True, timeout=60).stdout)
    return sum(entry['counters']['reads'] for entry in stat['sessions']
               if entry['volume'] == volume)


def beside(address, folder, options, count):
    """The same, while an aggressor is busy."""
    aggressor = subprocess.Popen(
        client(address, 'aggressor',
               (*options, '-c', str(AGGRESSOR_COUNT))),
        stdout=subprocess.DEVNULL)
    try:
        # It needs a moment to have its slots.
        time.sleep(1)
        measure(address, count // 10)
        before = served(folder, 'aggressor')
        figures = measure(address, count)
        figures['others'] = (served(folder, 'aggressor') - before) / count
        if aggressor.poll() is not None:
            sys.exit('fairness: the aggressor has ended')
        if not figures['others']:
            sys.exit('fairness: the aggressor has done nothing')
        return figures
    finally:
        aggressor.kill()
        aggressor.wait()


def table(runs):
    alone = statistics.median(f['p99'] for f in runs['alone'])
    print('| beside | p50, µs | p99, µs | p99 / alone | '
          'its requests for each of the victim |')
    print('|---|---|---|---|---|')
    for name, figures in runs.items():
        p50, p99, others = (statistics.median(f.get(key, 0) for f in figures)
                            for key in ('p50', 'p99', 'others'))
        print(f'| {name} | {p50:.0f} | {p99:.0f} | {p99 / alone:.2f} | '
              f'{others:.1f} |')
    print(f'\nMedians of {len(runs["alone"])} rounds, engine '
          f'{os.environ.get("RDISK_LAB_ENGINE", "?")}; wanted: 2 at most.')


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--count', type=int, default=2000,
                        help='requests of the victim in a run (2000)')
    options = parser.parse_args()
    address = os.environ.get('RDISK_LAB_ADDR')
    if not address:
        sys.exit('fairness: this runs in the lab: make bench-fairness')
    runs = {'alone': []}
    with tempfile.TemporaryDirectory(dir='/dev/shm') as folder:
        server = modes.start_server(folder, address, config(folder))
        try:
            for _ in range(options.rounds):
                runs['alone'].append(measure(address, options.count))
                for name, how in AGGRESSORS:
                    runs.setdefault(name, []).append(
                        beside(address, folder, how, options.count))
            table(runs)
        finally:
            server.terminate()
            server.wait(20)


if __name__ == '__main__':
    main()
