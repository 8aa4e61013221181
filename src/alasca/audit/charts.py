"""Charts as inline SVG: lines over epochs, histograms, a matrix. Colours are CSS variables of the page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

WIDTH, HEIGHT = 560, 300
LEFT, RIGHT, TOP, BOTTOM = 60, 14, 14, 50


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers from `low` to `high`.

    >>> ticks(0, 100), ticks(-2, 2)
    ([0.0, 20.0, 40.0, 60.0, 80.0, 100.0], [-2.0, -1.0, 0.0, 1.0, 2.0])
    """
    span = max(high - low, 1e-9)
    step = 10 ** np.floor(np.log10(span / count))
    step = next(step * factor for factor in (1, 2, 5, 10) if span / (step * factor) <= count + 1e-9)
    return [float(round(value, 10)) + 0.0 for value in np.arange(np.ceil(low / step) * step, high + step / 1e6, step)]


def number(value: float) -> str:
    """Short text of a number."""
    return f"{value:g}"


class Axes:
    """A plot area with axes; data coordinates in, SVG out."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], x_label: str, y_label: str) -> None:
        self.x, self.y = (x[0], x[1] if x[1] > x[0] else x[0] + 1), (y[0], y[1] if y[1] > y[0] else y[0] + 1)
        self.x_label, self.y_label = x_label, y_label

    def px(self, value: float) -> float:
        """Horizontal pixel."""
        return LEFT + (value - self.x[0]) / (self.x[1] - self.x[0]) * (WIDTH - LEFT - RIGHT)

    def py(self, value: float) -> float:
        """Vertical pixel."""
        return HEIGHT - BOTTOM - (value - self.y[0]) / (self.y[1] - self.y[0]) * (HEIGHT - TOP - BOTTOM)

    def draw(self, title: str, marks: Sequence[str]) -> str:
        """The figure with its marks on top of the grid."""
        parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
        for value in ticks(*self.y):
            y = self.py(value)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{number(value)}</text>')
        for value in ticks(*self.x, count=6):
            if self.x_label == "epoch" and value % 1:
                continue
            x = self.px(value)
            parts.append(
                f'<text class="tick" x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{number(value)}</text>'
            )
        middle = (LEFT + WIDTH - RIGHT) / 2
        parts.append(
            f'<text class="label" x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">{escape(self.x_label)}</text>'
        )
        high = (TOP + HEIGHT - BOTTOM) / 2
        parts.append(
            f'<text class="label" x="12" y="{high}" text-anchor="middle" transform="rotate(-90 12 {high})">'
            f"{escape(self.y_label)}</text>"
        )
        return "".join([*parts, *marks, "</svg>"])


def legend(names: Sequence[tuple[str, str]]) -> str:
    """Names beside their colours: (text, CSS class)."""
    return '<p class="legend">' + "".join(f'<span><i class="{c}"></i>{escape(n)}</span>' for n, c in names) + "</p>"


def lines(title: str, series: Sequence[tuple[str, str, Sequence[float | None]]], y_label: str) -> str:
    """Lines over epochs: (name, CSS class, value an epoch or None)."""
    epochs = max(len(values) for _, _, values in series)
    axes = Axes((1, max(2, epochs)), (0, 100), "epoch", y_label)
    marks = []
    for _, css, values in series:
        points = " ".join(f"{axes.px(k + 1):.1f},{axes.py(v):.1f}" for k, v in enumerate(values) if v is not None)
        marks.append(f'<polyline class="line {css}" points="{points}"/>')
    return axes.draw(title, marks) + legend([(name, css) for name, css, _ in series])


def histogram(title: str, groups: Sequence[tuple[str, str, np.ndarray]], x_label: str, bins: int = 25) -> str:
    """Histograms over [0, 1], drawn over each other: (name, CSS class, values)."""
    edges = np.linspace(0, 1, bins + 1)
    counts = [np.histogram(values, edges)[0] for _, _, values in groups]
    axes = Axes((0, 1), (0, max([1, *(int(count.max()) for count in counts)])), x_label, "samples")
    marks = []
    for (_, css, _), count in zip(groups, counts, strict=True):
        for k, height in enumerate(count.tolist()):
            if height:
                x, y = axes.px(edges[k]), axes.py(height)
                width, tall = axes.px(edges[k + 1]) - x - 0.6, axes.py(0) - y
                marks.append(
                    f'<rect class="bar {css}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{tall:.1f}"/>'
                )
    return axes.draw(title, marks) + legend([(f"{name} ({len(values)})", css) for name, css, values in groups])


def matrix(counts: np.ndarray, names: Sequence[str], rows: str, columns: str) -> str:
    """A table of counts; the deeper a cell off the diagonal, the more samples."""
    largest = max(1, int((counts * (1 - np.eye(len(counts), dtype=int))).max()))
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = []
    for i, name in enumerate(names):
        cells = []
        for j, count in enumerate(counts[i].tolist()):
            if i == j:
                cells.append(f'<td class="same">{count}</td>')
            else:
                share = round(100 * count / largest)
                cells.append(f'<td style="--share:{share}%">{count if count else ""}</td>')
        body.append(f"<tr><th>{escape(name)}</th>{''.join(cells)}</tr>")
    return (
        f'<p class="axes">rows: {escape(rows)}; columns: {escape(columns)}</p>'
        f'<div class="scroll"><table class="matrix">'
        f"<tr><th></th>{head}</tr>{''.join(body)}</table></div>"
    )
