#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The part of the bench that runs in the lab; tests/bench/run starts it.

Writes raw.csv, floors.csv, counted.csv and absent.csv into the output folder
as it goes, so that what was measured stays whatever ends the run.
"""
import argparse
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import peers                                            # noqa: E402

TICK = os.sysconf('SC_CLK_TCK')
COLUMNS = ('round', 'store', 'contestant', 'work', 'ios', 'us', 'iops', 'mbs',
           'client_cpu_us', 'server_cpu_us', 'machine_cpu_us', 'p50', 'p99',
           'p999')


class Lab:
    def __init__(self, options):
        self.address = os.environ['RDISK_LAB_ADDR']
        self.engine = os.environ.get('RDISK_LAB_ENGINE', '?')
        self.folder = '/dev/shm/bench'
        self.options = options
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


# ---- CPU time


def process_cpu(pids):
    """Seconds of CPU time that these processes have used, all threads."""
    ticks = 0
    for pid in pids:
        with open(f'/proc/{pid}/stat') as file:
            fields = file.read().rsplit(')', 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICK


def machine_cpu():
    """Seconds that the CPUs of this machine were busy, the kernel included."""
    with open('/proc/stat') as file:
        user, nice, system, _, _, irq, softirq = map(
            int, file.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / TICK


def run_client(command, limit):
    """Output, CPU seconds of the client, CPU seconds of the machine."""
    machine = machine_cpu()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True,
                               start_new_session=True)

    def expired(*_):
        os.killpg(process.pid, signal.SIGKILL)
    signal.signal(signal.SIGALRM, expired)
    signal.alarm(limit)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    signal.alarm(0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode == -signal.SIGKILL:
        raise RuntimeError(f'not finished after {limit} s')
    if process.returncode:
        words = output.strip().splitlines() or ['no word']
        # Its complaint, or else the last it said.
        complaints = [line for line in words
                      if re.search('rror|ailed|annot|nable', line)]
        raise RuntimeError(f'status {process.returncode}: '
                           f'{(complaints or words)[-1]}')
    return output, usage.ru_utime + usage.ru_stime, machine_cpu() - machine


def fio_result(output):
    report = json.loads(output[output.index('{'):])
    job = report['jobs'][0]
    ios = job['read']['total_ios'] + job['write']['total_ios']
    seconds = max(job['read']['runtime'], job['write']['runtime']) / 1e3
    cpu = (job['usr_cpu'] + job['sys_cpu']) / 100 * seconds
    return ios, seconds, {'cpu': cpu * 1e6}


# ---- The rounds


class Bench:
    def __init__(self, lab, options):
        self.lab, self.options = lab, options
        self.rates = {}         # I/Os per second as last seen
        self.start_up = {}      # CPU seconds of a client that does one I/O
        self.failures = {}
        self.files = {}

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
        self.write('absent.csv', ('store', 'contestant', 'work', 'reason'),
                   (store, contestant, work, reason))

    def begin(self, store):
        running = []
        for kind in peers.ALL:
            if (self.options.only and
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
        output, client, machine = run_client(
            contestant.command(work, count), limit)
        server = process_cpu(pids) - server
        if output.lstrip().startswith('{') or '"jobs"' in output:
            ios, seconds, extra = fio_result(output)
        else:
            seconds, extra = contestant.finished(output, count)
            ios = count
        return ios, seconds, extra, client, server, machine

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
        for name, program, size, count in (
                ('send_lat_64', 'ib_send_lat', 64, 1000),
                ('write_lat_4k', 'ib_write_lat', 4096, 1000),
                ('write_bw_64k', 'ib_write_bw', 65536, 1000)):
            if self.options.quick:
                count //= 4
            try:
                peers.need(program)
                if os.cpu_count() == 1 and program != 'ib_write_bw':
                    raise peers.Absent('both ends poll, and there is one CPU')
                few = self.perftest_run(program, size, 10)
                many = self.perftest_run(program, size, count)
                if many < 2 * few:
                    raise RuntimeError('lost in the noise of starting')
                us = (many - few) / (count - 10) * 1e6
                if program != 'ib_write_bw':
                    us /= 2     # an iteration is there and back
                self.write('floors.csv', ('round', 'floor', 'us', 'mbs'),
                           (number, name, f'{us:.2f}',
                            f'{size / us:.2f}'))
            except (RuntimeError, OSError, peers.Absent) as reason:
                self.absent('-', 'perftest', name, reason)

    def perftest_run(self, program, size, count):
        # perftest wants at least 5 iterations; -F: any CPU frequency.
        command = [program, '-R', '-F', '-s', str(size), '-n', str(count),
                   '-p', '18515']
        if program == 'ib_write_bw':
            command += ['-t', '64']
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

    # ---- Many sessions: the same 64 requests under way, shared among them

    def growth(self, number):
        uri = (f'rdma://{self.lab.address}:{peers.Rdisk.port}/memory'
               '?shared=on&slots=64&slot-size=4k')
        for sessions in (1, 8, 64):
            try:
                output = run_client(
                    [os.path.join(peers.BIN, 'bench-client'), uri, '-d', '64',
                     '-S', str(sessions), '-c', '6000'], 60)[0]
            except RuntimeError as why:
                self.absent('memory', f'{sessions} sessions', 'growth', why)
                continue
            seconds = float(re.search(r'seconds=([0-9.]+)', output)[1])
            self.write('growth.csv', ('round', 'sessions', 'us', 'iops'),
                       (number, sessions, f'{seconds / 6000 * 1e6:.2f}',
                        f'{6000 / seconds:.0f}'))

    # ---- Counted runs: what does not depend on the clock

    def counted(self, store, running):
        for contestant in running:
            if hasattr(contestant, 'before') or contestant.large_only:
                continue
            for work in self.options.work_list:
                if work.name in ('4k-qd1-read', '4k-qd32-write'):
                    try:
                        self.count(store, contestant, work)
                    except (RuntimeError, OSError, TypeError) as why:
                        self.absent(store.kind, contestant.name,
                                    work.name + ' (counted)', why)

    def count(self, store, contestant, work):
        count = 800
        values = {}
        if isinstance(contestant, peers.Rdisk):
            values.update(self.rdisk_counters(contestant, work, count))
        for name, calls in self.client_calls(contestant, work,
                                             count).items():
            values['client ' + name] = calls
        for name, calls in self.server_calls(contestant, work,
                                             count).items():
            values['server ' + name] = calls
        for name, value in sorted(values.items()):
            self.write('counted.csv',
                       ('store', 'contestant', 'work', 'count', 'per_io'),
                       (store.kind, contestant.name, work.name, name,
                        f'{value:.4f}'))

    def rdisk_counters(self, contestant, work, count):
        """Of the server, and of the driver where it is QEMU's."""
        command = contestant.command(work, count)
        if command[0] == peers.OWN_IMG:
            command[1:1] = ['-T', 'rdma_close']
        before = self.server_counters(contestant)
        output = run_client(command, 60)[0]
        after = self.server_counters(contestant)
        values = {f'server: {name}': (after[name] - before[name]) / count
                  for name in after}
        line = re.search(r'rdma_close (.*)', output)
        if line:
            for name, value in re.findall(r'([a-z][a-z ]*[a-z]) (\d+)',
                                          line[1]):
                values['client: ' + name.replace(' ', '_')] = (
                    int(value) / count)
        else:
            for name, value in re.findall(r'([a-z_]+)=(\d+)(?=\s)',
                                          output.splitlines()[-1]):
                values['client: ' + name] = int(value) / count
        return values

    def server_counters(self, contestant):
        for _ in range(50):
            result = subprocess.run(
                [os.path.join(self.lab.bin, 'rdisk'), 'stat', '--json',
                 '--control', contestant.control], capture_output=True,
                text=True, check=True)
            stat = json.loads(result.stdout)
            if not stat['sessions']:
                break
            time.sleep(0.1)
        counters = next(dict(volume['counters'])
                        for volume in stat['volumes']
                        if volume['name'] == contestant.volume)
        for name in ('turns', 'completions'):
            counters['reactor_' + name] = sum(
                reactor[name] for reactor in stat['reactors'])
        return counters

    @staticmethod
    def parse_strace(path):
        calls = {}
        with open(path) as file:
            for line in file:
                words = line.split()
                if (len(words) >= 5 and re.fullmatch(r'[0-9.]+', words[0])
                        and words[-1] != 'total'):
                    calls[words[-1]] = int(words[3])
        return calls

    def strace(self, command, limit):
        path = os.path.join(self.lab.folder, 'strace')
        run_client(['strace', '-f', '-c', '-o', path, *command], limit)
        return self.parse_strace(path)

    def client_calls(self, contestant, work, count):
        """The slope between two counts, so that starting costs nothing."""
        few = self.strace(contestant.command(work, count // 4), 120)
        many = self.strace(contestant.command(work, count), 120)
        share = count - count // 4
        calls = {name: (many.get(name, 0) - few.get(name, 0)) / share
                 for name in many}
        calls['system calls'] = sum(calls.values())
        return {name: value for name, value in calls.items()
                if value >= 0.005 or name == 'system calls'}

    def server_calls(self, contestant, work, count):
        if not contestant.pids():
            return {}
        totals = []
        for part in (count // 4, count):
            path = os.path.join(self.lab.folder, 'strace.server')
            tracer = subprocess.Popen(
                ['strace', '-f', '-c', '-o', path, '-p',
                 str(contestant.pids()[0])], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                time.sleep(1)
                run_client(contestant.command(work, part), 120)
            finally:
                tracer.send_signal(signal.SIGINT)
                tracer.wait(20)
            totals.append(self.parse_strace(path))
        few, many = totals
        share = count - count // 4
        calls = {name: (many.get(name, 0) - few.get(name, 0)) / share
                 for name in many}
        calls['system calls'] = sum(calls.values())
        return {name: value for name, value in calls.items()
                if value >= 0.005 or name == 'system calls'}

    # ---- All of it

    def run(self):
        begin = time.monotonic()
        kinds = self.options.stores.split(',')
        share = self.options.minutes * 60 / len(kinds)
        for index, kind in enumerate(kinds):
            store = Store(kind, self.lab.folder)
            running = self.begin(store)
            print(f'{kind}: ' + ' '.join(c.name for c in running),
                  flush=True)
            longest = 0
            for number in range(1, self.options.rounds + 1):
                left = share * (index + 1) - (time.monotonic() - begin)
                if number > 1 and longest > left:
                    print(f'  no time for round {number}', flush=True)
                    break
                start = time.monotonic()
                if index == 0:
                    self.perftest(number)
                self.round(number, store, running)
                if index == 0 and self.options.growth:
                    self.growth(number)
                longest = max(longest, time.monotonic() - start)
                print(f'  round {number}: {time.monotonic() - start:.0f} s',
                      flush=True)
            if index == 0 and not (self.options.no_counts or
                                   self.options.quick):
                start = time.monotonic()
                self.counted(store, running)
                print(f'  counted: {time.monotonic() - start:.0f} s',
                      flush=True)
            for contestant in reversed(running):
                contestant.stop()
            store.remove()
        with open(os.path.join(self.options.output, 'machine.json'),
                  'w') as file:
            json.dump({
                'engine': self.lab.engine, 'kernel': os.uname().release,
                'cpus': os.cpu_count(), 'stores': kinds,
                'seconds': self.options.seconds}, file)


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
    parser.add_argument('--no-counts', action='store_true')
    parser.add_argument('--growth', action='store_true')
    options = parser.parse_args()
    options.work_list = [
        work for work in peers.make_works()
        if not options.works or any(part in work.name
                                    for part in options.works.split(','))]
    Bench(Lab(options), options).run()


main()
