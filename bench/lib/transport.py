"""bench/run --transport: what a single request costs, by transport, polling and load.

Against a server with no file system behind it (bench_null: libfuse's own multi-threaded loop),
ntfs-3g, the bare image and kernel ext4 on a loop device. Each repetition goes over all targets;
medians are compared with the goals below. docs/PERFORMANCE.md says what the rows mean.
"""
import csv
import os
import statistics
import subprocess
import time
from collections import namedtuple

from lib import shell
from lib.report import columns, number
from lib.shell import Failed, note
from lib.targets import Ext4Loop, Foliofs, FuseTarget, Ntfs3g, Target

ENABLE = '/sys/module/fuse/parameters/enable_uring'
HIT_MIB, COLD_MIB, FILES = 64, 512, 3000
SECONDS = 0.8


class Null(FuseTarget):
    name = 'null'
    null = True

    def format(self):
        pass

    def command(self):
        return [self.setup.program('bench/bench_null'), self.mnt, str(HIT_MIB)]


class Ours(Foliofs):
    """FolioFS with one transport and way of polling."""
    transport, poll, cache = 'dev', 'auto', 'daemon'

    def command(self):
        command = super().command()
        command[-1] += f',transport={self.transport},poll={self.poll},cache_size=384m'
        return command

    def mount(self):
        was = None
        if self.transport == 'uring' and os.path.exists(ENABLE):
            with open(ENABLE, encoding='ascii') as f:
                was = f.read()
            write(ENABLE, 'Y')
        try:
            super().mount()
        finally:
            if was is not None:
                write(ENABLE, was)


def ours(name, transport, poll, cache='daemon'):
    return type('Ours_' + name, (Ours,),
                {'name': name, 'transport': transport, 'poll': poll, 'cache': cache})


class Raw(Target):
    """A file beside the image, by direct I/O."""
    name = 'raw'

    def data(self, _):
        return os.path.join(self.setup.folder, 'raw')

    def start(self):
        if not os.path.exists(self.data('')):
            shell.run(['dd', 'if=/dev/urandom', f"of={self.data('')}", 'bs=1M',
                       f'count={COLD_MIB}', 'conv=fsync'])

    def unmount(self):
        pass

    format = mount = drop = unmount


def write(path, text):
    with open(path, 'w', encoding='ascii') as f:
        f.write(text)


class Hogs:
    """A program that computes without end, for each CPU."""

    def __enter__(self):
        self.hogs = [subprocess.Popen(['sh', '-c', 'while :; do :; done'])
                     for _ in range(os.cpu_count())]

    def __exit__(self, *_):
        for h in self.hogs:
            h.kill()
            h.wait()


class Bench:
    def __init__(self, setup):
        self.setup = setup
        self.values = {}        # (row, target) -> values

    def add(self, row, target, value):
        self.values.setdefault((row, target.name), []).append(value)
        note(f'{target.name:12} {row:22} {number(value):>10}')

    def requests(self, *args):
        out = shell.run([self.setup.program('bench/bench_requests'), *args], timeout=120)
        return [float(x) for x in out.split()]

    def median(self, row, name):
        values = self.values.get((row, name))
        return statistics.median(values) if values else None


def cpu_s(pid):
    with open(f'/proc/{pid}/stat', encoding='ascii') as f:
        fields = f.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def need_data(target, mib):
    if target.null:
        return
    with open(target.data('data'), 'wb') as f:
        for _ in range(mib):
            f.write(os.urandom(1 << 20))
        os.fsync(f.fileno())
    for _ in range(2):
        with open(target.data('data'), 'rb', buffering=0) as f:
            while f.read(1 << 20):
                pass


def hits(bench, target):
    need_data(target, HIT_MIB)
    data = target.data('data')
    used = cpu_s(target.child.pid)
    rate = bench.requests('read', data, 4096, SECONDS, 1)[0]
    bench.add('hit-1', target, rate)
    bench.add('cpu-us', target, (cpu_s(target.child.pid) - used) * 1e6 / (rate * SECONDS))
    bench.add('hit-2', target, bench.requests('read', data, 4096, SECONDS, 2)[0])
    bench.add('hit-depth-32', target, bench.requests('depth', data, 4096, SECONDS, 32)[0])
    bench.add('read-1m', target, bench.requests('read', data, 1 << 20, SECONDS, 1)[0])
    bench.add('write-1m', target, bench.requests('write', data, 1 << 20, SECONDS, 1)[0])
    with Hogs():
        bench.add('hit-1-hogs', target, bench.requests('read', data, 4096, SECONDS, 1)[0])
        bench.add('hit-2-hogs', target, bench.requests('read', data, 4096, SECONDS, 2)[0])
        bench.add('hit-depth-32-hogs', target,
                  bench.requests('depth', data, 4096, SECONDS, 32)[0])


def cold(bench, target):
    if target.name != 'raw':
        need_data(target, COLD_MIB)
    for depth in 1, 32:
        target.drop()
        bench.add(f'cold-{depth}', target,
                  bench.requests('depth', target.data('data'), 4096, SECONDS, depth)[0])


