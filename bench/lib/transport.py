"""bench/run --transport: what a single request costs, by transport, polling and load.

Against a server with no file system behind it (bench_null: libfuse's own multi-threaded loop),
ntfs-3g, the bare image and kernel ext4 on a loop device. Each repetition goes over all targets;
medians are compared with the goals below. docs/PERFORMANCE.md says what the rows mean.
"""
import os
import statistics
import subprocess
import time
from collections import namedtuple

from lib import shell
from lib.report import columns, dated, number, write_csv
from lib.shell import Failed, note
from lib.targets import Ext4Loop, Foliofs, FuseTarget, Ntfs3g, Target

ENABLE = '/sys/module/fuse/parameters/enable_uring'
HIT_MIB, COLD_MIB, FILES = 64, 512, 3000
SECONDS = 0.8
IDLE_S, SETTLE_S = 10, 8


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
    """A program that computes without end, for each CPU; with none, a quiet machine."""

    def __init__(self, busy):
        self.count = os.cpu_count() if busy else 0

    def __enter__(self):
        self.hogs = [subprocess.Popen(['sh', '-c', 'while :; do :; done'])
                     for _ in range(self.count)]

    def __exit__(self, *_):
        for h in self.hogs:
            h.kill()
            h.wait()


def quiet_and_busy():
    """Suffix of the rows, and what to measure them beside."""
    for suffix in '', '-hogs':
        with Hogs(suffix):
            yield suffix


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


def wakeups(pid):
    """How often the threads of a process have gone to sleep: each time something woke them. The
    kernel's own workers of io_uring, which look every 5 s whether they are needed, do not count."""
    count = 0
    for tid in os.listdir(f'/proc/{pid}/task'):
        with open(f'/proc/{pid}/task/{tid}/status', encoding='ascii') as f:
            status = dict(line.split(':', 1) for line in f if ':' in line)
        if not status['Name'].strip().startswith('iou-'):
            count += int(status['voluntary_ctxt_switches'])
    return count


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
    for suffix in quiet_and_busy():
        used = cpu_s(target.child.pid)
        rate = bench.requests('read', data, 4096, SECONDS, 1)[0]
        used = cpu_s(target.child.pid) - used
        bench.add('hit-1' + suffix, target, rate)
        bench.add('cpu-us' + suffix, target, used * 1e6 / (rate * SECONDS))
        for row, *job in (('hit-2', 'read', data, 4096, SECONDS, 2),
                          ('hit-depth-32', 'depth', data, 4096, SECONDS, 32),
                          ('read-1m', 'read', data, 1 << 20, SECONDS, 1),
                          ('write-1m', 'write', data, 1 << 20, SECONDS, 1)):
            bench.add(row + suffix, target, bench.requests(*job)[0])
    if target.role == 'ours':
        idle(bench, target)


def idle(bench, target):
    """What the writes before left behind is committed first, by the timer, too."""
    os.sync()
    time.sleep(SETTLE_S)
    before = wakeups(target.child.pid)
    time.sleep(IDLE_S)
    bench.add('idle-wakeups', target, wakeups(target.child.pid) - before)


def cold(bench, target):
    if target.name != 'raw':
        need_data(target, COLD_MIB)
    for suffix in quiet_and_busy():
        for depth in 1, 32:
            target.drop()
            bench.add(f'cold-{depth}{suffix}', target,
                      bench.requests('depth', target.data('data'), 4096, SECONDS, depth)[0])


def names(bench, target):
    for suffix in quiet_and_busy():
        one, two = (os.path.join(target.mnt, name + suffix) for name in ('one', 'two'))
        os.mkdir(one)
        os.mkdir(two)
        bench.add('create-1' + suffix, target, bench.requests('create', one, FILES, 1)[0])
        bench.add('create-2' + suffix, target, bench.requests('create', two, FILES, 2)[0])
        os.sync()
        target.drop()
        for row, job in ('stat-cold', 'stat'), ('list-again', 'list'), ('unlink', 'unlink'):
            bench.add(row + suffix, target, bench.requests(job, one, FILES, 1)[0])


PARTS = [
    (hits, [Null, ours('dev-off', 'dev', 'off'), ours('dev', 'dev', 'auto'),
            ours('dev-20', 'dev', '20'), ours('uring-off', 'uring', 'off'),
            ours('uring', 'uring', 'auto'), Ntfs3g]),
    (cold, [ours('dev', 'dev', 'auto'), ours('uring', 'uring', 'auto'), Raw]),
    (names, [ours('dev', 'dev', 'auto'), ours('uring', 'uring', 'auto'),
             ours('kernel-dev', 'dev', 'auto', 'kernel'),
             ours('kernel-uring', 'uring', 'auto', 'kernel'), Ext4Loop, Ntfs3g]),
]

