"""Columns of a table that a network reads: which ones, as what numbers, and why the others are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from alasca.data.sources.base import shortened
from alasca.data.sources.cells import is_empty, is_nothing, kind_of_cells, numbers_of
from alasca.data.sources.giveaways import LEVELS, of_classes, only_grows, tells_all, unit_of, why_left_out
from alasca.data.sources.table_files import Table, whole
from alasca.data.text import words
from alasca.data.transform import Column
from alasca.errors import InputError

WORDS = 256
"""Words of a column of texts that get a number each, where it is read together with other columns."""
LEFT_OUT = {"empty": "empty", "infinite": "no finite number", "list": "lists", "object": "objects"}


class Choice(NamedTuple):
    """What is read of a table, and what is not: ``"NAME (why)"`` each; and texts that might be."""

    columns: tuple[Column, ...]
    left_out: tuple[str, ...]
    texts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def choose_columns(
    table: Table, names: Sequence[str], rows: np.ndarray, asked: bool, labels: Sequence[str | None] = ()
) -> Choice:
    """Columns of numbers, dates, categories and, where they were asked for, words of texts.

    Args:
        table: the table.
        names: of the columns that may be read.
        rows: of the training set, bool ``[N]``: categories, words and medians come from those.
        asked: the user named these columns, so that none is left out.
        labels: of all rows; a column that only repeats them is left out.

    Raises:
        InputError: a column that was asked for and can't be read.
    """
    chosen: list[Column] = []
    left: list[str] = []
    texts: list[str] = []
    notes: list[str] = []
    scores = set() if asked else of_classes(table, names, labels)
    for name in names:
        cells = table.column(name, "input")
        kind, form = kind_of_cells(cells)
        values = numbers_of(cells, form) if kind in ("number", "date") else np.zeros(0)
        why = LEFT_OUT.get(kind)
        if asked and why is not None:
            raise InputError(
                f"data: {table.path}: column {name!r} can't be read ({why}); expected numbers, categories or texts"
            )
        if not asked:
            why = why or ("one for each class" if name in scores else None)
            why = why or why_left_out(name, cells, kind, values, rows, labels)
        if why is None and not asked and kind in ("category", "number") and tells_all(cells, labels):
            notes.append(f"{name} tells every label by itself: where it was made from it, name the inputs with --input")
        if why is None and not asked and kind == "number" and only_grows(values):
            notes.append(f"{name} only grows from row to row: where it counts them, name the inputs with --input")
        if why is None and kind in ("category", "text") and (unit := unit_of(cells)) is not None:
            notes.append(f"{name} looks like numbers with {unit!r}: without it they are read as numbers")
        if why is not None:
            left.append(f"{name} ({why})")
        elif kind in ("number", "date"):
            chosen.append(numeric(table, name, cells, rows, form, values, notes))
        elif kind == "text" and not asked:
            texts.append(name)
            left.append(f"{name} ({len(set(map(str, cells))):,} different texts)")
        else:
            chosen.append(worded(name, cells, rows) if kind == "text" else categorical(name, cells, rows))
    return Choice(tuple(chosen), tuple(left), tuple(texts), tuple(notes))


def unseen(table: Table, columns: Sequence[Column], rows: np.ndarray) -> tuple[str, ...]:
    """A line for each column in which some rows have categories that training has not."""
    notes = []
    for column in columns:
        if column.kind in ("levels", "position"):
            cells = [category(cell) for cell, row in zip(table.column(column.name), rows, strict=True) if row]
            odd = [cell for cell in cells if cell not in column.levels]
            if odd:
                names = shortened([repr(name) for name in dict.fromkeys(odd)], 3)
                notes.append(
                    f"{column.name}: {len(odd):,} rows have categories that training has not (read as none): {names}"
                )
    return tuple(notes)


def numeric(
    table: Table, name: str, cells: Sequence[Any], rows: np.ndarray, form: str, values: np.ndarray, notes: list[str]
) -> Column:
    """A column of numbers or dates; where some are missing, with the median of the training rows in their place."""
    absent = np.isnan(values)
    strange = [row for row in np.nonzero(absent)[0].tolist() if not is_nothing(cells[row])]
    if strange:
        notes.append(
            f"{table.where(strange[0])}: {name} is {cells[strange[0]]!r}, no number: {len(strange)} such cells are "
            "taken as missing"
        )
    fill = None
    if absent.any():
        known = values[rows & ~absent]
        fill = float(np.float32(np.median(known))) if len(known) else 0.0
    return Column(name, "date" if form else "number", (), fill, form)


def categorical(name: str, cells: Sequence[Any], rows: np.ndarray) -> Column:
    """A column of categories; nothing is one of them."""
    levels = sorted({category(cell) for cell, row in zip(cells, rows, strict=True) if row})
    return Column(name, "levels" if len(levels) <= LEVELS else "position", tuple(levels))


def worded(name: str, cells: Sequence[Any], rows: np.ndarray) -> Column:
    """A column of texts as the words that come in most of them."""
    counts = Counter(word for cell, row in zip(cells, rows, strict=True) if row for word in {*words(category(cell))})
    ranked = sorted((word for word, count in counts.items() if count > 1), key=lambda word: (-counts[word], word))
    return Column(name, "words", tuple(ranked[:WORDS]))


def category(cell: Any) -> str:
    """A cell as the name of a category."""
    return "" if is_empty(cell) else whole(cell)


def table_numbers(table: Table, columns: Sequence[Column]) -> np.ndarray:
    """Columns as numbers ``[N, D]``, float32; a category that the training set has not is none: all zeros, or -1.

    Raises:
        InputError: a cell that holds no number where training saw none missing, with its row.
    """
    found = np.zeros((len(table.frame), sum(column.width for column in columns)), dtype=np.float32)
    at = 0
    for column in columns:
        cells = table.column(column.name, "input")
        place = {level: k for k, level in enumerate(column.levels)}
        if column.kind in ("number", "date"):
            values = numbers_of(cells, column.form)
            absent = np.isnan(values)
            if absent.any() and column.fill is None:
                row = int(np.argmax(absent))
                raise InputError(
                    f"data: {table.where(row)}: {column.name} is {cells[row]!r}; expected a {column.kind}: none was "
                    "missing in training"
                )
            found[:, at] = np.where(absent, column.fill or 0.0, values)
            if column.fill is not None:
                found[:, at + 1] = absent
        elif column.kind == "words":
            for row, cell in enumerate(cells):
                found[row, [at + place[word] for word in {*words(category(cell))} & place.keys()]] = 1
        else:
            known = np.array([place.get(category(cell), -1) for cell in cells], dtype=np.int64)
            if column.kind == "levels":
                seen = np.nonzero(known >= 0)[0]
                found[seen, at + known[seen]] = 1
            else:
                found[:, at] = known
        at += column.width
    return found


def told(columns: Sequence[Column]) -> str:
    """Columns in words.

    >>> told([Column("age", fill=3.0), Column("town", "levels", ("A", "B")), Column("street", "position", ("x",) * 3)])
    'age (missing ones: the median, 3), town (2 categories), street (3 categories, by position)'
    """
    texts = []
    for column in columns:
        parts = {
            "number": [], "date": [f"date{'' if column.form == 'ISO' else ', ' + readable(column.form)}"],
            "levels": [f"{len(column.levels)} categories"], "words": [f"its {len(column.levels)} commonest words"],
            "position": [f"{len(column.levels):,} categories, by position"],
        }[column.kind]  # fmt: skip
        if column.fill is not None:
            parts = [*parts, f"missing ones: the median, {column.fill:.4g}"]
        texts.append(column.name + (f" ({', '.join(parts)})" if parts else ""))
    return shortened(texts, 40)


def readable(form: str) -> str:
    """A form of dates for people.

    >>> readable("%d.%m.%Y %H:%M")
    'DD.MM.YYYY hh:mm'
    """
    letters = {"%d": "DD", "%m": "MM", "%Y": "YYYY", "%b": "month", "%B": "month", "%H": "hh", "%M": "mm", "%S": "ss"}
    for code, text in letters.items():
        form = form.replace(code, text)
    return form