def names(bench, target):
    one, two = os.path.join(target.mnt, 'one'), os.path.join(target.mnt, 'two')
    os.mkdir(one)
    os.mkdir(two)
    bench.add('create-1', target, bench.requests('create', one, FILES, 1)[0])
    bench.add('create-2', target, bench.requests('create', two, FILES, 2)[0])
    os.sync()
    target.drop()
    bench.add('stat-cold', target, bench.requests('stat', one, FILES, 1)[0])
    bench.add('list-again', target, bench.requests('list', one, FILES, 1)[0])
    bench.add('unlink', target, bench.requests('unlink', one, FILES, 1)[0])


PARTS = [
    (hits, [Null, ours('dev-off', 'dev', 'off'), ours('dev', 'dev', 'auto'),
            ours('dev-20', 'dev', '20'), ours('uring-off', 'uring', 'off'),
            ours('uring', 'uring', 'auto'), Ntfs3g]),
    (cold, [ours('dev', 'dev', 'auto'), ours('uring', 'uring', 'auto'), Raw]),
    (names, [ours('dev', 'dev', 'auto'), ours('uring', 'uring', 'auto'),
             ours('kernel-dev', 'dev', 'auto', 'kernel'),
             ours('kernel-uring', 'uring', 'auto', 'kernel'), Ext4Loop, Ntfs3g]),
]

Goal = namedtuple('Goal', 'row peer least what')
GOALS = [
    Goal('hit-1', 'null', 3.0, '4 KiB hit, one reader'),
    Goal('hit-1-hogs', 'null', 5.0, 'the same beside busy programs'),
    Goal('hit-2', 'null', 1.3, 'two readers'),
    Goal('hit-depth-32', 'null', 1.0, 'depth 32'),
    Goal('read-1m', 'null', 1.0, '1 MiB hit, read'),
    Goal('write-1m', 'null', 1.0, '1 MiB hit, write'),
    Goal('cold-1', 'raw', 0.85, 'cold 4 KiB read, depth 1'),
    Goal('cold-32', 'raw', 0.95, 'cold 4 KiB read, depth 32'),
    Goal('create-1', 'ext4', 0.45, 'create, write 100 bytes, close'),
    Goal('create-2', 'ext4', 0.6, 'the same, two processes'),
    Goal('stat-cold', 'ext4', 0.3, 'stat, nothing cached'),
    Goal('list-again', 'ext4', 0.8, 'readdir and stat, second pass'),
    Goal('unlink', 'ext4', 0.4, 'unlink'),
]
OURS = ['dev-off', 'dev', 'dev-20', 'uring-off', 'uring', 'kernel-dev', 'kernel-uring']
PEERS = ['null', 'ntfs-3g', 'raw', 'ext4']


def goal_lines(bench):
    lines = [['what', 'peer', 'goal'] + [n for n in OURS] + ['met by']]
    for g in GOALS:
        peer = bench.median(g.row, g.peer)
        got = {n: bench.median(g.row, n) / peer for n in OURS if bench.median(g.row, n) and peer}
        met = [n for n, r in got.items() if r >= g.least]
        lines.append([g.what, g.peer, f'{g.least:.2f}'] +
                     [f'{got[n]:.2f}' if n in got else '-' for n in OURS] +
                     [' '.join(met) or 'none'])
    null = bench.median('cpu-us', 'null')
    extra = {n: bench.median('cpu-us', n) - null for n in OURS if bench.median('cpu-us', n) and null}
    lines.append(['CPU of a hit beyond null, us', 'null', '<= 1'] +
                 [f'{extra[n]:.1f}' if n in extra else '-' for n in OURS] +
                 [' '.join(n for n, x in extra.items() if x <= 1) or 'none'])
    return lines


def value_lines(bench):
    rows = list(dict.fromkeys(r for r, _ in bench.values))
    lines = [['row'] + OURS + PEERS]
    for r in rows:
        cells = [bench.median(r, n) for n in OURS + PEERS]
        lines.append([r] + ['-' if c is None else number(c) for c in cells])
    return lines


def write_csv(bench, facts, folder):
    os.makedirs(folder, exist_ok=True)
    name = os.path.join(folder, time.strftime('transport-%Y-%m-%d-%H%M%S') + '.csv')
    with open(name, 'w', newline='', encoding='utf-8') as f:
        for fact in facts:
            f.write(f'# {fact}\n')
        out = csv.writer(f, lineterminator='\n')
        out.writerow(['row', 'target', 'repetition', 'value'])
        for (row, target), values in bench.values.items():
            for i, value in enumerate(values):
                out.writerow([row, target, i + 1, f'{value:.3f}'])
    return name


def run(setup, results):
    """True when every goal is met by one of our ways."""
    bench = Bench(setup)
    facts = shell.machine(setup.folder) + [f'{setup.reps} repetition(s), {SECONDS} s a row']
    for _ in range(setup.reps):
        for part, makes in PARTS:
            for make in makes:
                target = make(setup)
                if not target.usable():
                    continue
                try:
                    target.start()
                    part(bench, target)
                except (Failed, OSError) as e:
                    note(f'bench: {target.name}: {e}')
                finally:
                    target.unmount()
    goals = goal_lines(bench)
    print('\n'.join(facts) + '\n\n' + columns(goals) + '\n\noperations a second, medians:\n' +
          columns(value_lines(bench)))
    print(f'\nbench: {write_csv(bench, facts, results)}')
    return all(line[-1] != 'none' for line in goals[1:])
