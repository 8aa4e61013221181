"""Samples in a table: paths of pictures, texts or numbers, with a label a row, in CSV, JSON lines or Parquet.

Columns go by their usual names unless `Reading` names others: ``label``; ``path`` (or ``image``, ``file``) of a picture
beside the table, ``text``, or all numeric columns; ``id``; ``true_label``, for evaluation only; and ``split``, whose
rows are ``train`` or ``test``. The label of a test row is its true label where there is one.
"""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from alasca.core import InputError
from alasca.data.sources.base import Inputs, Reading, Source, existing, positions, refuse_duplicates, shortened
from alasca.data.sources.pictures import SUFFIXES, picture_source
from alasca.data.text import Texts

RESERVED = ("label", "true_label", "id", "split")
"""Columns that are never inputs unless `--input` names them."""
PICTURES, TEXT = ("path", "image", "file"), "text"


@dataclass(frozen=True)
class Table:
    """A table of texts and numbers, and how its rows are called in messages."""

    path: Path
    frame: pd.DataFrame
    lines: tuple[int, ...] = ()

    def where(self, row: int) -> str:
        """A row for people: counted from 0, with its line in a file of lines."""
        return f"{self.path} row {row}" + (f" (line {self.lines[row]})" if self.lines else "")

    def column(self, name: str) -> list[Any]:
        """The cells of a column.

        Raises:
            InputError: there is none of that name.
        """
        if name not in self.frame:
            columns = ", ".join(map(str, self.frame.columns))
            hint = (
                "its cells are separated by ';': save it with commas"
                if ";" in columns
                else "name another, e.g. --label"
            )
            raise InputError(f"data: {self.path} has no column {name!r}, only {columns}; {hint}")
        return list(self.frame[name])

    def texts(self, name: str) -> list[str]:
        """The cells of a column as texts, none of them empty.

        Raises:
            InputError: no such column, or a cell that is empty, a list, or no text that can be written, with its row.
        """
        values = self.column(name)
        for row, value in enumerate(values):
            if value is None or value == "" or (isinstance(value, float) and np.isnan(value)):
                raise InputError(f"data: {self.where(row)}: {name} is empty")
            if isinstance(value, (list, dict)):
                raise InputError(f"data: {self.where(row)}: {name} is a {type(value).__name__}; expected a text")
            if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
                raise InputError(f"data: {self.where(row)}: {name} holds half of a character; mend its encoding")
        return [whole(value) for value in values]

    def names(self, name: str) -> list[str]:
        """The cells of a column of labels or ids: texts of one line.

        Raises:
            InputError: as `texts`, or a cell with a line break.
        """
        values = self.texts(name)
        broken = next((row for row, value in enumerate(values) if any(mark in value for mark in "\r\n\0")), None)
        if broken is not None:
            raise InputError(f"data: {self.where(broken)}: {name} has a line break in it")
        return values

    def numbers(self, names: list[str]) -> np.ndarray:
        """Columns of numbers ``[N, D]``, float32.

        Raises:
            InputError: a cell that is none, is empty, or not finite, with its row.
        """
        found = np.empty((len(self.frame), len(names)), dtype=np.float32)
        for k, name in enumerate(names):
            with np.errstate(over="ignore"):
                values = np.array([as_number(cell) for cell in self.column(name)]).astype(np.float32)
            wrong = np.nonzero(~np.isfinite(values))[0]
            if len(wrong):
                cell = self.frame[name].iloc[wrong[0]]
                raise InputError(f"data: {self.where(int(wrong[0]))}: {name} is {cell!r}; expected a number")
            found[:, k] = values
        return found


