"""Figures that need no mount: the cache alone, in a process of its own, and write amplification,
which is counted and the same every time."""
import os
import random
from collections import namedtuple

from lib import shell
from lib.shell import Failed, note

Figure = namedtuple('Figure', 'name value unit higher_is_better')
HIGH = ('hit, two threads / one',)
# Accesses of SQLite through a mount.
RECORDED = os.path.join(os.path.dirname(__file__), '../../tests/cache/database.trace')


def lines_of(program, *args):
    """name, value, unit of each line that such a program prints, between tabs."""
    out = []
    for line in shell.run([program, *args], timeout=300).split('\n'):
        cells = line.split('\t')
        if len(cells) == 3:
            out.append(Figure(cells[0], float(cells[1]), cells[2], cells[0] in HIGH))
    return out


def write_amplification(program):
    """Everything that went to the device for each byte of 4 KiB overwrites."""
    out = []
    for line in shell.run([program], timeout=300).split('\n')[1:]:
        for sync in ('one fsync', 'fdatasync each'):
            if sync in line:
                block = line.split(sync)[0].strip()
                out.append(Figure(f'write amplification, {block} blocks, {sync}',
                                  float(line.split()[-1]), 'x', False))
    return out


def hit_ratios(program, *recorded):
    """Misses of s3fifo divided by those of lru: all, and of what was used before."""
    out = []
    for line in shell.run([program, *recorded], timeout=300).split('\n')[1:]:
        cells = line[28:].split()
        if len(cells) > 2:
            name = line[:28].strip()
            name += f', cache {float(cells[0]):g} MiB' if recorded else ''
            out.append(Figure(f'misses s3fifo / lru, {name}', float(cells[-2]), 'x', False))
            out.append(Figure(f'avoidable misses s3fifo / lru, {name}', float(cells[-1]), 'x', False))
    return out


def sectors_written(device):
    with open(f'/sys/block/{os.path.basename(device)}/stat', encoding='ascii') as f:
        return int(f.read().split()[6])


def overwrite(path, nr_writes, nr):
    """4 KiB each at random places of a file of nr times 4 KiB, each with its fdatasync."""
    places = random.Random(1).sample(range(nr), nr_writes)
    fd = os.open(path, os.O_WRONLY)
    for at in places:
        os.pwrite(fd, b'x' * 4096, at * 4096)
        os.fdatasync(fd)
    os.close(fd)
    return nr_writes * 4096


def xfs_amplification(setup, block):
    """The same for XFS with this block size, by what its loop device counts."""
    image, nr = os.path.join(setup.folder, 'xfs.img'), 8192
    with open(image, 'wb') as f:
        f.truncate(1 << 30)
    loop = None
    try:
        shell.run(['mkfs.xfs', '-q', '-f', '-b', f'size={block}', image])
        loop = shell.run(['losetup', '--show', '-f', image]).strip()
        shell.run(['mount', loop, setup.mnt])
        path = os.path.join(setup.mnt, 'data')
        with open(path, 'wb') as f:
            f.write(b'y' * 4096 * nr)
            f.flush()
            os.fsync(f.fileno())
        before = sectors_written(loop)
        user = overwrite(path, nr // 16, nr)
        return (sectors_written(loop) - before) * 512 / user
    finally:
        if shell.is_mounted(setup.mnt):
            shell.run(['umount', setup.mnt])
        if loop is not None:
            shell.run(['losetup', '-d', loop])
        os.unlink(image)


def measure(setup):
    """All of them; what can't be had is told and left out."""
    def xfs(block):
        return lambda: [Figure(f'write amplification, XFS, {block >> 10} KiB blocks, fdatasync each',
                               xfs_amplification(setup, block), 'x', False)]

    def inside(name, how):
        return lambda: how(os.path.join(setup.build, 'bench', name))

    out = []
    for part in (inside('bench_write_amp', write_amplification), xfs(4096), xfs(65536),
                 inside('bench_micro_cache', lines_of), inside('bench_hit_ratio', hit_ratios),
                 lambda: hit_ratios(os.path.join(setup.build, 'bench', 'bench_hit_ratio'),
                                    RECORDED, '1', '2', '4')):
        try:
            out += part()
        except (Failed, OSError) as e:
            note(f'bench: {e}')
    for f in out:
        note(f'   {f.name:44} {f.value:>10.2f} {f.unit}')
    return out
