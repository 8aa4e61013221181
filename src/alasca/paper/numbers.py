"""The paper's own numbers, from the one file that holds them."""

from __future__ import annotations

import functools
import tomllib
from importlib import resources
from typing import NamedTuple

TRIALS = 5
"""Runs behind each of the paper's means."""


class Printed(NamedTuple):
    """What the paper prints in a cell.

    Attributes:
        mean: None where the text at hand is unreadable.
        spread: standard deviation over `TRIALS` runs; None where it prints none.
        quoted: where the paper took it from; None: its own.
    """

    mean: float | None
    spread: float | None = None
    quoted: str | None = None


@functools.cache
def printed(table: str) -> dict[tuple[str, str], Printed]:
    """What the paper prints by row and column; for table 7 also in the columns ``memory`` and ``time``.

    >>> printed("table4")["ALASCA", "cifar10/sym60"]
    Printed(mean=86.2, spread=0.2, quoted=None)
    """
    content = tomllib.loads((resources.files("alasca.paper") / "numbers.toml").read_text(encoding="utf-8"))
    if table not in content:
        return {}
    entry = content[table]
    found = {}
    for row, text in entry["rows"].items():
        source = entry["from"] if row in entry["quoted"] else None
        for column, value in zip(entry["columns"].split(), text.split(), strict=True):
            mean, _, spread = value.partition("±")
            known = mean not in ("?", "-")
            found[row, column] = Printed(float(mean) if known else None, float(spread) if spread else None, source)
    for column in ("memory", "time"):
        for row, value in entry.get(column, {}).items():
            found[row, column] = Printed(None if value == "?" else float(value))
    return found
