"""The rows of the table: each measures one number of a mounted target.

A row is a function of a Run (below) and a line in ROWS. Bigger is better in every row.
"""
import json
import os
from collections import namedtuple

from lib import memory, shell
from lib.shell import Failed

MIB = 1 << 20


class Run:
    """One target, formatted and mounted, in one repetition."""

    def __init__(self, target, setup):
        self.target, self.setup = target, setup
        self.written = False
        self.kept = {}          # what one row measured for another

    @staticmethod
    def raw_arguments(args):
        """Always direct, by io_uring; large requests several at a time: what the device can do."""
        return ['--direct=1', '--ioengine=io_uring'] + \
            (['--iodepth=4'] if '--bs=1m' in args else [])

    def fio(self, direction, args, count=None, name='data'):
        """The fio job's numbers for one direction."""
        setup = self.setup
        # Whole pages, as direct I/O needs: 16 bytes further, where malloc() puts large memory,
        # a copy from pages takes four times as long on some CPUs (docs/PERFORMANCE.md).
        command = ['fio', '--name=row', '--output-format=json', '--thread', '--iomem_align=4096',
                   f'--filename={self.target.data(name)}', f'--size={setup.file_bytes}',
                   '--fallocate=none', '--invalidate=0', '--randrepeat=1', *args]
        if count is None:
            command += [f'--runtime={setup.runtime}', '--time_based']
        else:
            command += [f'--io_size={count}', f'--runtime={max(setup.runtime * 10, 30)}']
        if self.target.raw:
            command += self.raw_arguments(args)
        out = shell.run(command, timeout=setup.runtime * 10 + 240)
        job = json.loads(out[out.index('{'):])['jobs'][0]
        if job['error']:
            raise Failed(f"fio: error {job['error']}")
        return job[direction]

    def need_data(self):
        if not self.written and not self.target.null:
            self.write_data()

    def write_data(self):
        result = self.fio('write', ['--rw=write', '--bs=1m', '--ioengine=psync', '--end_fsync=1'],
                          self.setup.file_bytes)
        self.written = True
        return result

    def cold(self):
        self.need_data()
        if not self.target.null:
            self.target.drop()

    def hot(self):
        """Read all of it twice: some caches believe only the second time."""
        self.need_data()
        if self.target.raw or self.target.null:
            return
        for _ in range(2):
            with open(self.target.data('data'), 'rb', buffering=0) as f:
                while f.read(MIB):
                    pass

    def meta(self, phase):
        folder = os.path.join(self.target.mnt, 'many')
        os.makedirs(folder, exist_ok=True)
        return float(shell.run([self.setup.meta_program, phase, folder, self.setup.files],
                               timeout=600))


def mib_s(result):
    return result['bw_bytes'] / MIB


def per_s(result):
    return result['iops']


# ---- sequential ----

def seq_write(run):
    return mib_s(run.write_data())


def seq_read(run):
    return mib_s(run.fio('read', ['--rw=read', '--bs=1m', '--ioengine=psync'],
                         run.setup.file_bytes))


def seq_read_cold(run):
    run.cold()
    return seq_read(run)


def seq_read_hot(run):
    run.hot()
    return seq_read(run)


# ---- random, 4 KiB ----

RAND_READ = ['--rw=randread', '--bs=4k']
RAND_WRITE = ['--rw=randwrite', '--bs=4k']
BUFFERED = ['--ioengine=psync']


def direct(depth):
    return ['--direct=1', '--ioengine=libaio', f'--iodepth={depth}']


