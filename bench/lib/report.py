"""Samples to tables, the goals first, and to CSV and a picture."""
import csv
import os
import statistics
import time

from lib import goals, picture


def number(value):
    if value >= 100:
        return f'{value:,.0f}'
    return f'{value:.1f}' if value >= 10 else f'{value:.2f}'


class Samples:
    """value[row name][target name] = list of values, one a repetition."""

    def __init__(self, rows, targets, judges=goals.verdicts):
        self.rows, self.targets, self.judges = rows, targets, judges
        self.values = {r.name: {t.name: [] for t in targets} for r in rows}
        self.figures = []       # of lib/inside.py

    def add(self, row, target, value):
        self.values[row.name][target.name].append(value)

    def median(self, row, target):
        values = self.values[row.name][target.name]
        return statistics.median(values) if values else None

    def by_role(self, role):
        return [t for t in self.targets if t.role == role]

    def ratio(self, row, ours, peer):
        a, b = self.median(row, ours), self.median(row, peer)
        return a / b if a is not None and b else None

    def verdicts(self):
        inside = [goals.judge_inside(f) for f in self.figures]
        return self.judges(self) + [v for v in inside if v is not None]


def columns(lines, left=1):
    """Lines of cells to text, the first columns to the left, all others to the right."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return '\n'.join('  '.join(cell.ljust(w) if i < left else cell.rjust(w)
                               for i, (cell, w) in enumerate(zip(line, widths))).rstrip()
                     for line in lines)


def cell(value):
    return '-' if value is None else number(value)


def spread_cell(samples, row, target):
    values = samples.values[row.name][target.name]
    if len(values) < 2:
        return '-'
    return f'{number(min(values))}..{number(max(values))}'


def goal_table(verdicts):
    lines = [['row', 'ours', 'goal', 'measured', 'spread', '']]
    for v in verdicts:
        spread = f'{v.spread[0]:,.2f}..{v.spread[1]:,.2f}' if v.spread else '-'
        lines.append([v.goal.row, v.goal.ours, v.text, f'{v.value:,.2f}', spread,
                      'met' if v.met else 'NOT MET'])
    return columns(lines, left=3)


def medians(samples):
    lines = [['row', 'unit'] + [t.name for t in samples.targets]]
    for r in samples.rows:
        lines.append([r.name, r.unit] + [cell(samples.median(r, t)) for t in samples.targets])
    return columns(lines)


def spreads(samples):
    lines = [['row'] + [t.name for t in samples.targets]]
    for r in samples.rows:
        lines.append([r.name] + [spread_cell(samples, r, t) for t in samples.targets])
    return columns(lines)


def write_csv(name, facts, lines):
    """The facts as comments, then the lines, the head first."""
    os.makedirs(os.path.dirname(name), exist_ok=True)
    with open(name, 'w', newline='', encoding='utf-8') as f:
        for fact in facts:
            f.write(f'# {fact}\n')
        csv.writer(f, lineterminator='\n').writerows(lines)


def dated(folder, kind=''):
    """Where results of now go, without the ending."""
    return os.path.join(folder, kind + time.strftime('%Y-%m-%d-%H%M%S'))


def csv_lines(samples):
    """One line a sample, then the figures without a mount, then the goals."""
    yield ['row', 'unit', 'target', 'repetition', 'value']
    for r in samples.rows:
        for t in samples.targets:
            for i, value in enumerate(samples.values[r.name][t.name]):
                yield [r.name, r.unit, t.name, i + 1, f'{value:.3f}']
    for figure in samples.figures:
        yield [figure.name, figure.unit, 'inside', 1, f'{figure.value:.3f}']
    for v in samples.verdicts():
        yield [f'goal: {v.goal.row}: {v.text}', 'met' if v.met else 'not met',
               v.goal.ours or 'inside', '', f'{v.value:.3f}']


def write_all(samples, facts, folder):
    """Text, CSV and picture; returns the common part of their names."""
    base = dated(folder)
    write_csv(base + '.csv', facts, csv_lines(samples))
    with open(base + '.txt', 'w', encoding='utf-8') as f:
        f.write(text(samples, facts) + '\n')
    with open(base + '.svg', 'w', encoding='utf-8') as f:
        f.write(picture.svg(samples, samples.verdicts(), facts, number))
    return base


def text(samples, facts):
    verdicts = samples.verdicts()
    parts = ['\n'.join(facts), '',
             f'goals: {sum(v.met for v in verdicts)} of {len(verdicts)} met', goal_table(verdicts),
             '', 'medians:', medians(samples)]
    if any(len(v) > 1 for row in samples.values.values() for v in row.values()):
        parts += ['', 'smallest..largest:', spreads(samples)]
    if samples.figures:
        parts += ['', 'without a mount:',
                  columns([[f.name, f'{f.value:,.2f}', f.unit] for f in samples.figures])]
    return '\n'.join(parts)
