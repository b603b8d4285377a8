"""bench/run --pairs A,B: two targets side by side, for rows in which they differ by little.

Both are mounted and do the same small piece of work in turn, so that what the machine does meanwhile
meets both. Each pair gives a ratio, a round their median. In the next round each has the other's
image: which part of the disk it lies on makes some per cent, as does which memory a daemon gets. The
row is the mean of the medians, with the range in which it lies by 95 %.

--pairs daemon,nosum is what checksums of data cost, and has goals of its own.
"""
import copy
import math
import mmap
import os
import random
import statistics
import time
from collections import namedtuple

from lib import shell
from lib.report import columns, dated, write_csv
from lib.shell import note

MIB = 1 << 20
COUPLES = 3                         # of rounds
PAIRS = 15                          # in each round
PIECE = 64 * MIB
MANY = 200                          # files
SYNCED = 64                         # writes with a sync each
SAMPLES = 1000                      # of the bootstrap
# Whole pages, see Run.fio().
BUFFER = memoryview(mmap.mmap(-1, MIB))


class Side:
    """One of the two, mounted."""

    def __init__(self, make, setup, nr):
        own = copy.copy(setup)
        own.image = os.path.join(setup.folder, f'side{nr}.img')
        own.mnt = os.path.join(setup.folder, f'side{nr}')
        own.full_image = True
        os.makedirs(own.mnt, exist_ok=True)
        self.setup, self.target = own, make(own)
        self.fd = self.direct = self.many = None

    def start(self):
        self.target.start()
        self.fd = os.open(self.target.data('data'), os.O_RDWR | os.O_CREAT, 0o644)
        for pos in range(0, self.setup.file_bytes, MIB):
            os.pwrite(self.fd, BUFFER, pos)
        os.fsync(self.fd)
        self.direct = os.open(self.target.data('data'), os.O_RDWR | os.O_DIRECT)
        self.many = self.target.data('many')
        os.mkdir(self.many)

    def stop(self):
        for fd in self.fd, self.direct:
            if fd is not None:
                os.close(fd)
        self.fd = self.direct = None
        self.target.unmount()

    def drop(self):
        self.target.drop()

    def meta(self, phase):
        """Seconds for MANY files."""
        out = shell.run([self.setup.meta_program, phase, self.many, MANY])
        return MANY / float(out)

    def places(self, nr, length):
        """Of 4 KiB in the first bytes of the file; the same for both sides."""
        rng = random.Random(nr)
        return [rng.randrange(length // 4096) * 4096 for _ in range(nr)]


def timed(work, *args):
    began = time.monotonic()
    work(*args)
    return time.monotonic() - began


# ---- the pieces: each gives the seconds that it took ----

def write_new(side, _):
    def work():
        for pos in range(0, PIECE, MIB):
            os.pwrite(fd, BUFFER, pos)
        os.fsync(fd)

    name = side.target.data('new')
    fd = os.open(name, os.O_WRONLY | os.O_CREAT, 0o644)
    seconds = timed(work)
    os.close(fd)
    os.unlink(name)
    return seconds


def overwrite(side, places):
    def work():
        for pos in places:
            os.pwrite(side.fd, page, pos)
        os.fsync(side.fd)

    page = BUFFER[:4096]
    return timed(work)


def overwrite_in_order(side, _):
    return overwrite(side, range(0, PIECE // 4, 4096))


def overwrite_at_random(side, _):
    return overwrite(side, side.places(PIECE // 4 // 4096, side.setup.file_bytes))


def synced(side, sync):
    def work():
        for pos in places:
            os.pwrite(side.fd, page, pos)
            sync(side.fd)

    places, page = side.places(SYNCED, side.setup.file_bytes), BUFFER[:4096]
    return timed(work)


def overwrite_fdatasync(side, _):
    return synced(side, os.fdatasync)


def overwrite_fsync(side, _):
    return synced(side, os.fsync)


def read(fd, places, length):
    def work():
        for pos in places:
            os.preadv(fd, [piece], pos)

    piece = BUFFER[:length]
    return timed(work)


def hot_small(side, nr):
    places = side.places(4096, PIECE)
    if nr == 0:
        read(side.fd, range(0, PIECE, MIB), MIB)
    return read(side.fd, places, 4096)


def hot_direct(side, nr):
    places = side.places(4096, PIECE)
    if nr == 0:
        read(side.fd, range(0, PIECE, MIB), MIB)
        read(side.direct, places, 4096)
    return read(side.direct, places, 4096)


def hot_large(side, nr):
    if nr == 0:
        read(side.fd, range(0, PIECE, MIB), MIB)
    return read(side.fd, range(0, PIECE, MIB), MIB)


def cold_in_order(side, nr):
    at = nr * PIECE % side.setup.file_bytes
    if at == 0:
        side.drop()
    return read(side.fd, range(at, at + PIECE, MIB), MIB)


def cold_at_random(side, _):
    side.drop()
    return read(side.fd, side.places(1024, side.setup.file_bytes), 4096)


def cold_direct(side, _):
    side.drop()
    return read(side.direct, side.places(1024, side.setup.file_bytes), 4096)


def cold_depth_32(side, _):
    side.drop()
    out = shell.run([side.setup.program('bench/bench_requests'), 'depth',
                     side.target.data('data'), 4096, 0.2, 32])
    return 1 / float(out.split()[0])


def create(side, _):
    seconds = side.meta('create')
    side.meta('unlink')
    return seconds


def unlink(side, _):
    side.meta('create')
    return side.meta('unlink')


def stat_cold(side, nr):
    if nr == 0:
        side.meta('create')
        os.sync()
    side.drop()
    return side.meta('stat')


Row = namedtuple('Row', 'name piece what')
ROWS = [
    Row('seq-write', write_new, '1 MiB writes to a new file, one fsync'),
    Row('seq-write-4k', overwrite_in_order, '4 KiB overwrites in order, one fsync'),
    Row('rand-write', overwrite_at_random, '4 KiB overwrites at random, one fsync'),
    Row('rand-write-fdatasync', overwrite_fdatasync, 'the same, fdatasync after each'),
    Row('rand-write-fsync', overwrite_fsync, 'the same, fsync after each'),
    Row('rand-read-hot', hot_small, '4 KiB reads out of the cache'),
    Row('seq-read-hot', hot_large, '1 MiB reads out of the cache'),
    Row('direct-read-1-hot', hot_direct, '4 KiB direct reads of what was read before'),
    Row('seq-read-cold', cold_in_order, '1 MiB reads in order'),
    Row('rand-read-cold', cold_at_random, '4 KiB reads at random, one at a time'),
    Row('direct-read-1-cold', cold_direct, 'the same, direct'),
    Row('direct-read-32-cold', cold_depth_32, 'the same, direct, 32 at a time'),
    Row('create', create, 'empty files, one fsync of the folder'),
    Row('unlink', unlink, 'unlink of each'),
    Row('stat-cold', stat_cold, 'stat of each, nothing cached'),
]

# Of the first target against the second, where it is not just to be ahead.
GOALS = {
    ('daemon', 'nosum'): {'seq-write': 0.9, 'seq-write-4k': 0.9, 'rand-write': 0.9,
                          'rand-read-hot': 1.0, 'seq-read-hot': 1.0, 'seq-read-cold': 0.95,
                          'rand-read-cold': 0.95, 'direct-read-1-cold': 0.95,
                          'direct-read-32-cold': 0.95},
}


def goals_of(names):
    return GOALS.get(names, {row.name: 1.0 for row in ROWS})


def pairs_of(row, ours, other, pairs):
    """How fast ours was, as a share of the other, pair by pair."""
    ratios = []
    for nr in range(pairs):
        order = [ours, other] if nr % 2 else [other, ours]
        seconds = {side: row.piece(side, nr) for side in order}
        ratios.append(seconds[other] / seconds[ours])
    return ratios


def one_round(setup, rows, makes, swapped, pairs):
    """Row name -> ratios of the first of the two targets against the second."""
    ours, other = (Side(make, setup, nr ^ swapped) for nr, make in enumerate(makes))
    ratios = {}
    try:
        ours.start()
        other.start()
        for row in rows:
            ratios[row.name] = pairs_of(row, ours, other, pairs)
            note(f'bench: {row.name:20} {statistics.median(ratios[row.name]):.3f}')
    finally:
        ours.stop()
        other.stop()
    return ratios


def middle(couples):
    return math.exp(statistics.mean(math.log(statistics.median(r)) for c in couples for r in c))


def bounds(couples):
    """Of the middle, by 95 %: what it is of couples, and pairs in them, drawn with replacement."""
    rng = random.Random(1)

    def again(some):
        return rng.choices(some, k=len(some))

    got = sorted(middle([[again(r) for r in c] for c in again(couples)]) for _ in range(SAMPLES))
    return got[SAMPLES // 40], got[-SAMPLES // 40 - 1]


def line(row, goal, rounds):
    ratios = [r[row.name] for r in rounds]
    couples = list(zip(ratios[::2], ratios[1::2]))
    low, high = bounds(couples)
    ratio = middle(couples)
    # A row whose bounds hold the goal can't be told from it.
    met = 'yes' if ratio >= goal else 'within bounds' if high >= goal else 'no'
    return [row.name, row.what, f'{goal:.2f}', f'{ratio:.3f}', f'{low:.3f} to {high:.3f}', met]


def csv_lines(rounds):
    yield ['row', 'round', 'pair', 'ratio']
    for nr, ratios in enumerate(rounds):
        for row, values in ratios.items():
            for pair, value in enumerate(values):
                yield [row, nr + 1, pair + 1, f'{value:.4f}']


def run(setup, results, makes, rows, pairs):
    """True when no row is below its goal."""
    names = tuple(make.name for make in makes)
    goals = goals_of(names)
    rows = [row for row in ROWS if row.name in (rows or goals)]
    facts = shell.machine(setup.folder) + [
        f'{names[0]} against {names[1]}: two images of {setup.image_bytes >> 20} MiB, file '
        f'{setup.file_bytes >> 20} MiB, {2 * COUPLES} rounds of {pairs} pairs']
    setup.compile_meta()
    rounds = [one_round(setup, rows, makes, swapped, pairs) for swapped in [0, 1] * COUPLES]
    lines = [line(row, goals.get(row.name, 1.0), rounds) for row in rows]
    print('\n'.join(facts) + '\n\n' + columns(
        [['row', 'what', 'goal', f'{names[0]} / {names[1]}', '95 %', 'met']] + lines, left=2))
    name = dated(results, 'pairs-') + '.csv'
    write_csv(name, facts, csv_lines(rounds))
    print(f'\nbench: {name}')
    return all(cells[-1] != 'no' for cells in lines)
