"""bench/run --names: operations on many files in one folder, and on trees.

Each size is a folder of that many empty files: created, looked up, listed with the attributes of
each, renamed and removed; then git, tar and rm on a tree. Rates of files a second, so a row at
1,000,000 files divided by that at 10,000 tells whether an operation costs the same in a large folder.
A target that would need too long for a size is left out of it, and that is told. Files of ext4 and
XFS are in the kernel: reference, not peers. docs/PERFORMANCE.md says what the rows mean.
"""
import os
import random
import shutil
import time

from lib import shell
from lib.goals import Goal, PEERS, Verdict, both, judge
from lib.rows import Row
from lib.shell import Failed

SIZES, QUICK_SIZES = (10_000, 100_000, 1_000_000), (1_000, 5_000)
TREE_FILES, QUICK_TREE_FILES = 20_000, 400
IMAGE_BYTES = 17 << 30         # ext4 makes an inode for each 16 KiB
PATIENCE_S = 300               # for one row of one target
FLAT = 1.5                     # what an operation may cost in the largest folder, in that of 10,000


def label(nr):
    for unit, power in (('m', 1_000_000), ('k', 1_000)):
        if nr % power == 0:
            return f'{nr // power}{unit}'
    return str(nr)


# ---- one folder ----

def guessed_seconds(run, nr):
    """By the slowest row of the size before."""
    rates = [r for size, r in run.kept.get('rates', []) if size < nr]
    return nr / min(rates) if rates else 0


def phase(run, nr, what, prefix='file'):
    if nr in run.kept.setdefault('given up', set()) or guessed_seconds(run, nr) > PATIENCE_S:
        run.kept['given up'].add(nr)
        raise Failed(f'left out: {guessed_seconds(run, nr):.0f} s at the rate of fewer files')
    folder = os.path.join(run.target.mnt, f'many-{nr}')
    os.makedirs(folder, exist_ok=True)
    try:
        rate = float(shell.run([run.setup.meta_program, what, folder, nr, prefix],
                               timeout=4 * PATIENCE_S))
    except Failed:
        run.kept['given up'].add(nr)
        raise
    run.kept.setdefault('rates', []).append((nr, rate))
    return rate


def folder_rows(nr):
    def row(name, what, measure):
        return Row(f'{name}-{label(nr)}', '/s', what, measure, '', [])

    def stat_cold(run):
        run.target.drop()
        return phase(run, nr, 'stat')

    return [
        row('create', 'empty files, one fsync of the folder', lambda run: phase(run, nr, 'create')),
        row('stat-cold', 'stat of each in random order, nothing cached', stat_cold),
        row('stat-hot', 'the same once more', lambda run: phase(run, nr, 'stat')),
        row('list', 'readdir, and stat of each entry', lambda run: phase(run, nr, 'list')),
        row('list-hot', 'the same once more', lambda run: phase(run, nr, 'list')),
        row('rename', 'a new name for each in random order', lambda run: phase(run, nr, 'rename')),
        row('unlink', 'each in random order', lambda run: phase(run, nr, 'unlink', 'renamed')),
    ]


# ---- a tree ----

class Tree:
    """A git repository and a tar file of it beside the image, the same every time."""

    def __init__(self, setup, nr):
        self.nr, self.root = nr, os.path.join(setup.folder, 'tree')
        self.tar = self.root + '.tar'
        self.env = dict(os.environ, GIT_CONFIG_GLOBAL='/dev/null', GIT_CONFIG_SYSTEM='/dev/null')

    def git(self, *args, folder=None):
        return shell.run(['git', '-c', 'user.name=bench', '-c', 'user.email=bench@localhost',
                          '-c', 'core.fsmonitor=false', *args], timeout=4 * PATIENCE_S,
                         cwd=folder or self.root, env=self.env)

    def make(self):
        if os.path.exists(self.tar):
            return
        numbers = random.Random(1)
        for i in range(self.nr):
            folder = os.path.join(self.root, f'part-{i // 400:03}', f'unit-{i // 20 % 20:02}')
            os.makedirs(folder, exist_ok=True)
            with open(os.path.join(folder, f'source-{i % 20:02}.c'), 'w', encoding='ascii') as f:
                for line in range(int(numbers.lognormvariate(4, 1)) + 1):
                    f.write(f'int value_{i}_{line} = {numbers.getrandbits(60)};\n')
        self.git('init', '-q')
        self.git('add', '.')
        self.git('commit', '-q', '-m', 'a tree')
        shell.run(['tar', 'cf', self.tar, '--exclude=.git', '-C', self.root, '.'])


def timed(run, tree, action):
    tree.make()
    start = time.monotonic()
    action(run)
    return tree.nr / (time.monotonic() - start)


def tree_rows(tree):
    def path(run, name):
        return os.path.join(run.target.mnt, name)

    def clone(run):
        tree.git('clone', '-q', '--no-local', tree.root, path(run, 'clone'))

    def status(run):
        tree.git('status', '--porcelain', folder=path(run, 'clone'))

    def untar(run):
        os.mkdir(path(run, 'untar'))
        shell.run(['tar', 'xf', tree.tar, '-C', path(run, 'untar')], timeout=4 * PATIENCE_S)

    def remove(run):
        shell.run(['rm', '-rf', path(run, 'untar')], timeout=4 * PATIENCE_S)

    def cold_status(run):
        run.target.drop()
        status(run)

    def row(name, what, action):
        return Row(name, 'files/s', what, lambda run: timed(run, tree, action), '', [])

    return [row('git-clone', f'of a tree of {tree.nr} files, by copying', clone),
            row('git-status-cold', 'the first, nothing cached', cold_status),
            row('git-status', 'once more', status),
            row('untar', 'the same tree', untar),
            row('rm-rf', 'of it', remove)]


# ---- all of it ----

class Names:
    """Rows, goals and needs of --names."""

    def __init__(self, setup, quick):
        self.sizes = QUICK_SIZES if quick else SIZES
        self.tree = Tree(setup, QUICK_TREE_FILES if quick else TREE_FILES)
        self.rows = [r for nr in self.sizes for r in folder_rows(nr)] + tree_rows(self.tree)

    @staticmethod
    def usable():
        return bool(shutil.which('git')) or shell.install(['git'])

    def goals(self):
        for row in self.rows:
            yield from both(row.name, 5.0, max, PEERS)
            if row.name.startswith('create-'):
                yield from both(row.name, 0.4, max, ('ext4',))
            if row.name.startswith(('stat-hot-', 'list-hot-')):
                yield from both(row.name, 0.8, max, ('ext4',))

    def flat(self, samples, rows):
        """What an operation costs with most files, in what it costs with fewest."""
        few, many = label(self.sizes[0]), label(self.sizes[-1])
        for name in rows:
            if not name.endswith('-' + few):
                continue
            other = name[:-len(few)] + many
            for target in samples.by_role('ours'):
                a, b = samples.median(rows[name], target), samples.median(rows[other], target)
                if a and b:
                    yield Verdict(Goal(other, target.name, FLAT, None, ()),
                                  f'cost at most {FLAT:g} x {name}', a / b, None, a / b <= FLAT)

    def verdicts(self, samples):
        rows = {r.name: r for r in samples.rows}
        out = [judge(samples, rows[g.row], g) for g in self.goals()]
        return [v for v in out if v is not None] + list(self.flat(samples, rows))