def table(argument: str, reading: Reading) -> Source:
    """A CSV, JSON-lines or Parquet file with a label a row: paths of pictures, texts, or numbers"""
    found = read_table(existing(argument, "table:FILE"))
    frame = found.frame
    if not len(frame):
        raise InputError(f"data: {found.path} has no rows")
    labels = found.names(reading.label)
    testing = test_rows(found, reading)
    classes = class_order({label for label, test in zip(labels, testing, strict=True) if not test})
    numbered = named_positions(found, labels, classes, reading.label)
    true_name = reading.true or ("true_label" if "true_label" in frame else None)
    truth = None if true_name is None else named_positions(found, found.names(true_name), classes, true_name)
    id_name = reading.id or ("id" if "id" in frame else None)
    ids = [f"{found.path.name}/{row}" for row in range(len(frame))] if id_name is None else found.names(id_name)
    refuse_duplicates(ids, str(found.path))
    train, test = torch.from_numpy(~testing), torch.from_numpy(testing)
    own = {*RESERVED, reading.label, true_name, id_name, reading.split}
    kept_ids = [name for name, test_row in zip(ids, testing, strict=True) if not test_row]
    tested = numbered if truth is None else truth
    test_labels = tested[test] if bool(test.any()) else None
    true_labels = None if truth is None else truth[train]
    values: Inputs
    tested_values: Inputs
    kind, names = input_columns(found, reading, {name for name in own if name})
    others = [str(name) for name in frame.columns if name not in {*names, *own}]
    unread = f"; not read: {', '.join(others)}" if others else ""
    note = f"{found.path.name}: {kind} in {shortened(names, 40)}{unread}"
    if kind == "pictures":
        paths = [found.path.parent / name for name in found.texts(names[0])]
        chosen = [path for path, test_row in zip(paths, testing, strict=True) if not test_row]
        left = [path for path, test_row in zip(paths, testing, strict=True) if test_row]
        tests = None if test_labels is None else (left, test_labels)
        made = picture_source(chosen, numbered[train], kept_ids, classes, reading, 32, tests, true_labels=true_labels)
        return replace(made, notes=(note, *made.notes))
    if kind == "text":
        texts = Texts(tuple(found.texts(names[0])))
        values, tested_values = texts.subset(train.nonzero()[:, 0]), texts.subset(test.nonzero()[:, 0])
    else:
        numbers = torch.from_numpy(found.numbers(names))
        values, tested_values = numbers[train], numbers[test]
    return Source(
        values, numbered[train], tuple(kept_ids), classes, None if test_labels is None else tested_values, test_labels,
        true_labels, notes=(note,),
    )  # fmt: skip


def read_table(path: Path) -> Table:
    """A table from a file, by its suffix.

    Raises:
        InputError: it can't be read as what its suffix says, with the line where there is one.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return read_parquet(path)
    if suffix not in (".csv", ".tsv", ".jsonl", ".ndjson", ".json"):
        raise InputError(f"data: {path}: expected a table in .csv, .tsv, .jsonl or .parquet")
    text = decoded(path)
    return (
        read_csv(path, text, "\t" if suffix == ".tsv" else ",") if suffix in (".csv", ".tsv") else read_json(path, text)
    )


def read_parquet(path: Path) -> Table:
    """A Parquet file; nothing for its nulls."""
    try:
        frame = pd.read_parquet(path)
    except ImportError:
        raise InputError("data: Parquet files need pyarrow; type: pip install 'alasca[parquet]'") from None
    except Exception as error:  # pyarrow's errors have no common class that can be named without it
        raise InputError(f"data: {path} can't be read as Parquet ({' '.join(str(error).split())})") from error
    cells = frame.astype(object)
    return Table(path, cells.where(frame.notna(), None))


def read_csv(path: Path, text: str, separator: str) -> Table:
    """Lines of cells, as many in each as in the first, which names the columns; empty lines are left out."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
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
    if not rows:
        raise InputError(f"data: {path} can't be read as CSV (it is empty)")
    head, body = rows[0], rows[1:]
    if len(set(head)) < len(head):
        twice = next(name for name in head if head.count(name) > 1)
        raise InputError(f"data: {path} has two columns {twice!r}; give each its own name")
    for row, line in zip(body, lines[1:], strict=True):
        if len(row) != len(head):
            raise InputError(
                f"data: {path} line {line} has {len(row)} cells, the first line {len(head)}; put a cell with a "
                f"{separator!r} in it in quotes"
            )
    return Table(path, pd.DataFrame(body, columns=head, dtype=object), tuple(lines[1:]))


