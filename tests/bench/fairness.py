#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What a busy session costs its neighbours: in the lab, by librdisk's client.

    make bench-fairness

A victim with one read at a time is measured alone and beside an aggressor with
256, in turn, round after round, in one boot. Both are at the same reactor, on
volumes in memory of their own. The table, Markdown, goes to standard output.
Where client, server and device share one CPU, as in the user-mode lab, the
aggressor's programs take time from the victim's, whatever the server does; the
counts of tests/unit/server/session/test_scheduler.c do not depend on that.
"""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile

import modes

AGGRESSORS = (('4 KiB', ('-s', '4096', '-d', '256')),
              ('128 KiB', ('-s', '131072', '-d', '64')))


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


def beside(address, options, count):
    """The same, while an aggressor is busy."""
    aggressor = subprocess.Popen(
        client(address, 'aggressor', (*options, '-c', str(1 << 28))),
        stdout=subprocess.DEVNULL)
    try:
        # It needs a moment to have its slots.
        measure(address, count // 10)
        figures = measure(address, count)
        if aggressor.poll() is not None:
            sys.exit('fairness: the aggressor has ended')
        return figures
    finally:
        aggressor.kill()
        aggressor.wait()


def table(runs):
    alone = statistics.median(f['p99'] for f in runs['alone'])
    print('| beside | p50, µs | p99, µs | p99 / alone |')
    print('|---|---|---|---|')
    for name, figures in runs.items():
        p50, p99 = (statistics.median(f[key] for f in figures)
                    for key in ('p50', 'p99'))
        print(f'| {name} | {p50:.0f} | {p99:.0f} | {p99 / alone:.2f} |')
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
                    runs.setdefault(f'{name}, depth {how[3]}', []).append(
                        beside(address, how, options.count))
            table(runs)
        finally:
            server.terminate()
            server.wait(20)


if __name__ == '__main__':
    main()
