"""The rows of the table: each measures one number of a mounted target.

A row is a function of a Run (below) and a line in ROWS. Bigger is better in every row.
"""
import json
import os
from collections import namedtuple

from lib import shell
from lib.shell import Failed

MIB = 1 << 20


class Run:
    """One target, formatted and mounted, in one repetition."""

    def __init__(self, target, setup):
        self.target, self.setup = target, setup
        self.written = False

    def fio(self, direction, args, count=None):
        """The fio job's numbers for one direction. Raw: always direct, by io_uring."""
        setup = self.setup
        command = ['fio', '--name=row', '--output-format=json', '--thread',
                   f"--filename={self.target.data('data')}", f'--size={setup.file_bytes}',
                   '--fallocate=none', '--invalidate=0', '--randrepeat=1', *args]
        if count is None:
            command += [f'--runtime={setup.runtime}', '--time_based']
        else:
            command += [f'--io_size={count}', f'--runtime={max(setup.runtime * 10, 30)}']
        if self.target.raw:
            command += ['--direct=1', '--ioengine=io_uring']
        out = shell.run(command, timeout=setup.runtime * 10 + 240)
        job = json.loads(out[out.index('{'):])['jobs'][0]
        if job['error']:
            raise Failed(f"fio: error {job['error']}")
        return job[direction]

    def need_data(self):
        if not self.written:
            self.write_data()

    def write_data(self):
        result = self.fio('write', ['--rw=write', '--bs=1m', '--ioengine=psync', '--end_fsync=1'],
                          self.setup.file_bytes)
        self.written = True
        return result

    def cold(self):
        self.need_data()
        self.target.drop()

    def hot(self):
        """Read all of it twice: some caches believe only the second time."""
        self.need_data()
        if self.target.raw:
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


def rand_write_fsync(run):
    run.need_data()
    return per_s(run.fio('write', RAND_WRITE + BUFFERED + ['--fsync=1']))


def direct_write_1(run):
    run.need_data()
    return per_s(run.fio('write', RAND_WRITE + direct(1)))


def direct_write_32(run):
    run.need_data()
    return per_s(run.fio('write', RAND_WRITE + direct(32)))


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


Row = namedtuple('Row', 'name unit what measure raw needs')

# raw: measured on the bare image file, too. needs: rows that must have run before, on this mount.
ROWS = [
    Row('seq-write', 'MiB/s', '1 MiB writes to a new file, one fsync', seq_write, True, []),
    Row('seq-read-cold', 'MiB/s', '1 MiB reads, nothing cached', seq_read_cold, True, []),
    Row('seq-read-hot', 'MiB/s', '1 MiB reads, all cached', seq_read_hot, False, []),
    Row('rand-read-cold', '/s', '4 KiB reads, nothing cached', rand_read_cold, True, []),
    Row('rand-read-hot', '/s', '4 KiB reads, all cached', rand_read_hot, False, []),
    Row('direct-read-1-cold', '/s', '4 KiB, O_DIRECT, depth 1', direct_read_1_cold, True, []),
    Row('direct-read-32-cold', '/s', '4 KiB, O_DIRECT, depth 32', direct_read_32_cold, True, []),
    Row('direct-read-1-hot', '/s', 'the same, read before', direct_read_1_hot, False, []),
    Row('direct-read-32-hot', '/s', 'the same, read before', direct_read_32_hot, False, []),
    Row('rand-write', '/s', '4 KiB overwrites, one fsync at the end', rand_write, False, []),
    Row('rand-write-fsync', '/s', '4 KiB overwrites, fsync each', rand_write_fsync, True, []),
    Row('direct-write-1', '/s', '4 KiB overwrites, O_DIRECT, depth 1', direct_write_1, True, []),
    Row('direct-write-32', '/s', '4 KiB overwrites, O_DIRECT, depth 32', direct_write_32, True, []),
    Row('create', '/s', 'empty files, one fsync of the folder', create, False, []),
    Row('stat-cold', '/s', 'stat of each, nothing cached', stat_cold, False, ['create']),
    Row('stat-hot', '/s', 'stat of each again', stat_hot, False, ['create']),
    Row('unlink', '/s', 'unlink of each', unlink, False, ['create']),
    Row('create-4k', '/s', 'files of 4 KiB, one fsync of the folder', create_4k, False,
        ['create', 'unlink']),
]
