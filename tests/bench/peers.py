# SPDX-License-Identifier: BSD-3-Clause
"""The contestants: how each is served, and what its client's command is.

All of them serve the same store.  A contestant that cannot run here raises
Absent with the reason, which the report tells.
"""
import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import time

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), '../..'))
BIN = os.path.join(TOP, 'build/bin')
OWN_IMG = os.path.join(BIN, 'qemu-img')
SYSTEM_IMG = '/usr/bin/qemu-img'        # it has libiscsi; ours has not
STORE_SIZE = 256 << 20
VALGRIND = ['valgrind', '--tool=callgrind', '--callgrind-out-file=/dev/null']


class Absent(Exception):
    """Why a contestant cannot run here."""


class Work:
    """One kind of load."""
    def __init__(self, name, size, depth, read):
        self.name, self.size, self.depth, self.read = name, size, depth, read

    @property
    def mixed(self):
        return self.read not in (0, 100)


def make_works():
    works = []
    for label, size, depth in (('4k-qd1', 4096, 1), ('4k-qd32', 4096, 32),
                               ('16k-qd8', 16384, 8),
                               ('128k-qd8', 131072, 8),
                               ('1m-qd4', 1 << 20, 4)):
        works.append(Work(label + '-read', size, depth, 100))
        works.append(Work(label + '-write', size, depth, 0))
    works.append(Work('4k-qd32-mix', 4096, 32, 70))
    return works


def write_file(path, text):
    with open(path, 'w') as file:
        file.write(text)


def read_file(path):
    with open(path) as file:
        return file.read().strip()


def need(*programs):
    for program in programs:
        path = os.path.join('/usr/sbin', program)
        if not (os.access(path, os.X_OK) or any(
                os.access(os.path.join(folder, program), os.X_OK)
                for folder in os.environ['PATH'].split(':'))):
            raise Absent(f'no {program} here; run: packaging/setup bench')


