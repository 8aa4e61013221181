"""Tables in a terminal."""

from __future__ import annotations

import re
import sys


def show_grid(title: str, heads: list[str], rows: list[list[str]]) -> None:
    """Print a table: numbers to the right, and no word broken where the terminal has room for the longest ones."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 110)
    columns = [[head, *(row[k] for row in rows)] for k, head in enumerate(heads)]
    words = [max(len(word) for cell in column for word in cell.split() or [""]) for column in columns]
    fits = sum(words) + 3 * len(words) <= console.width
    shown = Table(show_edge=False)
    for k, (head, column, least) in enumerate(zip(heads, columns, words, strict=True)):
        numbers = k > 0 and all(re.match(r"[-+]?\d|[-?]?$|done$", cell) for cell in column[1:])
        width = least if fits else None
        shown.add_column(Text(head), justify="right" if numbers else "left", overflow="fold", min_width=width)
    for row in rows:
        shown.add_row(*(Text(cell) for cell in row))
    if title:
        console.print(Text(title, style="italic"))
    console.print(shown)
