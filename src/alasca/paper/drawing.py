"""Figures as SVG files that stand alone, light and dark: panels of lines with bands, bars and histograms."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from alasca.audit.charts import HEIGHT, WIDTH, Axes

COLOURS = ("#2a6fbb", "#c4572b", "#2f8f5b", "#8b5fbf", "#b8860b", "#5f7383", "#c2407d", "#1a9fa0")
STYLE = (
    "svg{font:13px system-ui,sans-serif}text{fill:#333}.grid{stroke:#ddd}.title{font-weight:600}.back{fill:#fff}"
    ".line{fill:none;stroke-width:2}.dash{stroke-dasharray:6 4}.band{opacity:.15}.zero{stroke:#888}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.grid{stroke:#444}.back{fill:#161616}}"
)
TITLE, LEGEND = 26, 22
"""Pixels above a panel, and of a line of the legend."""


class Line(NamedTuple):
    """Points that belong together, with a band around them where there is a spread.

    Attributes:
        name: in the legend; lines of one name have one entry.
        xs, ys: points.
        spread: half the band's height at each point, or none.
        colour: number.
        dashed: whether it is.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    spread: Sequence[float] = ()
    colour: int = 0
    dashed: bool = False


class Panel(NamedTuple):
    """One plot: title, SVG, legend entries (name, colour, dashed)."""

    title: str
    svg: str
    legend: tuple[tuple[str, int, bool], ...]


def colour(number: int) -> str:
    """One of `COLOURS`."""
    return COLOURS[number % len(COLOURS)]


def line_panel(
    title: str, lines: Sequence[Line], x_label: str, y_label: str, y: tuple[float, float] | None = None
) -> Panel:  # fmt: skip
    """Lines over epochs, or whatever the x axis is."""
    values = [
        value + sign * add
        for line in lines
        for value, add in zip(line.ys, line.spread or [0.0] * len(line.ys), strict=True)
        for sign in (-1, 1)
    ]
    xs = [value for line in lines for value in line.xs]
    low, high = y or (min(0.0, *values), max(values) * 1.05 or 1.0) if values else (0.0, 1.0)
    axes = Axes((min(xs, default=0.0), max(xs, default=1.0)), (low, high), x_label, y_label)
    marks = []
    for line in lines:
        points = [(axes.px(x), axes.py(v)) for x, v in zip(line.xs, line.ys, strict=True)]
        if line.spread:
            top = [
                (axes.px(x), axes.py(min(high, v + s))) for x, v, s in zip(line.xs, line.ys, line.spread, strict=True)
            ]
            under = [
                (axes.px(x), axes.py(max(low, v - s))) for x, v, s in zip(line.xs, line.ys, line.spread, strict=True)
            ]
            marks.append(
                f'<polygon class="band" fill="{colour(line.colour)}" points="{joined([*top, *under[::-1]])}"/>'
            )
        dash = " dash" if line.dashed else ""
        marks.append(f'<polyline class="line{dash}" stroke="{colour(line.colour)}" points="{joined(points)}"/>')
    legend = tuple(dict.fromkeys((line.name, line.colour, line.dashed) for line in lines))
    return Panel(title, axes.draw(title, marks), legend)


def bar_panel(
    title: str, groups: Sequence[str], bars: Sequence[tuple[str, int, Sequence[float | None]]], y_label: str
) -> Panel:  # fmt: skip
    """Bars side by side in groups: (name, colour, value of each group or None)."""
    values = [value for _, _, each in bars for value in each if value is not None]
    axes = Axes(
        (0, max(1, len(groups))),
        (min(0.0, *values) if values else 0.0, max(values, default=1.0) * 1.08 or 1.0),
        "",
        y_label,
    )
    marks, width = [], 0.8 / max(1, len(bars))
    zero = axes.py(0)
    for k, (_, number, each) in enumerate(bars):
        for at, value in enumerate(each):
            if value is not None:
                x, top = axes.px(at + 0.1 + k * width), min(axes.py(value), zero)
                wide, tall = axes.px(width) - axes.px(0), abs(axes.py(value) - zero)
                marks.append(
                    f'<rect fill="{colour(number)}" x="{x:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{tall:.1f}"/>'
                )
    marks.append(f'<line class="zero" x1="{axes.px(0)}" x2="{axes.px(len(groups))}" y1="{zero:.1f}" y2="{zero:.1f}"/>')
    for at, name in enumerate(groups):
        x, y = axes.px(at + 0.5), HEIGHT - 18
        marks.append(
            f'<text x="{x:.1f}" y="{y}" text-anchor="end" transform="rotate(-20 {x:.1f} {y})">{escape(name)}</text>'
        )
    drawn = axes.draw(title, marks)
    return Panel(title, without_x_ticks(drawn), tuple((name, number, False) for name, number, _ in bars))