def wait_for(condition, what, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Absent(f'{what}: not within {seconds} s')
        time.sleep(0.05)


def listens(address, port):
    try:
        with socket.create_connection((address, port), 1):
            return True
    except OSError:
        return False


class Contestant:
    name = title = ''
    mixes = False               # its client can do the 70/30 mix
    large_only = False          # measured with 1 MiB only
    reads_only = False          # it cannot be written
    user_space = False          # a peer whose server is in user space
    floor = False               # a floor, not a peer
    in_kernel = False           # both its sides, where no probe sees them
    stores = ('tmpfs', 'loop')  # those of the bench that it can serve

    def __init__(self, lab):
        self.lab = lab          # address, folder, engine
        self.processes = []

    # ---- Life

    def start(self, store):
        pass

    def stop(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = []

    def spawn(self, command, ready=None, environment=None):
        log = open(os.path.join(self.lab.folder, self.name + '.log'), 'a+')
        variables = dict(self.lab.environment)
        for name, value in (environment or {}).items():
            # Preloaded are the lab's library and the contestant's own.
            variables[name] = ' '.join(filter(None, (value,
                                                     variables.get(name))))
        process = subprocess.Popen(
            self.lab.under + command, stdin=subprocess.DEVNULL, stdout=log,
            stderr=log, env=dict(os.environ, **variables))
        self.processes.append(process)
        if ready is None:
            return process

        def settled():
            if process.poll() is not None:
                log.seek(0)
                words = log.read().strip().splitlines() or ['no word']
                raise Absent(f'{command[0]} ends: {words[-1]}')
            return ready()
        wait_for(settled, f'{os.path.basename(command[0])} serves')
        return process

    def said(self, text):
        path = os.path.join(self.lab.folder, self.name + '.log')
        with open(path) as log:
            return text in log.read()

    # ---- Measuring

    def command(self, work, count):
        raise NotImplementedError

    def finished(self, output, count):
        """Seconds of the run proper, and what else the client tells."""
        match = re.search(r'Run completed in ([0-9.]+) seconds', output)
        return float(match[1]), {}

    def pids(self):
        return [process.pid for process in self.processes]


def img(program, work, count, *target):
    command = [program, 'bench', '-t', 'none', '-c', str(count),
               '-d', str(work.depth), '-s', str(work.size)]
    if work.read == 0:
        command.append('-w')
    return command + list(target)


def fio(work, seconds, *options):
    return ['fio', '--name=mix', '--rw=rw', f'--rwmixread={work.read}',
            f'--bs={work.size}', f'--iodepth={work.depth}',
            f'--size={STORE_SIZE}', '--time_based', f'--runtime={seconds}',
            '--unified_rw_reporting=1', '--percentile_list=50:99:99.9',
            '--output-format=json', *options]


class Device(Contestant):
    """Something that has a path in the end: a file or a block device."""
    mixes = True
    path = ''

    def command(self, work, count):
        if work.mixed:
            return fio(work, self.lab.seconds_of(count, work),
                       '--ioengine=libaio', '--direct=1',
                       f'--filename={self.path}')
        return img(OWN_IMG, work, count, '-n', '--image-opts',
                   'driver=raw,file.driver='
                   + ('host_device' if self.path.startswith('/dev/')
                      and not self.path.startswith('/dev/shm') else 'file')
                   + f',file.filename={self.path},file.locking=off'
                   + ',cache.direct=on,file.aio=native')


class Local(Device):
    name, title, floor = 'local', 'local file', True

    def start(self, store):
        self.path = store.path()


# ---- rdisk


class Rdisk(Contestant):
    """The first of its variants starts the server of all."""
    name, title = 'rdisk', 'rdisk'
    port, volume, options = 7471, 'disk', ''
    server = None               # process, shared by the variants

    def start(self, store):
        folder = self.lab.folder
        self.control = os.path.join(folder, 'rdiskd.control')
        if Rdisk.server:
            return
        config = os.path.join(folder, 'rdiskd.conf')
        write_file(config, f'[server]\nauthentication = none\n'
                           f'[volume disk]\nbackend = file\n'
                           f'path = {store.path()}\n[volume memory]\n'
                           f'backend = memory\nsize = {STORE_SIZE}\n')
        write_file(os.path.join(folder, self.name + '.log'), '')
        Rdisk.server = self.spawn(
            [os.path.join(self.lab.bin, 'rdiskd'), '--config', config,
             '--listen', self.lab.address, '--port', str(self.port),
             '--control', self.control],
            lambda: self.said('rdiskd: serving'))

    def stop(self):
        if self.processes:
            Rdisk.server = None
        super().stop()

    def pids(self):
        return [Rdisk.server.pid]

    @property
    def uri(self):
        return (f'rdma://{self.lab.address}:{self.port}/{self.volume}'
                f'{self.options}')

    def command(self, work, count):
        return img(OWN_IMG, work, count, '-f', 'raw', self.uri)


class RdiskLarge(Rdisk):
    name, title = 'rdisk-1m', 'rdisk, slot-size=1M'
    options, large_only = '?slot-size=1M', True


class RdiskMemory(Rdisk):
    name, title = 'rdisk-memory', 'rdisk, memory backend'
    stores = ('tmpfs',)
    volume = 'memory'


class RdiskResident(Rdisk):
    """An image in the server's memory, which its client reads by RDMA READ."""
    name, title = 'rdisk-resident', 'rdisk, resident volume'
    stores = ('tmpfs',)
    port, volume, reads_only = 7473, 'image', True

    def start(self, store):
        folder = self.lab.folder
        self.control = os.path.join(folder, 'resident.control')
        # A server locks its file, so this one has its own.
        self.file = os.path.join(folder, 'disk.resident')
        shutil.copy(store.file, self.file)
        write_file(os.path.join(folder, self.name + '.log'), '')
        self.spawn(
            [os.path.join(self.lab.bin, 'rdiskd'), '--config', '',
             '--authentication', 'none', '--volume',
             f'image=resident:{self.file},read-only',
             '--listen', self.lab.address, '--port', str(self.port),
             '--control', self.control],
            lambda: self.said('rdiskd: serving'))
        os.unlink(self.file)

    def stop(self):
        Contestant.stop(self)

    def pids(self):
        return [process.pid for process in self.processes]


class Tool(Contestant):
    """A client of ours that prints name=value."""
    mixes = True

    def finished(self, output, count):
        values = dict(word.split('=') for word in output.split()
                      if '=' in word)
        return float(values.pop('seconds')), {
            key: float(value) for key, value in values.items()}

    @staticmethod
    def load(work, count):
        way = {100: [], 0: ['-w']}.get(work.read, ['-m', str(work.read)])
        return [*way, '-s', str(work.size), '-d', str(work.depth),
                '-c', str(count)]


class RdiskLibrary(Tool, Rdisk):
    name, title = 'rdisk-lib', 'librdisk, no QEMU'
    flags = []

    def command(self, work, count):
        return [os.path.join(BIN, 'bench-client'), self.uri,
                *self.load(work, count), *self.flags]


class RdiskPolling(RdiskLibrary):
    name, title = 'rdisk-lib-poll', 'librdisk, client polls'
    stores = ('tmpfs',)
    flags = ['-p']


class RdiskBothPolling(RdiskPolling):
    """Like the ideal program's, its server is there only when measured."""
    name, title = 'rdisk-both-poll', 'librdisk, both sides poll'
    port = 7472

    def start(self, store):
        # A server locks its file, so this one has its own.
        self.file = os.path.join(self.lab.folder, 'disk.polling')
        shutil.copy(store.file, self.file)
        self.control = os.path.join(self.lab.folder, 'polling.control')

    def before(self):
        write_file(os.path.join(self.lab.folder, self.name + '.log'), '')
        self.spawn(
            [os.path.join(self.lab.bin, 'rdiskd'), '--config', '',
             '--authentication', 'none', '--volume',
             'disk=file:' + self.file, '--poll-time', '10000',
             '--listen', self.lab.address, '--port', str(self.port),
             '--control', self.control],
            lambda: self.said('rdiskd: serving'))

    def after(self):
        Contestant.stop(self)

    def stop(self):
        Contestant.stop(self)

    def pids(self):
        return [process.pid for process in self.processes]


class RdiskLibraryMemory(RdiskLibrary):
    name, title = 'rdisk-lib-memory', 'librdisk, memory backend'
    stores = ('tmpfs',)
    volume = 'memory'


# ---- The ideal program


class Ideal(Tool):
    name, title, port = 'ideal', 'ideal program, sleeping', 7501
    flags, with_file, floor = [], False, True

    def start(self, store):
        self.store = store
        self.serve()

    def serve(self):
        write_file(os.path.join(self.lab.folder, self.name + '.log'), '')
        file = ['-f', self.store.path()] if self.with_file else []
        self.spawn([os.path.join(BIN, 'bench-ideal'), 'server',
                    self.lab.address, str(self.port), *file, *self.flags],
                   lambda: self.said('ready'))

    def command(self, work, count):
        return [os.path.join(BIN, 'bench-ideal'), 'client',
                self.lab.address, str(self.port), *self.load(work, count),
                *self.flags]


class IdealFile(Ideal):
    name, title, port = 'ideal-file', 'ideal program with pread/pwrite', 7502
    with_file = True


class IdealPolling(Ideal):
    """Its server burns a CPU: it is there only while it is measured."""
    name, title, port = 'ideal-poll', 'ideal program, polling', 7503
    stores = ('tmpfs',)
    flags = ['-p']

    def start(self, store):
        self.store = store

    def before(self):
        self.serve()

    def after(self):
        self.stop()


# ---- NBD


class QemuNbd(Contestant):
    name, title, port = 'nbd-qemu', 'NBD/TCP, qemu-nbd', 10809
    user_space = mixes = True

    def start(self, store):
        path = store.path()
        driver = 'host_device' if store.block else 'file'
        self.spawn([os.path.join(BIN, 'qemu-nbd'), '-t', '-e', '4',
                    '-b', self.lab.address, '-p', str(self.port), '-x',
                    'disk', '--image-opts',
                    f'driver=raw,file.driver={driver},file.filename={path},'
                    'file.locking=off,cache.direct=on,file.aio=native'],
                   lambda: listens(self.lab.address, self.port))

    def command(self, work, count):
        uri = f'nbd://{self.lab.address}:{self.port}/disk'
        if work.mixed:
            return fio(work, self.lab.seconds_of(count, work),
                       '--ioengine=nbd', f'--uri={uri}')
        return img(OWN_IMG, work, count, '-f', 'raw', uri)


class Nbdkit(QemuNbd):
    name, title, port = 'nbd-nbdkit', 'NBD/TCP, nbdkit', 10810

    def start(self, store):
        need('nbdkit')
        self.spawn(['nbdkit', '-f', '-i', self.lab.address,
                    '-p', str(self.port), '-e', 'disk', 'file',
                    store.path()],
                   lambda: listens(self.lab.address, self.port))


# ---- iSER


class Iser(Contestant):
    name, title, port = 'iser', 'iSER, tgt and libiscsi', 3260
    user_space = True
    target = 'iqn.2026-01.test:disk'

    def admin(self, *words):
        result = subprocess.run(
            ['tgtadm', '--lld', 'iser', *words], capture_output=True,
            text=True)
        if result.returncode:
            raise Absent(f'tgtadm {" ".join(words)}: '
                         + result.stderr.strip())

    def start(self, store):
        need('tgtd', 'tgtadm')
        if not os.path.exists('/usr/lib/x86_64-linux-gnu/qemu/'
                              'block-iscsi.so'):
            raise Absent('no qemu-block-extra here; run: packaging/setup '
                         'bench')
        preload = {}
        try:
            write_file('/proc/sys/vm/nr_hugepages', '80')
        except OSError:
            preload = {'LD_PRELOAD': os.path.join(TOP, 'build/lib',
                                                  'bench-shmget.so')}
        os.makedirs('/var/run/tgtd', exist_ok=True)
        write_file('/proc/sys/kernel/shmmax', str(1 << 30))
        self.spawn(['tgtd', '-f', '--iscsi', 'portal=127.0.0.1:3261',
                    '--iser', 'pool_sz_mb=128'],
                   lambda: subprocess.run(
                       ['tgtadm', '--lld', 'iser', '--mode', 'system',
                        '--op', 'show'], capture_output=True).returncode == 0,
                   preload)
        self.admin('--mode', 'target', '--op', 'new', '--tid', '1',
                   '-T', self.target)
        self.admin('--mode', 'logicalunit', '--op', 'new', '--tid', '1',
                   '--lun', '1', '-b', store.path(),
                   '--bstype', 'aio')
        # tgt wants the initiator's name bound besides its address.
        self.admin('--mode', 'target', '--op', 'bind', '--tid', '1',
                   '-I', 'ALL')
        self.admin('--mode', 'target', '--op', 'bind', '--tid', '1',
                   '-Q', 'iqn.2008-11.org.linux-kvm')

    def command(self, work, count):
        return img(SYSTEM_IMG, work, count, '-f', 'raw',
                   f'iser://{self.lab.address}:{self.port}/{self.target}/1')

    def stop(self):
        for process in self.processes:
            process.kill()      # with sessions left it does not end otherwise
        super().stop()


# ---- NVMe over fabrics, initiator and target in the kernel

NVMET = '/sys/kernel/config/nvmet'


class NvmeRdma(Device):
    name, title = 'nvme-rdma', 'NVMe-oF/RDMA'
    in_kernel = True
    transport, port = 'rdma', 4420

    @property
    def subsystem(self):
        return f'nqn.2026-01.test:{self.name}'

    def load_modules(self):
        for module in ('nvmet', f'nvmet-{self.transport}',
                       f'nvme-{self.transport}'):
            subprocess.run(['modprobe', module], capture_output=True)
        if not os.path.isdir(NVMET):
            subprocess.run(['mount', '-t', 'configfs', 'none',
                            '/sys/kernel/config'], capture_output=True)
        if not os.path.isdir(NVMET):
            raise Absent('this kernel has no nvmet')
        if not os.path.exists('/dev/nvme-fabrics'):
            raise Absent('this kernel has no nvme-fabrics')

    def start(self, store):
        self.load_modules()
        subsystem = f'{NVMET}/subsystems/{self.subsystem}'
        number = self.port - 4419
        port = f'{NVMET}/ports/{number}'
        try:
            os.mkdir(subsystem)
            write_file(f'{subsystem}/attr_allow_any_host', '1')
            os.mkdir(f'{subsystem}/namespaces/1')
            write_file(f'{subsystem}/namespaces/1/device_path',
                       store.path())
            write_file(f'{subsystem}/namespaces/1/enable', '1')
            os.mkdir(port)
            for key, value in (('trtype', self.transport),
                               ('adrfam', 'ipv4'),
                               ('traddr', self.lab.address),
                               ('trsvcid', str(self.port))):
                write_file(f'{port}/addr_{key}', value)
            os.symlink(subsystem, f'{port}/subsystems/{self.subsystem}')
            write_file('/dev/nvme-fabrics',
                       f'transport={self.transport},'
                       f'traddr={self.lab.address},trsvcid={self.port},'
                       f'nqn={self.subsystem}')
        except OSError as error:
            raise Absent(f'{error}') from error
        wait_for(self.find, 'a block device of the namespace appears')

    def find(self):
        """Below the subsystem with native multipath, else the controller."""
        for base in (glob.glob('/sys/class/nvme-subsystem/*')
                     + glob.glob('/sys/class/nvme/*')):
            if read_file(f'{base}/subsysnqn') != self.subsystem:
                continue
            for entry in os.listdir(base):
                if re.fullmatch(r'nvme\d+n\d+', entry):
                    self.path = f'/dev/{entry}'
                    return os.path.exists(self.path)
        return False

    def stop(self):
        for base in glob.glob('/sys/class/nvme/*'):
            if read_file(f'{base}/subsysnqn') == self.subsystem:
                write_file(f'{base}/delete_controller', '1')
        subsystem = f'{NVMET}/subsystems/{self.subsystem}'
        port = f'{NVMET}/ports/{self.port - 4419}'
        for undo, path in ((os.unlink, f'{port}/subsystems/{self.subsystem}'),
                           (os.rmdir, port),
                           (os.rmdir, f'{subsystem}/namespaces/1'),
                           (os.rmdir, subsystem)):
            try:
                undo(path)
            except OSError:
                pass


class NvmeTcp(NvmeRdma):
    name, title = 'nvme-tcp', 'NVMe-oF/TCP'
    transport, port = 'tcp', 4421


# ---- RNBD, client and server in the kernel

RNBD = '/sys/class/rnbd-client/ctl'


class Rnbd(Device):
    """Its server has block devices only, and any that a client names."""
    name, title, stores = 'rnbd', 'RNBD', ('loop',)
    in_kernel = True

    def start(self, store):
        for module in ('rnbd-server', 'rnbd-client'):
            subprocess.run(['modprobe', module], capture_output=True)
        if not os.path.isdir(RNBD):
            raise Absent('this kernel has no RNBD')
        try:
            write_file(f'{RNBD}/map_device',
                       f'sessname=bench path=ip:{self.lab.address} '
                       f'device_path={store.path()} access_mode=rw')
        except OSError as error:
            raise Absent(f'{error}') from error
        wait_for(lambda: glob.glob('/sys/block/rnbd*/rnbd/unmap_device'),
                 'a block device of RNBD appears')
        self.path = '/dev/' + glob.glob('/sys/block/rnbd*')[0].split('/')[-1]

    def stop(self):
        for path in glob.glob('/sys/block/rnbd*/rnbd/unmap_device'):
            write_file(path, 'force')


ALL = (Local, Rdisk, RdiskLarge, RdiskMemory, RdiskResident, RdiskLibrary,
       RdiskPolling, RdiskBothPolling, RdiskLibraryMemory, Iser, NvmeRdma, NvmeTcp, Rnbd,
       QemuNbd, Nbdkit, Ideal, IdealFile, IdealPolling)
