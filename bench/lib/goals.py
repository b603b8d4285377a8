"""What FolioFS is measured against, row by row, and whether it gets there.

A goal with targets compares medians: ours is at least `wanted` times the best (or the least) of
them. A goal without targets is a bound for the figure itself.
"""
from collections import namedtuple

PEERS = ('fuse2fs', 'ntfs-3g')
PEER_FACTOR, NEAR_LIMIT = 3.0, 0.8

Goal = namedtuple('Goal', 'row ours wanted pick against')
Verdict = namedtuple('Verdict', 'goal text value spread met')


def both(row, wanted, pick, against):
    return [Goal(row, ours, wanted, pick, against) for ours in ('daemon', 'kernel')]


GOALS = [
    *both('seq-read-cold', 0.95, max, ('raw',)),
    *both('seq-read-cold', 1.0, max, ('ext4', 'xfs')),
    *both('seq-write', 0.95, max, ('raw',)),
    *both('direct-read-1-cold', 0.8, min, ('raw', 'null')),
    *both('direct-read-32-cold', 0.8, min, ('raw', 'null')),
    *both('rand-write-fdatasync', 1.5, max, ('xfs',)),
    *both('rand-write-fdatasync', 0.7, max, ('raw',)),
    Goal('rand-write', 'kernel', 0.8, max, ('ext4',)),
    Goal('rand-read-hot', 'daemon', 0.9, max, ('null',)),
    Goal('seq-read-hot', 'daemon', 0.9, max, ('null',)),
    Goal('rand-read-hot', 'kernel', 1.0, max, PEERS),
    Goal('seq-read-hot', 'kernel', 1.0, max, PEERS),
    *both('big-read', 0.9, max, ('raw',)),
    *both('big-write', 0.9, max, ('raw',)),
    *both('big-write-max', 1000, None, ()),
]

# Figures that need no mount: lib/inside.py. A bound from below for those that are better when high.
INSIDE_GOALS = {
    **{f'write amplification, {block} blocks, {sync}': 1.1
       for sync in ('one fsync', 'fdatasync each') for block in ('4 KiB', '64 KiB', '2 MiB')},
    **{f'misses s3fifo / lru, {trace}': 1.0 for trace in ('zipf', 'zipf + scan', 'loop', 'oltp')},
    **{f'misses s3fifo / lru, database.trace, cache {mib} MiB': 1.0 for mib in (1, 2, 4)},
    # What was never used before misses whatever the policy: 20 % fewer of the others.
    'avoidable misses s3fifo / lru, zipf + scan': 0.8,
    'hit, 1 M folios, Zipf': 150,
    'hit, 1000 folios': 60,
    'hit, two threads / one': 1.8,
    'read of 4 KiB / pread from ext4': 0.5,
    'memory at 4 KiB folios': 24,
    'memory at 64 KiB folios': 4,
}

# The limit near which a peer can't be left three times behind.
LIMITS = {
    ('seq-read-hot', 'daemon'): ('null',), ('rand-read-hot', 'daemon'): ('null',),
    ('direct-read-1-hot', 'daemon'): ('null',), ('direct-read-32-hot', 'daemon'): ('null',),
    ('direct-read-1-hot', 'kernel'): ('null',), ('direct-read-32-hot', 'kernel'): ('null',),
    ('direct-read-1-cold', 'daemon'): ('raw', 'null'),
    ('direct-read-1-cold', 'kernel'): ('raw', 'null'),
    ('direct-read-32-cold', 'daemon'): ('raw', 'null'),
    ('direct-read-32-cold', 'kernel'): ('raw', 'null'),
}
# Served by the kernel's page cache for everybody: level with the peers is the goal, see above.
NOT_THREE_TIMES = {('seq-read-hot', 'kernel'), ('rand-read-hot', 'kernel')}


def picked(samples, row, pick, names):
    """(value, name) of the best or the least of these targets that have a figure."""
    have = [(m, t.name) for t in samples.targets if t.name in names
            for m in [samples.median(row, t)] if m]
    return pick(have) if have else (None, None)


def ratio_spread(samples, row, ours, name):
    """Smallest and largest ratio of one repetition."""
    pairs = zip(samples.values[row.name][ours], samples.values[row.name][name])
    ratios = [a / b for a, b in pairs if b]
    return (min(ratios), max(ratios)) if len(ratios) > 1 else None


def judge(samples, row, goal):
    """A Verdict, or None when something was not measured."""
    ours = next((t for t in samples.targets if t.name == goal.ours), None)
    value = samples.median(row, ours) if ours else None
    if value is None:
        return None
    if not goal.against:
        values = samples.values[row.name][goal.ours]
        return Verdict(goal, f'at most {goal.wanted:g} {row.unit}', value,
                       (min(values), max(values)) if len(values) > 1 else None,
                       value <= goal.wanted)
    other, name = picked(samples, row, goal.pick, goal.against)
    if other is None:
        return None
    return Verdict(goal, f'{goal.wanted:g} x {name}', value / other,
                   ratio_spread(samples, row, goal.ours, name), value / other >= goal.wanted)


def peer_goal(samples, row, ours):
    """Three times the better peer, unless ours is near a limit."""
    if (row.name, ours) in NOT_THREE_TIMES or row.lower_is_better:
        return None
    verdict = judge(samples, row, Goal(row.name, ours, PEER_FACTOR, max, PEERS))
    if verdict is None or verdict.met:
        return verdict
    limits = LIMITS.get((row.name, ours), ('raw',))
    limit = judge(samples, row, Goal(row.name, ours, NEAR_LIMIT, min, limits))
    if limit is None or not limit.met:
        return verdict
    return verdict._replace(text=f'{verdict.text} or {limit.text}: {limit.value:.2f}', met=True)


def verdicts(samples):
    rows = {r.name: r for r in samples.rows}
    out = [judge(samples, rows[g.row], g) for g in GOALS if g.row in rows]
    out += [peer_goal(samples, r, ours) for r in samples.rows for ours in ('daemon', 'kernel')]
    return [v for v in out if v is not None]


def judge_inside(figure):
    """Verdict of a figure of lib/inside.py, or None when it has no goal."""
    wanted = INSIDE_GOALS.get(figure.name)
    if wanted is None:
        return None
    met = figure.value >= wanted if figure.higher_is_better else figure.value <= wanted
    words = 'at least' if figure.higher_is_better else 'at most'
    return Verdict(Goal(figure.name, '', wanted, None, ()), f'{words} {wanted:g} {figure.unit}',
                   figure.value, None, met)
