"""Columns of a table that a network reads: which ones, as numbers or as categories, and why the others are left out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from alasca.data.sources.base import shortened
from alasca.data.sources.table_files import Table
from alasca.data.transform import Column
from alasca.errors import InputError

LEVELS = 64
"""Categories up to which each gets a number of its own; with more, the category's position is the number."""
MEND = "fill it in, or say with --input which columns to read"
NUMBERED = re.compile(r"(unnamed: ?\d+|index|row|row_?(id|number)|id|)", re.IGNORECASE)


class Choice(NamedTuple):
    """What is read of a table, and what is not: ``"NAME (why)"`` each."""

    columns: tuple[Column, ...]
    left_out: tuple[str, ...]


def choose_columns(table: Table, names: Sequence[str], rows: np.ndarray, asked: bool) -> Choice:
    """Numbers and categories among some columns.

    Args:
        table: the table.
        names: of the columns that may be read.
        rows: of the training set, bool ``[N]``: categories come from those.
        asked: the user named these columns, so that none is left out.

    Raises:
        InputError: nothing is left, or a column of free texts would be.
    """
    chosen, left = [], []
    for name in names:
        cells = table.column(name, "input")
        if not asked and is_row_number(name, cells):
            left.append(f"{name} (counts the rows)")
            continue
        numbers = [is_number(cell) for cell in cells]
        if 2 * sum(numbers) >= len(numbers):
            chosen.append(Column(name))
            continue
        if not asked and len(set(map(str, cells))) == 1:
            left.append(f"{name} (always the same)")
            continue
        levels = sorted({text for text, row in zip(categories(table, name), rows, strict=True) if row})
        if not asked and len(levels) > max(LEVELS, int(rows.sum()) // 2):
            others = ",".join(other for other in names if other != name) or "a,b,c"
            raise InputError(
                f"data: {table.path}: column {name!r} holds texts, {len(levels)} different ones; say what to read: "
                f"--input {name} (the texts) or --input {others} (the others)"
            )
        chosen.append(Column(name, tuple(levels), len(levels) <= LEVELS))
    if not chosen:
        only = f"its column {left[0]}" if len(left) == 1 else f"only {shortened(left)}" if left else "nothing else"
        raise InputError(
            f"data: {table.path} has no column path or text, and none to learn from ({only}); name the inputs with "
            "--input"
        )
    return Choice(tuple(chosen), tuple(left))


def is_row_number(name: str, cells: Sequence[Any]) -> bool:
    """Whether a column only counts: by name, or whole numbers in steps of one over three rows or more.

    >>> is_row_number("x", [3, 4, 5]), is_row_number("x", [3, 4, 6]), is_row_number("Unnamed: 0", ["a"])
    (True, False, True)
    """
    if NUMBERED.fullmatch(str(name).strip()):
        return True
    values = np.array([as_number(cell) for cell in cells])
    return len(values) > 2 and bool(np.isfinite(values).all() and (np.diff(values) == 1).all())


def table_numbers(table: Table, columns: Sequence[Column]) -> np.ndarray:
    """Columns as numbers ``[N, D]``, float32; a category that the training set has not is none: all zeros, or -1.

    Raises:
        InputError: a cell of numbers that is none, is empty, or not finite, with its row.
    """
    found = np.zeros((len(table.frame), sum(column.width for column in columns)), dtype=np.float32)
    at = 0
    for column in columns:
        if not column.levels:
            found[:, at] = numbers_of(table, column.name)
        else:
            place = {level: k for k, level in enumerate(column.levels)}
            known = np.array([place.get(text, -1) for text in table.names(column.name)], dtype=np.int64)
            if column.one_hot:
                rows = np.nonzero(known >= 0)[0]
                found[rows, at + known[rows]] = 1
            else:
                found[:, at] = known
        at += column.width
    return found


def numbers_of(table: Table, name: str) -> np.ndarray:
    """A column of numbers ``[N]``."""
    cells = table.column(name, "input")
    with np.errstate(over="ignore"):
        values = np.array([as_number(cell) for cell in cells], dtype=np.float64).astype(np.float32)
    wrong = np.nonzero(~np.isfinite(values))[0]
    if len(wrong):
        cell = cells[wrong[0]]
        raise InputError(f"data: {table.where(int(wrong[0]))}: {name} is {cell!r}; expected a number; {MEND}")
    return values


def categories(table: Table, name: str) -> list[str]:
    """A column of categories."""
    try:
        return table.names(name)
    except InputError as error:
        raise InputError(f"{error}; {MEND}") from error


def told(columns: Sequence[Column]) -> str:
    """Columns in words.

    >>> told([Column("age"), Column("town", ("A", "B")), Column("street", ("x",) * 3, False)])
    'age, town (2 categories), street (3 categories, by position)'
    """
    texts = [
        column.name
        + (f" ({len(column.levels)} categories{'' if column.one_hot else ', by position'})" if column.levels else "")
        for column in columns
    ]
    return shortened(texts, 40)


def as_number(cell: Any) -> float:
    """A cell as a number; NaN where it is none."""
    try:
        return float(cell)
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def is_number(cell: Any) -> bool:
    """Whether a cell holds a number; True and False are none."""
    return not isinstance(cell, bool) and not np.isnan(as_number(cell))
