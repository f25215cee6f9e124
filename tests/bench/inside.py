#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The part of the bench that runs in the lab; tests/bench/run starts it.

Writes raw.csv, floors.csv, counted.csv and so on into the output folder as it
goes, so that what was measured stays whatever ends the run.
"""
import argparse
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import counted                                          # noqa: E402
import peers                                            # noqa: E402
import probe                                            # noqa: E402
import timeline                                         # noqa: E402
from clients import process_cpu, run_client             # noqa: E402

GROWTH_REQUESTS = 6000
COLUMNS = ('round', 'store', 'contestant', 'work', 'ios', 'us', 'iops', 'mbs',
           'client_cpu_us', 'server_cpu_us', 'machine_cpu_us', 'p50', 'p99',
           'p999')


class Lab:
    def __init__(self, options):
        self.address = os.environ['RDISK_LAB_ADDR']
        self.engine = os.environ.get('RDISK_LAB_ENGINE', '?')
        self.folder = '/dev/shm/bench'
        self.options = options
        # Of the servers that are started from now on: variables, and what
        # they run under.
        self.environment, self.under = {}, []
        self.probe = os.path.join(self.folder, 'probe')
        os.makedirs(self.folder, exist_ok=True)
        # A build in the middle of a run changes nothing.
        self.bin = self.folder
        for program in ('rdiskd', 'rdisk'):
            shutil.copy(os.path.join(peers.BIN, program), self.folder)

    def seconds_of(self, count, work):
        """fio counts seconds: at least one."""
        return max(1, round(self.options.seconds))


class Store:
    """256 MiB in a tmpfs, as a file or behind loop devices.  A loop device for
    each contestant, as some claim theirs."""
    def __init__(self, kind, folder):
        self.kind, self.block = kind, kind == 'loop'
        self.file = os.path.join(folder, 'disk.' + kind)
        self.loops = []
        with open(self.file, 'wb') as file:
            for _ in range(peers.STORE_SIZE >> 20):
                file.write(os.urandom(4096) * 256)

    def path(self):
        if not self.block:
            return self.file
        result = subprocess.run(
            ['losetup', '--find', '--show', self.file], capture_output=True,
            text=True)
        if result.returncode:
            raise peers.Absent('losetup: ' + result.stderr.strip())
        self.loops.append(result.stdout.strip())
        return self.loops[-1]

    def remove(self):
        for loop in self.loops:
            subprocess.run(['losetup', '-d', loop], capture_output=True)
        os.unlink(self.file)


def fio_result(output):
    job = json.loads(output[output.index('{'):])['jobs'][0]
    ios, seconds = job['mixed']['total_ios'], job['mixed']['runtime'] / 1e3
    cpu = (job['usr_cpu'] + job['sys_cpu']) / 100 * seconds
    values = {'cpu': cpu * 1e6}
    for name, share in (('p50', 50), ('p99', 99), ('p999', 99.9)):
        values[name] = job['mixed']['clat_ns']['percentile'][
            f'{share:.6f}'] / 1e3
    return ios, seconds, values


# ---- The rounds


class Bench:
    def __init__(self, lab, options):
        self.lab, self.options = lab, options
        self.rates = {}         # I/Os per second as last seen
        self.start_up = {}      # CPU seconds of a client that does one I/O
        self.failures = {}
        self.files = {}
        self.part = ''          # of --parts, that runs

    def write(self, name, columns, row):
        if name not in self.files:
            file = open(os.path.join(self.options.output, name), 'w',
                        newline='')
            self.files[name] = (file, csv.writer(file))
            self.files[name][1].writerow(columns)
        file, writer = self.files[name]
        writer.writerow(row)
        file.flush()

    def absent(self, store, contestant, work, reason):
        reason = ' '.join(str(reason).split())
        print(f'  {store} {contestant} {work}: {reason}', flush=True)
        self.write('absent.csv',
                   ('part', 'store', 'contestant', 'work', 'reason'),
                   (self.part, store, contestant, work, reason))

    def begin(self, store, names=None):
        """Starts all contestants, or those of these names."""
        running = []
        for kind in peers.ALL:
            if (store.kind not in kind.stores or
                    names is not None and kind.name not in names or
                    self.options.only and
                    kind.name not in self.options.only.split(',')):
                continue
            contestant = kind(self.lab)
            try:
                contestant.start(store)
                running.append(contestant)
            except (peers.Absent, OSError) as reason:
                self.absent(store.kind, kind.name, '*', reason)
                try:
                    contestant.stop()
                except OSError:
                    pass
        return running

    def once(self, contestant, work, count):
        """One run: ios, seconds, extra values, CPU of client, server and
        machine in seconds, start-up not subtracted."""
        pids = contestant.pids()
        server = process_cpu(pids)
        limit = int(30 + 6 * self.options.seconds)
        run = run_client(contestant.command(work, count), limit)
        output = run.output
        server = process_cpu(pids) - server
        if output.lstrip().startswith('{') or '"jobs"' in output:
            ios, seconds, extra = fio_result(output)
        else:
            seconds, extra = contestant.finished(output, count)
            ios = count
        return ios, seconds, extra, run.cpu, server, run.machine

    def measure(self, number, store, contestant, work):
        key = (store.kind, contestant.name, work.name)
        before = getattr(contestant, 'before', None)
        if before:
            before()
        try:
            if key not in self.rates:
                count = max(4 * work.depth, min(200, (8 << 20) // work.size))
                ios, seconds = self.once(contestant, work, count)[:2]
                self.rates[key] = ios / max(seconds, 1e-4)
            start = (store.kind, contestant.name)
            if start not in self.start_up:
                one = peers.Work('', 4096, 1, 0 if work.read == 0 else 100)
                self.start_up[start] = [
                    min(used) for used in zip(*(
                        self.once(contestant, one, 1)[3:]
                        for _ in range(2)))]
            count = max(2 * work.depth,
                        int(self.rates[key] * self.options.seconds))
            ios, seconds, extra, *cpu = self.once(contestant, work, count)
            self.rates[key] = ios / max(seconds, 1e-4)
        finally:
            if before:
                contestant.after()
        # What is lost in the noise of starting stays empty.
        client, server, machine = (
            (used - start) / ios * 1e6 if used > start else ''
            for used, start in zip(cpu, self.start_up[start]))
        if 'cpu' in extra:
            client = extra['cpu'] / ios
        row = {
            'round': number, 'store': store.kind,
            'contestant': contestant.name, 'work': work.name, 'ios': ios,
            'us': seconds / ios * 1e6, 'iops': ios / seconds,
            'mbs': ios * work.size / seconds / 1e6,
            'client_cpu_us': client,
            'server_cpu_us': server if contestant.pids() or before else '',
            'machine_cpu_us': machine,
            **{key: extra.get(key, '') for key in ('p50', 'p99', 'p999')},
        }
        self.write('raw.csv', COLUMNS, [
            f'{row[key]:.2f}' if isinstance(row[key], float) else row[key]
            for key in COLUMNS])

    def round(self, number, store, running):
        for index, work in enumerate(self.options.work_list):
            # Another one begins each time.
            turn = (number + index) % max(1, len(running))
            for contestant in running[turn:] + running[:turn]:
                if work.mixed and not contestant.mixes:
                    continue
                if contestant.large_only and work.size < 1 << 20:
                    continue
                if contestant.reads_only and work.read != 100:
                    continue
                key = (store.kind, contestant.name, work.name)
                if self.failures.get(key, 0) >= 2:
                    continue
                try:
                    self.measure(number, store, contestant, work)
                except (RuntimeError, OSError, TypeError, ValueError) as why:
                    self.failures[key] = self.failures.get(key, 0) + 1
                    self.absent(*key, why)

    # ---- perftest, by the clock: some machines do not tell it their MHz

    def perftest(self, number):
        for name, program, size, count, flags in (
                ('send_lat_64', 'ib_send_lat', 64, 1000, ()),
                ('write_lat_4k', 'ib_write_lat', 4096, 1000, ()),
                ('write_bw_64k', 'ib_write_bw', 65536, 1000, ('-t', '64'))):
            if self.options.quick:
                count //= 4
            try:
                peers.need(program)
                if os.cpu_count() == 1 and program != 'ib_write_bw':
                    raise peers.Absent('both ends poll, and there is one CPU')
                few = self.perftest_run(program, size, 10, flags)
                many = self.perftest_run(program, size, count, flags)
                if many < 1.3 * few:
                    raise RuntimeError('lost in the noise of starting')
                us = (many - few) / (count - 10) * 1e6
                if program != 'ib_write_bw':
                    us /= 2     # an iteration is there and back
                self.write('floors.csv', ('round', 'floor', 'us', 'mbs'),
                           (number, name, f'{us:.2f}',
                            f'{size / us:.2f}'))
            except (RuntimeError, OSError, peers.Absent) as reason:
                self.absent('-', 'perftest', name, reason)

    def perftest_run(self, program, size, count, flags):
        # perftest wants at least 5 iterations; -F: any CPU frequency.
        command = [program, '-R', '-F', '-s', str(size), '-n', str(count),
                   '-p', '18515', *flags]
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        try:
            time.sleep(0.3 if self.lab.engine != 'tcg' else 1.5)
            begin = time.monotonic()
            run_client(command + [self.lab.address], 60)
            return time.monotonic() - begin
        finally:
            try:
                server.wait(5)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()

    # ---- Many sessions: the same 64 requests in flight, shared among them,
    # and 8 of each

    def growth(self, number):
        uri = (f'rdma://{self.lab.address}:{peers.Rdisk.port}/memory'
               '?shared=on&slots=64&slot-size=4k')
        for depth in ('64 in all', '8 each'):
            for sessions in (1, 8, 64):
                self.grow(number, uri, sessions, depth)

    def grow(self, number, uri, sessions, depth):
        under_way = 64 if depth == '64 in all' else 8 * sessions
        try:
            output = run_client(
                [os.path.join(peers.BIN, 'bench-client'), uri,
                 '-d', str(under_way), '-S', str(sessions),
                 '-c', str(GROWTH_REQUESTS)], 60).output
        except RuntimeError as why:
            self.absent('memory', f'{sessions} sessions, {depth}', 'growth',
                        why)
            return
        seconds = float(re.search(r'seconds=([0-9.]+)', output)[1])
        self.write('growth.csv', ('round', 'depth', 'sessions', 'us', 'iops'),
                   (number, depth, sessions,
                    f'{seconds / GROWTH_REQUESTS * 1e6:.2f}',
                    f'{GROWTH_REQUESTS / seconds:.0f}'))

    # ---- All of it

    def rounds(self, store, running, end, first):
        longest = 0
        for number in range(1, self.options.rounds + 1):
            if number > 1 and longest > end - time.monotonic():
                print(f'  no time for round {number}', flush=True)
                break
            start = time.monotonic()
            for part, run in (
                    ('floors', self.perftest),
                    ('rounds', lambda n: self.round(n, store, running)),
                    ('growth', self.growth)):
                if part in self.options.parts and (first or part == 'rounds'):
                    self.part = part
                    run(number)
            longest = max(longest, time.monotonic() - start)
            print(f'  round {number}: {time.monotonic() - start:.0f} s',
                  flush=True)

    def probed(self, store):
        """With other servers, which have the probe: they are slower."""
        parts = self.options.parts
        names = None if 'counts' in parts else timeline.CONTESTANTS
        self.lab.environment = probe.environment(self.lab.probe,
                                                 timeline.STAMPS)
        running = self.begin(store, names)
        try:
            for part, run in (
                    ('timeline', lambda: timeline.run(self, running)),
                    ('counts', lambda: counted.Counted(self).run(running))):
                if part in parts:
                    self.timed(part, run)
        finally:
            self.lab.environment = {}
            self.end(running)

    def timed(self, part, run):
        self.part = part
        start = time.monotonic()
        run()
        print(f'  {part}: {time.monotonic() - start:.0f} s', flush=True)

    @staticmethod
    def end(running):
        for contestant in reversed(running):
            contestant.stop()

    def on_store(self, store, end, first):
        parts = self.options.parts
        if {'floors', 'rounds', 'growth'} & set(parts):
            self.part = 'rounds'
            running = self.begin(store)
            print(f'{store.kind}: ' + ' '.join(c.name for c in running),
                  flush=True)
            try:
                self.rounds(store, running, end, first)
            finally:
                self.end(running)
        if first and {'timeline', 'counts'} & set(parts):
            self.probed(store)
        if first and 'instructions' in parts:
            self.timed('instructions',
                       lambda: counted.Counted(self).instructions(store))

    def run(self):
        kinds = self.options.stores.split(',')
        with open(os.path.join(self.options.output, 'machine.json'),
                  'w') as file:
            json.dump({
                'engine': self.lab.engine, 'kernel': os.uname().release,
                'cpus': os.cpu_count(), 'stores': kinds,
                'seconds': self.options.seconds,
                'date': time.strftime('%Y-%m-%d', time.gmtime())}, file)
        end = time.monotonic() + self.options.minutes * 60
        for index, kind in enumerate(kinds):
            store = Store(kind, self.lab.folder)
            # What is left is shared among the stores that are left.
            left = end - time.monotonic()
            self.on_store(store,
                          time.monotonic() + left / (len(kinds) - index),
                          index == 0)
            store.remove()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--output', required=True)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--seconds', type=float, default=0.5)
    parser.add_argument('--minutes', type=float, default=20)
    parser.add_argument('--stores', default='tmpfs,loop')
    parser.add_argument('--works', default='')
    parser.add_argument('--only', default='')
    parser.add_argument('--quick', action='store_true')
    parser.add_argument('--parts', required=True)
    options = parser.parse_args()
    options.parts = options.parts.split(',')
    options.work_list = [
        work for work in peers.make_works()
        if not options.works or any(part in work.name
                                    for part in options.works.split(','))]
    Bench(Lab(options), options).run()


main()
