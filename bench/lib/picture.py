"""The verdicts and the medians as one SVG picture, without any library."""
import math
from xml.sax.saxutils import escape

COLOURS = {'daemon': '#1b7837', 'kernel': '#7fbf7b', 'fuse2fs': '#b35806', 'ntfs-3g': '#f1a340',
           'ext4': '#542788', 'xfs': '#998ec3', 'raw': '#555555', 'null': '#aaaaaa'}
LEFT, RIGHT, WIDTH, LINE = 330, 110, 900, 16


class Drawing:
    """Lines of text and bars, from the top down."""

    def __init__(self):
        self.y, self.parts = 10, []

    def text(self, x, words, anchor='start', weight='normal', colour='#222'):
        self.parts.append(f'<text x="{x}" y="{self.y + 11}" text-anchor="{anchor}" '
                          f'font-weight="{weight}" fill="{colour}">{escape(words)}</text>')

    def bar(self, x, width, colour):
        self.parts.append(f'<rect x="{x:.1f}" y="{self.y + 2}" width="{max(width, 1):.1f}" '
                          f'height="{LINE - 4}" fill="{colour}"/>')

    def mark(self, x):
        self.parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{self.y}" y2="{self.y + LINE}" '
                          'stroke="#222" stroke-dasharray="2,2"/>')

    def down(self, by=LINE):
        self.y += by

    def svg(self):
        return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{self.y + 10}" '
                'font-family="sans-serif" font-size="11">\n'
                f'<rect width="{WIDTH}" height="{self.y + 10}" fill="white"/>\n'
                + '\n'.join(self.parts) + '\n</svg>\n')


def draw_verdicts(d, verdicts):
    """How far from the goal: the mark is where it is met, a step of the scale is a factor of 2."""
    room = WIDTH - LEFT - RIGHT
    d.text(10, 'Goals: the bar reaches the mark when the goal is met (scale: 1/8 to 8)', weight='bold')
    d.down(LINE + 6)
    for v in verdicts:
        upper = not v.goal.against and v.text.startswith('at most')
        share = (v.goal.wanted / v.value if upper else v.value / v.goal.wanted) if v.value else 8
        x = (math.log2(min(max(share, 1 / 8), 8)) + 3) / 6 * room
        d.text(LEFT - 8, f'{v.goal.row} {v.goal.ours}'.strip() + f': {v.text}', 'end')
        d.bar(LEFT, x, '#1b7837' if v.met else '#c0392b')
        d.mark(LEFT + room / 2)
        d.text(WIDTH - RIGHT + 8, f'{v.value:,.2f}' + ('' if v.met else '  not met'))
        d.down()


def draw_row(d, row, samples, number):
    medians = [(t.name, samples.median(row, t)) for t in samples.targets]
    medians = [(name, m) for name, m in medians if m is not None]
    if not medians:
        return
    most = max(m for _, m in medians) or 1
    better = 'less is better' if row.lower_is_better else 'more is better'
    d.down(6)
    d.text(10, f'{row.name}: {row.what} ({row.unit}, {better})', weight='bold')
    d.down()
    for name, m in medians:
        d.text(LEFT - 8, name, 'end')
        d.bar(LEFT, m / most * (WIDTH - LEFT - RIGHT), COLOURS.get(name, '#888'))
        d.text(WIDTH - RIGHT + 8, number(m))
        d.down()


def svg(samples, verdicts, facts, number):
    d = Drawing()
    for fact in facts:
        d.text(10, fact, colour='#666')
        d.down()
    d.down(6)
    draw_verdicts(d, verdicts)
    for row in samples.rows:
        draw_row(d, row, samples, number)
    return d.svg()