# peers: the row is compared with the lowest of these (target, row; '' is the same row).
Goal = namedtuple('Goal', 'row peers quiet busy what')
GOALS = [
    Goal('hit-1', [('null', '')], 3.0, 5.0, '4 KiB hit, one reader'),
    Goal('hit-2', [('null', '')], 1.3, 1.3, 'two readers'),
    Goal('hit-depth-32', [('null', '')], 1.0, 1.0, 'depth 32'),
    Goal('read-1m', [('null', '')], 1.0, 1.0, '1 MiB hit, read'),
    Goal('write-1m', [('null', '')], 1.0, 1.0, '1 MiB hit, write'),
    Goal('cold-1', [('raw', ''), ('null', 'hit-1')], 0.85, 0.85, 'cold 4 KiB read, depth 1'),
    Goal('cold-32', [('raw', ''), ('null', 'hit-depth-32')], 0.95, 0.95, 'the same, depth 32'),
    Goal('create-1', [('ext4', '')], 0.45, 0.45, 'create, write 100 bytes, close'),
    Goal('create-2', [('ext4', '')], 0.6, 0.6, 'the same, two processes'),
    Goal('stat-cold', [('ext4', '')], 0.3, 0.3, 'stat, nothing cached'),
    Goal('list-again', [('ext4', '')], 0.8, 0.8, 'readdir and stat, second pass'),
    Goal('unlink', [('ext4', '')], 0.4, 0.4, 'unlink'),
]
OURS = ['dev-off', 'dev', 'dev-20', 'uring-off', 'uring', 'kernel-dev', 'kernel-uring']
PEERS = ['null', 'ntfs-3g', 'raw', 'ext4']


def goal_line(what, peer, goal, got, form, met):
    return [what, peer, goal] + [form.format(got[n]) if n in got else '-' for n in OURS] + \
        [' '.join(n for n in got if met(got[n])) or 'none']


def ratio_line(bench, goal, suffix):
    peers = {name: bench.median((row or goal.row) + suffix, name) for name, row in goal.peers}
    name = min((n for n in peers if peers[n]), key=peers.get, default=goal.peers[0][0])
    got = {n: bench.median(goal.row + suffix, n) / peers[name] for n in OURS
           if bench.median(goal.row + suffix, n) and peers[name]}
    least = goal.busy if suffix else goal.quiet
    return goal_line(goal.what + (', busy' if suffix else ''), name, f'{least:.2f}', got, '{:.2f}',
                     lambda ratio: ratio >= least)


def goal_lines(bench):
    lines = [['what', 'peer', 'goal'] + list(OURS) + ['met by']]
    for suffix in '', '-hogs':
        lines += [ratio_line(bench, goal, suffix) for goal in GOALS]
        null = bench.median('cpu-us' + suffix, 'null')
        extra = {n: bench.median('cpu-us' + suffix, n) - null for n in OURS
                 if bench.median('cpu-us' + suffix, n) and null}
        lines.append(goal_line('CPU of a hit, us more' + (', busy' if suffix else ''), 'null',
                               '<= 1', extra, '{:.1f}', lambda us: us <= 1))
    idle_ = {n: bench.median('idle-wakeups', n) for n in OURS}
    lines.append(goal_line(f'wake-ups in {IDLE_S} s at rest', '', '0',
                           {n: x for n, x in idle_.items() if x is not None}, '{:.0f}',
                           lambda count: count == 0))
    return lines


def value_lines(bench):
    rows = list(dict.fromkeys(r for r, _ in bench.values))
    lines = [['row'] + OURS + PEERS]
    for r in rows:
        cells = [bench.median(r, n) for n in OURS + PEERS]
        lines.append([r] + ['-' if c is None else number(c) for c in cells])
    return lines


def csv_lines(bench):
    yield ['row', 'target', 'repetition', 'value']
    for (row, target), values in bench.values.items():
        for i, value in enumerate(values):
            yield [row, target, i + 1, f'{value:.3f}']


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
    name = dated(results, 'transport-') + '.csv'
    write_csv(name, facts, csv_lines(bench))
    print(f'\nbench: {name}')
    return all(line[-1] != 'none' for line in goals[1:])
