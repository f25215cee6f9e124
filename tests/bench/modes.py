#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What each guest-memory costs a read: in the lab, by librdisk's client.

    make bench-modes

The modes are measured in turn, round after round, in one boot, beginning with
another one each time. Times are per request: the mean of a run, as median
over the rounds and in the best one, and the median of single requests. The
table, Markdown, goes to standard output.
"""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

BIN = os.path.join(os.path.dirname(os.path.realpath(__file__)),
                   '../../build/bin')
MODES = ('direct', 'window', 'bounce')
# Name, options of the client, requests of a run
WORKS = (('4 KiB, depth 1', ('-s', '4096', '-d', '1'), 1000),
         ('4 KiB, depth 32', ('-s', '4096', '-d', '32'), 4000),
         ('128 KiB, depth 1', ('-s', '131072', '-d', '1'), 300),
         ('128 KiB, depth 8', ('-s', '131072', '-d', '8'), 500))


def start_server(folder, address):
    config = os.path.join(folder, 'conf')
    with open(config, 'w') as file:
        file.write('[volume disk]\nbackend = memory\nsize = 64M\n')
    log = open(os.path.join(folder, 'log'), 'w')
    server = subprocess.Popen(
        [os.path.join(BIN, 'rdiskd'), '--config', config, '--listen', address,
         '--control', os.path.join(folder, 'control'),
         '--authentication', 'none'],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
        text=True)
    if not server.stdout.readline().startswith('rdiskd: serving'):
        server.kill()
        sys.exit('modes: rdiskd does not start: '
                 + open(log.name).read().strip())
    return server


def run(address, mode, options, count):
    """The client's figures of one run, as a dictionary."""
    result = subprocess.run(
        [os.path.join(BIN, 'bench-client'),
         f'rdma://{address}/disk?guest-memory={mode}&heartbeat=0', *options,
         '-c', str(count)],
        capture_output=True, text=True, timeout=120)
    if result.returncode:
        sys.exit(f'modes: {mode}: {result.stderr.strip()}')
    return {name: float(value) for name, value in
            (word.split('=') for word in result.stdout.split())}


def measure(address, rounds, minutes):
    runs = {}
    end = time.monotonic() + minutes * 60
    for number in range(rounds):
        if number and time.monotonic() > end:
            break
        for work, options, count in WORKS:
            for i in range(len(MODES)):
                mode = MODES[(number + i) % len(MODES)]
                runs.setdefault((work, mode), []).append(
                    run(address, mode, options, count))
    return runs


def table(runs):
    rounds = len(next(iter(runs.values())))
    print('| read | mode | µs, mean | best round | single | work requests | '
          'doorbells | copied bytes |')
    print('|---|---|---|---|---|---|---|---|')
    for work, _, _ in WORKS:
        for mode in MODES:
            figures = runs[work, mode]
            took = [f['seconds'] / f['ios'] * 1e6 for f in figures]
            single = statistics.median(f['p50'] for f in figures)
            per = {name: statistics.median(f[name] / f['ios']
                                           for f in figures)
                   for name in ('work_requests', 'doorbells', 'copied_bytes')}
            print(f'| {work} | {mode} | {statistics.median(took):.0f} | '
                  f'{min(took):.0f} | {single:.0f} | '
                  f'{per["work_requests"]:.2f} | {per["doorbells"]:.2f} | '
                  f'{per["copied_bytes"]:.0f} |')
    print(f'\nMedians of {rounds} rounds, engine '
          f'{os.environ.get("RDISK_LAB_ENGINE", "?")}.')


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--minutes', type=float, default=10,
                        help='no further round after so long (10)')
    options = parser.parse_args()
    address = os.environ.get('RDISK_LAB_ADDR')
    if not address:
        sys.exit('modes: this runs in the lab: make bench-modes')
    with tempfile.TemporaryDirectory(dir='/dev/shm') as folder:
        server = start_server(folder, address)
        try:
            table(measure(address, options.rounds, options.minutes))
        finally:
            server.terminate()
            server.wait(20)


if __name__ == '__main__':
    main()