def read_json(path: Path, text: str) -> Table:
    """A JSON object on each line; empty lines are left out."""
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"data: {path} line {number} is no JSON ({error})") from error
        if not isinstance(row, dict):
            raise InputError(f"data: {path} line {number} is no JSON object")
        rows.append(row)
        lines.append(number)
    frame = pd.DataFrame(rows, dtype=object)
    return Table(path, frame.where(frame.notna(), None), tuple(lines))


def decoded(path: Path) -> str:
    """The text of a file.

    Raises:
        InputError: it is no UTF-8, with the line.
    """
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        byte = content[error.start]
        raise InputError(f"data: {path} line {line} is no UTF-8 (byte 0x{byte:02x}); save the table as UTF-8") from None


def test_rows(found: Table, reading: Reading) -> np.ndarray:
    """Which rows the split column gives to the test set.

    Raises:
        InputError: a cell that is neither train nor test, with its row.
    """
    name = reading.split or ("split" if "split" in found.frame else None)
    if name is None:
        return np.zeros(len(found.frame), dtype=bool)
    cells = found.texts(name)
    wrong = next((row for row, cell in enumerate(cells) if cell not in ("train", "test")), None)
    if wrong is not None:
        raise InputError(f"data: {found.where(wrong)}: {name} is {cells[wrong]!r}; expected train or test")
    testing = np.array([cell == "test" for cell in cells])
    if testing.all():
        raise InputError(f"data: {found.path}: {name} gives all rows to the test set")
    return testing


def input_columns(found: Table, reading: Reading, own: set[str]) -> tuple[str, list[str]]:
    """What the samples are, ``"pictures"``, ``"text"`` or ``"numbers"``, and in which columns."""
    if reading.input is not None:
        names = [name.strip() for name in reading.input.split(",")]
        if len(names) > 1:
            return "numbers", names
        first = str(found.column(names[0])[0])
        if first.lower().endswith(SUFFIXES):
            return "pictures", names
        return ("numbers" if is_number(first) else "text"), names
    for name in PICTURES:
        if name in found.frame:
            return "pictures", [name]
    if TEXT in found.frame:
        return "text", [TEXT]
    names = [str(name) for name in found.frame.columns if name not in own]
    numeric = [name for name in names if any(is_number(cell) for cell in found.column(name)[:100])]
    if not numeric:
        raise InputError(
            f"data: {found.path} has no column path or text, and none of numbers; name the inputs with --input"
        )
    return "numbers", numeric


def named_positions(found: Table, labels: list[str], classes: tuple[str, ...], name: str) -> Tensor:
    """Labels as positions in `classes`, a wrong one told with its row."""
    known = set(classes)
    wrong = next((row for row, label in enumerate(labels) if label not in known), None)
    if wrong is not None:
        where = f"{found.where(wrong)}: {name}"
        raise InputError(f"data: {where}: class {labels[wrong]!r} has no training row; classes come from those")
    return positions(labels, classes, str(found.path))


def class_order(names: set[str]) -> tuple[str, ...]:
    """Class names in order: by number where all are whole numbers, else by text.

    >>> class_order({"10", "9", "09"}), class_order({"b", "10", "a"})
    (('09', '9', '10'), ('10', 'a', 'b'))
    """
    if all(re.fullmatch(r"-?[0-9]{1,18}", name) for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def as_number(cell: Any) -> float:
    """A cell as a number; NaN where it is none."""
    try:
        return float(cell)
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def is_number(cell: Any) -> bool:
    """Whether a cell holds a number; True and False are none."""
    return not isinstance(cell, bool) and not np.isnan(as_number(cell))


def whole(value: Any) -> str:
    """A cell as text; a whole number without its ``.0``, which mixed columns give it."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
