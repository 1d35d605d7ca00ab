"""Draws plots as SVG. They follow the reader's choice of a light or dark scheme."""

import math
from html import escape

STYLE = """
  text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328; }
  .title { font-size: 15px; font-weight: 600; }
  .heading { font-weight: 600; }
  .note, .tick { fill: #59636e; }
  .tick { font-size: 11px; }
  .end { text-anchor: end; }
  .middle { text-anchor: middle; }
  .back { fill: #ffffff; }
  .grid { stroke: #d1d9e0; stroke-width: 1; }
  .ours { fill: #0969da; stroke: #0969da; }
  .base { fill: #59636e; stroke: #59636e; }
  .peer0 { fill: #bc6b00; stroke: #bc6b00; }
  .peer1 { fill: #8250df; stroke: #8250df; }
  .peer2 { fill: #1a7f37; stroke: #1a7f37; }
  .peer3 { fill: #bf3989; stroke: #bf3989; }
  .peer4 { fill: #9e8500; stroke: #9e8500; }
  .peer5 { fill: #0e8a8a; stroke: #0e8a8a; }
  .bar { stroke: none; }
  .other { fill: #afb8c1; }
  .line { fill: none; stroke-width: 2; }
  .label { stroke: none; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .note, .tick { fill: #9198a1; }
    .back { fill: #0d1117; }
    .grid { stroke: #3d444d; }
    .ours { fill: #58a6ff; stroke: #58a6ff; }
    .base { fill: #9198a1; stroke: #9198a1; }
    .peer0 { fill: #f0a04b; stroke: #f0a04b; }
    .peer1 { fill: #bc8cff; stroke: #bc8cff; }
    .peer2 { fill: #56d364; stroke: #56d364; }
    .peer3 { fill: #ff80c8; stroke: #ff80c8; }
    .peer4 { fill: #e3c341; stroke: #e3c341; }
    .peer5 { fill: #4fd1d1; stroke: #4fd1d1; }
    .bar { stroke: none; }
    .other { fill: #484f58; }
    .line { fill: none; }
    .label { stroke: none; }
  }
"""
WIDTH = 760
ROW = 20


class Drawing:
    def __init__(self, title, note):
        self.parts = []
        self.text(16, 26, title, "title")
        if note:
            self.text(16, 44, note, "note")
        self.title = title
        self.top = 62 if note else 44

    def text(self, x, y, text, kind=""):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(text)}</text>')

    def bar(self, x, y, width, kind):
        width = max(width, 1)
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="13" rx="2" class="{kind} bar"/>'
        )

    def line(self, points, kind):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" class="{kind} line"/>')
        self.parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" class="{kind} label"/>' for x, y in points]

    def grid(self, x1, y1, x2, y2):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="grid"/>')

    def done(self, height):
        body = "\n".join(self.parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
            f'height="{height:.0f}" role="img" aria-label="{escape(self.title)}">\n<style>{STYLE}</style>\n'
            f'<rect width="{WIDTH}" height="{height:.0f}" rx="6" class="back"/>\n{body}\n</svg>\n'
        )


def bars(title, note, panels, label_width=250):
    """Draws horizontal bars. A panel is a heading and rows: label, figure, text beside the bar, kind."""
    drawing = Drawing(title, note)
    y = drawing.top
    for heading, rows in panels:
        if not rows:
            continue
        if heading:
            y += 14
            drawing.text(16, y, heading, "heading")
            y += 8
        most = max(figure for _, figure, _, _ in rows)
        room = WIDTH - label_width - 16 - 130
        for label, figure, text, kind in rows:
            drawing.text(label_width - 8, y + 12, label, "end")
            width = room * figure / most if most else 0
            drawing.bar(label_width, y + 2, width, kind)
            drawing.text(label_width + width + 6, y + 12, text)
            y += ROW
        y += 8
    return drawing.done(y + 8)


def lines(title, note, panels, columns=1, height=260):
    """Draws lines over positions that are spread evenly.

    A panel is a heading, the labels of the positions, a function that writes a figure, the scale (from
    "zero", "near" to the figures, or "log"), and series: label, figures (None where there is none), kind.
    """
    drawing = Drawing(title, note)
    y = drawing.top
    names = {}
    for panel in panels:
        for label, _, kind in panel[4]:
            names.setdefault(label, kind)
    x = 16
    for label, kind in names.items():
        width = 24 + 6.6 * len(label) + 18
        if x + width > WIDTH:
            x, y = 16, y + 18
        drawing.parts.append(f'<rect x="{x}" y="{y - 8}" width="16" height="4" class="{kind} bar"/>')
        drawing.text(x + 22, y, label)
        x += width
    y += 14
    each = (WIDTH - 16) / columns
    for at, panel in enumerate(panels):
        left, top = each * (at % columns) + 62, y + (at // columns) * height
        draw_panel(drawing, panel, left, top, each - 82, height)
    return drawing.done(y + math.ceil(len(panels) / columns) * height + 4)


def draw_panel(drawing, panel, left, top, width, height):
    heading, labels, write, kind_of_scale, series = panel
    drawing.text(left, top + 14, heading, "heading")
    figures = [figure for _, values, _ in series for figure in values if figure is not None]
    if not figures:
        return
    upper, bottom = top + 30, top + height - 34
    ticks = scale(min(figures), max(figures), kind_of_scale)
    low, high = ticks[0], ticks[-1]

    def place(figure):
        if kind_of_scale == "log":
            share = math.log(figure / low) / math.log(high / low)
        else:
            share = (figure - low) / (high - low)
        return bottom - share * (bottom - upper)

    for tick in ticks:
        drawing.grid(left, place(tick), left + width, place(tick))
        drawing.text(left - 6, place(tick) + 4, write(tick), "tick end")
    step = width / max(len(labels) - 1, 1)
    for at, label in enumerate(labels):
        drawing.text(left + at * step, bottom + 18, label, "tick middle")
    # What is ours lies on top.
    for _, values, kind in sorted(series, key=lambda one: one[2] == "ours"):
        points = [(left + at * step, place(figure)) for at, figure in enumerate(values) if figure is not None]
        drawing.line(points, kind)


def scale(least, most, kind):
    """Returns round numbers, which enclose the figures."""
    if kind == "log":
        steps = [mantissa * 10.0**power for power in range(-3, 12) for mantissa in (1, 2, 5)]
        low = max(step for step in steps if step <= least)
        high = min(step for step in steps if step >= most and step > low)
        return [step for step in steps if low <= step <= high]
    span = (most - least) or abs(most) or 1
    low = least - 0.1 * span if kind == "near" and least > 0.5 * most else 0.0
    most = most or 1
    rough = (most - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(mantissa * power for mantissa in (1, 2, 2.5, 5, 10) if mantissa * power >= rough)
    first, last = math.floor(low / step), math.ceil(most / step)
    return [number * step for number in range(first, last + 1)]
