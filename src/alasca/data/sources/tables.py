"""Samples in a table: paths of pictures, texts or numbers, with a label a row, in CSV, JSON lines or Parquet.

Columns go by their usual names unless `Reading` names others: ``label``; ``path`` (or ``image``, ``file``) of a picture
beside the table, ``text``, or all numeric columns; ``id``; ``true_label``, for evaluation only; and ``split``, whose
rows are ``train`` or ``test``. The label of a test row is its true label where there is one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from alasca.core import InputError
from alasca.data.sources.base import Inputs, Reading, Source, existing, positions, refuse_duplicates
from alasca.data.sources.pictures import SUFFIXES, picture_source
from alasca.data.text import Texts

PICTURES, TEXT = ("path", "image", "file"), "text"


@dataclass(frozen=True)
class Table:
    """A table of texts and numbers, and how its rows are called in messages."""

    path: Path
    frame: pd.DataFrame
    first_line: int | None = None

    def where(self, row: int) -> str:
        """A row for people: counted from 0, with its line in a file of lines."""
        line = "" if self.first_line is None else f" (line {row + self.first_line})"
        return f"{self.path} row {row}{line}"

    def column(self, name: str) -> list[Any]:
        """The cells of a column.

        Raises:
            InputError: there is none of that name.
        """
        if name not in self.frame:
            raise InputError(
                f"data: {self.path} has no column {name!r}, only {', '.join(map(str, self.frame.columns))}"
            )
        return list(self.frame[name])

    def texts(self, name: str) -> list[str]:
        """The cells of a column as texts, none of them empty.

        Raises:
            InputError: no such column, or an empty cell, with its row.
        """
        values = self.column(name)
        for row, value in enumerate(values):
            if value is None or value == "" or (isinstance(value, float) and np.isnan(value)):
                raise InputError(f"data: {self.where(row)}: {name} is empty")
        return [whole(value) for value in values]

    def numbers(self, names: list[str]) -> np.ndarray:
        """Columns of numbers ``[N, D]``, float32.

        Raises:
            InputError: a cell that is none, is empty, or not finite, with its row.
        """
        found = np.empty((len(self.frame), len(names)), dtype=np.float32)
        for k, name in enumerate(names):
            values = pd.to_numeric(pd.Series(self.column(name)), errors="coerce").to_numpy(dtype=np.float64)
            wrong = np.nonzero(~np.isfinite(values))[0]
            if len(wrong):
                cell = self.frame[name].iloc[wrong[0]]
                raise InputError(f"data: {self.where(int(wrong[0]))}: {name} is {cell!r}; expected a number")
            found[:, k] = values
        return found

    def rows(self, chosen: np.ndarray) -> Table:
        """Some of the rows."""
        return Table(self.path, self.frame[chosen], None)


def table(argument: str, reading: Reading) -> Source:
    """A CSV, JSON-lines or Parquet file with a label a row: paths of pictures, texts, or numbers"""
    found = read_table(existing(argument, "table:FILE"))
    frame = found.frame
    if not len(frame):
        raise InputError(f"data: {found.path} has no rows")
    labels = found.texts(reading.label)
    testing = test_rows(found, reading)
    classes = class_order({label for label, test in zip(labels, testing, strict=True) if not test})
    numbered = named_positions(found, labels, classes, reading.label)
    true_name = reading.true or ("true_label" if "true_label" in frame else None)
    truth = None if true_name is None else named_positions(found, found.texts(true_name), classes, true_name)
    id_name = reading.id or ("id" if "id" in frame else None)
    ids = [f"{found.path.name}/{row}" for row in range(len(frame))] if id_name is None else found.texts(id_name)
    refuse_duplicates(ids, str(found.path))
    train, test = torch.from_numpy(~testing), torch.from_numpy(testing)
    own = {reading.label, true_name, id_name, reading.split or "split"}
    kept_ids = [name for name, test_row in zip(ids, testing, strict=True) if not test_row]
    tested = numbered if truth is None else truth
    test_labels = tested[test] if bool(test.any()) else None
    true_labels = None if truth is None else truth[train]
    kind, names = input_columns(found, reading, {name for name in own if name})
    if kind == "pictures":
        paths = [found.path.parent / name for name in found.texts(names[0])]
        chosen = [path for path, test_row in zip(paths, testing, strict=True) if not test_row]
        left = [path for path, test_row in zip(paths, testing, strict=True) if test_row]
        tests = None if test_labels is None else (left, test_labels)
        return picture_source(chosen, numbered[train], kept_ids, classes, reading, 32, tests, true_labels=true_labels)
    values: Inputs
    if kind == "text":
        values = Texts(tuple(found.texts(names[0])))
        inputs, test_inputs = values.subset(train.nonzero()[:, 0]), values.subset(test.nonzero()[:, 0])
        return Source(
            inputs, numbered[train], tuple(kept_ids), classes, None if test_labels is None else test_inputs,
            test_labels, true_labels,
        )  # fmt: skip
    values = torch.from_numpy(found.numbers(names))
    return Source(
        values[train], numbered[train], tuple(kept_ids), classes, None if test_labels is None else values[test],
        test_labels, true_labels,
    )  # fmt: skip


def read_table(path: Path) -> Table:
    """A table from a file, by its suffix.

    Raises:
        InputError: it can't be read as what its suffix says, with the line where there is one.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        try:
            return Table(path, pd.read_parquet(path))
        except ImportError:
            raise InputError("data: Parquet files need pyarrow; type: pip install 'alasca[parquet]'") from None
        except Exception as error:  # pyarrow's errors have no common class that can be named without it
            raise InputError(f"data: {path} can't be read as Parquet ({' '.join(str(error).split())})") from error
    if suffix not in (".csv", ".tsv", ".jsonl", ".ndjson", ".json"):
        raise InputError(f"data: {path}: expected a table in .csv, .tsv, .jsonl or .parquet")
    text = decoded(path)
    if suffix in (".csv", ".tsv"):
        from io import StringIO

        try:
            separator = "\t" if suffix == ".tsv" else ","
            frame = pd.read_csv(StringIO(text), sep=separator, dtype=str, keep_default_na=False, na_values=[])
        except ValueError as error:
            raise InputError(f"data: {path} can't be read as CSV ({' '.join(str(error).split())})") from error
        return Table(path, frame, 2)
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"data: {path} line {number} is no JSON ({error})") from error
        if not isinstance(row, dict):
            raise InputError(f"data: {path} line {number} is no JSON object")
        rows.append(row)
    return Table(path, pd.DataFrame(rows, dtype=object), 1)


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
    numeric = [name for name in names if is_number(found.column(name)[0]) or found.column(name)[0] in ("", None)]
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

    >>> class_order({"10", "9"}), class_order({"b", "10", "a"})
    (('9', '10'), ('10', 'a', 'b'))
    """
    if all(name.lstrip("-").isdecimal() for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))


def is_number(value: Any) -> bool:
    """Whether a cell holds a number."""
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def whole(value: Any) -> str:
    """A cell as text; a whole number without its ``.0``, which mixed columns give it."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