def without_x_ticks(svg: str) -> str:
    """A plot whose x axis has names in the place of numbers."""
    return re.sub(r'<text class="tick" [^>]*text-anchor="middle">[^<]*</text>', "", svg)


def histogram_panel(title: str, counts: Sequence[tuple[str, int, Sequence[int]]], x_label: str) -> Panel:
    """Counts over equal parts of 0 to 1, drawn over each other: (name, colour, counts)."""
    high = max((value for _, _, each in counts for value in each), default=1)
    axes = Axes((0, 1), (0, max(1, high)), x_label, "samples")
    marks = []
    for _, number, each in counts:
        for k, value in enumerate(each):
            if value:
                x, top = axes.px(k / len(each)), axes.py(value)
                wide, tall = axes.px((k + 1) / len(each)) - x - 0.6, axes.py(0) - top
                marks.append(
                    f'<rect fill="{colour(number)}" opacity="0.6" x="{x:.1f}" y="{top:.1f}" width="{wide:.1f}" '
                    f'height="{tall:.1f}"/>'
                )
    legend = tuple((f"{name} ({sum(each)})", number, False) for name, number, each in counts)
    return Panel(title, axes.draw(title, marks), legend)


def joined(points: Sequence[tuple[float, float]]) -> str:
    """Points as SVG writes them."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def sheet(panels: Sequence[Panel], columns: int = 2) -> str:
    """Panels in rows, and one legend for those that share it, else a legend each."""
    columns = min(columns, len(panels))
    shared = len({panel.legend for panel in panels}) == 1
    lines = [legend_lines(panel.legend, WIDTH * (columns if shared else 1)) for panel in panels]
    below = 0 if shared else LEGEND * max(len(each) for each in lines)
    tall = TITLE + HEIGHT + below
    rows = -(-len(panels) // columns)
    width, height = columns * WIDTH, rows * tall + (LEGEND * len(lines[0]) if shared else 0) + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"><style>{STYLE}</style>'
        f'<rect class="back" width="{width}" height="{height}"/>'
    ]
    for k, panel in enumerate(panels):
        x, y = k % columns * WIDTH, k // columns * tall
        parts.append(f'<text class="title" x="{x + 60}" y="{y + 18}">{escape(panel.title)}</text>')
        parts.append(panel.svg.replace("<svg ", f'<svg x="{x}" y="{y + TITLE}" width="{WIDTH}" height="{HEIGHT}" ', 1))
        if not shared:
            parts += entries(lines[k], x + 60, y + TITLE + HEIGHT + 14)
    if shared:
        parts += entries(lines[0], 60, rows * tall + 14)
    return "".join([*parts, "</svg>\n"])


def legend_lines(legend: Sequence[tuple[str, int, bool]], width: int) -> list[list[tuple[str, int, bool]]]:
    """A legend's entries, as many in a line as fit."""
    lines: list[list[tuple[str, int, bool]]] = [[]]
    used = 60
    for entry in legend:
        if lines[-1] and used + room(entry[0]) > width:
            lines.append([])
            used = 60
        lines[-1].append(entry)
        used += room(entry[0])
    return lines


def room(name: str) -> int:
    """Pixels that an entry takes, about."""
    return 44 + round(7.2 * len(name))


def entries(lines: Sequence[Sequence[tuple[str, int, bool]]], x: int, y: int) -> list[str]:
    """A legend as SVG."""
    found = []
    for k, line in enumerate(lines):
        at = x
        for name, number, dashed in line:
            dash = " dash" if dashed else ""
            high = y + k * LEGEND
            found.append(
                f'<line class="line{dash}" stroke="{colour(number)}" x1="{at}" x2="{at + 24}" y1="{high - 4}" '
                f'y2="{high - 4}"/><text x="{at + 30}" y="{high}">{escape(name)}</text>'
            )
            at += room(name)
    return found
