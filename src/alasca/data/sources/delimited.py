"""Tables of cells between commas, semicolons, tabs or bars."""

from __future__ import annotations

import csv
import io
import itertools
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from alasca.data.sources.base import shortened
from alasca.data.sources.cells import is_nothing
from alasca.errors import InputError

DELIMITERS = {",": "','", ";": "';'", "\t": "tabs", "|": "'|'"}
DECIMAL_COMMA = re.compile(r"\s*[+-]?[0-9]+(,[0-9]+)?\s*")
THOUSANDS = re.compile(r"\s*[+-]?[0-9]{1,3}((,[0-9]{3})*(\.[0-9]+)?|[0-9]*(\.[0-9]+)?)\s*")
EUROPEAN = re.compile(r"\s*[+-]?[0-9]{1,3}(\.[0-9]{3})*(,[0-9]+)?\s*")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
LOOKED_AT = 50
"""Lines in which each delimiter is tried."""


class Read(NamedTuple):
    """Rows of a file, the line of each, and what to say of how they were read."""

    frame: pd.DataFrame
    lines: tuple[int, ...]
    notes: tuple[str, ...] = ()


def read_delimited(path: Path, text: str, suffix: str) -> Read:
    """Lines of cells, as many in each as in the first, which names the columns.

    The delimiter is the one that gives all lines the same number of cells; the suffix's own where several do. Spaces
    around names, and before cells where the names have such, are no part of them. Lines without a cell are left out.

    Raises:
        InputError: a line that can't be read or has another number of cells, with its number.
    """
    usual = "\t" if suffix == ".tsv" else ","
    if said := re.match(r"\ufeff?sep=(.)\r?\n", text):  # Excel's own line
        usual, text = said[1], "\n" + text[said.end() :]
    delimiter = find_delimiter(text, usual)
    notes = [] if delimiter == usual else [f"cells are separated by {DELIMITERS[delimiter]}"]
    first = text.lstrip().partition("\n")[0]
    rows, lines = split_lines(path, text, delimiter, f"{delimiter} " in first)
    if not rows:
        raise InputError(f"data: {path} can't be read as CSV (it is empty)")
    head, body = [name.strip() for name in rows[0]], rows[1:]
    for row, line in zip(body, lines[1:], strict=True):
        if len(row) != len(head):
            raise InputError(
                f"data: {path} line {line} has {len(row)} cells, the first line {len(head)}; put a cell with a "
                f"{delimiter!r} in it in quotes"
            )
    again = [k for k, row in enumerate(body) if [cell.strip() for cell in row] == head]
    require_names(path, head, [row for k, row in enumerate(body) if k not in {*again}] if again else body)
    if again:
        notes.append(f"{len(again)} rows that repeat the names of the columns left out")
    full = [k for k, row in enumerate(body) if any(cell.strip() for cell in row)]
    if len(full) < len(body):
        notes.append(f"{len(body) - len(full)} rows without a cell left out")
    full = sorted({*full} - {*again})
    frame, found_lines = pd.DataFrame(body, columns=range(len(head)), dtype=object), lines[1:]
    frame, found_lines = frame.iloc[full].reset_index(drop=True), [found_lines[k] for k in full]
    named = [k for k, name in enumerate(head) if name or any(cell.strip() for cell in frame[k])]
    names = [head[k] or f"Unnamed: {k}" for k in named]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"data: {path} has two columns {twice!r}; give each its own name")
    frame = frame[named].set_axis(names, axis=1)
    return Read(*plain_numbers(frame, delimiter, tuple(found_lines), notes))


def require_names(path: Path, head: Sequence[str], body: Sequence[Sequence[str]]) -> None:
    """Raise `InputError` where the first line looks like data: numbers in no order, or what its own columns hold."""
    numbers = [name for name in head if NUMBER.fullmatch(name)]
    counted = [str(k) for k in range(len(numbers))], [str(k + 1) for k in range(len(numbers))]
    columns = list(zip(*body, strict=True))
    held = [
        name
        for name, cells in zip(head, columns, strict=False)
        if name and name in {cell.strip() for cell in cells[:5000]}
    ]
    if (2 * len(numbers) >= len(head) and numbers not in counted) or (2 * len(held) > len(head) > 1 and len(body) > 2):
        raise InputError(
            f"data: {path} line 1 looks like data ({shortened(list(head), 4)}); add a line of names above it, such as "
            f"{shortened([f'c{k}' for k in range(len(head) - 1)], 2)}, label"
        )


def plain_numbers(
    frame: pd.DataFrame, delimiter: str, lines: tuple[int, ...], notes: list[str]
) -> tuple[pd.DataFrame, tuple[int, ...], tuple[str, ...]]:  # fmt: skip
    """Numbers with points for decimals and nothing at thousands, however they are written; and what to say of it."""
    forms = [(DECIMAL_COMMA, ",", "", ".", "decimal commas")]
    if delimiter == ",":  # else 1,234 is more likely below two
        forms.insert(0, (THOUSANDS, ",", "", "", "commas at thousands"))
    else:
        forms.append((EUROPEAN, ".", ".", ".", "points at thousands"))
    decimal = False
    for form, mark, gone, point, what in forms:
        cells = {name: list(frame[name]) for name in frame.columns}
        found = [name for name, each in cells.items() if has_marks(each, form, mark)]
        if form is EUROPEAN:
            found = [name for name in found if decimal or any("," in cell for cell in cells[name])]
        for name in found:
            frame[name] = [(cell.replace(gone, "") if gone else cell).replace(",", point) for cell in cells[name]]
        notes = [*notes, f"{what} in {shortened(found)}"] if found else notes
        decimal = decimal or bool(found)
    return frame, lines, tuple(notes)


def split_lines(path: Path, text: str, delimiter: str, spaced: bool) -> tuple[list[list[str]], list[int]]:
    """The cells of every line that is not empty, and the number of the line where they begin."""
    csv.field_size_limit(sys.maxsize if sys.maxsize < 1 << 31 else (1 << 31) - 1)
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=spaced
    )  # fmt: skip
    rows: list[list[str]] = []
    lines: list[int] = []
    begun = 1
    try:
        for row in reader:
            if row:
                rows.append(row)
                lines.append(begun)
            begun = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"data: {path} line {reader.line_num} can't be read as CSV ({error})") from error
    return rows, lines


def find_delimiter(text: str, usual: str = ",") -> str:
    """What separates the cells of a text: what gives the first lines the same number of them, and most.

    >>> find_delimiter("a;b\\n1,5;2"), find_delimiter("a,b\\n1;2,3"), find_delimiter("a\\n1,2")
    (';', ',', ',')
    """
    widths = {}
    for delimiter in DELIMITERS:
        try:
            reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
            found = {len(row) for row in itertools.islice((row for row in reader if row), LOOKED_AT)}
        except csv.Error:
            continue
        if len(found) == 1 and (width := found.pop()) > 1:
            widths[delimiter] = width
    return max(widths, key=lambda each: (each == usual, widths[each]), default=usual)


def has_marks(cells: Sequence[str], form: re.Pattern[str], mark: str) -> bool:
    """Whether all cells that hold something are numbers of a form with marks, and some have one.

    >>> has_marks(["1,5", "2", ""], DECIMAL_COMMA, ","), has_marks(["1,234.5", "2"], THOUSANDS, ",")
    (True, True)
    >>> has_marks(["1.234,5", "2"], EUROPEAN, "."), has_marks(["1.5"], EUROPEAN, ".")
    (True, False)
    """
    return any(mark in cell for cell in cells) and all(form.fullmatch(cell) or is_nothing(cell) for cell in cells)
