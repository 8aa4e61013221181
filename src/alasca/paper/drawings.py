"""Figures 1a and 8 of the paper, which are drawings, drawn anew: nothing in them was measured."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from alasca.paper.drawing import STYLE, colour


def sketch(width: int, height: int, parts: list[str]) -> str:
    """A drawing as a file of its own."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"><style>{STYLE}'
        ".box{fill:none;stroke:#888}.arrow{stroke:#888;stroke-width:1.5;marker-end:url(#tip)}</style>"
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#888"/></marker></defs>'
        f'<rect class="back" width="{width}" height="{height}"/>{"".join(parts)}</svg>\n'
    )


def text(x: float, y: float, words: str, anchor: str = "middle", css: str = "") -> str:
    """A line of words."""
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" class="{css}">{escape(words)}</text>'


def box(x: float, y: float, width: float, height: float, *lines: str) -> str:
    """A box with words in it."""
    middle = y + height / 2 + 5 - 9 * (len(lines) - 1)
    words = "".join(text(x + width / 2, middle + 18 * k, line) for k, line in enumerate(lines))
    return f'<rect class="box" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>{words}'


def arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    """From one point to another."""
    return f'<line class="arrow" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'


def bars(x: float, y: float, values: list[float], number: int) -> str:
    """A target: a bar a class."""
    return "".join(
        f'<rect fill="{colour(number)}" x="{x + 18 * k}" y="{y - 70 * value:.1f}" width="14" '
        f'height="{70 * value:.1f}"/>'
        for k, value in enumerate(values)
    )


def figure1a() -> str:
    """The less sure the network is of a label, the more the label is smoothed."""
    sure, unsure = [0.04, 0.88, 0.04, 0.04], [0.18, 0.46, 0.18, 0.18]
    parts = []
    for y, who, how, values, number in (
        (30, "a right label", "high", sure, 0), (150, "a wrong label", "low", unsure, 1),
    ):  # fmt: skip
        parts += [
            box(20, y, 150, 60, who), arrow(174, y + 30, 224, y + 30),
            box(230, y, 170, 60, "confidence in it", f"{how}"), arrow(404, y + 30, 454, y + 30),
            bars(470, y + 66, values, number),
            text(560, y + 36, "smoothed little" if number == 0 else "smoothed much", "start"),
        ]  # fmt: skip
    return sketch(720, 250, parts)


def figure8() -> str:
    """How ALASCA trains: averaged confidence, and correction where classifiers agree."""
    parts = [
        text(20, 24, "(a) Averaged confidence", "start", "title"),
        text(20, 214, "(b) Correction", "start", "title"),
    ]
    parts += [
        box(20, 44, 150, 56, "main classifier", "logits of this visit"), arrow(174, 72, 214, 72),
        box(220, 44, 190, 56, "z = 0.7 z + 0.3 logits", "kept for each sample"), arrow(414, 72, 454, 72),
        box(460, 44, 190, 56, "gamma = softmax(3 z)", "at the label"), arrow(654, 72, 694, 72),
        box(700, 44, 220, 56, "sub-classifiers learn", "gamma e_y + (1 - gamma) / K"),
        text(20, 140, "One visit's confidence jumps from epoch to epoch; the average ranks right above wrong labels.",
             "start"),
        box(20, 234, 150, 56, "main classifier", "says cat"),
        box(20, 310, 150, 56, "deepest of the sub-", "classifiers says cat"),
        arrow(174, 262, 254, 292), arrow(174, 338, 254, 308),
        box(260, 272, 190, 56, "the same class,", "and not the label?"),
        arrow(454, 286, 514, 262), arrow(454, 314, 514, 338),
        text(478, 262, "yes"), text(478, 346, "no"),
        box(520, 234, 260, 56, "y^ = that class,", "after 20 epochs of warm-up"),
        box(520, 310, 260, 56, "y^ = the given label"),
        text(20, 396, "y^ serves the sub-classifiers alone; the main classifier keeps the given label.", "start"),
    ]  # fmt: skip
    return sketch(940, 412, parts)


DRAWINGS: dict[str, Callable[[], str]] = {"figure1a": figure1a, "figure8": figure8}
"""By name."""
