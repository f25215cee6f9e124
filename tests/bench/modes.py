#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What ways to reach the guest's memory cost: in the lab, by librdisk's client.

    make bench-modes            each guest-memory, for a read
    make bench-pieces           a request in pieces: gathered, or copied

The ways are measured in turn, round after round, in one boot, beginning with
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
# Ways: name, query of the URI, options of the client.
MODES = tuple((mode, f'guest-memory={mode}', ())
              for mode in ('direct', 'window', 'bounce'))
# What is not registered is copied.
PIECES = (('gather', '', ()), ('copy', '', ('-u',)))
# Works: name, options of the client, requests of a run.
MODES_WORKS = (('4 KiB, depth 1', ('-s', '4096', '-d', '1'), 1000),
         ('4 KiB, depth 32', ('-s', '4096', '-d', '32'), 4000),
         ('128 KiB, depth 1', ('-s', '131072', '-d', '1'), 300),
         ('128 KiB, depth 8', ('-s', '131072', '-d', '8'), 500))


def pieces_works():
    for direction, option in (('read', '-m100'), ('write', '-w')):
        for size in (4096, 16384, 65536):
            for pieces in (1, 2, 4, 8, 16, 32):
                each = size // pieces
                if each >= 512:
                    yield (f'{direction} {size >> 10} KiB in {pieces} of '
                           f'{each}', (option, '-s', str(size), '-d', '8',
                                       '-f', str(pieces)), 800)


def write_config(folder):
    path = os.path.join(folder, 'conf')
    with open(path, 'w') as file:
        file.write('[volume disk]\nbackend = memory\nsize = 64M\n')
    return path


def start_server(folder, address, config):
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


def run(address, way, options, count):
    """The client's figures of one run, as a dictionary."""
    name, query, more = way
    result = subprocess.run(
        [os.path.join(BIN, 'bench-client'),
         f'rdma://{address}/disk?heartbeat=0&{query}', *options, *more,
         '-c', str(count)],
        capture_output=True, text=True, timeout=120)
    if result.returncode:
        sys.exit(f'modes: {name}: {result.stderr.strip()}')
    return {name: float(value) for name, value in
            (word.split('=') for word in result.stdout.split())}


def measure(address, works, ways, rounds, minutes):
    runs = {}
    end = time.monotonic() + minutes * 60
    for number in range(rounds):
        if number and time.monotonic() > end:
            break
        for work, options, count in works:
            for i in range(len(ways)):
                way = ways[(number + i) % len(ways)]
                runs.setdefault((work, way[0]), []).append(
                    run(address, way, options, count))
    return runs


def table(runs):
    rounds = len(next(iter(runs.values())))
    print('| work | memory | µs, mean | best round | single | work requests | '
          'doorbells | copied bytes |')
    print('|---|---|---|---|---|---|---|---|')
    for (work, way), figures in runs.items():
        took = [f['seconds'] / f['ios'] * 1e6 for f in figures]
        single = statistics.median(f['p50'] for f in figures)
        per = {name: statistics.median(f[name] / f['ios'] for f in figures)
               for name in ('work_requests', 'doorbells', 'copied_bytes')}
        print(f'| {work} | {way} | {statistics.median(took):.0f} | '
              f'{min(took):.0f} | {single:.0f} | '
              f'{per["work_requests"]:.2f} | {per["doorbells"]:.2f} | '
              f'{per["copied_bytes"]:.0f} |')
    print(f'\nMedians of {rounds} rounds, engine '
          f'{os.environ.get("RDISK_LAB_ENGINE", "?")}.')


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--pieces', action='store_true',
                        help='requests in pieces, not modes')
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--minutes', type=float, default=10,
                        help='no further round after so long (10)')
    options = parser.parse_args()
    address = os.environ.get('RDISK_LAB_ADDR')
    if not address:
        sys.exit('modes: this runs in the lab: make bench-modes')
    with tempfile.TemporaryDirectory(dir='/dev/shm') as folder:
        server = start_server(folder, address, write_config(folder))
        try:
            works, ways = ((tuple(pieces_works()), PIECES)
                           if options.pieces else (MODES_WORKS, MODES))
            table(measure(address, works, ways, options.rounds,
                          options.minutes))
        finally:
            server.terminate()
            server.wait(20)


if __name__ == '__main__':
    main()
