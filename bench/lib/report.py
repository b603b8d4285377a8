"""Samples to a table with ratios first, and to CSV."""
import csv
import os
import statistics
import time


def number(value):
    if value >= 100:
        return f'{value:,.0f}'
    return f'{value:.1f}' if value >= 10 else f'{value:.2f}'


class Samples:
    """value[row name][target name] = list of values, one a repetition."""

    def __init__(self, rows, targets):
        self.rows, self.targets = rows, targets
        self.values = {r.name: {t.name: [] for t in targets} for r in rows}

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

    def behind(self, limit=0.95):
        """(row, ours, peer, ratio) of what is slower than a peer by more than the noise."""
        return [(r.name, o.name, p.name, self.ratio(r, o, p))
                for r in self.rows for o in self.by_role('ours') for p in self.by_role('peer')
                if (self.ratio(r, o, p) or 1) < limit]


def columns(lines):
    """Lines of cells to text, the first column to the left, all others to the right."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return '\n'.join('  '.join(cell.ljust(w) if i == 0 else cell.rjust(w)
                               for i, (cell, w) in enumerate(zip(line, widths))).rstrip()
                     for line in lines)


def ratio_cell(ratio):
    return '-' if ratio is None else f'{ratio:.2f}'


def median_cell(samples, row, target):
    values = samples.values[row.name][target.name]
    if not values:
        return '-'
    return number(statistics.median(values))


def spread_cell(samples, row, target):
    values = samples.values[row.name][target.name]
    if len(values) < 2:
        return '-'
    return f'{number(min(values))}..{number(max(values))}'


def ratios(samples):
    """Medians of ours divided by medians of the peers, then all medians."""
    pairs = [(o, p) for o in samples.by_role('ours') for p in samples.by_role('peer')]
    head = ['row'] + [f'{o.name}/{p.name}' for o, p in pairs] + ['unit'] + \
        [t.name for t in samples.targets]
    lines = [head]
    for r in samples.rows:
        lines.append([r.name] + [ratio_cell(samples.ratio(r, o, p)) for o, p in pairs] + [r.unit] +
                     [median_cell(samples, r, t) for t in samples.targets])
    return columns(lines)


def spreads(samples):
    lines = [['row'] + [t.name for t in samples.targets]]
    for r in samples.rows:
        lines.append([r.name] + [spread_cell(samples, r, t) for t in samples.targets])
    return columns(lines)


def write_csv(samples, facts, folder):
    """One line a sample; returns the file's name."""
    os.makedirs(folder, exist_ok=True)
    name = os.path.join(folder, time.strftime('%Y-%m-%d-%H%M%S') + '.csv')
    with open(name, 'w', newline='', encoding='utf-8') as f:
        for fact in facts:
            f.write(f'# {fact}\n')
        out = csv.writer(f, lineterminator='\n')
        out.writerow(['row', 'unit', 'target', 'repetition', 'value'])
        for r in samples.rows:
            for t in samples.targets:
                for i, value in enumerate(samples.values[r.name][t.name]):
                    out.writerow([r.name, r.unit, t.name, i + 1, f'{value:.3f}'])
    return name


def text(samples, facts):
    parts = ['\n'.join(facts), '', ratios(samples)]
    if any(len(v) > 1 for row in samples.values.values() for v in row.values()):
        parts += ['', 'smallest..largest:', spreads(samples)]
    return '\n'.join(parts)