def cold_read(run, how):
    """A part of the file only, so that it stays cold to the end."""
    run.cold()
    return per_s(run.fio('read', RAND_READ + how, run.setup.file_bytes // 8))


def hot_read(run, how):
    run.hot()
    return per_s(run.fio('read', RAND_READ + how))


def rand_read_cold(run):
    return cold_read(run, BUFFERED)


def rand_read_hot(run):
    return hot_read(run, BUFFERED)


def direct_read_1_cold(run):
    return cold_read(run, direct(1))


def direct_read_32_cold(run):
    return cold_read(run, direct(32))


def direct_read_1_hot(run):
    return hot_read(run, direct(1))


def direct_read_32_hot(run):
    return hot_read(run, direct(32))


def rand_write(run):
    """Overwrites, one fsync at the end that counts."""
    run.need_data()
    return per_s(run.fio('write', RAND_WRITE + BUFFERED + ['--end_fsync=1'],
                         run.setup.file_bytes // 8))


def seq_write_4k(run):
    """As rand_write, in order."""
    run.need_data()
    return per_s(run.fio('write', ['--rw=write', '--bs=4k', '--end_fsync=1'] + BUFFERED,
                         run.setup.file_bytes // 8))


def rand_write_fdatasync(run):
    run.need_data()
    return per_s(run.fio('write', RAND_WRITE + BUFFERED + ['--fdatasync=1']))


def rand_write_fsync(run):
    run.need_data()
    return per_s(run.fio('write', RAND_WRITE + BUFFERED + ['--fsync=1']))


def direct_write_1(run):
    run.need_data()
    return per_s(run.fio('write', RAND_WRITE + direct(1)))


def direct_write_32(run):
    run.need_data()
    return per_s(run.fio('write', RAND_WRITE + direct(32)))


# ---- a file of four times the cache ----

def big_write(run):
    """1 MiB writes to a new file, one fsync; how long single writes took is kept."""
    run.target.remount(run.setup.file_bytes // 4)
    result = run.fio('write', ['--rw=write', '--bs=1m', '--ioengine=psync', '--end_fsync=1',
                               '--percentile_list=50:99:99.9'], run.setup.file_bytes, 'big')
    run.kept['p999'] = result['clat_ns']['percentile']['99.900000'] / 1e6
    run.kept['max'] = result['clat_ns']['max'] / 1e6
    return mib_s(result)


def big_write_p999(run):
    return run.kept['p999']


def big_write_max(run):
    return run.kept['max']


def big_read(run):
    run.target.drop()
    return mib_s(run.fio('read', ['--rw=read', '--bs=1m', '--ioengine=psync'],
                         run.setup.file_bytes, 'big'))


# ---- a working set of one and a half times the memory ----

def over_memory(run):
    """Reads of a file when there is memory for two thirds of it, caches and daemon together."""
    limit = run.setup.file_bytes * 2 // 3
    run.need_data()
    run.target.unmount()
    shell.drop_caches()
    memory.forget()
    with memory.limited(limit):
        run.target.limit_memory(limit)
        run.target.mount()
        run.fio('read', RAND_READ + BUFFERED, run.setup.file_bytes * 2)
        return per_s(run.fio('read', RAND_READ + BUFFERED))


# ---- many files ----

def create(run):
    return run.meta('create')


def stat_cold(run):
    run.target.drop()
    return run.meta('stat')


def stat_hot(run):
    return run.meta('stat')


def unlink(run):
    return run.meta('unlink')


def create_4k(run):
    rate = run.meta('create4k')
    run.meta('unlink')
    return rate


class Row(namedtuple('Row', 'name unit what measure on needs')):
    """on: letters of the targets that it is measured on besides all that are mounted (or, with '-',
    only on those): r raw, n null, o ours. needs: rows that must have run before on this mount."""

    def measured_on(self, target):
        letter = 'r' if target.raw else 'n' if target.null else 'o' if target.role == 'ours' else ''
        return letter != '' and letter in self.on or letter in ('', 'o') and '-' not in self.on

    @property
    def lower_is_better(self):
        return self.unit in ('ms', 'ns', 'x')


# What the table of the goals (lib/goals.py) needs, and what only --all measures.
ESSENTIAL = [
    Row('seq-write', 'MiB/s', '1 MiB writes to a new file, one fsync', seq_write, 'r', []),
    Row('seq-read-cold', 'MiB/s', '1 MiB reads, nothing cached', seq_read_cold, 'r', []),
    Row('seq-read-hot', 'MiB/s', '1 MiB reads, all cached', seq_read_hot, 'n', []),
    Row('rand-read-hot', '/s', '4 KiB reads, all cached', rand_read_hot, 'n', []),
    Row('direct-read-1-cold', '/s', '4 KiB, O_DIRECT, depth 1', direct_read_1_cold, 'rn', []),
    Row('direct-read-32-cold', '/s', '4 KiB, O_DIRECT, depth 32', direct_read_32_cold, 'rn', []),
    Row('rand-write', '/s', '4 KiB overwrites, one fsync at the end', rand_write, '', []),
    Row('rand-write-fdatasync', '/s', '4 KiB overwrites, fdatasync each', rand_write_fdatasync,
        'r', []),
    Row('create', '/s', 'empty files, one fsync of the folder', create, '', []),
    Row('stat-hot', '/s', 'stat of each, after create', stat_hot, '', ['create']),
    Row('unlink', '/s', 'unlink of each', unlink, '', ['create']),
    Row('big-write', 'MiB/s', 'as seq-write, file of 4 times the cache', big_write, '-ro', []),
    Row('big-write-p999', 'ms', 'the same: p99.9 of one write', big_write_p999, '-ro',
        ['big-write']),
    Row('big-write-max', 'ms', 'the same: the longest write', big_write_max, '-ro', ['big-write']),
    Row('big-read', 'MiB/s', 'as seq-read-cold, file of 4 times the cache', big_read, '-ro',
        ['big-write']),
]
FURTHER = [
    Row('rand-read-cold', '/s', '4 KiB reads, nothing cached', rand_read_cold, 'r', []),
    Row('seq-write-4k', '/s', '4 KiB overwrites in order, one fsync at the end', seq_write_4k, '',
        []),
    Row('direct-read-1-hot', '/s', '4 KiB, O_DIRECT, read before', direct_read_1_hot, 'n', []),
    Row('direct-read-32-hot', '/s', 'the same, depth 32', direct_read_32_hot, 'n', []),
    Row('rand-write-fsync', '/s', '4 KiB overwrites, fsync each', rand_write_fsync, 'r', []),
    Row('direct-write-1', '/s', '4 KiB overwrites, O_DIRECT, depth 1', direct_write_1, 'r', []),
    Row('direct-write-32', '/s', '4 KiB overwrites, O_DIRECT, depth 32', direct_write_32, 'r', []),
    Row('stat-cold', '/s', 'stat of each, nothing cached', stat_cold, '', ['create']),
    Row('over-memory', '/s', '4 KiB reads, memory for 2/3 of the file', over_memory, '', []),
    Row('create-4k', '/s', 'files of 4 KiB, one fsync of the folder', create_4k, '',
        ['create', 'unlink']),
]


def in_order(rows):
    """As they must run: reads of data before what overwrites it, stat before unlink, the rows that
    mount again last."""
    order = ['seq-write', 'seq-read-cold', 'seq-read-hot', 'rand-read-cold', 'rand-read-hot',
             'direct-read-1-cold', 'direct-read-32-cold', 'direct-read-1-hot', 'direct-read-32-hot',
             'rand-write', 'seq-write-4k', 'rand-write-fdatasync', 'rand-write-fsync',
             'direct-write-1', 'direct-write-32', 'create', 'stat-cold', 'stat-hot', 'unlink', 'create-4k',
             'big-write', 'big-write-p999', 'big-write-max', 'big-read', 'over-memory']
    return sorted(rows, key=lambda r: order.index(r.name))
